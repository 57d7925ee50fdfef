package source

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
)

// BenchmarkForgedTrials is what the dearest forged request to Paybox costs: each parameter may be where the
// signed part begins.
func BenchmarkForgedTrials(b *testing.B) {
	for name, size := range map[string]int{"short": 4, "long": 400, "largest": 32 << 10} {
		b.Run(name, func(b *testing.B) {
			src := compile(b, config.Source{Preset: "paybox"})
			body := []byte(strings.Repeat("a="+strings.Repeat("%2B", size/3)+"+&", maxParameters-1) + "K=" + strings.Repeat("QUJD", 42) + "QUI")
			for b.Loop() {
				req := &Request{Method: "POST", Header: http.Header{}, Body: body, Now: time.Now()}
				if err := src.Verify(req); err == nil {
					b.Fatal("a forged request is accepted")
				}
			}
		})
	}
}
