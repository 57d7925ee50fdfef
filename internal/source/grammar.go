package source

import (
	"github.com/goccy/go-yaml"

	"relais/internal/core"
)

// Texts is one text or a list of them.
type Texts []string

// UnmarshalYAML reads the one or the list.
func (t *Texts) UnmarshalYAML(node []byte) error {
	type plain []string
	if yaml.Unmarshal(node, (*plain)(t)) == nil {
		return nil
	}
	var one string
	if err := yaml.Unmarshal(node, &one); err != nil {
		return err
	}
	*t = Texts{one}
	return nil
}

// Split makes an event of each element of a list: its body is the element's bytes. A request without the
// list is one event. Rules read the element as data, and what is around it as {envelope.PATH}.
type Split struct {
	// At are paths to lists: the elements of all that are there count, in this order. "." is the body itself.
	At Texts `yaml:"at"`
	// Item is the member of an element that is the message, where the elements only wrap it.
	Item string `yaml:"item"`
	// Empty is the type of the one event that an empty list makes, with the whole body; "empty" when left out.
	Empty string `yaml:"empty"`
}

// UnmarshalYAML reads a split; paths alone are its At.
func (s *Split) UnmarshalYAML(node []byte) error {
	var at Texts
	if yaml.Unmarshal(node, &at) == nil {
		*s = Split{At: at}
		return nil
	}
	type plain Split
	return yaml.UnmarshalWithOptions(node, (*plain)(s), yaml.Strict())
}

// Handshake answers requests that carry no message: a ping, or a question that only the owner of the
// address can answer. The first whose conditions hold answers; nothing is stored.
//
// One of a method that carries messages is looked at after verification, unless it is unsigned. What is
// sent back is at most 256 bytes of letters, digits, '.', '_', '~' and '-', so that nothing that a browser
// runs, and no message, can be had from it.
type Handshake struct {
	// Method is left out for the methods that carry messages.
	Method string           `yaml:"method"`
	When   map[string]Texts `yaml:"when"`
	// Unsigned answers requests that carry no signature at all.
	Unsigned bool `yaml:"unsigned"`
	// Token must be one of the source's secrets of that name.
	Token HandshakeToken `yaml:"token"`
	// Echo is the answer's text; JSON the members of its object. A field may go through
	// {hmac-sha256-hex data.PATH} or {hmac-sha256-base64 query.NAME}, with the source's first secret.
	Echo string            `yaml:"echo"`
	JSON map[string]string `yaml:"json"`
	// Header are headers of the answer, X-Hook-NAME or X-Webhook-NAME, and their texts.
	Header map[string]string `yaml:"header"`
	Answer Answer            `yaml:"answer"`
	// Keep puts the request among the refused ones all the same, for a person who must read what it says.
	Keep bool `yaml:"keep"`
	// GivesSecret is set where the source's secret is known only after it: a source with its token and without a
	// secret is taken, and refuses everything else.
	GivesSecret bool `yaml:"gives_secret"`
}

// HandshakeToken is a token that a provider sends along, and the name of the secret that it must be.
type HandshakeToken struct {
	Is     string `yaml:"is"`
	Secret string `yaml:"secret"`
}

// Refuse are the provider's own statuses for refusals, 4xx; 0 is the usual one.
type Refuse struct {
	// Signature is for what isn't proven: no signature, a wrong or an old one, wrong credentials.
	Signature int `yaml:"signature"`
	// Body is for what was verified and can't be read.
	Body int `yaml:"body"`
}

func (r *Refuse) statuses() (map[core.RejectReason]int, error) {
	out := map[core.RejectReason]int{}
	for _, group := range []struct {
		status  int
		reasons []core.RejectReason
	}{
		{r.Signature, []core.RejectReason{core.RejectNoSignature, core.RejectBadSignature, core.RejectExpired, core.RejectCredentials}},
		{r.Body, []core.RejectReason{core.RejectMalformed, core.RejectEmpty}},
	} {
		if group.status == 0 {
			continue
		}
		if group.status < 400 || group.status > 499 {
			return nil, invalid("refuse", "%d: a refusal is answered with a 4xx", group.status)
		}
		for _, reason := range group.reasons {
			out[reason] = group.status
		}
	}
	return out, nil
}
