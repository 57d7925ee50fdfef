package demo

import (
	"context"
	"io"
	"net"
	"path/filepath"
	"testing"

	"relais/internal/sandbox"
)

func TestAddressTakenMeanwhileIsLeftForAnother(t *testing.T) {
	taken, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	s := &story{say: narrator{out: io.Discard}, dir: dir, data: filepath.Join(dir, "data"), sellsy: &sandbox.Remote{URL: "http://127.0.0.1:9"}}
	ctx, cancel := context.WithCancel(t.Context())
	stopped, err := s.start(ctx, "test", taken.Addr().String(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if s.relais.hook == "http://"+taken.Addr().String()+"/webhook/sellsy" {
		t.Errorf("it says that it listens on %s", s.relais.hook)
	}
	cancel()
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}
