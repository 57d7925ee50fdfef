package postgres

import (
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"relais/internal/core"
	"relais/internal/store"
)

func stateOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return ""
}

// constraintOf is the constraint that a row would have broken.
func constraintOf(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.ConstraintName
	}
	return ""
}

// again tells whether the same transaction may succeed when it is run again at once: it met another one,
// or a day for which there is no partition yet.
func again(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) {
		return false
	}
	// Serialization failure; deadlock; two programs that make the same table at once.
	return e.Code == "40001" || e.Code == "40P01" || e.Code == "23505" && strings.HasPrefix(e.ConstraintName, "pg_")
}

// noPartition tells whether a row's day has no partition. The server says so in its own language, but names its routine.
func noPartition(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "23514" && e.Routine == "ExecFindPartition"
}

// noDay tells whether a row has no day at all: there is none to make a partition for.
func noDay(err error) bool {
	var e *pgconn.PgError
	return noPartition(err) && errors.As(err, &e) && strings.Contains(e.Detail, "(null)")
}

// away tells whether the error is the database's and not the operation's, and why.
func away(err error) (core.Code, string, bool) {
	state := stateOf(err)
	switch {
	case state == "53100":
		return core.CodeFull, "the database's disk is full", true
	case state == "25006":
		return core.CodeUnavailable, "the database is read-only: a replica, or a server that is being switched", true
	case strings.HasPrefix(state, "57P"):
		return core.CodeUnavailable, "the database is being stopped or started", true
	case state == "57014":
		return core.CodeUnavailable, "a statement took longer than it may, or nobody waits for it any more", true
	case preparedElsewhere(err):
		return core.CodeUnavailable, "a connection pooler gave a statement to another connection", true
	case state == "55P03" || state == "25P03" || again(err):
		return core.CodeUnavailable, "others hold what the transaction needs", true
	case strings.HasPrefix(state, "08") || strings.HasPrefix(state, "53") || strings.HasPrefix(state, "58") || strings.HasPrefix(state, "XX"):
		return core.CodeUnavailable, "the database failed", true
	case state == "3D000":
		return core.CodeUnavailable, "the database" + nameOf(err) + " doesn't exist: create it", true
	case strings.HasPrefix(state, "28"):
		return core.CodeUnavailable, "the database refuses relais' user: check the user and the password in store", true
	case lasting(err):
		return core.CodeUnavailable, "relais' user lacks a right in the database: make it the database's owner", true
	case state == "42P01" || state == "42703" || state == "42883" || state == "3F000":
		return core.CodeUnavailable, "relais' tables aren't there as they should be: is the database being restored?", true
	case state == "":
		return core.CodeUnavailable, "the database can't be reached" + addressOf(err), true
	default:
		return "", "", false
	}
}

// nameOf is the name of the database that an error is about, after a space; "" where it isn't known.
func nameOf(err error) string {
	var e *pgconn.ConnectError
	if errors.As(err, &e) && e.Config != nil && e.Config.Database != "" {
		return " " + e.Config.Database
	}
	return ""
}

// addressOf is where a connection was tried, after " at "; "" where it isn't known.
func addressOf(err error) string {
	var e *pgconn.ConnectError
	if errors.As(err, &e) && e.Config != nil && e.Config.Host != "" {
		return " at " + net.JoinHostPort(e.Config.Host, strconv.Itoa(int(e.Config.Port)))
	}
	return ""
}

// lasting tells whether the database stays away until somebody does something about it.
func lasting(err error) bool {
	state := stateOf(err)
	return state == "3D000" || state == "42501" || strings.HasPrefix(state, "28")
}

// public turns an error of the database into what the store promises; errors that say what they are pass.
func public(err error) error {
	if err == nil || errors.Is(err, store.ErrUnavailable) || errors.Is(err, store.ErrLostClaim) || core.CodeOf(err) != "" {
		return err
	}
	if code, words, ok := away(err); ok {
		if state := stateOf(err); state != "" {
			words = fmt.Sprintf("%s (PostgreSQL's code %s)", words, state)
		}
		return core.Errorf(code, "the store can't be used: %w", &store.Away{Words: words, Cause: err, Lasting: lasting(err)})
	}
	return err
}
