package step

import (
	"encoding/json"
	"time"

	"relais/internal/core"
)

const (
	maxTrace        = 32 << 10
	maxTraceMessage = 300
)

// trace is what an attempt did, for people. It holds no parameter and no result: they may be a
// customer's data, and the results are stored in their own place.
type trace struct {
	Steps []traceStep `json:"steps"`
	// Cut tells that later steps are left out.
	Cut  bool `json:"cut,omitempty"`
	size int
}

type traceStep struct {
	ID           string      `json:"id"`
	Use          string      `json:"use"`
	Status       string      `json:"status"` // kept, done, skipped, failed, waits, interrupted
	Reason       core.Reason `json:"reason,omitempty"`
	Message      string      `json:"message,omitempty"`
	Milliseconds int64       `json:"ms"`
}

func (t *trace) add(s *compiled, status string, reason core.Reason, message string, took time.Duration) {
	message = readable(message, maxTraceMessage)
	// Twice the message: quoting may lengthen it.
	if t.size += 200 + len(s.ID) + len(s.Use) + 2*len(message); t.size > maxTrace {
		t.Cut = true
		return
	}
	t.Steps = append(t.Steps, traceStep{s.ID, s.Use, status, reason, message, took.Milliseconds()})
}

func (t *trace) encode() json.RawMessage {
	raw, err := json.Marshal(t)
	if err != nil {
		return nil // strings and numbers can't fail to be written
	}
	return raw
}
