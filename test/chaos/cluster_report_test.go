//go:build linux

package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"
)

const (
	takeOverIn = 10 * time.Second
	stopP99    = 2 * time.Second
	stopMax    = 5 * time.Second
)

// clusterReport is what a run of the cluster found.
type clusterReport struct {
	outcome
	Kills         int       `json:"nodes_killed"`
	Stalls        int       `json:"nodes_stalled"`
	StallsInside  int       `json:"stalled_inside_open_effects"`
	Cuts          int       `json:"nodes_cut_off"`
	Restarts      int       `json:"database_restarts"`
	Stops         int       `json:"database_stops"`
	Rolls         int       `json:"rolled_all_nodes"`
	Claims        int       `json:"claims_beyond_the_first"`
	Retried       int       `json:"of_them_after_a_failure"`
	Deferred      int       `json:"of_them_after_waiting_for_anothers_effect"`
	Returned      int       `json:"of_them_after_a_stop"`
	Interrupted   int       `json:"of_them_after_a_kill_a_stall_or_a_cut"`
	TakeOvers     []float64 `json:"take_overs_s"`
	StopRequests  int       `json:"requests_during_stops"`
	StopRefused   int       `json:"refused_during_stops"`
	StopP99Millis float64   `json:"ack_p99_during_stops_ms"`
	StopMaxMillis float64   `json:"ack_max_during_stops_ms"`
}

func (r *clusterReport) noteTakeOver(took time.Duration) {
	r.TakeOvers = append(r.TakeOvers, took.Seconds())
}

func (r *clusterReport) noteStop(a *answers) {
	r.Stops++
	r.StopRequests += len(a.took)
	r.StopRefused += a.refused
	slices.Sort(a.took)
	if n := len(a.took); n > 0 {
		r.StopP99Millis = max(r.StopP99Millis, float64(a.took[n*99/100].Microseconds())/1000)
		r.StopMaxMillis = max(r.StopMaxMillis, float64(a.took[n-1].Microseconds())/1000)
	}
}

func (r *clusterReport) print(out io.Writer) {
	t := newTable(out)
	t.row("nodes killed, stalled (inside open effects), cut off", fmt.Sprintf("%d, %d (%d), %d", r.Kills, r.Stalls, r.StallsInside, r.Cuts))
	t.row("database restarted, stopped; all nodes rolled", fmt.Sprintf("%d, %d; %d", r.Restarts, r.Stops, r.Rolls))
	t.row("acknowledged events", fmt.Sprintf("%d of %d sent, in %.0f s", r.Acked, r.Sent, r.Seconds))
	t.row("claims beyond a delivery's first", fmt.Sprintf("%d: %d after a failure, %d after waiting for another's effect, %d handed back, %d interrupted",
		r.Claims, r.Retried, r.Deferred, r.Returned, r.Interrupted))
	r.rows(t)
	t.row("take-overs", fmt.Sprintf("%d, longest %.1f s", len(r.TakeOvers), longest(r.TakeOvers)))
	t.row("while the database was stopped", fmt.Sprintf("%d requests, %d refused, p99 %.1f ms, longest %.0f ms", r.StopRequests, r.StopRefused, r.StopP99Millis, r.StopMaxMillis))
	_ = t.w.Flush()
}

func longest(seconds []float64) float64 {
	if len(seconds) == 0 {
		return 0
	}
	return slices.Max(seconds)
}

func (r *clusterReport) verdict() error {
	var f faulty
	r.check(&f)
	f.check(r.Claims != r.Retried+r.Deferred+r.Returned+r.Interrupted, "%d claims, of which nothing says why", r.Claims-r.Retried-r.Deferred-r.Returned-r.Interrupted)
	f.check(longest(r.TakeOvers) > takeOverIn.Seconds(), "a take-over took %.1f s", longest(r.TakeOvers))
	f.check(r.StopRefused > 0, "%d requests were refused while the database was stopped", r.StopRefused)
	f.check(r.StopP99Millis > float64(stopP99.Milliseconds()), "while the database was stopped the 99th percentile of answers was %.0f ms", r.StopP99Millis)
	f.check(r.StopMaxMillis > float64(stopMax.Milliseconds()), "while the database was stopped an answer took %.0f ms", r.StopMaxMillis)
	f.check(r.StopRequests == 0, "nothing was sent while the database was stopped")
	f.check(r.StallsInside == 0, "no node was stalled inside an open effect")
	return errors.Join(f.found...)
}

// spooledIn adds up what the nodes that live say of their spools.
func spooledIn(nodes []byte) int {
	var list struct {
		Items []struct {
			State string `json:"state"`
			Spool *struct {
				Events int `json:"events"`
				Aside  int `json:"aside"`
			} `json:"spool"`
		} `json:"items"`
	}
	if json.Unmarshal(nodes, &list) != nil {
		return 1
	}
	sum := 0
	for _, n := range list.Items {
		if n.State == "alive" && n.Spool != nil {
			sum += n.Spool.Events + n.Spool.Aside
		}
	}
	return sum
}

// count compares what was acknowledged with what is in the database and in the sandbox.
func (c *cluster) count(l *load) error {
	ctx := c.t.Context()
	rows, err := c.db.Query(ctx, `SELECT e.body, (SELECT count(*) FROM delivery_done d WHERE d.event = e.id AND d.state = 2) FROM event e`)
	if err != nil {
		return err
	}
	defer rows.Close()
	stored, done := map[int64]int64{}, map[int64]int64{}
	for rows.Next() {
		var body []byte
		var succeeded int64
		if err := rows.Scan(&body, &succeeded); err != nil {
			return err
		}
		number, err := numberOf(body)
		if err != nil {
			return err
		}
		stored[number]++
		done[number] += succeeded
	}
	if err := rows.Err(); err != nil {
		return err
	}
	// A claim without an outcome is one that a kill, a stall or a cut interrupted.
	if err := c.db.QueryRow(ctx, `WITH known AS (SELECT delivery, count(*) AS outcomes, count(*) FILTER (WHERE verdict = 'retry') AS retried,
			count(*) FILTER (WHERE verdict = 'defer') AS deferred, count(*) FILTER (WHERE verdict = 'return') AS returned
			FROM every_attempt GROUP BY delivery)
		SELECT coalesce(sum(d.claim - 1), 0), coalesce(sum(k.retried), 0), coalesce(sum(k.deferred), 0), coalesce(sum(k.returned), 0),
			coalesce(sum(d.claim - k.outcomes), 0) FROM delivery_done d JOIN known k ON k.delivery = d.id`).
		Scan(&c.found.Claims, &c.found.Retried, &c.found.Deferred, &c.found.Returned, &c.found.Interrupted); err != nil {
		return err
	}
	inspection, err := c.sandbox.Inspect(ctx)
	if err != nil {
		return err
	}
	c.found.compare(l.acked, stored, done, inspection.Estimates)
	return nil
}
