package redis

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

const (
	poolSize    = 16
	dialTimeout = 5 * time.Second
	// replyTimeout bounds each command: none that is allowed waits.
	replyTimeout = 10 * time.Second
	// maxReply bounds what is read for one command, or for one transaction.
	maxReply = 1 << 20
)

// Connection is the kind redis: one server, connected to through e.
func Connection(e *egress.Egress) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "redis",
		Doc:  "A Redis server (no cluster), or one that speaks its protocol, such as Valkey.",
		Params: []step.Param{{Name: "url", Type: step.TypeString, Required: true, Secret: true,
			Doc: "`redis://host:6379/0`, with `user:password@` before the host where they are asked for; the database's number may be left out. `rediss://` is TLS: the server's certificate is checked " +
				"by the system's authorities, or by those of a file of yours (PEM) with `?ca=/path`."}},
		Env: map[string]string{"url": "REDIS_URL"},
		Open: func(settings map[string]any) (any, error) {
			c, err := parse(settings)
			if err != nil {
				return nil, err
			}
			if err := c.readAuthorities(); err != nil {
				return nil, err
			}
			c.egress = e
			c.client.Make = func() (*goredis.Client, error) {
				quiet()
				return goredis.NewClient(c.options()), nil
			}
			c.client.Close = func(client *goredis.Client) { _ = client.Close() } // what it could say concerns nobody any more
			return c, nil
		},
		Hosts: func(settings map[string]any) []string {
			c, err := parse(settings)
			if err != nil {
				return nil
			}
			return []string{"redis://" + c.address}
		},
	}
}

// connection is an opened connection.
type connection struct {
	address string
	host    string
	tls     bool
	ca      string // a file of authorities; "" for the system's
	user    string
	pass    config.Secret
	db      int
	egress  *egress.Egress
	roots   *x509.CertPool // read from ca
	client  step.Kept[*goredis.Client]
}

var errURL = errors.New("url is not an address such as redis://user:password@host:6379/0 or rediss://…")

func parse(settings map[string]any) (*connection, error) {
	text, _ := settings["url"].(string)
	if secret, ok := settings["url"].(config.Secret); ok {
		text = secret.Reveal()
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "redis" && u.Scheme != "rediss" || u.Hostname() == "" || u.Fragment != "" || step.CutPassword(u) {
		return nil, errURL // the cause would show the password
	}
	c := &connection{host: u.Hostname(), tls: u.Scheme == "rediss"}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, errURL
	}
	for name, values := range query {
		if name != "ca" || len(values) != 1 || values[0] == "" {
			return nil, fmt.Errorf("url: the parameter %.40q is not known, or has no value (allowed: ca, once)", name)
		}
		if c.ca = values[0]; !c.tls {
			return nil, errors.New("url: ca is for rediss://, which is TLS")
		}
	}
	port := u.Port()
	if port == "" {
		port = "6379"
	}
	c.address = net.JoinHostPort(c.host, port)
	if u.User != nil {
		c.user = u.User.Username()
		pass, _ := u.User.Password()
		c.pass = config.NewSecret(pass)
	}
	if path := strings.Trim(u.Path, "/"); path != "" {
		if c.db, err = strconv.Atoi(path); err != nil || c.db < 0 || c.db > 1<<14 {
			return nil, errors.New("what follows the host in url is the number of a database, such as /0")
		}
	}
	return c, nil
}

func (c *connection) readAuthorities() error {
	if c.ca == "" {
		return nil
	}
	text, err := os.ReadFile(c.ca)
	c.roots = x509.NewCertPool()
	if err != nil || !c.roots.AppendCertsFromPEM(text) {
		return errors.New("url: ca must be a file of certificates (PEM) that relais can read")
	}
	return nil
}

// quiet ends the library's own lines on standard error: what it would say there, the attempt says.
var quiet = sync.OnceFunc(func() { goredis.SetLogger(nobody{}) })

type nobody struct{}

func (nobody) Printf(context.Context, string, ...any) {}

// Retire makes it a step.Keeper.
func (c *connection) Retire() { c.client.Retire() }

func (c *connection) options() *goredis.Options {
	return &goredis.Options{
		Addr: c.address, Username: c.user, Password: c.pass.Reveal(), DB: c.db,
		Dialer:      c.dial,
		DialTimeout: dialTimeout, DialerRetries: 1, ReadTimeout: replyTimeout, WriteTimeout: replyTimeout, ContextTimeoutEnabled: true,
		MaxRetries: -1, // the delivery's schedule retries, and knows what may be repeated
		PoolSize:   poolSize, PipelinePoolSize: -1, ConnMaxIdleTime: time.Minute,
		// The second version of the protocol is spoken by every server, and its replies are all that is kept.
		Protocol: 2, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled},
	}
}

func (c *connection) dial(ctx context.Context, _, address string) (net.Conn, error) {
	conn, err := c.egress.Dial(ctx, "redis", "tcp", address)
	if err != nil {
		return nil, err
	}
	if c.tls {
		settings := c.egress.TLS(c.host)
		if c.roots != nil {
			settings.RootCAs = c.roots
		}
		secure := tls.Client(conn, settings)
		if err := secure.HandshakeContext(ctx); err != nil {
			_ = conn.Close()
			reason := egress.Classify(err)
			if reason == core.ReasonInternal {
				reason = core.ReasonTLS
			}
			return nil, &egress.Error{Reason: reason, Cause: err} // no command was sent
		}
		conn = secure
	}
	return &capped{Conn: conn}, nil
}

// capped is a socket on which no more than maxReply is read between two writes: a key that has grown to
// hundreds of megabytes must not become relais' memory.
type capped struct {
	net.Conn
	read int
}

func (c *capped) Write(p []byte) (int, error) {
	c.read = 0
	return c.Conn.Write(p)
}

func (c *capped) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if c.read += n; c.read > maxReply {
		return 0, &egress.Error{Reason: core.ReasonTooLarge, MayHaveSent: true, Cause: errLarge}
	}
	return n, err
}

var errLarge = errors.New("the reply is larger than 1 MiB")
