package sqlstep

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	driver "github.com/go-sql-driver/mysql"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

// lockWait is how long MySQL lets a statement wait for a row, in seconds: shorter than a step's timeout, so
// that the server says what it waits for.
const lockWait = "20"

func mysqlKind(e *egress.Egress) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "mysql",
		Doc:  "A MySQL or MariaDB database, on which relais opens at most 4 connections. Sessions are in UTC. Tables need an engine with transactions (InnoDB).",
		Params: []step.Param{
			{Name: "url", Type: step.TypeString, Required: true, Secret: true,
				Doc: "Where it is: `mysql://user:password@host:3306/database`. With `?tls=true` the server's certificate is checked (`&ca=/path` names another authority's file), with `tls=skip-verify` the connection is " +
					"encrypted only, `tls=preferred`, which is the default, encrypts where the server can, and `tls=false` doesn't. `?socket=/path` is a socket of this machine."},
			effects(mysqlDDL),
		},
		Open: func(settings map[string]any) (any, error) {
			cfg, err := mysqlConfig(settings, e)
			if err != nil {
				return nil, err
			}
			connector, err := driver.NewConnector(cfg)
			if err != nil {
				return nil, errors.New("url can't be used: look at its parameters")
			}
			exact, _ := settings["effects"].(bool)
			return &Connection{database: &mysql{newPooled(connector, inMySQL)}, effects: exact}, nil
		},
		Hosts: func(settings map[string]any) []string {
			u, err := mysqlURL(settings)
			if err != nil || u.Hostname() == "" {
				return nil
			}
			return []string{"mysql://" + net.JoinHostPort(u.Hostname(), mysqlPort(u))}
		},
	}
}

func mysqlURL(settings map[string]any) (*url.URL, error) {
	u, err := url.Parse(address(settings))
	if err != nil || u.Scheme != "mysql" && u.Scheme != "mariadb" || u.Hostname() == "" && u.Query().Get("socket") == "" || step.CutPassword(u) {
		return nil, errors.New("url must be an address such as mysql://user:password@host:3306/database")
	}
	return u, nil
}

func mysqlPort(u *url.URL) string {
	if u.Port() == "" {
		return "3306"
	}
	return u.Port()
}

func mysqlConfig(settings map[string]any, e *egress.Egress) (*driver.Config, error) {
	u, err := mysqlURL(settings)
	if err != nil {
		return nil, err
	}
	query := u.Query()
	for name := range query {
		if !slices.Contains([]string{"tls", "ca", "socket"}, name) {
			return nil, fmt.Errorf("url: the parameter %.40q is not known (allowed: ca, socket, tls)", name)
		}
	}
	cfg := driver.NewConfig()
	cfg.User = u.User.Username()
	cfg.Passwd, _ = u.User.Password()
	cfg.Net, cfg.Addr, cfg.DBName = "tcp", net.JoinHostPort(u.Hostname(), mysqlPort(u)), strings.TrimPrefix(u.Path, "/")
	cfg.Logger = &driver.NopLogger{} // what it would write is in the errors
	cfg.ParseTime, cfg.ClientFoundRows = true, true
	cfg.Params = map[string]string{"time_zone": "'+00:00'", "innodb_lock_wait_timeout": lockWait}
	if err := cfg.Apply(driver.Charset("utf8mb4", "")); err != nil {
		return nil, err
	}
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		return e.Dial(ctx, "mysql", network, address)
	}
	if socket := query.Get("socket"); socket != "" {
		cfg.Net, cfg.Addr = "unix", socket
		cfg.DialFunc = (&net.Dialer{}).DialContext
		return cfg, nil
	}
	return cfg, encrypt(cfg, u.Hostname(), query.Get("tls"), query.Get("ca"), e)
}

func encrypt(cfg *driver.Config, host, mode, ca string, e *egress.Egress) error {
	switch mode {
	case "", "preferred":
		cfg.TLS, cfg.AllowFallbackToPlaintext = unchecked(host), true
	case "skip-verify":
		cfg.TLS = unchecked(host)
	case "true":
		cfg.TLS = e.TLS(host)
	case "false":
	default:
		return errors.New("url: tls must be true, skip-verify, preferred or false")
	}
	if ca == "" {
		return nil
	}
	if mode != "true" {
		return errors.New("url: ca is for tls=true")
	}
	authority, err := os.ReadFile(ca) //nolint:gosec // the configuration names it
	cfg.TLS.RootCAs = x509.NewCertPool()
	if err != nil || !cfg.TLS.RootCAs.AppendCertsFromPEM(authority) {
		return errors.New("url: ca must be a file of certificates (PEM) that relais can read")
	}
	return nil
}

// unchecked encrypts without knowing for whom, as the address asks.
func unchecked(host string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host, InsecureSkipVerify: true} //nolint:gosec // the user's word
}

type mysql struct{ *pooled }

func (m *mysql) name() string { return "MySQL" }

