// Package emit is the step event/emit: it makes an event of relais' own, which routes match as any other,
// under the source app.
//
// The event's id is made of the step's delivery, so that the same step of the same delivery makes one
// event however often it runs: the store knows the id. A replay is another delivery, and makes another
// event, unless the step says a key: events of one type and key within three days are one, and the further
// ones are stored as repeats, which go nowhere.
//
// An event that an event's route makes carries how deep it stands. Past maxDepth the step is refused: two
// routes that set each other off end, and say so.
package emit

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/step"
	"relais/internal/store"
)

const (
	maxDepth = 8
	maxBody  = 1 << 20
	maxKey   = 512
	window   = 72 * time.Hour
)

// The headers of such an event. Only relais makes events of the source app, so that they can be believed.
const (
	headerDepth = "Relais-Depth"
	headerCause = "Relais-Cause"
	headerRoute = "Relais-Route"
)

// Emitter stores an event with the deliveries that the routes in force give it.
type Emitter func(ctx context.Context, accepted store.Accepted) (store.Appended, error)

// Emit is the kind event/emit, storing by store, which may be nil where the kind is only asked what it takes.
func Emit(emitter Emitter) step.Kind {
	return step.Kind{
		Name:   "event/emit",
		Class:  step.ClassExact,
		Result: []string{"event", "type", "repeat_of"},
		Doc: "Makes a new event, which routes take as `app/` and its type, such as `on: app/order.validated`. Its result has `event` (its id), `type`, and `repeat_of` (the first event with the same `key`, where this one is a repeat). " +
			"The new event is a test where the one at hand is. Its headers say where it comes from: `event.headers['relais-cause']` is the id of the event at hand, `relais-route` the route. " +
			"An event that comes of an event, and so on, more than 8 deep is refused: its routes would set each other off for ever.",
		Params: []step.Param{
			{Name: "type", Type: step.TypeString, Required: true, Check: checkType,
				Doc: "The event's type: parts of letters, digits, `_` and `-`, joined by dots. What an expression makes of it must be so too."},
			{Name: "data", Type: step.TypeAny, Doc: "The event's data; an empty object when left out."},
			{Name: "key", Type: step.TypeString,
				Doc: "What makes events of this type the same: a second one within 72 h is stored as a repeat of the first, and goes nowhere; of a test and of a real event none is the other's repeat. Without it a retry makes no second event, and a replay does."},
		},
		Run: func(ctx context.Context, call *step.Call) (step.Result, error) { return run(ctx, call, emitter) },
	}
}

func run(ctx context.Context, call *step.Call, emitter Emitter) (step.Result, error) {
	if emitter == nil {
		return nil, errors.New("event/emit has no store")
	}
	accepted, err := accept(call)
	if err != nil {
		return nil, err
	}
	appended, err := emitter(ctx, accepted)
	if err != nil {
		return nil, fmt.Errorf("store an event: %w", err)
	}
	out := step.Result{"event": accepted.Event.ID.String(), "type": accepted.Event.Type}
	if !appended.RepeatOf.IsZero() {
		out["status"], out["repeat_of"] = "repeat", appended.RepeatOf.String()
	}
	return out, nil
}

// accept makes the event. It is the same at each attempt but for the time, which the store keeps of the first.
func accept(call *step.Call) (store.Accepted, error) {
	typ, _ := call.With["type"].(string)
	if !core.IsType(typ) {
		return store.Accepted{}, parameter("type: what it came to is not an event type: %s", typeGrammar)
	}
	depth := depthOf(call.Event) + 1
	if depth > maxDepth {
		return store.Accepted{}, &step.Failure{Disposition: step.Final, Reason: core.ReasonLoop, Message: fmt.Sprintf(
			"this event comes of an event that comes of an event, %d deep: routes that set each other off are stopped here", maxDepth)}
	}
	body, err := bodyOf(call.With)
	if err != nil {
		return store.Accepted{}, err
	}
	header := http.Header{
		headerDepth: {strconv.Itoa(depth)}, headerCause: {call.Event.ID.String()}, headerRoute: {call.Delivery.Destination.Name},
		"Content-Type": {"application/json"},
	}
	out := store.Accepted{Event: core.Event{
		ID: idOf(call), Tenant: call.Delivery.Destination.Tenant, Source: core.AppSource, Type: typ, NativeType: typ,
		ReceivedAt: call.Now(), Format: core.FormatJSON, Header: core.EncodeHeader(header, func(string) bool { return true }),
		Body: body, Test: call.Event.Test,
	}}
	if key, ok := call.With["key"].(string); ok {
		if key == "" || len(key) > maxKey {
			return store.Accepted{}, parameter("key: it must have from 1 to %d bytes", maxKey)
		}
		trial := ""
		if out.Event.Test {
			trial = "\x00trial" // a trial order suppresses no real one of its number
		}
		sum := sha256.Sum256([]byte(out.Event.Tenant + "\x00" + core.AppSource + "\x00" + typ + trial + "\x00" + key))
		copy(out.DedupKey[:], sum[:])
		out.DedupWindow = window
	}
	return out, nil
}

func bodyOf(with map[string]any) ([]byte, error) {
	data, given := with["data"]
	if !given {
		data = map[string]any{}
	}
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(data); err != nil {
		return nil, parameter("data: the value can't be written as JSON")
	}
	if out.Len() > maxBody+1 {
		return nil, parameter("data: it is larger than %d MiB", maxBody>>20)
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

func parameter(format string, args ...any) error {
	return &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: fmt.Sprintf(format, args...)}
}

// idOf is the id of the one event that this step of this delivery makes: a UUIDv7 of the time when the
// delivery was made, by which the store finds an id again, and of the step's key.
func idOf(call *step.Call) core.EventID {
	at := call.Delivery.CreatedAt
	var id core.EventID
	if at.IsZero() {
		copy(id[:6], call.Event.ID[:6])
	} else {
		var ms [8]byte
		binary.BigEndian.PutUint64(ms[:], uint64(max(at.UnixMilli(), 0)))
		copy(id[:6], ms[2:])
	}
	sum := sha256.Sum256([]byte("event " + call.IdempotencyKey))
	copy(id[6:], sum[:10])
	id[6] = 0x70 | id[6]&0x0f // version 7
	id[8] = 0x80 | id[8]&0x3f // RFC 9562's variant
	return id
}

// depthOf is how deep an event stands: 0 for what came in, whatever its headers say.
func depthOf(event *core.Event) int {
	if event.Source != core.AppSource {
		return 0
	}
	for name, value := range core.HeaderFields(event.Header) {
		if name == headerDepth {
			if depth, err := strconv.Atoi(value); err == nil && depth >= 0 {
				return depth
			}
			return maxDepth
		}
	}
	return 0
}

const typeGrammar = "parts of letters, digits, _ and -, joined by dots, at most 128 bytes"

func checkType(value any) error {
	text, ok := value.(string)
	if !ok || !expr.HasExpressions(text) && !core.IsType(text) {
		return errors.New("it is not an event type: " + typeGrammar + "; its source is always app, and isn't written here")
	}
	return nil
}
