package step

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/expr"
)

// MaxResult bounds a step's stored result.
const MaxResult = 64 << 10

// The status of a result that a step doesn't name itself.
const (
	statusDone    = "done"
	statusSkipped = "skipped"
	statusFailed  = "failed"
)

// encodeResult writes a result as it is stored, and reads it back as later steps see it: the same after
// a crash as before it. After the last step nothing sees more of it than its status and its message.
func encodeResult(result Result, last bool) (json.RawMessage, map[string]any, error) {
	if result == nil {
		result = Result{}
	}
	if _, ok := result["status"]; !ok {
		result["status"] = statusDone
	}
	raw, err := json.Marshal(result)
	if err != nil {
		return nil, nil, fmt.Errorf("encode a step's result: %w", err)
	}
	if len(raw) > MaxResult {
		return nil, nil, &Failure{Disposition: Final, Reason: core.ReasonTooLarge, Message: fmt.Sprintf(
			"the step's result is %d KiB and at most %d KiB are kept: it was done, and can't be continued from", len(raw)>>10, MaxResult>>10)}
	}
	if last {
		return raw, result, nil
	}
	plain, err := decodeResult(raw)
	if err != nil {
		return nil, nil, &Failure{Disposition: Final, Reason: core.ReasonInvalidData, Message: "the step's result can't be kept: " + err.Error(), Cause: err}
	}
	return raw, plain, nil
}

// decodeResult reads a stored result into the plain values of expressions.
func decodeResult(raw json.RawMessage) (map[string]any, error) {
	value, err := expr.DecodeJSON(raw)
	if err != nil {
		return nil, fmt.Errorf("decode a step's result: %w", err)
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, fmt.Errorf("decode a step's result: it is not an object")
	}
	return object, nil
}

// definition is the hash of what a step does. Timeouts and what happens on errors are not a part of it:
// changing them must not send a second mail.
func definition(s *config.Step, connection string) (string, error) {
	text, err := json.Marshal([]any{s.Use, connection, s.When, s.With})
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:12]), nil
}

// idempotencyKey names one step of one delivery for its receiver. It is made of the event's id and not
// of the delivery's number: numbers come again when a database is restored.
func idempotencyKey(d *core.Delivery, step string) string {
	text := make([]byte, 0, 128)
	for _, part := range []string{d.Destination.Tenant, d.Event.String(), d.Destination.String(), strconv.FormatInt(d.Replay, 10)} {
		text = append(append(text, part...), 0)
	}
	sum := sha256.Sum256(append(text, step...))
	return "relais-" + hex.EncodeToString(sum[:16])
}

// readable makes a message fit for a line: no control characters, at most max bytes.
func readable(message string, limit int) string {
	message = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(message, "\uFFFD"))
	if len(message) <= limit {
		return message
	}
	cut := limit
	for cut > 0 && !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + "…"
}
