package step

import (
	"testing"

	"relais/internal/core"
)

// A receiver knows a step by its key: written otherwise by a later version, what an earlier one has sent would
// be done again.
func TestIdempotencyKeyStaysAsItIs(t *testing.T) {
	event, err := core.ParseEventID("evt_01937a308f7e70008000000000000001")
	if err != nil {
		t.Fatal(err)
	}
	d := &core.Delivery{Event: event, Replay: 2, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "facture"}}
	if got, want := idempotencyKey(d, "call"), "relais-c00bc8d03ea1e4b4c16bda8e00c7428a"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
