package alert

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/step"
	"relais/internal/store"
)

// phone is a way to tell that keeps what it was told.
type phone struct {
	mu      sync.Mutex
	needsTo bool
	err     error
	told    []step.Notice
	hold    chan struct{}
}

func (p *phone) NeedsTo() bool { return p.needsTo }

func (p *phone) Tell(_ context.Context, notice step.Notice) error {
	if p.hold != nil {
		<-p.hold
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.err != nil {
		return p.err
	}
	p.told = append(p.told, notice)
	return nil
}

func (p *phone) heard() []step.Notice {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.told)
}

// office is a desk with the ways to tell of a configuration.
type office struct {
	desk        *Desk
	log         bytes.Buffer
	counted     map[string]int
	connections step.Connections
	programs    sync.Map // by what the step takes
}

func open(connections step.Connections) *office {
	o := &office{connections: connections, counted: map[string]int{}}
	o.desk = NewDesk(Options{Log: slog.New(slog.NewTextHandler(&o.log, nil)), Now: time.Now, Count: func(level, result string) { o.counted[level+" "+result]++ }})
	return o
}

func (o *office) compile(with map[string]any) (*step.Program, error) {
	kinds := []step.ConnectionKind{{Name: "slack"}, {Name: "smtp"}, {Name: "redis"}}
	route := config.Route{Name: "payments", Steps: []config.Step{{ID: "a", Use: "alert", With: with}}}
	return step.Compile(route, step.NewRegistry([]step.Kind{Alert(o.desk)}, kinds), o.connections, step.Options{})
}

func (o *office) raise(t *testing.T, with map[string]any, data any) (store.Outcome, string) {
	t.Helper()
	kept, ok := o.programs.Load(fmt.Sprint(with))
	if !ok {
		p, err := o.compile(with)
		if err != nil {
			t.Fatal(err)
		}
		kept, _ = o.programs.LoadOrStore(fmt.Sprint(with), p)
	}
	p, _ := kept.(*step.Program)
	body, _ := json.Marshal(data)
	out := p.Run(t.Context(), &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "payments"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body},
	})
	if len(out.Steps) == 0 {
		return out, ""
	}
	return out, string(out.Steps[0].Result)
}

func TestTenThousandFailuresAreOneMessageAndACount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team := &phone{}
		o := open(step.Connections{"team": {Kind: "slack", Value: team}})
		ctx, stop := context.WithCancel(t.Context())
		go o.desk.Run(ctx)
		with := map[string]any{"message": "order ${{ event.data.n }} has the wrong amount", "title": "Wrong amount", "level": "critical"}
		for n := range 10_000 {
			out, result := o.raise(t, with, map[string]any{"n": n})
			want := fmt.Sprintf(`{"count":%d,"status":"counted"}`, n)
			if n == 0 {
				want = `{"count":0,"status":"sent"}`
			}
			if out.Verdict != store.VerdictSucceeded || result != want {
				t.Fatalf("%d: %+v %s", n, out, result)
			}
		}
		if len(team.heard()) != 1 || team.heard()[0].Title != "[CRITICAL] Wrong amount" || team.heard()[0].Text != "order 0 has the wrong amount" {
			t.Fatalf("%+v", team.heard())
		}
		time.Sleep(10*time.Minute + 2*time.Second)
		synctest.Wait()
		if len(team.heard()) != 2 || !strings.Contains(team.heard()[1].Text, "order 9999 has the wrong amount\n\n9999 more since ") {
			t.Fatalf("%+v", team.heard())
		}
		// A quiet while later the key is new again.
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if _, result := o.raise(t, with, map[string]any{"n": 1}); !strings.Contains(result, "sent") || len(team.heard()) != 3 {
			t.Errorf("%s %+v", result, team.heard())
		}
		if o.counted["critical sent"] != 2 || o.counted["critical counted"] != 9999 || strings.Count(o.log.String(), "msg=alert ") != 10_001 {
			t.Errorf("%v", o.counted)
		}
		o.raise(t, with, map[string]any{"n": 2})
		stop()
		synctest.Wait()
		if !strings.Contains(o.log.String(), "nobody was told of their number") {
			t.Error("a count that is left at the end is not logged")
		}
	})
}

func TestKeysAreApart(t *testing.T) {
	team := &phone{}
	o := open(step.Connections{"team": {Kind: "slack", Value: team}})
	for _, v := range []string{"a", "b", "a"} {
		o.raise(t, map[string]any{"message": "m", "key": "${{ event.data.v }}"}, map[string]any{"v": v})
	}
	if len(team.heard()) != 2 || team.heard()[0].Title != "[ERROR] relais: payments" || team.heard()[0].Key == team.heard()[1].Key {
		t.Errorf("%+v", team.heard())
	}
	o.raise(t, map[string]any{"message": "m", "every": "0s"}, nil)
	o.raise(t, map[string]any{"message": "m", "every": "0s"}, nil)
	if len(team.heard()) != 4 {
		t.Errorf("%d messages", len(team.heard()))
	}
	// What is remembered is bounded: further keys are one.
	for n := range maxKeys + 50 {
		o.raise(t, map[string]any{"message": "m", "key": "${{ event.data.v }}"}, map[string]any{"v": fmt.Sprint("k", n)})
	}
	if len(o.desk.windows) > maxKeys+1 || len(team.heard()) > 4+maxKeys || team.heard()[len(team.heard())-1].Title != "[ERROR] relais: many alerts" {
		t.Errorf("%d keys, %d messages", len(o.desk.windows), len(team.heard()))
	}
}

func TestAnAlertThatNobodyTookComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team, mail := &phone{}, &phone{needsTo: true}
		o := open(step.Connections{"team": {Kind: "slack", Value: team}, "mail": {Kind: "smtp", Value: mail}})
		with := map[string]any{"message": "m", "via": []any{"team", "mail"}, "to": "ops@example.fr"}
		team.err = &step.Failure{Disposition: step.Final, Reason: core.ReasonStatus, Message: "Slack answered 404"}
		if out, result := o.raise(t, with, nil); out.Verdict != store.VerdictSucceeded || !strings.Contains(result, `"failed":["team"]`) || mail.heard()[0].To[0] != "ops@example.fr" {
			t.Errorf("%+v %s", out, result)
		}
		time.Sleep(time.Hour)
		mail.err = &step.Failure{Disposition: step.Retry, Reason: core.ReasonRefused, Message: "mail server: refused"}
		if out, _ := o.raise(t, with, nil); out.Verdict != store.VerdictRetry || out.Reason != core.ReasonRefused {
			t.Errorf("one of them may take it later: %+v", out)
		}
		mail.err = team.err
		if out, _ := o.raise(t, with, nil); out.Verdict != store.VerdictDead || out.Reason != core.ReasonStatus {
			t.Errorf("none of them ever will: %+v", out)
		}
		mail.err = nil
		if _, result := o.raise(t, with, nil); !strings.Contains(result, `"status":"sent"`) || len(mail.heard()) != 2 {
			t.Errorf("%s %+v", result, mail.heard())
		}
		if o.counted["error failed"] != 2 || o.counted["error sent"] != 2 {
			t.Errorf("%v", o.counted)
		}
	})
}

// While the first of a key is on its way, the others count: ten at once are one message.
func TestAlertsAtOnceAreOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team := &phone{hold: make(chan struct{})}
		o := open(step.Connections{"team": {Kind: "slack", Value: team}})
		var group sync.WaitGroup
		o.desk.o.Count = func(string, string) {}
		o.desk.o.Log = slog.New(slog.DiscardHandler)
		for range 10 {
			group.Go(func() { o.raise(t, map[string]any{"message": "m"}, nil) })
		}
		synctest.Wait()
		close(team.hold)
		group.Wait()
		if len(team.heard()) != 1 {
			t.Errorf("%d messages", len(team.heard()))
		}
	})
}

func TestACountThatNobodyTookIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		team := &phone{}
		o := open(step.Connections{"team": {Kind: "slack", Value: team}})
		ctx, stop := context.WithCancel(t.Context())
		go o.desk.Run(ctx)
		o.raise(t, map[string]any{"message": "m"}, nil)
		o.raise(t, map[string]any{"message": "m"}, nil)
		team.mu.Lock()
		team.err = fmt.Errorf("away")
		team.mu.Unlock()
		time.Sleep(10*time.Minute + 2*time.Second)
		synctest.Wait()
		team.mu.Lock()
		team.err = nil
		team.mu.Unlock()
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if len(team.heard()) != 2 || !strings.Contains(team.heard()[1].Text, "1 more since") {
			t.Errorf("%+v", team.heard())
		}
		stop()
	})
}

func TestWaysToTellAreCheckedAtLoad(t *testing.T) {
	o := open(step.Connections{"team": {Kind: "slack", Value: &phone{}}, "shop": {Kind: "slack", Value: &phone{}}, "mail": {Kind: "smtp", Value: &phone{needsTo: true}}, "cache": {Kind: "redis", Value: 1}})
	for says, with := range map[string]map[string]any{
		`via: there is no connection "nobody"`: {"message": "m", "via": "nobody"},
		"via: cache is of the kind redis":      {"message": "m", "via": []any{"team", "cache"}},
		"to is missing: mail is a mail server": {"message": "m", "via": "mail"},
		`"ops" is not a mail address`:          {"message": "m", "via": "mail", "to": "ops"},
		"it must be one of info":               {"message": "m", "level": "bad"},
		"no ${{ }} may stand here":             {"message": "m", "via": "${{ event.data.v }}"},
		"message is missing":                   {},
	} {
		if _, err := o.compile(with); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	// Of two none is meant: the log and the metric are told.
	if _, result := o.raise(t, map[string]any{"message": "m", "level": "info"}, nil); result != `{"status":"logged"}` || o.counted["info logged"] != 1 {
		t.Errorf("%s %v", result, o.counted)
	}
}
