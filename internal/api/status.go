package api

import (
	"context"
	"net/http"
	"time"

	"relais/internal/core"
)

// Problem is one thing wrong with a configuration file.
type Problem struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path" example:"routes.facture.steps[0].with.estimate"`
	Message string `json:"message" doc:"What is wrong and what is allowed"`
}

// ConfigState says which configuration is in force.
type ConfigState struct {
	File     string    `json:"file"`
	Hash     string    `json:"hash" doc:"Of its routes"`
	LoadedAt time.Time `json:"loaded_at"`
	Sources  []string  `json:"sources"`
	Routes   []string  `json:"routes"`
	// Restart names what of the file isn't in force although the file is.
	Restart []string `json:"restart,omitempty" doc:"Settings that a reload changed and that only a restart takes"`
	// Refused is the last reload, where it was refused.
	Refused *RefusedReload `json:"refused,omitempty" doc:"The last reload, where its file had problems and this configuration stayed in force"`
}

// RefusedReload is a reload that changed nothing.
type RefusedReload struct {
	At       time.Time `json:"at"`
	Problems []Problem `json:"problems"`
}

// Status is what relais says of itself.
type Status struct {
	Service   string      `json:"service"`
	Version   string      `json:"version"`
	StartedAt time.Time   `json:"started_at"`
	Uptime    float64     `json:"uptime" doc:"Seconds"`
	Ready     bool        `json:"ready"`
	Reasons   []string    `json:"reasons" doc:"Why it isn't ready"`
	Config    ConfigState `json:"config"`
	Pauses    []Pause     `json:"pauses"`
	Stats     Stats       `json:"stats"`
}

// Stats are figures of the store.
type Stats struct {
	Pending       int64     `json:"pending" doc:"Deliveries that wait"`
	Running       int64     `json:"running"`
	Dead          int64     `json:"dead"`
	OldestDue     time.Time `json:"oldest_due,omitzero" doc:"Since when the delivery that waits longest has been due"`
	OldestSeconds float64   `json:"oldest_due_seconds"`
	UsedBytes     int64     `json:"used_bytes"`
	WALBytes      int64     `json:"wal_bytes"`
	FirstEvent    time.Time `json:"first_event,omitzero" doc:"When the oldest event that is kept was received"`
}

// Checked is what a check of the configuration's file found.
type Checked struct {
	OK       bool      `json:"ok"`
	Problems []Problem `json:"problems"`
	Warnings []Problem `json:"warnings,omitempty" doc:"What is allowed and is probably a mistake"`
	Restart  []string  `json:"restart,omitempty" doc:"After a reload: settings that changed and that only a restart takes"`
}

type statusResult struct{ Body Status }
type statsResult struct{ Body Stats }
type configResult struct{ Body ConfigState }
type checkResult struct{ Body Checked }

type reloadRequest struct{ By }

func (s *server) registerStatus() {
	register(s, operation(http.MethodGet, "/status", "status", "status", "Version, state, configuration, pauses and figures"), s.status)
	register(s, operation(http.MethodGet, "/stats", "stats", "status", "Figures of the store"), s.stats)
	register(s, operation(http.MethodGet, "/config", "get-config", "configuration", "Which configuration is in force"), s.getConfig)
	register(s, operation(http.MethodPost, "/config/check", "check-config", "configuration", "Check the file as it is now, and change nothing"), s.checkConfig)
	register(s, operation(http.MethodPost, "/reload", "reload", "configuration",
		"Put the file as it is now in force; a file with problems changes nothing", 503), s.reload)
}

func (s *server) status(ctx context.Context, _ *struct{}) (*statusResult, error) {
	figures, err := s.figures(ctx)
	if err != nil {
		return nil, err
	}
	pauses, err := s.pauses(ctx)
	if err != nil {
		return nil, err
	}
	state := s.State()
	return &statusResult{Status{
		Service: "relais", Version: s.Version, StartedAt: state.StartedAt.UTC(),
		Uptime: s.Now().Sub(state.StartedAt).Truncate(time.Millisecond).Seconds(),
		Ready:  len(state.Reasons) == 0, Reasons: append([]string{}, state.Reasons...),
		Config: s.Config.State(), Pauses: pauses, Stats: figures,
	}}, nil
}

func (s *server) stats(ctx context.Context, _ *struct{}) (*statsResult, error) {
	figures, err := s.figures(ctx)
	return &statsResult{figures}, err
}

func (s *server) figures(ctx context.Context) (Stats, error) {
	f, err := s.Store.Stats(ctx)
	if err != nil {
		return Stats{}, err
	}
	out := Stats{Pending: f.Pending, Running: f.Running, Dead: f.Dead, UsedBytes: f.UsedBytes, WALBytes: f.WALBytes}
	if !f.OldestDue.IsZero() {
		out.OldestDue = f.OldestDue.UTC()
		out.OldestSeconds = max(0, s.Now().Sub(f.OldestDue).Truncate(time.Millisecond).Seconds())
	}
	if !f.FirstEvent.IsZero() {
		out.FirstEvent = f.FirstEvent.UTC()
	}
	return out, nil
}

func (s *server) getConfig(context.Context, *struct{}) (*configResult, error) {
	return &configResult{s.Config.State()}, nil
}

func (s *server) checkConfig(ctx context.Context, _ *struct{}) (*checkResult, error) {
	problems, err := s.Config.Check(ctx)
	return checked(problems), err
}

// reload answers 200 with the problems where there are some: the request was right, the file isn't, and
// nothing changed.
func (s *server) reload(ctx context.Context, in *reloadRequest) (*checkResult, error) {
	problems, err := s.Config.Reload(ctx)
	if err != nil {
		return nil, err
	}
	detail := "done"
	if len(problems) > 0 {
		detail = "refused: the file has problems"
	} else {
		s.Changed()
	}
	if err := s.audit(ctx, in.By, "config.reload", s.Config.State().File, detail); err != nil && core.CodeOf(err) != core.CodeUnavailable {
		return nil, err
	}
	out := checked(problems)
	if out.Body.OK {
		out.Body.Restart = s.Config.State().Restart
	}
	return out, nil
}

func checked(problems []Problem) *checkResult {
	return &checkResult{Checked{OK: len(problems) == 0, Problems: append([]Problem{}, problems...)}}
}
