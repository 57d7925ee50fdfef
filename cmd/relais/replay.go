package main

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"relais/internal/api"
	"relais/internal/core"
)

// Run replays. Refused requests, which the view ic_postback numbers together with the accepted ones, are verified again.
func (r *replayCommand) Run(p *program) error {
	source, typ := sourceAndType(r.Source, r.Type)
	in := api.Replay{
		Source: source, Type: typ, Since: r.Since.Time, Until: r.Until.Time, State: r.State, Reason: r.Reason, Where: r.Where,
		Destination: r.Destination, FromStep: r.FromStep, Limit: r.Limit, DryRun: r.DryRun, After: r.After, Oldest: r.All,
	}
	var refused []int64
	for _, id := range r.IDs {
		number, err := strconv.ParseInt(id, 10, 64)
		switch {
		case strings.HasPrefix(id, "dlv_"):
			in.Deliveries = append(in.Deliveries, id)
		case err != nil:
			in.Events = append(in.Events, id)
		default:
			_, rejection, err := core.RequestOf(number)
			if err != nil {
				return err
			}
			if rejection == 0 {
				in.Requests = append(in.Requests, number)
			} else {
				refused = append(refused, rejection)
			}
		}
	}
	if len(refused) > 0 {
		again := rejectionsRetry{IDs: refused, DryRun: r.DryRun, output: r.output}
		if err := again.Run(p); err != nil || len(refused) == len(r.IDs) {
			return err
		}
	}
	return p.with(func(c *client) error {
		out, err := r.post(p, c, &in)
		if err != nil {
			return err
		}
		return show(p, r.output, out, p.replayed)
	})
}

// post replays, with --all in as many requests as it takes. What was done when it is interrupted is said before: it is
// gone on with from there.
func (r *replayCommand) post(p *program, c *client, in *api.Replay) (*api.Replayed, error) {
	if in.Oldest && in.Until.IsZero() && len(r.IDs) == 0 {
		in.Until = p.now() // what comes meanwhile, replays among it, isn't meant
	}
	var sum *api.Replayed
	for {
		var out api.Replayed
		if err := c.post("/replay", in, &out); err != nil {
			return nil, err
		}
		if sum == nil {
			sum = &out
		} else {
			add(sum, &out)
		}
		if in.After = out.Next; in.After == "" {
			return sum, nil
		}
		p.complain("%s\n", p.lang.say("replay_so_far", p.number(int64(sum.Count)), in.After))
	}
}

// add adds what a further request made.
func add(sum, more *api.Replayed) {
	sum.Count += more.Count
	sum.Skipped += more.Skipped
	sum.Truncated, sum.Next = more.Truncated, more.Next
	sum.Deliveries = append(sum.Deliveries, more.Deliveries[:min(len(more.Deliveries), max(0, 100-len(sum.Deliveries)))]...)
	sum.SkippedItems = append(sum.SkippedItems, more.SkippedItems[:min(len(more.SkippedItems), max(0, 100-len(sum.SkippedItems)))]...)
	for reason, n := range more.SkippedBy {
		sum.SkippedBy[reason] += n
	}
	for to, n := range more.ByDestination {
		sum.ByDestination[to] += n
	}
}

func (p *program) replayed(r *api.Replayed) error {
	key := "replayed"
	if r.DryRun {
		key = "would_replay"
	}
	for _, one := range r.Repeats {
		p.repeated(&one)
	}
	p.say(key, p.number(int64(r.Count)))
	if len(r.Deliveries) > 0 {
		rows := make([][]string, len(r.Deliveries))
		for i, d := range r.Deliveries {
			rows[i] = []string{d.Delivery, d.Event, d.Source + "/" + d.Type, d.Destination, d.Of}
		}
		if err := p.table("head_replay", rows); err != nil {
			return err
		}
		if r.Count > len(r.Deliveries) {
			p.say("and_more", p.number(int64(r.Count-len(r.Deliveries))))
		}
	}
	if len(r.ByDestination) > 1 {
		for _, to := range slices.Sorted(maps.Keys(r.ByDestination)) {
			p.say("replay_to", p.number(int64(r.ByDestination[to])), to)
		}
	}
	for _, reason := range slices.Sorted(maps.Keys(r.SkippedBy)) {
		p.say("not_replayed", p.number(int64(r.SkippedBy[reason])), p.lang.answer(reason))
	}
	p.stillPending(r.SkippedItems)
	if r.Truncated {
		p.say("replay_truncated")
	}
	return nil
}

// repeated tells of an event that repeats another one: replaying it does again what that one did.
func (p *program) repeated(r *api.Repeated) {
	of := r.Of
	if r.OfRequest != 0 {
		of += " (" + strconv.FormatInt(r.OfRequest, 10) + ")"
	}
	p.say("replay_repeat", strconv.FormatInt(r.Request, 10), r.Event, of)
}

// shownPending is how many deliveries that are still to run are told of one by one.
const shownPending = 5

// stillPending tells when deliveries that were left out run by themselves, and how to have them run now.
func (p *program) stillPending(left []api.NotReplayed) {
	shown := 0
	for _, one := range left {
		if one.Pending == "" || shown == shownPending {
			continue
		}
		shown++
		if one.DueAt.After(p.now()) {
			p.say("replay_due", one.Pending, p.lang.say("due", p.ago(one.DueAt)))
		} else {
			p.say("replay_waits", one.Pending)
		}
	}
}
