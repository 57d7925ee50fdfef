package source

import (
	"iter"
	"maps"
	"slices"
	"strings"
)

// check refuses what can't work, so that a request is never the first to find out.
func (v *Verify) check() error {
	scheme, signed := schemes[v.Scheme]
	if !signed && v.Scheme != "token" && v.Scheme != "basic" {
		return invalid("verify.scheme", "%q: allowed are %s, token, basic", v.Scheme, strings.Join(sorted(maps.Keys(schemes)), ", "))
	}
	at, err := v.place()
	if err != nil {
		return err
	}
	if !signed {
		if at.kind != placeHeader && at.kind != placeQuery && at.kind != placePath {
			return invalid("verify", "a credential stands in a header, in the query or in the path: one in the body would be stored with it")
		}
		return nil
	}
	if err := v.checkWords(); err != nil {
		return err
	}
	parts, err := parseSigned(v.template())
	if err != nil {
		return err
	}
	for _, check := range []error{v.checkParts(scheme, at, parts), v.checkTimes(parts), v.checkPlace(at, parts)} {
		if check != nil {
			return check
		}
	}
	return nil
}

func (v *Verify) checkParts(scheme scheme, at place, parts []signedPart) error {
	certificate := v.CertificateURL.given()
	if certificate {
		if _, err := v.CertificateURL.compile(); err != nil {
			return err
		}
	}
	alternatives := 0
	for i := range parts {
		if parts[i].varies() {
			alternatives++
		}
	}
	switch {
	case scheme.kind == plainHash && !signs(parts, signedKey):
		return invalid("verify.signed", "a plain hash proves nothing without {key} in it")
	case scheme.public() && signs(parts, signedKey):
		return invalid("verify.signed", "a public key is no part of what is signed: {key} must go")
	case len(v.PublicKeys) > 0 && !scheme.public():
		return invalid("verify.public_keys", "%s is made with a secret, not with a public key", v.Scheme)
	case certificate && !scheme.public():
		return invalid("verify.certificate_url", "%s is made with a secret, and a certificate holds none", v.Scheme)
	case certificate && (len(v.PublicKeys) > 0 || v.Choose != (Where{})):
		return invalid("verify.certificate_url", "the request says which key it was signed with: public_keys and choose must go")
	case alternatives > 1:
		return invalid("verify.signed", "{preceding} and {url|any-port} can stand there once and not together")
	case signs(parts, signedPreceding) && (!at.inText() || formats[v.Format] != formatPlain):
		return invalid("verify.signed", "{preceding} is what stands before the signature's parameter: say which with param, query or form")
	case v.BodyDigest != (Where{}) && (v.BodyDigest.Query == "" || !signs(parts, signedURL)):
		return invalid("verify.body_digest", "the digest must be signed: it stands in the query, and {url} in signed")
	}
	return nil
}

func (v *Verify) checkTimes(parts []signedPart) error {
	timestamp, id := v.Timestamp.place(), v.ID.place()
	// One in the body is signed where the body is.
	covered := signs(parts, signedTimestamp) || (timestamp.kind == placeJSON || timestamp.kind == placeForm) && signs(parts, signedBody)
	switch {
	case covered != (timestamp.kind != placeNone):
		return invalid("verify.timestamp", "{timestamp} in signed and a place for it go together: a timestamp that isn't signed proves nothing")
	case v.Tolerance != 0 && timestamp.kind == placeNone:
		return invalid("verify.tolerance", "there is no signed timestamp that it could bound")
	case v.Tolerance < 0:
		return invalid("verify.tolerance", "it is negative")
	case signs(parts, signedID) != (id.kind != placeNone):
		return invalid("verify.id", "{id} in signed and a place for it go together")
	case timestamp.kind == placeItem && v.Format != "pairs":
		return invalid("verify.timestamp", "an item stands among pairs only")
	}
	return nil
}

func (v *Verify) checkPlace(at place, parts []signedPart) error {
	switch {
	case at.kind == placeJSON && strings.ContainsAny(at.name, `"\`):
		return invalid("verify.json", "%q: a path is names joined by '.', without quotes and backslashes", at.name)
	case v.Format == "numbered" && at.kind != placeHeader:
		return invalid("verify.format", "numbered is for headers")
	case v.Each != "" && at.kind != placeJSON:
		return invalid("verify.each", "the items of a list carry their signatures themselves: give json, a path in the item")
	case v.Each != "" && signs(parts, signedPreceding):
		return invalid("verify.each", "the items of a list are JSON: {preceding} is for queries and forms")
	}
	return nil
}

func (v *Verify) checkWords() error {
	if _, ok := formats[v.Format]; !ok {
		return invalid("verify.format", "%q: allowed are plain, pairs, list, numbered", v.Format)
	}
	for _, word := range v.Encoding {
		if _, ok := encodings[word]; !ok {
			return invalid("verify.encoding", "%q: allowed are hex, base64, base64url", word)
		}
	}
	if !slices.Contains(keyWords, v.Key) {
		return invalid("verify.key", "%q: allowed are text, hex, base64, nfkd", v.Key)
	}
	if _, ok := timestampUnits[v.Timestamp.Format]; !ok && v.Timestamp.Format != rfc3339 {
		return invalid("verify.timestamp.format", "%q: allowed are unix, unix-ms, unix-us, unix-ns, rfc3339", v.Timestamp.Format)
	}
	return nil
}

func sorted(names iter.Seq[string]) []string { return slices.Sorted(names) }
