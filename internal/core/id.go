package core

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/google/uuid"
)

// EventID identifies an event for ever: a UUIDv7, written "evt_" and 32 lower-case hexadecimal digits.
// It is given before the first commit, so that a commit whose outcome is unknown can be tried again
// under the same id.
type EventID [16]byte

const eventPrefix = "evt_"

// NewEventID returns a new id that sorts after the ones made in earlier milliseconds.
func NewEventID() EventID { return EventID(uuid.Must(uuid.NewV7())) }

// ParseEventID reads the written form.
func ParseEventID(s string) (EventID, error) {
	var id EventID
	digits, ok := strings.CutPrefix(s, eventPrefix)
	if !ok || len(digits) != 32 {
		return id, Errorf(CodeInvalid, "%q is not an event id: an event id is evt_ and 32 hexadecimal digits", s)
	}
	if _, err := hex.Decode(id[:], []byte(digits)); err != nil {
		return id, Errorf(CodeInvalid, "%q is not an event id: an event id is evt_ and 32 hexadecimal digits", s)
	}
	return id, nil
}

func (id EventID) String() string { return eventPrefix + hex.EncodeToString(id[:]) }

// IsZero tells whether the id was never given.
func (id EventID) IsZero() bool { return id == EventID{} }

// Compare orders ids by the time they were made.
func (id EventID) Compare(other EventID) int { return bytes.Compare(id[:], other[:]) }

// MarshalText and UnmarshalText use the written form.
func (id EventID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the written form.
func (id *EventID) UnmarshalText(text []byte) error {
	parsed, err := ParseEventID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// DeliveryID identifies a delivery: a number of the database's sequence, written "dlv_" and decimal digits.
type DeliveryID int64

const deliveryPrefix = "dlv_"

// ParseDeliveryID reads the written form.
func ParseDeliveryID(s string) (DeliveryID, error) {
	digits, ok := strings.CutPrefix(s, deliveryPrefix)
	n, err := strconv.ParseInt(digits, 10, 64)
	if !ok || err != nil || n <= 0 {
		return 0, Errorf(CodeInvalid, "%q is not a delivery id: a delivery id is dlv_ and a number", s)
	}
	return DeliveryID(n), nil
}

func (id DeliveryID) String() string { return fmt.Sprintf("%s%d", deliveryPrefix, int64(id)) }

// MarshalText uses the written form.
func (id DeliveryID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads the written form.
func (id *DeliveryID) UnmarshalText(text []byte) error {
	parsed, err := ParseDeliveryID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}
