package app

import (
	"bytes"
	"context"
	"encoding/json"
	"os/exec"
	"time"

	"relais/internal/core"
	"relais/internal/store"
)

// alarmTimeout bounds the operator's command.
const alarmTimeout = 30 * time.Second

// deadNotice is what the operator's command reads on its standard input, as one line of JSON.
type deadNotice struct {
	Delivery    core.DeliveryID `json:"delivery"`
	Event       core.EventID    `json:"event"`
	Source      string          `json:"source"`
	Type        string          `json:"type"`
	Destination string          `json:"destination"`
	Reason      core.Reason     `json:"reason"`
	Message     string          `json:"message"`
	Attempts    int             `json:"attempts"`
	At          time.Time       `json:"at"`
}

// onDead tells someone of a delivery that is dead: the log, the route's on_dead step, the operator's
// command. It runs after the outcome was stored; if the process dies here the delivery is dead all the
// same, listed and counted.
func (a *App) onDead(ctx context.Context, claimed store.Claimed, outcome store.Outcome) {
	d := claimed.Delivery
	a.log.ErrorContext(ctx, "delivery is dead", "delivery", d.ID.String(), "event", d.Event.String(),
		"destination", d.Destination.String(), "reason", string(outcome.Reason), "message", outcome.Message)
	now := a.current.Load()
	if claimed.Event.Source == "" {
		// An interrupted delivery comes with its id alone.
		if event, err := a.store.Event(ctx, d.Event); err == nil {
			claimed.Event = event
		}
	}
	if program, ok := now.programs[d.Destination]; ok {
		if has, err := program.steps.RunOnDead(ctx, &claimed, outcome); has {
			a.metrics.OnDead(err)
		}
	}
	attempts := d.Attempts
	if outcome.Attempt.Claim != 0 {
		attempts++ // the one that ended so
	}
	if len(now.config.OnDead) > 0 {
		a.runAlarm(ctx, now.config.OnDead, deadNotice{
			Delivery: d.ID, Event: d.Event, Source: claimed.Event.Source, Type: claimed.Event.Type,
			Destination: d.Destination.String(), Reason: outcome.Reason, Message: outcome.Message,
			Attempts: attempts, At: time.Now(),
		})
	}
}

func (a *App) runAlarm(ctx context.Context, command []string, notice deadNotice) {
	ctx, cancel := context.WithTimeout(ctx, alarmTimeout)
	defer cancel()
	line, err := json.Marshal(notice)
	if err != nil {
		a.log.ErrorContext(ctx, "the on_dead command was not run", "error", err)
		return
	}
	// The command is the operator's own, from the configuration file, and is run without a shell.
	cmd := exec.CommandContext(ctx, command[0], command[1:]...) //nolint:gosec // see above
	cmd.Stdin = bytes.NewReader(append(line, '\n'))
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	a.metrics.OnDead(err)
	if err != nil {
		a.log.ErrorContext(ctx, "the on_dead command failed", "command", command[0], "delivery", notice.Delivery.String(), "error", err)
	}
}
