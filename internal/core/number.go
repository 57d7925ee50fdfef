package core

// refusedFrom is added to the number of a refused request to make its id among all requests. No event has so high a
// number, and JavaScript still counts exactly there.
const refusedFrom = 1_000_000_000_000_000

// EventNumber is the id of an accepted request in the view ic_postback: its event's own number.
func EventNumber(seq int64) int64 { return seq }

// RejectionNumber is the id of a refused request in the view ic_postback.
func RejectionNumber(id int64) int64 { return refusedFrom + id }

// RequestOf tells what an id of the view ic_postback stands for: an event's number or a rejection's; the other is 0.
func RequestOf(number int64) (seq, rejection int64, err error) {
	switch {
	case number <= 0:
		return 0, 0, Errorf(CodeInvalid, "%d is no request's id: those are positive", number)
	case number > refusedFrom:
		return 0, number - refusedFrom, nil
	default:
		return number, 0, nil
	}
}
