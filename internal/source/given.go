package source

import "strings"

// maxCandidates bounds the signatures that one request may give (a rotation gives two), and
// maxSignatureText the text that holds them.
const (
	maxCandidates    = 16
	maxSignatureText = 4 << 10
)

type format uint8

const (
	formatPlain format = iota
	formatPairs
	formatList
	formatNumbered
)

var formats = map[string]format{
	"": formatPlain, "plain": formatPlain, "pairs": formatPairs, "list": formatList, "numbered": formatNumbered,
}

// given decodes the request's signatures.
func (v *signature) given(w *work, req *Request) *Rejected {
	w.n = 0
	if v.format != formatNumbered {
		text, times := v.place.read(req)
		switch {
		case times == 0:
			return errNoSignature
		case times > 1:
			return errTwoSignatures
		case len(text) > maxSignatureText:
			return errSignatureForm
		}
		return v.candidates(w, text)
	}
	any := false
	for i := range v.numbered {
		text, times := v.numbered[i].read(req)
		switch {
		case times == 0:
			continue
		case times > 1:
			return errTwoSignatures
		case len(text) > maxSignatureText:
			return errSignatureForm
		}
		any = true
		if text, ok := strings.CutPrefix(text, v.prefix); ok {
			v.candidate(w, text)
		}
	}
	switch {
	case !any:
		return errNoSignature
	case w.n == 0:
		return errSignatureForm
	}
	return nil
}

// candidates decodes the signatures in the text, and keeps the timestamp that stands beside them.
func (v *signature) candidates(w *work, text string) *Rejected {
	text, ok := strings.CutPrefix(text, v.prefix)
	if !ok {
		return errSignatureForm
	}
	switch v.format {
	case formatList:
		for text != "" {
			var one string
			one, text, _ = strings.Cut(text, " ")
			if name, value, ok := strings.Cut(one, ","); ok && name == v.item {
				v.candidate(w, value)
			}
		}
	case formatPairs:
		if err := v.pairs(w, text); err != nil {
			return err
		}
	default:
		v.candidate(w, text)
	}
	if w.n == 0 {
		return errSignatureForm
	}
	return nil
}

func (v *signature) pairs(w *work, text string) *Rejected {
	for text != "" {
		var one string
		one, text, _ = strings.Cut(text, v.separator)
		name, value, _ := strings.Cut(strings.TrimSpace(one), "=")
		switch {
		case name == v.item:
			v.candidate(w, value)
		case v.timestamp.kind == placeItem && name == v.timestamp.name:
			if w.message.timestamp != "" {
				return errTimestampForm
			}
			w.message.timestamp = value
		}
	}
	if v.timestamp.kind == placeItem && w.message.timestamp == "" {
		return errNoTimestamp
	}
	return nil
}

// candidate decodes one signature, in each encoding that it can be in.
func (v *signature) candidate(w *work, text string) {
	w.text = append(w.text[:0], text...)
	for _, encoding := range v.encodings {
		if w.n == maxCandidates {
			return
		}
		size := v.scheme.longest()
		room := w.room[w.n*size : (w.n+1)*size]
		if n := encoding.decode(room, w.text); n > 0 {
			w.given[w.n] = room[:n]
			w.n++
		}
	}
}
