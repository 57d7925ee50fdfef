package once

// Point is a place in the protocol, for tests that crash or stall there.
type Point string

// The points, in the order in which a first attempt meets them.
const (
	PointOpened    Point = "opened"           // the effect is in the ledger
	PointLookedUp  Point = "looked up"        // nothing was found
	PointBefore    Point = "before sent"      // the request is written, the ledger says open
	PointSent      Point = "sent"             // the ledger says sent, nothing has left
	PointLastByte  Point = "before last byte" // the other system has the request but for its last byte
	PointAnswered  Point = "answered"         // it is made, only memory knows it
	PointConfirmed Point = "confirmed"        // it was looked up again
	PointDone      Point = "done"             // the ledger knows it
)

// Hook is called at each point. An error ends the attempt there, as a crash would: nothing more is
// written or sent.
type Hook func(Point) error
