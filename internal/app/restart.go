package app

import "relais/internal/config"

// needRestart names the settings that differ between two configurations and that only a start takes:
// what listens, and what bounds the parts that stand for as long as the process.
func needRestart(begun, now *config.Config) []string {
	var out []string
	for _, s := range []struct {
		name    string
		changed bool
	}{
		{"listen", begun.Listen != now.Listen},
		{"admin_listen", begun.AdminListen != now.AdminListen},
		{"store", begun.Store.Reveal() != now.Store.Reveal()},
		{"ingest.body_timeout", begun.Ingest.BodyTimeout != now.Ingest.BodyTimeout},
		{"ingest.spool", begun.Ingest.Spool != now.Ingest.Spool},
		{"ingest.spool_size", begun.Ingest.SpoolBytes != now.Ingest.SpoolBytes},
		{"lanes.running", begun.Lanes.Running != now.Lanes.Running},
		{"lanes.bytes", begun.Lanes.Bytes != now.Lanes.Bytes},
		{"lanes.window", begun.Lanes.Window != now.Lanes.Window},
		{"lanes.timeout", begun.Lanes.Timeout != now.Lanes.Timeout},
		{"lanes.interrupted", begun.Lanes.Interrupted != now.Lanes.Interrupted},
		{"lanes.breaker_after", begun.Lanes.BreakerAfter != now.Lanes.BreakerAfter},
		{"lanes.breaker_rest", begun.Lanes.BreakerRest != now.Lanes.BreakerRest},
		{"log.format", begun.Log.Format != now.Log.Format},
	} {
		if s.changed {
			out = append(out, s.name)
		}
	}
	return out
}
