package telemetry

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"relais/internal/core"
)

// attempts are the series of one kind of destination.
type attempts struct {
	byReason map[core.Reason]prometheus.Counter
	other    prometheus.Counter
	duration prometheus.Observer
	dead     prometheus.Counter
}

// attemptReasons are all that an attempt may end with. Success is written "succeeded": an empty label
// is no label to Prometheus.
var attemptReasons = []core.Reason{
	core.ReasonNone, core.ReasonSkipped, core.ReasonTimeout, core.ReasonRefused, core.ReasonReset, core.ReasonDNS,
	core.ReasonTLS, core.ReasonAddress, core.ReasonRedirect, core.ReasonTooLarge, core.ReasonStatus,
	core.ReasonRateLimited, core.ReasonMaintenance, core.ReasonAuth, core.ReasonExpression, core.ReasonParameter,
	core.ReasonInvalidData, core.ReasonStatement, core.ReasonRows, core.ReasonBusy, core.ReasonNotReady,
	core.ReasonRolledBack, core.ReasonUnknown, core.ReasonSettling, core.ReasonHeld,
	core.ReasonDuplicate, core.ReasonAmbiguous, core.ReasonInterrupted, core.ReasonMaxAge, core.ReasonExhausted,
	core.ReasonCancelled, core.ReasonLoop, core.ReasonInternal,
}

func (m *Metrics) newLanes() {
	total := m.counters("relais_attempts_total", "Attempts that ended, by kind of destination and why they ended.", "kind", "reason")
	duration := prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "relais_attempt_duration_seconds",
		Help:    "One attempt of a delivery, from its claim to its outcome.",
		Buckets: attemptBuckets,
	}, []string{"kind"})
	m.registry.MustRegister(duration)
	m.dead = m.counters("relais_dead_total", "Deliveries that ended as dead.", "kind")
	m.alerts = m.counters("relais_alerts_total", "Alerts of routes, by level, and whether they were sent, counted with others, only logged, or failed.", "level", "result")
	for _, level := range []string{"info", "warning", "error", "critical"} {
		for _, result := range []string{"sent", "counted", "logged", resultFailed} {
			m.alerts.WithLabelValues(level, result)
		}
	}
	m.onDead = m.counters("relais_on_dead_total", "Times that someone was told of a dead delivery, by how it went.", "result")
	for _, result := range []string{resultOK, resultFailed} {
		m.onDead.WithLabelValues(result)
	}
	m.running = m.gauge("relais_running_attempts", "Attempts that run on this node now.")
	m.kinds = make(map[core.DestinationKind]*attempts)
	for _, kind := range []core.DestinationKind{core.DestinationRoute, core.DestinationEndpoint} {
		a := &attempts{
			byReason: make(map[core.Reason]prometheus.Counter, len(attemptReasons)),
			other:    total.WithLabelValues(string(kind), "other"),
			duration: duration.WithLabelValues(string(kind)),
			dead:     m.dead.WithLabelValues(string(kind)),
		}
		for _, reason := range attemptReasons {
			label := string(reason)
			if reason == core.ReasonNone {
				label = "succeeded"
			}
			a.byReason[reason] = total.WithLabelValues(string(kind), label)
		}
		m.kinds[kind] = a
	}
}

// AttemptStarted counts a running attempt; AttemptEnded must follow.
func (m *Metrics) AttemptStarted() { m.running.Inc() }

// AttemptEnded notes the end of an attempt: why, and how long it took.
func (m *Metrics) AttemptEnded(kind core.DestinationKind, reason core.Reason, took time.Duration) {
	m.running.Dec()
	a := m.kinds[kind]
	if a == nil {
		return
	}
	a.duration.Observe(took.Seconds())
	if c := a.byReason[reason]; c != nil {
		c.Inc()
		return
	}
	a.other.Inc()
}

// Dead counts a delivery that ended as dead.
func (m *Metrics) Dead(kind core.DestinationKind) {
	if a := m.kinds[kind]; a != nil {
		a.dead.Inc()
	}
}

// Alert counts an alert of that level, and what became of it: sent, counted, logged or failed.
func (m *Metrics) Alert(level, result string) { m.alerts.WithLabelValues(level, result).Inc() }

// OnDead notes how telling someone of a dead delivery went.
func (m *Metrics) OnDead(err error) { m.onDead.WithLabelValues(resultOf(err)).Inc() }
