package source

import (
	"bytes"
	"embed"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"relais/internal/config"
	"relais/internal/core"
)

// Preset is what relais knows of a provider: the grammar of the files in presets, which is also that of
// a source's own verify in relais.yaml.
type Preset struct {
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	Docs  string `yaml:"docs"` // the provider's page

	// Path is the default path besides /in/{source}; AllowIPs the provider's addresses. TestPath is that of a
	// source with test: true, and EventsPath lists the known types to a GET.
	Path       string   `yaml:"path"`
	TestPath   string   `yaml:"test_path"`
	EventsPath string   `yaml:"events_path"`
	AllowIPs   []string `yaml:"allow_ips"`
	// Rate is how many verified requests a source takes when its entry says nothing: 100/m. MaxBody is the
	// same for the largest body: 16MiB.
	Rate    string `yaml:"rate"`
	MaxBody string `yaml:"max_body"`
	// Methods are those that carry messages; POST when left out.
	Methods   []string    `yaml:"methods"`
	Handshake []Handshake `yaml:"handshake"`
	Answer    Answer      `yaml:"answer"`
	Refuse    Refuse      `yaml:"refuse"`

	Verify Verify   `yaml:"verify"`
	Data   DataRule `yaml:"data"`
	Type   Rules    `yaml:"type"`
	// NativeType is read like Type; left out, it is the type before its characters were normalized.
	NativeType Rules    `yaml:"native_type"`
	Dedup      Dedup    `yaml:"dedup"`
	Redact     []string `yaml:"redact"`
	// Split makes several events of one request.
	Split Split `yaml:"split"`
	// Test tells the messages of the provider's own test mode, where all that it names holds, as in a rule's
	// when: {data.livemode: "false"}. Their events are marked as tests, which only routes that ask for tests take.
	Test map[string]Texts `yaml:"test"`
	// Agree lists texts that must be the same where both are there: [["{path.flow}", "{data.flow}"]].
	Agree [][]string `yaml:"agree"`
	// Priority gives urgent, high, normal or low; anything else is normal.
	Priority Rules `yaml:"priority"`
	// Normalized are the members of event.normalized.
	Normalized map[string]Rules `yaml:"normalized"`
	// Aliases are other names of types, for routes: {INVOICE_PAYED: BILL_PAYED, THIRDPARTY_*: COMPANY_*}.
	Aliases map[string]string `yaml:"aliases"`
	// Fields are the names that stand for letters where a merchant chooses them, written as the provider
	// has them: "Mt:M;Ref:R". Rules say {field.M}.
	Fields string `yaml:"fields"`

	Events []EventDoc `yaml:"events"`
	// Numbered is set where the provider's objects have numbers as ids.
	Numbered bool `yaml:"numbered"`
	// Types are the types that the provider is known to send besides those of Events. Where there are
	// none, nothing is known: senders choose their own, or nobody listed them.
	Types []TypeSet `yaml:"types"`
	Tests []Vector  `yaml:"tests"`
}

// Answer is what the provider wants to hear. The zero Answer is an empty 200.
type Answer struct {
	Status      int    `yaml:"status"`
	Body        string `yaml:"body"`
	ContentType string `yaml:"content_type"`
	// Header is what a handshake sends back in headers.
	Header map[string]string `yaml:"-"`
	// Sandboxed marks an answer that may hold something of the request: no browser may take it for a page.
	Sandboxed bool `yaml:"-"`
}

// DataRule says how event.data is read, by the kind of the request's Content-Type: json, form,
// form-json:FIELD or none each. One text alone is for all of them.
type DataRule struct {
	Form  string `yaml:"form"`
	JSON  string `yaml:"json"`
	Other string `yaml:"other"`
}

// UnmarshalYAML reads the one text or the three.
func (d *DataRule) UnmarshalYAML(node []byte) error {
	var one string
	if yaml.Unmarshal(node, &one) == nil {
		*d = DataRule{one, one, one}
		return nil
	}
	type plain DataRule
	return yaml.UnmarshalWithOptions(node, (*plain)(d), yaml.Strict())
}

// Rules are tried in order; the first that applies gives the value.
type Rules []Rule

// UnmarshalYAML reads a list of rules, or one alone.
func (r *Rules) UnmarshalYAML(node []byte) error {
	var list []any
	if yaml.Unmarshal(node, &list) == nil {
		type plain []Rule
		return yaml.UnmarshalWithOptions(node, (*plain)(r), yaml.Strict())
	}
	var one Rule
	if err := yaml.UnmarshalWithOptions(node, &one, yaml.Strict()); err != nil {
		return err
	}
	*r = Rules{one}
	return nil
}

