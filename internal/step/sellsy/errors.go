package sellsy

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"time"

	"relais/internal/step"
	"relais/internal/step/rest"
)

// maintenance is how long Sellsy's is waited for.
const maintenance = 30 * time.Minute

// said reads {"error": {"code", "message", "context", "details": {field: message}}}.
func said(data []byte) string {
	var body struct {
		Error json.RawMessage `json:"error"`
	}
	var failure struct {
		Message string                     `json:"message"`
		Details map[string]json.RawMessage `json:"details"`
	}
	if json.Unmarshal(data, &body) != nil || json.Unmarshal(body.Error, &failure) != nil {
		return ""
	}
	message := failure.Message
	for _, field := range slices.Sorted(maps.Keys(failure.Details)) {
		message += "; " + field + ": " + unquoted(failure.Details[field])
	}
	return message
}

// quotas are the wait that each of Sellsy's asks for once it is used up.
var quotas = []struct {
	header string
	wait   time.Duration
}{
	{"X-Quota-Remaining-By-Month", rest.LongestRetryAfter}, {"X-Quota-Remaining-By-Day", time.Hour},
	{"X-Quota-Remaining-By-Minute", time.Minute}, {"X-Quota-Remaining-By-Second", time.Second},
}

// after is when Sellsy may be called again, as the quota that is used up tells.
func after(response *http.Response) time.Duration {
	if response.StatusCode != http.StatusTooManyRequests {
		return 0
	}
	for _, quota := range quotas {
		if response.Header.Get(quota.header) == "0" {
			return quota.wait
		}
	}
	return time.Minute
}

// hint adds what Sellsy's errors are known to mean.
func hint(e *rest.Error, f *step.Failure) {
	switch e.Status {
	case http.StatusUnauthorized:
		f.Message += "; the connection's token is refused, and so is a new one where one could be had: mend the connection's secrets"
	case http.StatusForbidden:
		f.Message += "; the client needs the scopes estimates.read, invoices.read and invoices.write, and its owner the rights on these documents"
	case http.StatusServiceUnavailable:
		if f.After == 0 {
			f.After = maintenance
		}
	}
}
