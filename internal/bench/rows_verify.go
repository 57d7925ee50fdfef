package bench

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Verification is one signed request, checked in two ways.
type Verification struct {
	// Whole is all that relais does to verify the request.
	Whole func() error
	// Bare is the standard library's hash of the same body alone.
	Bare func() error
	// What says what is verified, for the report.
	What string
}

const (
	// verifyPart is what part of a turn each side gets: nothing is waited for, so that little is enough.
	verifyPart = 8
	// verifyBlock is how many calls the sides make in turn. That is less than a millisecond, so that what else
	// the machine does strikes both; and the clock, which is read between blocks, costs nothing beside it.
	verifyBlock = 128
)

// verify compares the whole verification of a request with its hash alone.
func (r *run) verify(ctx context.Context) error {
	v := r.opts.Verification
	if v.Whole == nil || v.Bare == nil {
		return errors.New("whoever started the run gave nothing to verify")
	}
	var bares, wholes []*turn
	for i := range r.opts.Rounds {
		r.progress("  turn %d of %d", i+1, r.opts.Rounds)
		var calls int64
		var bare, whole time.Duration
		for bare+whole < 2*r.opts.Turn/verifyPart {
			if err := ctx.Err(); err != nil {
				return err
			}
			one, err := block(v.Bare)
			if err != nil {
				return err
			}
			other, err := block(v.Whole)
			if err != nil {
				return err
			}
			bare, whole, calls = bare+one, whole+other, calls+verifyBlock
		}
		bares, wholes = append(bares, counted(calls, bare)), append(wholes, counted(calls, whole))
	}
	r.report.add("bare hash", v.What, bares)
	r.report.add("verification", v.What, wholes)
	r.report.judge(Target{Name: "time of a verification : of the bare hash", Unit: "×", Limit: 3,
		Turns: ratios(bares, wholes, (*turn).perSecond),
		Note:  "one call after the other in one process, the two in turn, without a network"})
	return nil
}

// block is how long a block of calls takes.
func block(call func() error) (time.Duration, error) {
	start := time.Now()
	for range verifyBlock {
		if err := call(); err != nil {
			return 0, fmt.Errorf("what was signed is refused: %w", err)
		}
	}
	return time.Since(start), nil
}
