package source

import (
	"embed"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"relais/internal/core"
)

// Preset is what relais knows of a provider: the grammar of the files in presets, which is also that of
// a source's own verify in relais.yaml.
type Preset struct {
	Name  string `yaml:"name"`
	Title string `yaml:"title"`
	Docs  string `yaml:"docs"` // the provider's page

	// Path is the default path besides /in/{source}; AllowIPs the provider's addresses.
	Path     string   `yaml:"path"`
	AllowIPs []string `yaml:"allow_ips"`
	// Methods are those that carry messages; POST when left out.
	Methods   []string    `yaml:"methods"`
	Handshake []Handshake `yaml:"handshake"`
	Answer    Answer      `yaml:"answer"`

	Verify Verify   `yaml:"verify"`
	Data   DataRule `yaml:"data"`
	Type   Rules    `yaml:"type"`
	// NativeType is read like Type; left out, it is the type before its characters were normalized.
	NativeType Rules    `yaml:"native_type"`
	Dedup      Dedup    `yaml:"dedup"`
	Redact     []string `yaml:"redact"`

	Events []EventDoc `yaml:"events"`
	// Numbered is set where the provider's objects have numbers as ids.
	Numbered bool `yaml:"numbered"`
	// Types are the types that the provider is known to send besides those of Events. Where there are
	// none, nothing is known: senders choose their own, or nobody listed them.
	Types []TypeSet `yaml:"types"`
	Tests []Vector  `yaml:"tests"`
}

// Handshake answers requests of a method that carries no message, such as a ping, without verification.
type Handshake struct {
	Method string `yaml:"method"`
	Answer Answer `yaml:"answer"`
}

// Answer is what the provider wants to hear. The zero Answer is an empty 200.
type Answer struct {
	Status      int    `yaml:"status"`
	Body        string `yaml:"body"`
	ContentType string `yaml:"content_type"`
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

// Rule gives a value when its conditions hold and every field that it names is there.
type Rule struct {
	// When compares fields with texts: {data.event: step}.
	When map[string]string `yaml:"when"`
	// Is is text with fields in braces: {data.PATH}, {header.NAME}, {query.NAME}, {body}.
	Is string `yaml:"is"`
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
	// Sample is the body's text, with {id}, {timestamp} and {unique} replaced when it is sent.
	Sample string `yaml:"sample"`
}

// TypeSet is the types that begin with one of Of and end with one of Is.
type TypeSet struct {
	Of []string `yaml:"of"`
	Is []string `yaml:"is"`
}

// KnownTypes lists the types that the provider is known to send; none where nothing is known.
func (p *Preset) KnownTypes() []string {
	var out []string
	for _, set := range p.Types {
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
	Verify  map[string]any    `yaml:"verify"`
	At      time.Time         `yaml:"at"`
	Method  string            `yaml:"method"`
	URL     string            `yaml:"url"`
	Header  map[string]string `yaml:"header"`
	Body    string            `yaml:"body"`
	Want    Want              `yaml:"want"`
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
}

// Presets are the preset files of a folder. A file is read when its preset is asked for: a start pays
// for the providers that it uses.
type Presets struct{ files fs.FS }

//go:embed presets/*.yaml
var embedded embed.FS

// Embedded returns the presets that relais comes with.
func Embedded() Presets {
	files, err := fs.Sub(embedded, "presets")
	if err != nil {
		panic(err) //nolint:forbidigo // the folder's name is a constant
	}
	return Presets{files}
}

// NewPresets returns the presets of a folder of YAML files.
func NewPresets(files fs.FS) Presets { return Presets{files} }

// Names lists the presets.
func (p Presets) Names() []string {
	paths, err := fs.Glob(p.files, "*.yaml")
	if err != nil {
		return nil // the pattern is a constant, and the only error is a bad one
	}
	for i := range paths {
		paths[i] = strings.TrimSuffix(paths[i], ".yaml")
	}
	slices.Sort(paths)
	return paths
}

// Load reads one preset, strictly.
func (p Presets) Load(name string) (*Preset, error) {
	if !slices.Contains(p.Names(), name) {
		err := core.Errorf(core.CodeInvalid, "there is no preset %q: there are %s", name, strings.Join(p.Names(), ", "))
		err.Field = "preset"
		return nil, err
	}
	text, err := fs.ReadFile(p.files, name+".yaml")
	if err != nil {
		return nil, err
	}
	return ParsePreset(name, text)
}

// ParsePreset reads a preset's text and checks that it compiles.
func ParsePreset(name string, text []byte) (*Preset, error) {
	preset := new(Preset)
	if err := yaml.UnmarshalWithOptions(text, preset, yaml.Strict()); err != nil {
		return nil, core.Errorf(core.CodeInvalid, "preset %s: %s", name, yaml.FormatError(err, false, false))
	}
	if preset.Name != name {
		return nil, core.Errorf(core.CodeInvalid, "preset %s: its name is %q: it must be the file's", name, preset.Name)
	}
	if err := preset.check(); err != nil {
		return nil, err
	}
	return preset, nil
}
