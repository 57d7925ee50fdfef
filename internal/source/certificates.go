package source

import (
	"context"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"relais/internal/core"
)

// Bounds of fetching. Who names a new address in each request has only these many calls made, of which one sender
// has a small part: else he would keep the provider's own new certificate from ever being fetched. Requests that
// wait for one hold their bodies: they are few, and the others are told to come again.
const (
	fetchTimeout     = 5 * time.Second
	maxFetches       = 4
	maxWaiting       = 16
	fetchesPerSecond = 5
	fetchBurst       = 50
	fetchesOfOne     = 0.1 // a second
	burstOfOne       = 5
	maxKnown         = 1024
	forgetAway       = 10 * time.Second
	forgetRefused    = 5 * time.Minute
)

// CertificateOptions are what Certificates works with.
type CertificateOptions struct {
	// Client makes the calls, and must be guarded: the addresses stand in requests that nobody has verified.
	Client *http.Client
	// Roots are the authorities; nil is the system's.
	Roots *x509.CertPool
	Log   *slog.Logger     // nil logs nothing
	Now   func() time.Time // nil is time.Now
}

// Certificates fetches the certificates that requests name, and remembers them until they end. What can't be
// had, or isn't believed, is remembered too, for a while, so that nobody makes relais call for it again and again.
// One that is known costs a look in a table, whatever else is being fetched. It is safe for concurrent use.
type Certificates struct {
	o      CertificateOptions
	client http.Client
	limit  *rate.Limiter

	mu                sync.Mutex
	known             map[string]*fetched
	fetching, waiting int
}

// fetched is what is known of an address. Until done is closed it is being fetched; what was found never changes
// after that.
type fetched struct {
	done   chan struct{}
	ended  bool
	cert   *certificate
	err    *Rejected
	until  time.Time
	usedAt time.Time
}

