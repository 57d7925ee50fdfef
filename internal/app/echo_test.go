package app

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"

	"relais/internal/core"
)

// Servers repeat in their error pages what they were sent. What a step sends along by a secret's name is
// then neither in the log nor on the disk.
func TestSecretsThatAReceiverRepeatsAreNotKept(t *testing.T) {
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body) // what can't be read isn't repeated
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprintf(w, "%s %s %s %s", req.Header.Get("Authorization"), req.Header.Get("X-Api-Key"), req.URL, body)
	}))
	defer echo.Close()
	dir := t.TempDir()
	r := start(t, dir, fmt.Sprintf(`
sources:
  sellsy: {preset: sellsy, secret: "%s"}
routes:
  tell:
    on: [sellsy/**]
    steps:
      - use: http/request
        with:
          url: "%s/?a=${URL_TOKEN}"
          headers: {Authorization: "Bearer ${PARTNER}", X-Api-Key: planted-in-file}
          json: {password: "${{ 'p' }}${PARTNER}", city: "${CITY}"}
`, signingKey, echo.URL), map[string]string{"URL_TOKEN": "planted-url", "PARTNER": "planted-partner", "CITY": "Toulouse"})
	if status, _ := r.post(signingKey, estimateStep(1, "1")); status != http.StatusOK {
		t.Fatal(status)
	}
	var dead []core.Delivery
	r.until("the delivery's end", func() bool {
		dead = r.deliveries(core.StateDead)
		return len(dead) == 1
	})
	want := `answered 400: Bearer [secret] [secret] /?a=[secret] {"city":"Toulouse","password":"p[secret]"}`
	if !bytes.Contains([]byte(dead[0].Message), []byte(want)) {
		t.Errorf("the delivery's message is %s", dead[0].Message)
	}
	files, err := filepath.Glob(filepath.Join(dir, "data", "relais.db*"))
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil || bytes.Contains(text, []byte("planted")) {
			t.Errorf("%s: it holds a secret, or can't be read: %v", path, err)
		}
	}
	if text := r.log.String(); bytes.Contains([]byte(text), []byte("planted")) {
		t.Errorf("the log holds a secret:\n%s", text)
	}
}
