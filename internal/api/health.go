package api

import (
	"encoding/json"
	"net/http"
	"time"
)

// State is where the process stands.
type State struct {
	StartedAt time.Time
	// Reasons say why it isn't ready; none means that it is.
	Reasons []string
	// Warnings are what an operator should know and a load balancer need not.
	Warnings []string
	// Accepts says what becomes of webhooks while the store is away; "" where they are not accepted then.
	Accepts string
}

type health struct {
	Status    string    `json:"status"`
	Service   string    `json:"service"`
	Version   string    `json:"version"`
	Uptime    float64   `json:"uptime"` // seconds
	Timestamp time.Time `json:"timestamp"`
}

// Health answers that the process lives: it is for whoever restarts what doesn't answer, so it says
// nothing of the store, which a restart wouldn't mend.
func Health(version string, state func() State, now func() time.Time) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t := now()
		writeJSON(w, http.StatusOK, health{
			Status: "ok", Service: "relais", Version: version,
			Uptime:    t.Sub(state().StartedAt).Truncate(time.Millisecond).Seconds(),
			Timestamp: t.UTC().Truncate(time.Millisecond),
		})
	})
}

type readiness struct {
	Status  string   `json:"status"`
	Reasons []string `json:"reasons"`
	// Warnings don't keep it from being ready.
	Warnings []string `json:"warnings"`
}

// Ready answers whether requests should be sent here: 503 with the reasons while relais starts, stops, or
// has neither its database nor a spool with room to store them in.
func Ready(state func() State) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		now := state()
		answer := readiness{Status: "ready", Reasons: append([]string{}, now.Reasons...), Warnings: append([]string{}, now.Warnings...)}
		if len(now.Reasons) > 0 {
			answer.Status = "not ready"
			w.Header().Set("Retry-After", "1")
			writeJSON(w, http.StatusServiceUnavailable, answer)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// What can't be written to a caller who left needs no telling.
	_ = json.NewEncoder(w).Encode(v)
}