const mysqlDDL = "CREATE TABLE relais_effects (`key` varchar(191) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin PRIMARY KEY, delivery varchar(64) NOT NULL, at datetime(6) NOT NULL, result mediumtext) ENGINE=InnoDB"

func (m *mysql) ddl() string { return mysqlDDL }

// committing are statements after which MySQL commits by itself, with all that came before them.
var committingWords = []string{"ALTER", "ANALYZE", "CHECK", "CREATE", "DROP", "FLUSH", "GRANT", "INSTALL", "LOAD", "OPTIMIZE", "RENAME", "REPAIR", "REVOKE",
	"STOP", "CHANGE", "TRUNCATE", "UNINSTALL", "CACHE", "HANDLER", "CALL", "EXECUTE", "SHUTDOWN", "KILL"}

func (m *mysql) check(statement string) error {
	words := scan(inMySQL, statement).words
	for len(words) > 1 && (words[0] == "M" || strings.Trim(words[0], "0123456789") == "") {
		words = words[1:] // of a comment that is run from a version on: /*!50000 … */, /*M!100100 … */
	}
	switch {
	case len(words) == 0:
	case slices.Contains(committingWords, words[0]):
		return fmt.Errorf("MySQL can't undo what %s does, so it can't be a part of a step", words[0])
	case slices.Contains(control, words[0]): // also SET LOCAL, which is for the whole session there
		return fmt.Errorf("%s can't be used: the step is a transaction of its own", words[0])
	}
	return nil
}

func (m *mysql) begin(ctx context.Context, readOnly bool) (transaction, error) {
	begin := "START TRANSACTION"
	if readOnly {
		begin += " READ ONLY"
	}
	t, err := m.start(ctx, begin, &pooledTx{
		value:  mysqlValue,
		refuse: func(args []any) error { return plainText(args, true, "MySQL") },
		marks: markStatements{
			insert: "INSERT INTO " + effectsTable + " (`key`, delivery, at) VALUES (?, ?, UTC_TIMESTAMP(6))",
			read:   "SELECT result, delivery FROM " + effectsTable + " WHERE `key` = ?",
			keep:   "UPDATE " + effectsTable + " SET result = ? WHERE `key` = ?",
		},
		repeats: func(err error) bool {
			var refused *driver.MySQLError
			return errors.As(err, &refused) && refused.Number == 1062
		},
	})
	if err != nil {
		return nil, err // not a nil *pooledTx, which would be a transaction
	}
	return t, nil
}

// judge reads the numbers of MySQL's and MariaDB's errors.
func (m *mysql) judge(err error) *verdict {
	var refused *driver.MySQLError
	if !errors.As(err, &refused) {
		return nil
	}
	v := &verdict{disposition: step.Final, reason: core.ReasonStatement, said: fmt.Sprintf("%s (%d)", refused.Message, refused.Number), undecided: true}
	switch refused.Number {
	case 1213, 1205, 1020, 1206, 1412, 1615, 3101: // deadlock, lock wait, changed since read, lock table, table changed, to be prepared again, rolled back by the group
		v.disposition, v.reason, v.undecided = step.Retry, core.ReasonBusy, false
	case 1040, 1203, 1226, 1021, 1037, 1038, 1041, 1114, 1135, 1461, 1637: // connections, memory, disk, threads, transactions
		v.disposition, v.reason = step.Retry, core.ReasonBusy
	case 1969, 3024, 1317: // statement's time, interrupted
		v.disposition, v.reason = step.Retry, core.ReasonTimeout
	case 1053, 1077, 1079, 1080, 1290, 1836, 1927, 3032, 1129, 1158, 1159, 1160, 1161, 1180, 1184, 1047, 4031, // stopping, read-only for now, connection lost
		9001, 9002: // ProxySQL's own: no server for now
		v.disposition, v.reason = step.Retry, core.ReasonMaintenance
	case 1044, 1045, 1698, 1130, 1142, 1143, 1227, 1370, 1862, 3118:
		v.reason = core.ReasonAuth
	case 1146:
		v.noTable = true
	}
	return v
}

// mysqlValue reads a value as the driver gives it.
func mysqlValue(value any, column *sql.ColumnType) any {
	kind := column.DatabaseTypeName()
	switch v := value.(type) {
	case uint64:
		if v > 1<<63-1 {
			return strconv.FormatUint(v, 10)
		}
		return int64(v)
	case float32:
		return floatOf(float64(v), 32)
	case float64:
		return floatOf(v, 64)
	case time.Time:
		if v.IsZero() {
			return nil // 0000-00-00
		}
		if kind == "DATE" {
			return v.Format(time.DateOnly)
		}
		return timeOf(v)
	case []byte:
		switch {
		case kind == "JSON":
			return jsonOf(v)
		case strings.HasSuffix(kind, "BLOB"), strings.HasSuffix(kind, "BINARY"), kind == "BIT", kind == "GEOMETRY":
			return base64.StdEncoding.EncodeToString(v)
		}
		return textOf(v)
	}
	return value
}
