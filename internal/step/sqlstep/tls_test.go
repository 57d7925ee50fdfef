//go:build unix

package sqlstep

import (
	"strings"
	"testing"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress/certtest"
	"relais/internal/step/sqlstep/mysqltest"
	"relais/internal/store"
	"relais/internal/store/postgres/pgtest"
)

// at are the addresses of one server, whose certificate is for 127.0.0.1 and for no other name.
type at struct {
	kind string
	// Each checks the server's certificate: by the authority that made it, by one that didn't, by what the
	// system trusts, and for another name.
	trusted, stranger, system, otherName string
	encryptedOnly                        string
	// clear asks for no encryption.
	clear string
	// encrypted asks the server whether this session is.
	encrypted string
}

func securedPostgres(t *testing.T) at {
	t.Helper()
	chain, err := certtest.Make("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	files, err := chain.Write(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s := pgtest.Server(t)
	s.Certify(chain.Certificate, chain.Key)
	plain := s.URL("postgres")
	asked := func(parameters string) string { return strings.Replace(plain, "sslmode=disable", parameters, 1) }
	checked := asked("sslmode=verify-full&sslrootcert=" + files.Authority)
	return at{
		kind: "postgres", trusted: checked, stranger: asked("sslmode=verify-full&sslrootcert=" + certtest.Stranger(t)), system: asked("sslmode=verify-full"),
		otherName: strings.Replace(checked, "127.0.0.1", "localhost", 1), encryptedOnly: asked("sslmode=require"), clear: plain,
		encrypted: "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()",
	}
}

func securedMariaDB(t *testing.T) at {
	t.Helper()
	plain := mysqltest.Database(t)
	checked := plain + "?tls=true&ca=" + mysqltest.Authority(t)
	return at{
		kind: "mysql", trusted: checked, stranger: plain + "?tls=true&ca=" + certtest.Stranger(t), system: plain + "?tls=true",
		otherName: strings.Replace(checked, "127.0.0.1", "localhost", 1), encryptedOnly: plain + "?tls=skip-verify", clear: plain + "?tls=false",
		encrypted: "SELECT VARIABLE_VALUE <> '' FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'",
	}
}

func TestTLS(t *testing.T) {
	for _, secured := range []func(*testing.T) at{securedPostgres, securedMariaDB} {
		at := secured(t)
		for _, c := range []struct{ name, url, refused string }{
			{"checked", at.trusted, ""},
			{"encrypted only", at.encryptedOnly, ""},
			{"in clear", at.clear, ""},
			{"another authority", at.stranger, "unknown authority"},
			{"no authority that the system knows", at.system, "unknown authority"},
			{"another name", at.otherName, "match localhost"},
		} {
			t.Run(at.kind+" "+c.name, func(t *testing.T) {
				b := &bench{t: t, kind: at.kind, settings: map[string]any{"url": config.NewSecret(c.url)}}
				out, result := b.run("sql/query", map[string]any{"statement": at.encrypted, "expect_rows": uint64(1)}, nil)
				if c.refused != "" {
					if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonTLS || !strings.Contains(out.Message, c.refused) {
						t.Errorf("%s %s %s, want a refusal with %q", out.Verdict, out.Reason, out.Message, c.refused)
					}
					return
				}
				row, _ := result["row"].(map[string]any)
				for _, value := range row {
					if encrypted := value == true || value == int64(1); encrypted == (c.url == at.clear) {
						t.Errorf("encrypted: %v", value)
					}
				}
				if len(row) != 1 {
					t.Errorf("%s %s %s", out.Verdict, out.Reason, out.Message)
				}
			})
		}
	}
}
