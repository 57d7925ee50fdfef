package sandbox

import "net/http"

// apiError is an error in Sellsy's shape: {"error": {"code", "message", "context", "details"}}.
type apiError struct {
	status  int
	message string
	details details
}

func (e *apiError) body() object {
	o := object{"code": e.status, "message": e.message, "context": http.StatusText(e.status)}
	if len(e.details) > 0 {
		o["details"] = e.details
	}
	return object{"error": o}
}

func invalid(wrong details) *apiError {
	return &apiError{status: http.StatusBadRequest, message: "Validation failed", details: wrong}
}

func notFound(what string) *apiError {
	return &apiError{status: http.StatusNotFound, message: what + " not found"}
}

func internal(err error) *apiError {
	return &apiError{status: http.StatusInternalServerError, message: err.Error()}
}
