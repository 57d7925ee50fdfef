package sqlstep

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"relais/internal/step"
)

// control are statements that would end the step's transaction, reach beyond it, or change the connection for
// whoever uses it next.
var control = []string{"ABORT", "ATTACH", "BEGIN", "COMMIT", "COPY", "DEALLOCATE", "DETACH", "DISCARD", "END", "LISTEN", "LOCK", "PRAGMA",
	"PREPARE", "RELEASE", "RESET", "ROLLBACK", "SAVEPOINT", "SET", "START", "UNLISTEN", "UNLOCK", "USE", "VACUUM", "XA"}

func checkStatement(value any) error {
	text, ok := value.(string)
	if !ok || strings.TrimSpace(text) == "" {
		return errors.New("it must be an SQL statement")
	}
	if strings.Contains(text, "${{") {
		return errors.New("no ${{ }} may stand here: write $1 or ?, and the value under args")
	}
	several := true
	for _, d := range []dialect{inPostgres, inMySQL, inSQLite} {
		several = several && scan(d, text).several
	}
	if several {
		return errors.New("it must be one statement: several go under statements")
	}
	first := scan(inPostgres, text).first()
	if slices.Contains(control, first) && !strings.HasPrefix(strings.ToUpper(strings.Join(strings.Fields(text), " ")), "SET LOCAL ") {
		return fmt.Errorf("%s can't be used: the step is a transaction of its own", first)
	}
	return nil
}

func checkArgs(value any) error {
	switch v := value.(type) {
	case []any:
		return nil
	case string:
		if strings.HasPrefix(v, "${{") {
			return nil // what it gives is looked at when it is known
		}
	}
	return errArgs
}

var errArgs = errors.New("it must be a list of values")

// expectation is how many rows a statement must change or give.
type expectation struct {
	rows    int64
	orMore  bool
	unasked bool
}

func (e expectation) String() string {
	text := strconv.FormatInt(e.rows, 10)
	if e.orMore {
		return "at least " + text
	}
	return text
}

// met tells whether so many rows are enough. More tells that there were more than were counted.
func (e expectation) met(rows int64, more bool) bool {
	return e.unasked || rows == e.rows && !more || e.orMore && rows >= e.rows
}

func checkExpected(value any) error {
	_, err := readExpected(value)
	return err
}

func readExpected(value any) (expectation, error) {
	wrong := errors.New(`it must be a number of rows such as 1, or ">=1"`)
	switch v := value.(type) {
	case nil:
		return expectation{unasked: true}, nil
	case int:
		return expectation{rows: int64(v)}, negative(v < 0, wrong)
	case int64:
		return expectation{rows: v}, negative(v < 0, wrong)
	case uint64:
		return expectation{rows: int64(min(v, math.MaxInt64))}, nil
	case string:
		number, orMore := strings.CutPrefix(strings.TrimSpace(v), ">=")
		n, err := strconv.ParseUint(strings.TrimSpace(number), 10, 31)
		if err != nil {
			return expectation{}, wrong
		}
		return expectation{rows: int64(n), orMore: orMore}, nil
	}
	return expectation{}, wrong
}

func negative(is bool, err error) error {
	if is {
		return err
	}
	return nil
}

func checkStatements(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return errors.New("it must be a list of objects with statement, args and expect_rows")
	}
	for i, item := range list {
		if err := checkOne(item); err != nil {
			return fmt.Errorf("[%d]: %w", i, err)
		}
	}
	return nil
}

func checkOne(item any) error {
	given, ok := item.(map[string]any)
	if !ok {
		return errors.New("it must be an object with statement, args and expect_rows")
	}
	for name, value := range given {
		var err error
		switch name {
		case "statement":
			err = checkStatement(value)
		case "args":
			err = checkArgs(value)
		case "expect_rows":
			err = checkExpected(value)
		default:
			err = errors.New("there is no such parameter (allowed: args, expect_rows, statement)")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if given["statement"] == nil {
		return errors.New("statement is missing")
	}
	return nil
}

// checkTogether refuses what doesn't go together, or not on the connection.
func checkTogether(with map[string]any, connection any) error {
	switch {
	case with["statements"] == nil && with["statement"] == nil:
		return errors.New("statement is missing")
	case with["statements"] != nil && (with["statement"] != nil || with["args"] != nil || with["expect_rows"] != nil):
		return errors.New("statements stands in place of statement, args and expect_rows")
	}
	c, ok := connection.(*Connection)
	if with["key"] != nil && ok && !c.effects {
		return errors.New("key needs a connection with effects: true")
	}
	if !ok {
		return nil
	}
	list, err := statements(with)
	if err != nil {
		return err
	}
	for i, s := range list {
		if err := c.check(s.text); err != nil {
			return fmt.Errorf("statement %d: %w", i+1, err)
		}
	}
	return nil
}

// statement is one statement with its arguments.
type statement struct {
	text   string
	args   any
	expect expectation
}

// statements reads a step's statements, of the file's text or evaluated.
func statements(with map[string]any) ([]statement, error) {
	list := []any{with}
	if several, ok := with["statements"].([]any); ok {
		list = several
	}
	out := make([]statement, len(list))
	for i, item := range list {
		given, ok := item.(map[string]any)
		if !ok {
			return nil, errors.New("statements must be a list of objects")
		}
		text, ok := given["statement"].(string)
		if !ok {
			return nil, errors.New("statement must be a text")
		}
		expect, err := readExpected(given["expect_rows"])
		if err != nil {
			return nil, fmt.Errorf("expect_rows: %w", err)
		}
		out[i] = statement{text: text, args: given["args"], expect: expect}
	}
	return out, nil
}

// maxKey bounds an effect's key; the table's column has room for it and the tenant's name.
const maxKey = 120

// effectKey is what must happen once: what the step says, or the step for this event. A replay has the same
// key as what it replays: what was done stays done.
func effectKey(call *step.Call) (string, error) {
	tenant := call.Delivery.Destination.Tenant
	given, ok := call.With["key"].(string)
	if !ok {
		step := call.Delivery.Destination.Name + "/" + call.StepID
		if len(step) > maxKey {
			sum := sha256.Sum256([]byte(step))
			step = hex.EncodeToString(sum[:16])
		}
		return fmt.Sprintf("%s/%s/%s", tenant, call.Delivery.Event, step), nil
	}
	if given == "" || len(given) > maxKey || strings.TrimSpace(given) != given || strings.ContainsFunc(given, func(r rune) bool { return r < ' ' || r > '~' }) {
		return "", fmt.Errorf("key: it must be 1 to %d letters, digits and signs of ASCII, without spaces around them", maxKey)
	}
	return tenant + "/key/" + given, nil
}
