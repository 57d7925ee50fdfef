package asyncapi

import (
	"strings"

	"relais/internal/source"
)

// securityScheme says how a source's requests are verified, in the words that AsyncAPI has. Where a signature stands
// inside the body AsyncAPI has no word for the place, and the description tells it.
func securityScheme(v *source.Verify, hide *strings.Replacer) object {
	out := object{}
	switch {
	case v.Scheme == "basic":
		out = object{{"type", "http"}, {"scheme", "basic"}}
	case v.Scheme == "token" && strings.EqualFold(v.Header, "Authorization") && strings.EqualFold(strings.TrimSpace(v.Prefix), "Bearer"):
		out = object{{"type", "http"}, {"scheme", "bearer"}}
	case v.Header != "":
		out = object{{"type", "httpApiKey"}, {"name", hide.Replace(v.Header)}, {"in", "header"}}
	case v.Query != "":
		out = object{{"type", "httpApiKey"}, {"name", hide.Replace(v.Query)}, {"in", "query"}}
	case v.Scheme == "token":
		out = object{{"type", "apiKey"}, {"in", "password"}}
	case isPublicKey(v.Scheme):
		out = object{{"type", "asymmetricEncryption"}}
	default:
		out = object{{"type", "symmetricEncryption"}}
	}
	out.add("description", hide.Replace(describe(v)))
	return out
}

func isPublicKey(scheme string) bool {
	return strings.HasPrefix(scheme, "rsa-") || strings.HasPrefix(scheme, "ecdsa-") || scheme == "ed25519"
}

func describe(v *source.Verify) string {
	var b strings.Builder
	switch {
	case v.Scheme == "basic":
		b.WriteString("User and password.")
		return b.String()
	case v.Scheme == "token":
		b.WriteString("A secret, sent as it is")
	case isPublicKey(v.Scheme):
		b.WriteString("A signature by the provider's private key (" + v.Scheme + ")")
	case strings.HasPrefix(v.Scheme, "hash-"):
		b.WriteString("A digest over the secret and the request (" + v.Scheme + ")")
	default:
		b.WriteString("A signature with the shared secret (" + v.Scheme + ")")
	}
	switch {
	case v.Form != "":
		b.WriteString(", in the form's field " + v.Form)
	case v.JSON != "":
		b.WriteString(", in the body's member " + v.JSON)
	case v.Param != "":
		b.WriteString(", in the parameter " + v.Param)
	}
	if v.Prefix != "" {
		b.WriteString(", behind \"" + v.Prefix + "\"")
	}
	if len(v.Encoding) > 0 && v.Scheme != "token" {
		b.WriteString(", in " + strings.Join(v.Encoding, " or "))
	}
	b.WriteByte('.')
	if v.Signed != "" {
		b.WriteString(" What is signed: " + v.Signed)
	}
	return b.String()
}
