package email

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	netmail "net/mail"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/wneessen/go-mail"

	"relais/internal/config"
	"relais/internal/egress"
	"relais/internal/step"
)

// conversation bounds each half of a conversation: getting ready, and handing over.
const conversation = 30 * time.Second

var defaultPorts = map[string]int64{"starttls": 587, "tls": 465, "none": 25}

// Connection is the kind smtp: a mail server, connected to through e.
func Connection(e *egress.Egress) step.ConnectionKind {
	return step.ConnectionKind{
		Name: "smtp",
		Doc:  "A mail server.",
		Params: []step.Param{
			{Name: "host", Type: step.TypeString, Required: true, Doc: "The server's name."},
			{Name: "port", Type: step.TypeInt, Doc: "587 for `starttls`, 465 for `tls`, 25 for `none` when left out."},
			{Name: "user", Type: step.TypeString, Doc: "Who logs in; nobody when left out."},
			{Name: "pass", Type: step.TypeString, Secret: true, Doc: "The user's password."},
			{Name: "from", Type: step.TypeString, Doc: "The sender, as `Name <address>`; `user` when left out."},
			{Name: "tls", Type: step.TypeString, Enum: []string{"starttls", "tls", "none"}, Default: "starttls",
				Doc: "How the connection is encrypted; never in clear with a password."},
		},
		Env:   map[string]string{"host": "EMAIL_HOST", "user": "EMAIL_USER", "pass": "EMAIL_PASS", "from": "EMAIL_FROM"},
		Open:  func(settings map[string]any) (any, error) { return open(e, settings) },
		Hosts: hosts,
	}
}

// server is an opened connection: no socket, but all that a conversation needs.
type server struct {
	host, user, from string
	port             int
	pass             config.Secret
	mode             string
	egress           *egress.Egress
}

func open(e *egress.Egress, settings map[string]any) (*server, error) {
	s := &server{egress: e}
	s.host, _ = settings["host"].(string)
	s.user, _ = settings["user"].(string)
	s.pass, _ = settings["pass"].(config.Secret)
	s.from, _ = settings["from"].(string)
	s.mode, _ = settings["tls"].(string)
	port, ok := settings["port"].(int64)
	if !ok {
		port = defaultPorts[s.mode]
	}
	if port < 1 || port > 65535 {
		return nil, errors.New("port must be from 1 to 65535")
	}
	s.port = int(port)
	if s.from == "" {
		s.from = s.user
	}
	if _, err := netmail.ParseAddress(s.from); err != nil {
		return nil, errors.New("from must be an address such as Compta <compta@example.fr>")
	}
	if s.user == "" != s.pass.IsZero() {
		return nil, errors.New("user and pass belong together")
	}
	if s.user != "" && s.mode == "none" {
		return nil, errors.New("tls: none sends the password in clear: use starttls or tls, or leave user and pass out")
	}
	return s, nil
}

func hosts(settings map[string]any) []string {
	host, _ := settings["host"].(string)
	if host == "" {
		return nil
	}
	mode, _ := settings["tls"].(string)
	if mode == "" {
		mode = "starttls"
	}
	port := strconv.FormatInt(defaultPorts[mode], 10)
	switch p := settings["port"].(type) {
	case int64:
		port = strconv.FormatInt(p, 10)
	case uint64:
		port = strconv.FormatUint(p, 10)
	case int:
		port = strconv.Itoa(p)
	case string:
		port = p
	}
	return []string{"smtp://" + net.JoinHostPort(host, port)}
}

// send makes one conversation. The library looks at ctx only while it dials, so a stop closes the
// connection under it.
func (s *server) send(ctx context.Context, msg *mail.Msg) error {
	var current atomic.Pointer[net.Conn]
	stop := context.AfterFunc(ctx, func() {
		if conn := current.Load(); conn != nil {
			_ = (*conn).Close()
		}
	})
	defer stop()
	client, err := mail.NewClient(s.host, s.options(func(conn net.Conn) { current.Store(&conn) })...)
	if err != nil {
		return err
	}
	talk, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		if conn := current.Load(); conn != nil {
			_ = (*conn).Close() // a conversation that failed early is not closed by the library
		}
		return err
	}
	err = client.SendWithSMTPClient(talk, msg)
	if closeErr := client.CloseWithSMTPClient(talk); err == nil && !msg.IsDelivered() {
		err = closeErr
	}
	return err
}

func (s *server) options(opened func(net.Conn)) []mail.Option {
	options := []mail.Option{
		mail.WithPort(s.port), mail.WithTimeout(conversation), mail.WithoutNoop(),
		mail.WithTLSConfig(s.egress.TLS(s.host)),
		mail.WithDialContextFunc(func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.egress.DialMail(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if s.mode == "tls" {
				secure := tls.Client(conn, s.egress.TLS(s.host))
				if err := secure.HandshakeContext(ctx); err != nil {
					_ = conn.Close()
					return nil, err
				}
				conn = secure
			}
			opened(conn)
			return conn, nil
		}),
	}
	switch s.mode {
	case "starttls":
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	case "tls":
		// The connection is encrypted already; this policy makes the library notice.
		options = append(options, mail.WithTLSPolicy(mail.TLSOpportunistic))
	default:
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	}
	if s.user != "" {
		options = append(options, mail.WithSMTPAuth(mail.SMTPAuthAutoDiscover), mail.WithUsername(s.user), mail.WithPassword(s.pass.Reveal()))
	}
	return options
}
