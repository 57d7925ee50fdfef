package postgres

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgxpool"

	"relais/internal/core"
	"relais/internal/store"
)

const (
	oldestServer = 140000
	// lookAgain is how often the server's settings are read: they can be changed while it runs.
	lookAgain = time.Minute
)

// serverSettings are what decides whether what is acknowledged survives.
type serverSettings struct {
	version     int
	words       string // the version as the server writes it
	sync, pages string
	standbys    string
}

func readSettings(ctx context.Context, pool *pgxpool.Pool) (serverSettings, error) {
	var s serverSettings
	err := pool.QueryRow(ctx, `SELECT current_setting('server_version_num')::integer, current_setting('server_version'), current_setting('fsync'),
		current_setting('full_page_writes'), current_setting('synchronous_standby_names')`,
		pgx.QueryExecModeSimpleProtocol).Scan(&s.version, &s.words, &s.sync, &s.pages, &s.standbys)
	return s, err
}

// refusal says why relais doesn't work on such a server: "acknowledged means stored" would be a lie.
func (s serverSettings) refusal() error {
	switch {
	case s.version < oldestServer:
		return core.Errorf(core.CodeConflict, "the PostgreSQL server is version %s: relais needs 14 or newer", s.words)
	case s.sync != "on":
		return core.Errorf(core.CodeConflict, "the PostgreSQL server has fsync=%s: a power cut loses or breaks what was acknowledged; set fsync=on, reload the server and start relais again", s.sync)
	case s.pages != "on":
		return core.Errorf(core.CodeConflict, "the PostgreSQL server has full_page_writes=%s: a power cut can break pages that were acknowledged; set full_page_writes=on, reload the server and start relais again", s.pages)
	default:
		return nil
	}
}

// warnings tells what the server doesn't promise, and what it no longer does.
func (s serverSettings) warnings() []string {
	var warnings []string
	if refused := s.refusal(); refused != nil {
		warnings = append(warnings, refused.Error())
	}
	if strings.TrimSpace(s.standbys) == "" {
		warnings = append(warnings, "the PostgreSQL server has no synchronous standby (synchronous_standby_names is empty): "+
			"if its disk is lost, or a replica takes its place, the last acknowledged events can be lost with it")
	}
	return warnings
}

// Warnings tells people what the database doesn't protect from, for /ready. It is what the last look at its
// settings found, and empty while there was none.
func (s *Store) Warnings() []string {
	if w := s.warnings.Load(); w != nil {
		return *w
	}
	return nil
}

// check reads the server's settings, and refuses a server that can't keep what relais promises.
func (s *Store) check(ctx context.Context) error {
	settings, err := readSettings(ctx, s.pool)
	if err != nil {
		return err
	}
	warnings := settings.warnings()
	s.warnings.Store(&warnings)
	return settings.refusal()
}

// tendSettings looks whether the server has been set otherwise. A node that runs isn't stopped for it: to
// take nothing in is worse; people are told.
func (s *Store) tendSettings() {
	for {
		select {
		case <-s.closing.Done():
			return
		case <-time.After(lookAgain):
		}
		ctx, cancel := context.WithTimeout(s.closing, s.readTime)
		if err := s.check(ctx); err != nil && core.CodeOf(err) == core.CodeConflict {
			s.log.Error("the database doesn't keep what is acknowledged", "error", err)
		}
		cancel()
	}
}

// configure sets what every connection of the pool has. Nothing of it is a parameter of the connection's
// start: a pooler refuses those that it doesn't know.
func (s *Store) configure(config *pgxpool.Config, text string) {
	c := config.ConnConfig
	// Of several hosts the one that takes writes is wanted; a replica would answer, and refuse each of them.
	if severalHosts(c) && c.ValidateConnect == nil && !chosen(text) {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		switch s.network.Load() {
		case pooled:
			c.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
		case direct:
			// Who stops waiting tells the server, which else would go on. A pooler isn't told: PgBouncer 1.18
			// dies of it.
			c.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
				return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: cancelTime}
			}
		}
		return nil
	}
	// A server that is a replica counts as away; one that becomes the primary lets its connections write.
	config.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		registerColumns(conn.TypeMap())
		if conn.PgConn().ParameterStatus("in_hot_standby") == "on" {
			return &store.Away{Words: "the database is a replica and read-only", Cause: errReplica}
		}
		return nil
	}
}

// cancelTime is how long the server is waited for after it was told that nobody waits.
const cancelTime = time.Second

var errReplica = fmt.Errorf("in_hot_standby is on")

func severalHosts(c *pgx.ConnConfig) bool {
	for _, other := range c.Fallbacks {
		if other.Host != c.Host || other.Port != c.Port {
			return true
		}
	}
	return false
}

// chosen tells whether the URL, or a connection string of words, says itself which server is wanted.
func chosen(text string) bool {
	if u, err := url.Parse(text); err == nil && u.Query().Has("target_session_attrs") {
		return true
	}
	return strings.Contains(text, "target_session_attrs=")
}
