package ingest

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"relais/internal/source"
	"relais/internal/store"
)

// discard is a store that takes everything at once.
type discard struct{}

func (d *discard) Append(_ context.Context, batch []store.Accepted) ([]store.Appended, error) {
	return make([]store.Appended, len(batch)), nil
}

func (d *discard) AppendRejections(context.Context, []store.Rejection, store.RejectionBounds) error {
	return nil
}

// answer is a response writer that keeps the status alone.
type answer struct {
	header http.Header
	status int
}

func (a *answer) Header() http.Header         { return a.header }
func (a *answer) Write(p []byte) (int, error) { return len(p), nil }
func (a *answer) WriteHeader(status int)      { a.status = status }

type body struct{ bytes.Reader }

func (*body) Close() error { return nil }

func benchmarkHandler(b *testing.B, handler http.Handler, signer *source.Source, want int) {
	object := `{"eventType":"docslog","event":"step","timestamp":"1778187955","relatedtype":"estimate","relatedid":"52437688",` +
		`"relatedobject":{"id":52437688,"status":"accepted","note":"` + strings.Repeat("Fourniture et pose. ", 60) + `"}}`
	payload := []byte("notif=" + url.QueryEscape(object))
	signed := &source.Request{Header: http.Header{"Content-Type": {form}, "User-Agent": {"Sellsy"}, "Accept": {"*/*"}}, Body: payload, Now: time.Now()}
	if err := signer.Sign(signed); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		var in body
		w := &answer{header: http.Header{}}
		r := &http.Request{Method: "POST", URL: &url.URL{Path: "/webhook/sellsy"}, Header: signed.Header, RemoteAddr: "127.0.0.1:1",
			ContentLength: int64(len(payload))}
		for pb.Next() {
			in.Reset(payload)
			r.Body = &in
			handler.ServeHTTP(w, r)
			if w.status != want {
				b.Errorf("answered %d", w.status)
				return
			}
		}
	})
}

func benchOptions(b *testing.B) (Options, *source.Source) {
	sources := compileAll(b, sellsy())
	settings := Settings{Sources: sources}
	settings.Bounds.AddressRate, settings.Bounds.AddressBurst = 1e9, 1e9
	return Options{Store: &discard{}, Match: noMatch, Settings: settings}, sources[0]
}

func BenchmarkIngest(b *testing.B) {
	o, signer := benchOptions(b)
	in, err := New(o)
	if err != nil {
		b.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ran := make(chan error, 1)
	go func() { ran <- in.Run(ctx) }()
	benchmarkHandler(b, in, signer, 200)
	stop()
	if err := <-ran; err != nil {
		b.Fatal(err)
	}
}

func BenchmarkNoStore(b *testing.B) {
	o, signer := benchOptions(b)
	handler, err := NoStore(o)
	if err != nil {
		b.Fatal(err)
	}
	benchmarkHandler(b, handler, signer, 200)
}
