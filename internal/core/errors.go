package core

import (
	"errors"
	"fmt"
)

// Code says what kind of thing went wrong, for whoever must choose a status, an exit code or a page.
type Code string

const (
	CodeInvalid     Code = "invalid"     // the request or the file is wrong; the message says how
	CodeNotFound    Code = "not_found"   // nothing has that name or id
	CodeConflict    Code = "conflict"    // it is not in the state the operation needs
	CodeForbidden   Code = "forbidden"   // the caller may not
	CodeUnavailable Code = "unavailable" // a store or a system is away; the same call may work later
	CodeFull        Code = "full"        // a bound is reached: disk, memory, queue
)

// Error is an error whose message a user may read. Everything else is the operator's: it is wrapped
// with %w and logged, never shown.
type Error struct {
	Code    Code
	Message string
	// Field names the offending input (a parameter, a configuration path), where there is one.
	Field string
	cause error
}

// Errorf makes an Error. A %w in the format keeps the cause for errors.Is.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

func (e *Error) Error() string { return e.Message }

func (e *Error) Unwrap() error { return e.cause }

// CodeOf returns the code of the first Error in err's chain, or "" where there is none.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}