// Rule gives a value when its conditions hold and every field that it names is there.
type Rule struct {
	// When compares fields with one text or with any of several: {data.event: step}. "*" is any text but
	// none, "00*" any that begins so, and "" none.
	When map[string]Texts `yaml:"when"`
	// Is is text with fields in braces: {data.PATH}, {header.NAME}, {query.NAME}, {path.NAME}, {field.LETTER},
	// {secret} (the name of the secret that fitted), {body}.
	Is string `yaml:"is"`
	// Map takes the text for another one. "00*" is any that begins so, "*" any other; a text that isn't in
	// the map means that the rule doesn't apply.
	Map map[string]string `yaml:"map"`
	// As makes something else of the text, for normalized: int, cents (of "77.90"), number, bool, or time
	// (RFC 3339 of seconds or milliseconds). A text that is none means that the rule doesn't apply.
	As string `yaml:"as"`
	// CEL is an expression over data, header and query instead, for what Is can't say. It costs a full
	// decoding of the body. An empty string means that the rule doesn't apply.
	CEL string `yaml:"cel"`
}

// UnmarshalYAML reads a rule; one text alone is its Is.
func (r *Rule) UnmarshalYAML(node []byte) error {
	var one string
	if yaml.Unmarshal(node, &one) == nil {
		*r = Rule{Is: one}
		return nil
	}
	type plain Rule
	return yaml.UnmarshalWithOptions(node, (*plain)(r), yaml.Strict())
}

// Dedup says what makes a message unique, and for how long that is remembered. {body} may be a part of
// the key only where the bodies carry a time or a sequence: else two messages that say the same would
// be taken for one.
type Dedup struct {
	Key    Rules         `yaml:"key"`
	Window time.Duration `yaml:"window"`
}

// EventDoc is an event type that the provider sends, with a sample of its body.
type EventDoc struct {
	Type        string `yaml:"type"`
	Doc         string `yaml:"doc"`
	ContentType string `yaml:"content_type"`
	// Header holds what names the event where the body doesn't.
	Header map[string]string `yaml:"header"`
	// Field is the form's field that holds the sample, where it is sent that way.
	Field string `yaml:"field"`
	// Sample is the body's text, with {id}, {timestamp} and {unique} replaced when it is sent, and {secret:NAME} by
	// the name of one of the source's secrets.
	Sample string `yaml:"sample"`
}

// TypeSet is the types that begin with one of Of and end with one of Is, or Is alone where Of is left out.
type TypeSet struct {
	Of []string `yaml:"of"`
	Is []string `yaml:"is"`
}

// KnownTypes lists the types that the provider is known to send; none where nothing is known.
func (p *Preset) KnownTypes() []string {
	var out []string
	for _, set := range p.Types {
		if len(set.Of) == 0 {
			out = append(out, set.Is...)
		}
		for _, of := range set.Of {
			for _, is := range set.Is {
				out = append(out, of+"."+is)
			}
		}
	}
	if len(out) == 0 {
		return nil
	}
	for _, e := range p.Events {
		out = append(out, e.Type)
	}
	return out
}

// Vector is a request and what must become of it.
type Vector struct {
	Name    string            `yaml:"name"`
	Source  string            `yaml:"from"` // where the vector was published; "computed" when it wasn't
	Secrets []string          `yaml:"secrets"`
	Named   map[string]string `yaml:"named"` // secrets with names
	Verify  map[string]any    `yaml:"verify"`
	At      time.Time         `yaml:"at"`
	Method  string            `yaml:"method"`
	URL     string            `yaml:"url"`
	// Path are the named parts of the path that it came by, as a query writes them: workflowId=stock-alerts.
	Path   string            `yaml:"path"`
	Fields string            `yaml:"fields"` // as in a source's entry
	Header map[string]string `yaml:"header"`
	Body   string            `yaml:"body"`
	Want   Want              `yaml:"want"`
}

// Want is what becomes of a vector: refused for that reason, or a message.
type Want struct {
	// Verified asks for the verification alone, of a body that was published but is no message.
	Verified   bool              `yaml:"verified"`
	Reject     core.RejectReason `yaml:"reject"`
	Type       string            `yaml:"type"`
	NativeType string            `yaml:"native_type"`
	Format     core.DataFormat   `yaml:"format"`
	Dedup      bool              `yaml:"dedup"`
	// Test says that the event is marked as a test; it must not be where this is left out.
	Test bool `yaml:"test"`
	// Types are those of a request's several events, in order.
	Types []string `yaml:"types"`
	// Normalized are members that event.normalized must have, and Priority the event's own.
	Normalized map[string]any `yaml:"normalized"`
	Priority   string         `yaml:"priority"`
	// Answer is the body that a handshake is answered with.
	Answer *string `yaml:"answer"`
}

