// Package config reads relais.yaml and the environment into a typed, validated configuration.
//
// The file is strict: an unknown key, a value of the wrong kind or out of bounds, and a variable that
// isn't set are problems; all problems of a file are reported at once, each on one line with its place
// and what is allowed. A configuration with problems is never used.
package config

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"relais/internal/core"
)

// Config is a whole configuration. Lists stand in the order of the file.
type Config struct {
	File        string
	PublicURL   string
	Listen      string
	AdminListen string
	// Store is "" for SQLite in the data folder.
	Store          Secret
	Dev            bool
	TrustedProxies []netip.Prefix
	Ingest         Ingest
	Retention      Retention
	Lanes          Lanes
	Log            Log
	// OnDead is the operator's command, run without a shell for each dead delivery, its JSON on the
	// standard input.
	OnDead      []string
	Sources     []Source
	Connections []Connection
	Routes      []Route

	// Hash identifies the routes' text; the same routes have the same hash.
	Hash string
	// Redacted is the file's text with secrets replaced, for the record.
	Redacted []byte

	// Secrets are all of the configuration's, for whatever must be kept free of them: those that are read
	// as secrets, and those that steps are given to send along.
	Secrets []Secret `json:"-"`

	// Warnings are what is allowed and is probably a mistake, in the order of the file.
	Warnings Problems `json:"-"`

	// Variables are those that the configuration was made with, by name.
	Variables []Variable `json:"-"`

	places map[string]Place
}

// Variable is an environment variable that had a value and was asked for; the value itself isn't kept.
type Variable struct {
	Name string
	// From is the .env file that holds it, or "" where the process's environment does.
	From string
}

// Place is where something stands in the file.
type Place struct {
	File         string
	Line, Column int
}

// Problem is one thing wrong with a configuration.
type Problem struct {
	Place Place
	// Path is the key's path: routes.facture.steps[0].with.estimate.
	Path    string
	Message string // what is wrong and what is allowed
}

func (p Problem) String() string {
	where := p.Place.File
	if p.Place.Line > 0 {
		where = fmt.Sprintf("%s:%d:%d", p.Place.File, p.Place.Line, p.Place.Column)
	}
	if p.Path == "" {
		return where + ": " + p.Message
	}
	return where + ": " + p.Path + ": " + p.Message
}

// Problems are all that is wrong with a configuration; as an error, one line each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// At returns the place of a path, or of its nearest parent that stands in the file.
func (c *Config) At(path string) Place { return nearest(c.places, path) }

// Ingest bounds what comes in.
type Ingest struct {
	MaxBodyBytes  int64         // of one request; default 1 MiB
	InFlightBytes int64         // of all requests at once; default 64 MiB
	BodyTimeout   time.Duration // to send a whole request; default 10 s
	AddressRate   float64       // requests per second from one address (/64 in v6); default 1000
	AddressBurst  int           // default 2000
	Spool         bool          // while PostgreSQL is away; default true
	SpoolBytes    int64         // default 1 GiB
	Rejections    Rejections
}

// Rejections bounds what refused requests may take.
type Rejections struct {
	PerSource int           // default 10,000
	Bytes     int64         // default 64 MiB
	Age       time.Duration // default 7 days
	PerHour   int           // rows from one address and hour; default 100
}

// Retention says how long what is kept. Durations accept days ("30d").
type Retention struct {
	Events   time.Duration // default 30 days
	Dead     time.Duration // default 90 days
	Attempts time.Duration // default 30 days
	Size     int64         // bytes of used pages; 0 (default) is no bound
}

// SourceRetention is how long what a source sent is kept, where that isn't as long as the rest; 0 is as long.
type SourceRetention struct {
	Events     time.Duration
	Rejections time.Duration
}

// Lanes bounds what runs at once on this node.
type Lanes struct {
	Running      int           // default 2048
	Bytes        int64         // default 256 MiB
	Window       int           // of one lane; default 16
	Timeout      time.Duration // of one attempt; default 5 min
	StopTimeout  time.Duration // that attempts get to end at a stop; default 25 s
	ReadyDelay   time.Duration // between /ready 503 and closing the listener; default 5 s
	Interrupted  int           // times in a row before a delivery is dead; default 3
	BreakerAfter int           // failures in a row; default 10
	BreakerRest  time.Duration // first rest; doubles up to 5 min; default 10 s
}

// Log says how relais logs.
type Log struct {
	Level  string // debug, info (default), warn, error
	Format string // text (default) or json
}

// Source is something that sends.
type Source struct {
	Name    string
	Preset  string   // "" with an own Verify
	Path    string   // besides /in/{name}
	Secrets []Secret // any of them may have signed
	// NamedSecrets are those of which a field of the request chooses one by its name, or whose name tells
	// who sent it, or which only a handshake asks for.
	NamedSecrets map[string][]Secret
	// Fields are the merchant's own names of what the provider sends, in the provider's writing, or "".
	Fields   string
	AllowIPs []netip.Prefix
	// Verify overrides the preset's verification, in the preset's grammar; nil keeps it.
	Verify map[string]any
	// Auth "none" takes anything. It must be said.
	Auth         string
	Answer       string // "" as the preset says; "always-200" answers refusals with 200
	MaxBodyBytes int64
	Rate         float64 // verified requests per second; 0 is no limit
	Burst        int
	Redact       []string
	Dedup        string        // CEL for the key, "off", "body", or "" as the preset says
	DedupWindow  time.Duration // 0 as the preset says
	SilentAfter  time.Duration // without an event, after which somebody should look; 0 is never
	Retention    SourceRetention
	Test         bool
	TestKey      *Secret       // what requests to a test source from elsewhere must carry; nil takes none of them
	Reconcile    time.Duration // how often the provider is asked for what its webhooks lost; 0 is never
}

// Connection is another system that steps act on. Settings are the kind's own parameters, checked by it.
type Connection struct {
	Name     string
	Kind     string
	Settings map[string]any // strings of secret parameters are Secret
}

// Route is a rule: for these events, when this holds, do these steps.
type Route struct {
	Name     string
	On       []string
	When     string
	Delay    time.Duration
	OrderBy  string
	FIFO     bool
	OnFIFO   string // fifo_on_dead: stop (default) or skip
	Priority core.Priority
	// PriorityExpr is the priority as an expression ("${{ event.data.priority }}"), or "".
	PriorityExpr string
	Window       int // 0: Lanes.Window
	Rate         float64
	Burst        int
	Retry        Retry
	MaxAge       time.Duration
	Steps        []Step
	OnDead       *Step
	Test         bool
}

// Retry overrides the schedule; nil Delays keep the default one.
type Retry struct {
	Delays []time.Duration
}

// Step is one action of a route.
type Step struct {
	ID         string // given, or "1", "2", …
	Use        string
	Connection string
	When       string
	With       map[string]any
	Timeout    time.Duration
	OnError    string // fail (default) or continue
	OnUnknown  string // retry (default) or stop
}
