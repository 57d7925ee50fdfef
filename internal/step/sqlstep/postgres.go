package sqlstep

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

const (
	// poolSize is how many connections one database gets, whatever the lanes run at once.
	poolSize = 4
	// poolIdle is how long a connection waits for the next step.
	poolIdle = time.Minute
	// connectTimeout bounds the making of a connection, which goes on after the step that asked for it has
	// gone: a server that takes connections and says nothing would hold the whole pool.
	connectTimeout = 10 * time.Second
)

var effectsParam = step.Param{Name: "effects", Type: step.TypeBool, Default: false,
	Doc: "Lets `sql/exec` note what it did in the table `relais_effects`, in the same transaction, and makes it exact. The table is yours to make: "}

func effects(ddl string) step.Param {
	p := effectsParam
	p.Doc += "`` " + ddl + " ``. Its rows may go once nothing as old can be tried again."
	return p
}

func postgresKind(e *egress.Egress) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "postgres",
		Doc:  "A PostgreSQL database, on which relais opens at most 4 connections.",
		Params: []step.Param{
			{Name: "url", Type: step.TypeString, Required: true, Secret: true, //nolint:gosec // an example of an address
				Doc: "Where it is: `postgres://user:password@host:5432/database`, with PostgreSQL's own `sslmode` (`prefer` unless it is given; `verify-full` checks the server) and `sslrootcert`."},
			effects(postgresDDL),
		},
		Open: func(settings map[string]any) (any, error) {
			cfg, err := postgresConfig(settings)
			if err != nil {
				return nil, err
			}
			exact, _ := settings["effects"].(bool)
			return &Connection{database: openPostgres(cfg, e), effects: exact}, nil
		},
		Hosts: func(settings map[string]any) []string {
			cfg, err := postgresConfig(settings)
			if err != nil {
				return nil
			}
			hosts := []string{postgresHost(cfg.ConnConfig.Host, cfg.ConnConfig.Port)}
			for _, f := range cfg.ConnConfig.Fallbacks {
				hosts = append(hosts, postgresHost(f.Host, f.Port))
			}
			return hosts
		},
	}
}

func postgresHost(host string, port uint16) string {
	if strings.HasPrefix(host, "/") {
		return "postgres://localhost" // a socket of this machine, which no address leads to
	}
	return "postgres://" + net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// address is the setting url, read or not yet.
func address(settings map[string]any) string {
	switch v := settings["url"].(type) {
	case string:
		return v
	case config.Secret:
		return v.Reveal()
	}
	return ""
}

func postgresConfig(settings map[string]any) (*pgxpool.Config, error) {
	text := address(settings)
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" || u.Hostname() == "" && u.Query().Get("host") == "" || step.CutPassword(u) {
		return nil, errors.New("url must be an address such as postgres://user:password@host:5432/database")
	}
	cfg, err := pgxpool.ParseConfig(text)
	if err != nil {
		// Its text quotes the address.
		return nil, errors.New("url can't be used: look at its parameters (sslmode, sslrootcert) and the files that they name")
	}
	return cfg, nil
}

type postgres struct{ step.Kept[*pgxpool.Pool] }

func openPostgres(cfg *pgxpool.Config, e *egress.Egress) *postgres {
	cfg.MaxConns, cfg.MinConns, cfg.MaxConnIdleTime = poolSize, 0, poolIdle
	conn := cfg.ConnConfig
	if conn.ConnectTimeout <= 0 {
		conn.ConnectTimeout = connectTimeout
	}
	// The name that stands in the file is what is judged, so it is resolved where it is dialled.
	conn.LookupFunc = func(_ context.Context, host string) ([]string, error) { return []string{host}, nil }
	conn.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if network == "unix" {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
		return e.Dial(ctx, "postgres", network, address)
	}
	for name, value := range map[string]string{"application_name": "relais", "client_encoding": "UTF8", "datestyle": "ISO"} {
		if conn.RuntimeParams[name] == "" {
			conn.RuntimeParams[name] = value
		}
	}
	return &postgres{step.Kept[*pgxpool.Pool]{
		Make:  func() (*pgxpool.Pool, error) { return pgxpool.NewWithConfig(context.Background(), cfg.Copy()) },
		Close: (*pgxpool.Pool).Close,
	}}
}

func (p *postgres) name() string { return "PostgreSQL" }

const postgresDDL = "CREATE TABLE relais_effects (key text PRIMARY KEY, delivery text NOT NULL, at timestamptz NOT NULL, result text)"

func (p *postgres) ddl() string { return postgresDDL }

func (p *postgres) check(string) error { return nil } // the server takes one statement, and undoes all of them

func (p *postgres) begin(ctx context.Context, readOnly bool) (transaction, error) {
	shared, done, err := p.Use()
	if err != nil {
		return nil, err
	}
	conn, err := shared.Acquire(ctx)
	if err != nil {
		done()
		return nil, err
	}
	t := &postgresTx{conn: conn, done: done}
	begin := "BEGIN"
	if readOnly {
		begin += " READ ONLY"
	}
	// A server goes on with what nobody waits for any more, so it is told until when to.
	if deadline, ok := ctx.Deadline(); ok {
		left := max(time.Until(deadline).Milliseconds(), 1)
		begin += fmt.Sprintf("; SET LOCAL statement_timeout = %d; SET LOCAL idle_in_transaction_session_timeout = %d", left, left)
	}
	if _, err := conn.Conn().PgConn().Exec(ctx, begin).ReadAll(); err != nil {
		t.rollback()
		return nil, err
	}
	return t, nil
}

// judge reads SQLSTATE.
func (p *postgres) judge(err error) *verdict {
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		return nil
	}
	v := &verdict{disposition: step.Final, reason: core.ReasonStatement, said: refused.Message + " (SQLSTATE " + refused.Code + ")"}
	switch code := refused.Code; {
	case code == "40001", code == "40P01", code == "55P03", code == "55006", strings.HasPrefix(code, "53"):
		v.disposition, v.reason = step.Retry, core.ReasonBusy
	case code == "57014":
		v.disposition, v.reason = step.Retry, core.ReasonTimeout
	case code == "25006" && strings.Contains(refused.Message, "recovery"), strings.HasPrefix(code, "57P"), strings.HasPrefix(code, "58"), code == "40003",
		strings.HasPrefix(code, "08") && code != "08P01":
		v.disposition, v.reason, v.undecided = step.Retry, core.ReasonMaintenance, true
	case code == "25P03", code == "25P04": // the session was idle, or the transaction took, for too long
		v.disposition, v.reason, v.undecided = step.Retry, core.ReasonTimeout, true
	case strings.HasPrefix(code, "28"), code == "42501":
		v.reason = core.ReasonAuth
	case code == "42P01":
		v.noTable = true
	case code == "25006":
		v.readsOnly = true
	case ended(refused) && code != "3D000":
		// A session that is ended says nothing of the statement. Poolers tell so, by codes of all kinds, that
		// they have no server or no room for now.
		v.disposition, v.reason, v.undecided = step.Retry, core.ReasonMaintenance, true
	}
	return v
}

// ended tells that the server, or a pooler, ended the session with its error.
func ended(refused *pgconn.PgError) bool {
	severity := refused.SeverityUnlocalized
	if severity == "" {
		severity = refused.Severity // before version 9.6, and of some poolers
	}
	return severity == "FATAL" || severity == "PANIC"
}