// NewCertificates returns Certificates that knows none.
func NewCertificates(o CertificateOptions) *Certificates {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	c := &Certificates{o: o, client: *o.Client, limit: rate.NewLimiter(fetchesPerSecond, fetchBurst), known: map[string]*fetched{}}
	// A redirect would leave the hosts that may be called.
	c.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

// NewFetches bounds what one sender's requests have fetched.
func NewFetches() *rate.Limiter { return rate.NewLimiter(fetchesOfOne, burstOfOne) }

// Certify finds the certificate that the request names, where its source asks for one: Verify checks with it. It
// may wait for a call, as long as ctx lasts. The error is always a *Rejected.
func (s *Source) Certify(ctx context.Context, from *Certificates, req *Request) error {
	if s.signature == nil || s.signature.certificate == nil {
		return nil
	}
	if err := s.signature.certify(ctx, from, req); err != nil {
		return err
	}
	return nil
}

func (v *signature) certify(ctx context.Context, from *Certificates, req *Request) *Rejected {
	// A request that is refused anyway is not worth a call.
	if err := v.readable(req); err != nil {
		return err
	}
	address, err := v.certificate.read(req)
	if err != nil {
		return err
	}
	if from == nil {
		return errCertificateAway
	}
	found, err := from.find(ctx, v.certificate, address, req.Fetches)
	switch {
	case err != nil:
		return err
	case !found.valid(req.Now):
		return errCertificateChain
	case v.scheme.suits(found.public) != nil:
		return errCertificateKey
	}
	req.certificate = found.public
	return nil
}

// readable tells whether the request has a signature at all, and what belongs to one.
func (v *signature) readable(req *Request) *Rejected {
	if v.each != nil {
		return nil
	}
	w := v.work.Get().(*work)
	defer v.release(w)
	if err := v.given(w, req); err != nil {
		return err
	}
	return v.fields(w, req)
}

func (c *Certificates) find(ctx context.Context, rule *certificateRule, address string, own *rate.Limiter) (*certificate, *Rejected) {
	one, wait, err := c.look(rule, address, own)
	if err != nil {
		return nil, err
	}
	if !wait {
		return one.cert, one.err
	}
	defer c.left()
	select {
	case <-one.done:
		return one.cert, one.err
	case <-ctx.Done():
		return nil, errCertificateAway
	}
}

// look returns what is known of the address, or begins to fetch it. What hasn't ended is waited for by the
// caller, who is counted. own bounds the sender's fetches.
func (c *Certificates) look(rule *certificateRule, address string, own *rate.Limiter) (one *fetched, wait bool, err *Rejected) {
	now, key := c.o.Now(), rule.key+" "+address
	c.mu.Lock()
	defer c.mu.Unlock()
	one = c.known[key]
	if one != nil && one.ended {
		if now.Before(one.until) {
			one.usedAt = now
			return one, false, nil
		}
		delete(c.known, key)
		one = nil
	}
	if c.waiting == maxWaiting || one == nil && (c.fetching == maxFetches || own != nil && !own.AllowN(now, 1) || !c.limit.AllowN(now, 1)) {
		return nil, false, errCertificateBusy
	}
	if one == nil {
		c.makeRoom()
		one = &fetched{done: make(chan struct{})}
		c.known[key] = one
		c.fetching++
		// It is for all who wait: none of them ends it by going away.
		go c.fetch(rule, address, one)
	}
	c.waiting++
	return one, true, nil
}

func (c *Certificates) left() {
	c.mu.Lock()
	c.waiting--
	c.mu.Unlock()
}

// makeRoom forgets what wasn't asked for the longest, and failures sooner than certificates.
func (c *Certificates) makeRoom() {
	if len(c.known) < maxKnown {
		return
	}
	var oldest *fetched
	var victim string
	for key, one := range c.known {
		if !one.ended {
			continue
		}
		if oldest == nil || (one.cert == nil) != (oldest.cert == nil) && one.cert == nil ||
			(one.cert == nil) == (oldest.cert == nil) && one.usedAt.Before(oldest.usedAt) {
			oldest, victim = one, key
		}
	}
	delete(c.known, victim)
}

func (c *Certificates) fetch(rule *certificateRule, address string, one *fetched) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	var cert *certificate
	text, refused, cause := c.get(ctx, address)
	if refused == nil {
		cert, refused = rule.parse(text, c.o.Roots, c.o.Now())
	}
	now := c.o.Now()
	one.cert, one.err = cert, refused
	var until time.Time
	switch {
	case refused == nil:
		until = cert.before
		c.o.Log.InfoContext(ctx, "fetched a certificate that requests are signed with", "url", address, "until", cert.before)
	case refused.Reason == core.RejectCertificate:
		until = now.Add(forgetAway)
	default:
		until = now.Add(forgetRefused)
	}
	if refused != nil {
		c.o.Log.WarnContext(ctx, "a certificate that a request names can't be used", "url", address, "why", refused.Detail, "error", cause)
	}
	c.mu.Lock()
	one.until, one.usedAt, one.ended = until, now, true
	c.fetching--
	c.mu.Unlock()
	close(one.done)
}

var errTooLong = fmt.Errorf("the answer has more than %d bytes", maxCertificateText)

// get returns what stands at the address. cause is what the log says besides the refusal.
func (c *Certificates) get(ctx context.Context, address string) (text []byte, refused *Rejected, cause error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errCertificateAway, err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, errCertificateAway, err
	}
	defer func() { _ = resp.Body.Close() }() // what was read of it is all that counts
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusNotFound, http.StatusGone:
		return nil, errCertificateGone, fmt.Errorf("answered %d", resp.StatusCode)
	default:
		return nil, errCertificateAway, fmt.Errorf("answered %d", resp.StatusCode)
	}
	text, err = io.ReadAll(io.LimitReader(resp.Body, maxCertificateText+1))
	switch {
	case err != nil:
		return nil, errCertificateAway, err
	case len(text) > maxCertificateText:
		return nil, errNotCertificate, errTooLong
	}
	return text, nil, nil
}
