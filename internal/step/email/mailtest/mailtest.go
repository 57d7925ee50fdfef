// Package mailtest runs a real mail server for tests: aiosmtpd, from Debian's package python3-aiosmtpd. It speaks
// STARTTLS, asks for a password, and delivers into a folder that is read here.
package mailtest

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/mail"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

//go:embed server.py
var program string

// interpreter is Debian's own: the package is installed for no other.
const interpreter = "/usr/bin/python3"

// Server is a mail server on this machine. It ends with the test.
type Server struct {
	Host       string
	Port       int
	User, Pass string
	// Roots is a PEM file of the certificates to trust (SSL_CERT_FILE).
	Roots   string
	maildir string
}

// Start starts a server, or fails the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start(t)
	if err != nil {
		t.Fatalf("start a mail server (Debian's package python3-aiosmtpd has it): %v", err)
	}
	return s
}

func start(t testing.TB) (*Server, error) {
	dir := t.TempDir()
	s := &Server{Host: "127.0.0.1", User: "compta@example.fr", Pass: "s3cret de test", Roots: filepath.Join(dir, "server.pem"), maildir: filepath.Join(dir, "mail")}
	key := filepath.Join(dir, "key.pem")
	if err := certify(s.Roots, key); err != nil {
		return nil, err
	}
	free, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.Port = free.Addr().(*net.TCPAddr).Port
	if err := free.Close(); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), interpreter, "-c", program, //nolint:gosec // a constant
		strconv.Itoa(s.Port), s.maildir, s.Roots, key, s.User, s.Pass)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // that it was killed is no news
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if strings.TrimSpace(line) != "ready" {
		return nil, errors.Join(errors.New("it did not start"), err)
	}
	return s, nil
}

// certify makes a certificate of this machine, and its key.
func certify(certificate, keyFile string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "127.0.0.1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600),
		os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
}

// Mails are the mails that were delivered, the oldest first. The server adds X-MailFrom and X-RcptTo, the
// envelope's addresses.
func (s *Server) Mails(t testing.TB) []*mail.Message {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(s.maildir, "new", "*"))
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(paths)
	mails := make([]*mail.Message, len(paths))
	for i, path := range paths {
		text, err := os.ReadFile(path) //nolint:gosec // in the server's own folder
		if err != nil {
			t.Fatal(err)
		}
		if mails[i], err = mail.ReadMessage(strings.NewReader(string(text))); err != nil {
			t.Fatal(err)
		}
	}
	return mails
}