// Presets are the preset files of a folder. A file is read when its preset is asked for: a start pays
// for the providers that it uses.
type Presets struct {
	files fs.FS
	own   fs.FS // a user's, which go before; nil where there are none
	// folder is where own is, for messages.
	folder string
}

//go:embed presets/*.yaml
var embedded embed.FS

// Embedded returns the presets that relais comes with.
func Embedded() Presets {
	files, err := fs.Sub(embedded, "presets")
	if err != nil {
		panic(err) //nolint:forbidigo // the folder's name is a constant
	}
	return Presets{files: files}
}

// NewPresets returns the presets of a folder of YAML files.
func NewPresets(files fs.FS) Presets { return Presets{files: files} }

// Names lists the presets.
func (p Presets) Names() []string {
	names := append(namesIn(p.files), p.Own()...)
	slices.Sort(names)
	return slices.Compact(names)
}

// Load reads one preset, strictly.
func (p Presets) Load(name string) (*Preset, error) {
	text, err := p.text(name)
	if err != nil {
		return nil, err
	}
	return ParsePreset(name, text)
}

// Outline reads one preset without its vectors, which are most of a file: a list of all presets is made at
// every start. It counts on vectors that stand last; where they don't, the whole is read.
func (p Presets) Outline(name string) (*Preset, error) {
	text, err := p.text(name)
	if err != nil {
		return nil, err
	}
	outline, vectors, found := bytes.Cut(text, []byte("\ntests:\n"))
	if found && lastKey(vectors) {
		text = append(outline, '\n')
	}
	return ParsePreset(name, text)
}

// lastKey tells whether no other key follows these vectors: all that is theirs is indented.
func lastKey(vectors []byte) bool {
	for line := range bytes.Lines(vectors) {
		if c := line[0]; c != ' ' && c != '\n' && c != '\r' && c != '#' {
			return false
		}
	}
	return true
}

func (p Presets) text(name string) ([]byte, error) {
	if !slices.Contains(p.Names(), name) {
		err := core.Errorf(core.CodeInvalid, "there is no preset %q: there are %s", name, strings.Join(p.Names(), ", "))
		err.Field = "preset"
		return nil, err
	}
	from := p.files
	if slices.Contains(p.Own(), name) {
		from = p.own
	}
	return fs.ReadFile(from, name+".yaml")
}

// ParsePreset reads a preset's text and checks that it compiles. The error is all that is wrong, joined.
func ParsePreset(name string, text []byte) (*Preset, error) {
	preset := new(Preset)
	if err := yaml.UnmarshalWithOptions(text, preset, yaml.Strict()); err != nil {
		return nil, core.Errorf(core.CodeInvalid, "preset %s: %w", name, malformed(err, text))
	}
	if preset.Name != name {
		return nil, invalid("name", "preset %s: its name is %q: it must be the file's", name, preset.Name)
	}
	if err := preset.check(); err != nil {
		return nil, err
	}
	return preset, nil
}

// malformedError is what keeps a preset's text from being read, and where: 0 where that isn't known.
type malformedError struct {
	line, column int
	message      string
}

func (e *malformedError) Error() string { return e.message }

// malformed finds the place of what the YAML library says. A part that is read by itself is counted from its own
// first line: its place is the file's where the same word stands there, else where that is a key once, else unknown.
func malformed(err error, text []byte) error {
	var syntax *yaml.SyntaxError // of the whole text, so that its place is the file's
	if errors.As(err, &syntax) && syntax.Token != nil {
		return &malformedError{syntax.Token.Position.Line, syntax.Token.Position.Column, config.Syntax(syntax.Message)}
	}
	var known yaml.Error
	if !errors.As(err, &known) || known.GetToken() == nil || known.GetToken().Position == nil {
		return &malformedError{message: yaml.FormatError(err, false, false)}
	}
	out := &malformedError{message: known.GetMessage()}
	token := known.GetToken()
	lines := strings.Split(string(text), "\n")
	if at := token.Position; at.Line <= len(lines) && at.Column > 0 && at.Column <= len(lines[at.Line-1]) &&
		strings.HasPrefix(lines[at.Line-1][at.Column-1:], token.Value) {
		out.line, out.column = at.Line, at.Column
	} else if before, after, found := strings.Cut(string(text), token.Value+":"); found && !strings.Contains(after, token.Value+":") {
		out.line = strings.Count(before, "\n") + 1
		out.column = len(before) - strings.LastIndexByte(before, '\n')
	}
	return out
}
