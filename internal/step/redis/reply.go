package redis

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"relais/internal/step"
)

// What of a reply is kept for later steps: the whole result has 64 KiB.
const maxKept = 48 << 10

func result(reply any) step.Result {
	plain := plainReply(reply)
	text, err := json.Marshal(plain)
	if err != nil || len(text) > maxKept {
		return step.Result{"truncated": true}
	}
	return step.Result{"reply": plain}
}

// plainReply makes of an answer what JSON can hold. Redis keeps bytes: those that are no text become
// {"base64": …}.
func plainReply(reply any) any {
	switch v := reply.(type) {
	case nil, int64, bool:
		return v
	case string:
		if utf8.ValidString(v) {
			return v
		}
		return map[string]any{"base64": base64.StdEncoding.EncodeToString([]byte(v))}
	case []any:
		out := make([]any, len(v))
		for i, item := range v {
			out[i] = plainReply(item)
		}
		return out
	case error:
		return map[string]any{"error": v.Error()}
	}
	return fmt.Sprint(reply)
}
