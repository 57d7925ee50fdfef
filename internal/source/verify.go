package source

import (
	"maps"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Verify says how a request proves where it comes from.
type Verify struct {
	// Scheme is hmac-sha1, hmac-sha256, hmac-sha512; hash-sha1, hash-sha256, hash-sha512 for a plain
	// digest with the key in what is hashed; rsa-sha1, rsa-sha256 (PKCS #1 v1.5), ecdsa-p256-sha256,
	// ed25519 with the provider's public keys as secrets; token for a secret sent as it is; basic for
	// user:password in Authorization; none.
	Scheme string `yaml:"scheme"`

	// Where the signature or the token stands: exactly one. Param is the query's parameter or, where the
	// request has a body, the form's field.
	Header string `yaml:"header"`
	Query  string `yaml:"query"`
	Form   string `yaml:"form"`
	JSON   string `yaml:"json"` // a path: signature.value
	Param  string `yaml:"param"`
	Path   string `yaml:"path"` // a named part of the source's path, for a token

	// Each is the path of a list in the body whose items are signed one by one: json paths then begin at
	// the item. All of them must be signed.
	Each string `yaml:"each"`

	// Prefix stands before the signature or the token ("sha256=", "Bearer ").
	Prefix string `yaml:"prefix"`
	// Format is plain; pairs for "t=1,v1=aa,v1=bb"; list for "v1,aa v1,bb"; numbered for headers NAME-1,
	// NAME-2 with one signature each.
	Format string `yaml:"format"`
	// Separator stands between pairs; "," when left out.
	Separator string `yaml:"separator"`
	// Item names the signatures among pairs or in a list; "v1" when left out. Others are passed over.
	Item string `yaml:"item"`
	// Encoding is hex (default), base64, base64url, or a list of those that are accepted.
	Encoding Texts `yaml:"encoding"`

	// Key says how the secret's text becomes the key: text (default), hex, base64, nfkd (text, normalized).
	// KeyPrefix is cut off first, where it is there ("whsec_"). Public keys tell by themselves: PEM, or
	// bytes in hexadecimal or base64.
	Key       string `yaml:"key"`
	KeyPrefix string `yaml:"key_prefix"`
	// PublicKeys are the provider's own, used where the source gives none.
	PublicKeys []string `yaml:"public_keys"`
	// CertificateURL is where the request names the certificate whose key signed it. It is asked where the source
	// gives no secret.
	CertificateURL CertificateURL `yaml:"certificate_url"`
	// Choose is where the name of the secret stands, for secrets that have names. Secrets without a name
	// are tried whatever stands there.
	Choose Where `yaml:"choose"`

	// Signed is what is signed: text with parts in braces, such as {timestamp}.{body}. Left out, it is
	// {key}{body} for hash and {body} else.
	Signed string `yaml:"signed"`
	// Values are texts for {value.NAME} in Signed that each source gives, such as a webhook's id.
	Values map[string]string `yaml:"values"`
	// BodyDigest is where the body's SHA-256 stands, in hexadecimal, in what is signed. A body that is no
	// form must have it.
	BodyDigest Where     `yaml:"body_digest"`
	Timestamp  Timestamp `yaml:"timestamp"`
	ID         Where     `yaml:"id"`
	// Tolerance bounds the age of a signed timestamp, both ways; 0 doesn't look at it.
	Tolerance time.Duration `yaml:"tolerance"`

	// Uncovered says what of the request the scheme leaves open to whoever saw one.
	Uncovered string `yaml:"uncovered"`

	// Variants are other ways in which the provider may sign, by name; Variant chooses one.
	Variants map[string]map[string]any `yaml:"variants"`
	Variant  string                    `yaml:"variant"`
}

// Where is a place in a request.
type Where struct {
	Header string `yaml:"header"`
	Query  string `yaml:"query"`
	Form   string `yaml:"form"`
	JSON   string `yaml:"json"`
}

// Timestamp is where the signed time stands and how it is written.
type Timestamp struct {
	Header string `yaml:"header"`
	Query  string `yaml:"query"`
	Form   string `yaml:"form"`
	JSON   string `yaml:"json"`
	Item   string `yaml:"item"`   // the name among pairs: t
	Format string `yaml:"format"` // unix (default), unix-ms, unix-us, unix-ns, rfc3339
}

// override lays a source's own verify over the preset's: first the variant that it names, then its keys.
func (v *Verify) override(own map[string]any) error {
	if own == nil {
		return nil
	}
	if given, ok := own["variant"]; ok {
		name, _ := given.(string)
		variant, known := v.Variants[name]
		if !known {
			return invalid("verify.variant", "%v is none of the preset's: there are %s", given, strings.Join(sorted(maps.Keys(v.Variants)), ", "))
		}
		if err := v.lay(variant); err != nil {
			return err
		}
	}
	return v.lay(own)
}

// lay writes keys over those that are there. Another scheme forgets what the scheme before signs, and
// another place the place before.
func (v *Verify) lay(own map[string]any) error {
	for _, key := range placeKeys {
		if _, ok := own[key]; ok {
			v.Header, v.Query, v.Form, v.JSON, v.Param, v.Path = "", "", "", "", "", ""
		}
	}
	if scheme, ok := own["scheme"]; ok {
		v.Signed, v.PublicKeys, v.Uncovered, v.CertificateURL = "", nil, "", CertificateURL{}
		if scheme == "basic" {
			// Basic has its own header.
			v.Header, v.Query, v.Form, v.JSON, v.Param, v.Path, v.Prefix = "", "", "", "", "", "", ""
		}
	}
	text, err := yaml.Marshal(own)
	if err != nil {
		return invalid("verify", "it can't be read: %s", err)
	}
	if err := yaml.UnmarshalWithOptions(text, v, yaml.Strict()); err != nil {
		return invalid("verify", "%s", firstLine(yaml.FormatError(err, false, false)))
	}
	return nil
}

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

// template is what is signed, the default included.
func (v *Verify) template() string {
	switch {
	case v.Signed != "":
		return v.Signed
	case schemes[v.Scheme].kind == plainHash:
		return "{key}{body}"
	default:
		return "{body}"
	}
}

var placeKeys = []string{"header", "query", "form", "json", "param", "path"}

func (v *Verify) place() (place, error) {
	var at []place
	if v.Scheme == "basic" && v.Header == "" {
		at = append(at, headerPlace("Authorization"))
	}
	if v.Path != "" {
		at = append(at, place{kind: placePath, name: v.Path})
	}
	if v.Param != "" {
		at = append(at, place{kind: placeParam, name: v.Param})
	}
	for _, where := range []Where{{Header: v.Header}, {Query: v.Query}, {Form: v.Form}, {JSON: v.JSON}} {
		if where != (Where{}) {
			at = append(at, where.place())
		}
	}
	if len(at) != 1 {
		return place{}, invalid("verify", "exactly one of %s says where the signature stands", strings.Join(placeKeys, ", "))
	}
	return at[0], nil
}

func (t *Timestamp) place() place {
	if t.Item != "" {
		return place{kind: placeItem, name: t.Item}
	}
	return (&Where{t.Header, t.Query, t.Form, t.JSON}).place()
}

func (w *Where) place() place {
	switch {
	case w.Header != "":
		return headerPlace(w.Header)
	case w.Query != "":
		return place{kind: placeQuery, name: w.Query}
	case w.Form != "":
		return place{kind: placeForm, name: w.Form}
	case w.JSON != "":
		path := newPaths()
		path.add(w.JSON, 0)
		return place{kind: placeJSON, name: w.JSON, path: path}
	default:
		return place{}
	}
}
