package dolibarr

import (
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"relais/internal/step"
	"relais/internal/step/rest"
)

// isAbsent tells an object, or a list, that isn't there: its message goes on after "Not Found".
func isAbsent(err error) bool {
	var failed *rest.Error
	return errors.As(err, &failed) && failed.Status == http.StatusNotFound && !noCall(failed)
}

// noCall tells that there is no such call at all: the module is off, or the version older.
func noCall(e *rest.Error) bool {
	return e.Status == http.StatusNotImplemented || e.Status == http.StatusNotFound && e.Message == http.StatusText(http.StatusNotFound)
}

// said reads {"error": {"code": 404, "message": "Not Found: …", "0": "more"}, "debug": {…}}. What is under
// debug tells of files and lines of the server, and is left out.
func said(data []byte) string {
	var body struct {
		Error map[string]json.RawMessage `json:"error"`
	}
	if json.Unmarshal(data, &body) != nil {
		return ""
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(body.Error)) {
		var text string
		_, number := strconv.Atoi(name)
		if (name == "message" || number == nil) && json.Unmarshal(body.Error[name], &text) == nil && text != "" {
			all = append(all, text)
		}
	}
	return strings.Join(all, "; ")
}

// hint adds what Dolibarr's errors are known to mean.
func hint(e *rest.Error, f *step.Failure) {
	switch {
	case e.Status == http.StatusUnauthorized:
		f.Message += "; the connection's api_key is refused, or its user lacks the right (before version 19 both are said so)"
	case e.Status == http.StatusForbidden:
		f.Message += "; the user of the api_key lacks the right for this"
	case noCall(e):
		f.Disposition = step.Final
		f.Message += "; Dolibarr doesn't know this call: turn the module API/REST on in Dolibarr, and the module of the object"
	}
}
