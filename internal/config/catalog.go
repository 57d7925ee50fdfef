package config

// Catalog is what a configuration may use, as plain data: the kinds of steps and connections, and the
// presets. The packages that know them come after this one; app fills the catalog from theirs.
type Catalog struct {
	Steps       []StepKind
	Connections []ConnectionKind
	Presets     []Preset
	// CheckSource refuses what only the verification engine can judge (verify, redact); it may be nil.
	// The Field of a core.Error in what it returns (several may be joined) is a key of the source.
	CheckSource func(Source) error
}

// StepKind is a kind of step.
type StepKind struct {
	Name       string   // sellsy/create-invoice
	Class      string   // shown in the schema's text
	Connection string   // the kind of connection that it needs; "" for none
	Also       []string // further kinds of connection that do as well
	Doc        string
	Params     []Param
	// Result is what a result of the step can have; nil for anything.
	Result []string
}

// ConnectionKind is a kind of connection.
type ConnectionKind struct {
	Name   string
	Doc    string
	Params []Param
	// Env names the environment variables that settings default to: {"client_id": "SELLSY_CLIENT_ID"}.
	Env map[string]string
}

// Preset is what the configuration needs to know of a provider.
type Preset struct {
	Name string
	Doc  string
	// Path is the provider's usual path: it is the source's where the file gives none, and only one
	// source would have it.
	Path string
	// TestPath is the same for a source with test: true.
	TestPath string
	// Aliases are other names of types: {INVOICE_PAYED: BILL_PAYED, THIRDPARTY_*: COMPANY_*}.
	Aliases map[string]string
	// NeedsSecret is set when requests can't be verified without a secret.
	NeedsSecret bool
	// SecretEnv names the environment variable that the secret defaults to: SELLSY_WEBHOOK_SECRET.
	SecretEnv string
	// Types are all event types that the preset knows; none where senders choose their own.
	Types []string
}

// ParamType is what a parameter must be; the words are those of the steps' engine.
type ParamType string

// The types of parameters.
const (
	TypeString   ParamType = "string"
	TypeInt      ParamType = "integer"
	TypeBool     ParamType = "boolean"
	TypeDuration ParamType = "duration"
	TypeList     ParamType = "list"
	TypeMap      ParamType = "object"
	TypeAny      ParamType = "any"
)

// Param is one parameter of a step, or one setting of a connection.
type Param struct {
	Name     string
	Type     ParamType
	Required bool
	Secret   bool // of connections only
	Literal  bool // no ${{ }}
	Enum     []string
	Default  any
	Doc      string
	// Check refuses what can be known to be wrong from the text in the file; it may be nil.
	Check func(value any) error
}

func names[T any](list []T, name func(T) string) []string {
	out := make([]string, len(list))
	for i, item := range list {
		out[i] = name(item)
	}
	return out
}

func find[T any](list []T, name string, of func(T) string) (T, bool) {
	for _, item := range list {
		if of(item) == name {
			return item, true
		}
	}
	var none T
	return none, false
}

func (k StepKind) name() string       { return k.Name }
func (k ConnectionKind) name() string { return k.Name }
func (p Preset) name() string         { return p.Name }
func (p Param) name() string          { return p.Name }
