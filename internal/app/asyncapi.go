package app

import (
	"net/http"

	"relais/internal/asyncapi"
	"relais/internal/config"
	"relais/internal/source"
	"relais/internal/telemetry"
)

// AsyncAPI describes what the configuration takes in.
func AsyncAPI(o Options) ([]byte, error) {
	cfg, err := Check(o)
	if err != nil {
		return nil, err
	}
	return asyncAPI(cfg, o.Version)
}

func asyncAPI(cfg *config.Config, version string) ([]byte, error) {
	return asyncapi.Document(asyncapi.Options{
		Config: cfg, Presets: source.Beside(cfg.File), Version: version, Hide: telemetry.Hiding(revealed(cfg.Secrets)),
	})
}

// asyncAPIPage answers with the document of the configuration in force.
func (a *App) asyncAPIPage(w http.ResponseWriter, r *http.Request) {
	text, err := asyncAPI(a.current.Load().config, a.options.Version)
	if err != nil {
		a.log.ErrorContext(r.Context(), "the AsyncAPI document could not be made", "error", err)
		http.Error(w, "the document could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/yaml")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_, _ = w.Write(text) // what can't be written to a caller who left needs no telling
}
