package expr_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"relais/internal/core"
	"relais/internal/expr"
)

// sample is an event as steps see it.
func sample(t testing.TB) expr.Vars {
	t.Helper()
	event, err := expr.EventVars(&core.Event{
		Source: "sellsy", Type: "estimate.step", Format: core.FormatJSON,
		ReceivedAt: time.Date(2026, 11, 21, 9, 0, 0, 0, time.UTC),
		Header:     []byte("X-Request-Id: abc\r\n"), Query: "shop=12", Path: "flow=stock",
		Body: []byte(`{"relatedid":"52437688","id":52437688,"big":123456789012345678901234567890,
			"total":52437688.5,"cents":1e2,"paid":true,"none":null,"trap":"${{ event.id }}",
			"rows":[{"q":1},{"q":2}],"owner":{"name":"Zoé"},"empty":""}`),
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return expr.Vars{
		"event":   event,
		"steps":   map[string]any{"facture": map[string]any{"status": "created", "number": int64(7)}},
		"failure": map[string]any{"reason": "timeout"},
	}
}

func compiler(t testing.TB, steps ...string) *expr.Compiler {
	t.Helper()
	c, err := expr.NewCompiler(steps...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestTemplateKeepsTypesAndWritesPlainDecimals(t *testing.T) {
	for _, test := range []struct {
		in   any
		want any
	}{
		{"${{ event.data.id }}", int64(52437688)},
		{" ${{ event.data.id }}", " 52437688"},
		{"n° ${{ event.data.id }}/${{ event.data.relatedid }}", "n° 52437688/52437688"},
		{"${{ event.data.big }}", "123456789012345678901234567890"},
		{"${{ event.data.total }}", 52437688.5},
		{"total ${{ event.data.total }}", "total 52437688.5"},
		{"x${{ double(52437688) }}", "x52437688"},
		{"x${{ 1.0e21 }}", "x1000000000000000000000"},
		{"cents ${{ event.data.cents }}", "cents 100"},
		{"${{ event.data.paid }} ", "true "},
		{"${{ event.data.none }}", nil},
		{"${{ event.data.trap }}", "${{ event.id }}"},
		{"> ${{ event.data.trap }}", "> ${{ event.id }}"},
		{"${{ event.data.rows.map(r, r.q) }}", []any{int64(1), int64(2)}},
		{"${{ event.data.owner }}", map[string]any{"name": "Zoé"}},
		{`${{ {"a": {"b": "}}"}} }}`, map[string]any{"a": map[string]any{"b": "}}"}}},
		{"$${{ not an expression }}", "${{ not an expression }}"},
		{"5 $ ${ x }", "5 $ ${ x }"},
		{"", ""},
		{int64(3), int64(3)},
		{true, true},
		{nil, nil},
		{"${{ steps.facture.number }} est ${{ steps[\"facture\"].status }}", "7 est created"},
		{"${{ event.headers['x-request-id'] }}${{ event.query.shop }}${{ event.path.flow }}", "abc12stock"},
		{"${{ event.received_at }}", "2026-11-21T09:00:00Z"},
		{"${{ timestamp(event.received_at) + duration('1h') }}", "2026-11-21T10:00:00Z"},
		{"${{ 18446744073709551615u }}", "18446744073709551615"},
		{"${{ event.data.?missing.orValue('none') }}", "none"},
		{"${{ event.data.?missing }}", nil},
		{`${{ json("{\"a\":[12345678901234567890]}").a[0] }}`, "12345678901234567890"},
		{"${{ 'a-b'.split('-') }}", []any{"a", "b"}},
		{"${{ '%.2f'.format([double(event.data.id) / 100.0]) }}", "524376.88"},
		{map[string]any{"l": []any{"${{ 1 }}", "b"}}, map[string]any{"l": []any{int64(1), "b"}}},
	} {
		template, err := compiler(t, "facture").Template(test.in)
		if err != nil {
			t.Errorf("%v: %v", test.in, err)
			continue
		}
		got, err := template.Eval(context.Background(), sample(t))
		if err != nil {
			t.Errorf("%v: %v", test.in, err)
		} else if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%v: (-want +got)\n%s", test.in, diff)
		}
	}
}

func TestTemplateEvaluationErrors(t *testing.T) {
	for in, want := range map[string]string{
		"x ${{ event.data.rows }}":                             "event.data.rows is a list, which can't stand inside a longer text",
		"x ${{ event.data }}":                                  "is a map",
		"x ${{ event.data.none }}":                             "event.data.none is null",
		"x ${{ 1.0 / 0.0 }}":                                   "is not a finite number",
		"${{ event.data.missing }}":                            "no such key: missing",
		"${{ 1 / int(event.data.empty.size()) }}":              "division by zero",
		"${{ event.data.relatedid + 1 }}":                      "no such overload",
		`${{ b"\xff" }}`:                                       "base64.encode",
		`${{ "x".matches(event.data.relatedid + "(") }}`:       "missing closing )",
		`${{ json("[1") }}`:                                    "json: not JSON at byte 2",
		"${{ [1,2,3].map(x, [1,2,3].map(y, type(x)))[0][0] }}": "can't be used as a value",
	} {
		template, err := compiler(t).Template(in)
		if err != nil {
			t.Errorf("%s: doesn't compile: %v", in, err)
			continue
		}
		got, err := template.Eval(context.Background(), sample(t))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v; want an error with %q", in, got, err, want)
		}
		if core.CodeOf(err) != core.CodeInvalid {
			t.Errorf("%s: the error is not for users: %v", in, err)
		}
	}
}

func TestCompileErrorsSayWhatIsAllowed(t *testing.T) {
	for src, want := range map[string]struct {
		offset  int
		message string
	}{
		"steps.b.x == 1":                      {0, `no step "b" stands before this one (before it: a)`},
		"1 == 1 && steps[\"b\"].x":            {10, `no step "b" stands before this one`},
		"steps == {}":                         {0, "steps is followed by a step's id"},
		"steps[event.id].x":                   {0, "steps is followed by a step's id as text"},
		"has(steps.b)":                        {4, `no step "b" stands before`},
		"event.dta.x":                         {0, "did you mean event.data?"},
		"evnt.data":                           {0, `nothing is named "evnt" here`},
		"failure.reason == 'x'":               {0, `nothing is named "failure" here`},
		"event.data.x ==":                     {15, "the expression isn't well formed: it ends too early"},
		"event.data.x = 1":                    {13, "the expression isn't well formed: equality is written =="},
		"event.data.x==1 or event.test":       {16, "the expression isn't well formed: or is written ||"},
		"'a'":                                 {0, "a condition must be true or false; this is a string"},
		"":                                    {0, "the expression is empty"},
		"${{ true }}":                         {0, "an expression stands here without ${{ }}"},
		"'x'.matches('(')":                    {0, ""},
		"é && é":                              {0, ""},
		strings.Repeat("1+", 9000) + "1 == 1": {0, "longer than 16 KiB"},
		strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500): {0, ""},
	} {
		_, err := compiler(t, "a").Condition(src)
		var fault *expr.CompileError
		if !errors.As(err, &fault) {
			t.Errorf("%.60s: got %v, want a CompileError", src, err)
			continue
		}
		if !strings.Contains(fault.Message, want.message) || strings.Contains(fault.Message, "\n") {
			t.Errorf("%.60s: message %q, want %q", src, fault.Message, want.message)
		}
		if want.offset != 0 && fault.Offset != want.offset {
			t.Errorf("%.60s: offset %d, want %d", src, fault.Offset, want.offset)
		}
	}
}

func TestTemplateFaultsAreAllReportedWithTheirPath(t *testing.T) {
	_, err := compiler(t).Template(map[string]any{
		"a": "${{ nope }}", "b": []any{"ok", map[string]any{"c": "x ${{ 1 +"}}, "${{ 1 }}": 1,
	})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("got %v", err)
	}
	var paths []string
	for _, err := range joined.Unwrap() {
		var fault *expr.CompileError
		if !errors.As(err, &fault) {
			t.Fatalf("got %v", err)
		}
		paths = append(paths, fault.Path)
	}
	if diff := cmp.Diff([]string{"${{ 1 }}", "a", "b[1].c"}, paths); diff != "" {
		t.Error(diff)
	}
}

func TestConditionOnAMissingKeyIsAnErrorThatNamesIt(t *testing.T) {
	condition, err := compiler(t).Condition("event.data.status == 'accepted'")
	if err != nil {
		t.Fatal(err)
	}
	_, err = condition.Eval(context.Background(), sample(t))
	if err == nil || !strings.Contains(err.Error(), "no such key: status") {
		t.Errorf("got %v", err)
	}
}

func TestConditionMustBeBoolean(t *testing.T) {
	condition, err := compiler(t).Condition("event.data.id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err = condition.Eval(context.Background(), sample(t)); err == nil || !strings.Contains(err.Error(), "an int") {
		t.Errorf("got %v", err)
	}
}

func TestFailureIsKnownOnlyWhereItExists(t *testing.T) {
	withFailure, err := compiler(t).WithFailure()
	if err != nil {
		t.Fatal(err)
	}
	template, err := withFailure.Template("dead: ${{ failure.reason }}")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := template.Eval(context.Background(), sample(t)); err != nil || got != "dead: timeout" {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCompileValueKnowsOnlyItsVariables(t *testing.T) {
	value, err := expr.CompileValue(`body.event + "." + header["x-kind"]`, "body", "header")
	if err != nil {
		t.Fatal(err)
	}
	got, err := value.Eval(context.Background(), expr.Vars{
		"body": map[string]any{"event": "order"}, "header": map[string]any{"x-kind": "paid"},
	})
	if err != nil || got != "order.paid" {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := expr.CompileValue("event.data", "body"); err == nil {
		t.Error("event is not a variable here")
	}
}

func TestBoundsHold(t *testing.T) {
	big := strings.Repeat("a", 1<<20)
	vars := sample(t)
	data := vars["event"].(map[string]any)["data"].(map[string]any)
	data["big"], data["many"] = big, make([]any, 20_000)
	data["needle"] = strings.Repeat("a", 1<<17) + "b"
	for i := range 20_000 {
		data["many"].([]any)[i] = big
	}
	for src, want := range map[string]string{
		"event.data.big + 'x'":                                                   "larger than 1 MiB",
		"event.data.many":                                                        "larger than 1 MiB",
		"event.data.big.replace('a', event.data.big)":                            "longer than 4 MiB",
		"event.data.big.replace('', event.data.big, 500000)":                     "longer than 4 MiB",
		"event.data.many.join()":                                                 "longer than 4 MiB",
		"event.data.many.join('x')":                                              "longer than 4 MiB",
		"'%s'.format([event.data.many])":                                         "longer than 4 MiB",
		"event.data.big.matches('(a|b|aa){40}$')":                                "the text is longer than",
		"event.data.big.indexOf(event.data.needle)":                              "too long to look for",
		"event.data.big.indexOf(event.data.needle, 1)":                           "too long to look for",
		"event.data.big.lastIndexOf(event.data.needle)":                          "too long to look for",
		"event.data.big.lastIndexOf(event.data.needle, 1000000)":                 "too long to look for",
		"event.data.many.map(a, event.data.many.map(b, event.data.many.size()))": "longer than 10ms",
		"event.data.many.map(a, json('\"' + event.data.big + '\"').size())":      "longer than 10ms",
		"event.data.many.map(a, '%s'.format([event.data.rows])).size()":          "longer than 10ms",
		"[0].map(i, event.data.big+event.data.big).map(i, i+i).map(i, i+i).map(i, i+i).map(i, i+i).map(i, i+i)": "costs more",
	} {
		value, err := compiler(t).Value(src)
		if err != nil {
			t.Errorf("%s: %v", src, err)
			continue
		}
		started := time.Now()
		_, err = value.Eval(context.Background(), vars)
		if err == nil || !strings.Contains(err.Error(), want) && !strings.Contains(err.Error(), "costs more") {
			t.Errorf("%s: got %v, want %q", src, err, want)
		}
		if d := time.Since(started); d > time.Second {
			t.Errorf("%s: took %v", src, d)
		}
	}
}

func TestEvaluationEndsWithItsContext(t *testing.T) {
	value, err := compiler(t).Value("[1,2,3].map(x, [1,2,3].map(y, [1,2,3,4,5,6,7,8,9,10].map(z, [1,2,3,4,5,6,7,8,9,10].map(w, w))))")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := value.Eval(ctx, sample(t)); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCondition(b *testing.B) {
	c := compiler(b)
	condition, err := c.Condition("event.type == 'estimate.step' && event.data.relatedid == '52437688'")
	if err != nil {
		b.Fatal(err)
	}
	vars := sample(b)
	b.ReportAllocs()
	for b.Loop() {
		if ok, err := condition.Eval(context.Background(), vars); !ok || err != nil {
			b.Fatal(ok, err)
		}
	}
}

func BenchmarkLoop(b *testing.B) {
	value, err := compiler(b).Value("event.data.rows.exists(r, r.q == 2)")
	if err != nil {
		b.Fatal(err)
	}
	vars := sample(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := value.Eval(context.Background(), vars); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	c := compiler(b)
	for b.Loop() {
		if _, err := c.Condition("event.type == 'estimate.step' && event.data.relatedid == '52437688'"); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeJSON(b *testing.B) {
	body := []byte(`{"eventType":"docslog","event":"step","timestamp":"1778187955","ownerid":"1084","ownertype":"staff","corpid":"929","relatedtype":"estimate","relatedid":"52437688","relatedobject":{"id":52437688,"status":"accepted","related":[{"type":"company","id":46340687}]}}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(body)))
	for b.Loop() {
		if _, err := expr.DecodeJSON(body); err != nil {
			b.Fatal(err)
		}
	}
}

func TestMembersThatAResultNeverHasAreRefused(t *testing.T) {
	plain, err := expr.NewCompiler("facture", "libre")
	if err != nil {
		t.Fatal(err)
	}
	c := plain.WithResults(map[string][]string{"facture": {"id", "status"}})
	for src, wrong := range map[string]string{
		`steps.facture.statu == "created"`:      "steps.facture.status",
		`steps["facture"]["statu"] == "x"`:      "steps.facture.status",
		`steps.facture.?statu.orValue("x")`:     "steps.facture.status",
		`steps.?facture.statu.orValue("x")`:     "steps.facture.status",
		`has(steps.facture.numero)`:             "(it has id, status)",
		`steps.facture.status == "created"`:     "",
		`steps.facture[event.data.name] == "x"`: "",
		`steps.libre.anything.at.all == 1`:      "",
		`event.data.facture.statu == 1`:         "",
	} {
		_, err := c.Value(src)
		if (err != nil) != (wrong != "") || err != nil && !strings.Contains(err.Error(), wrong) {
			t.Errorf("%s: %v, want %q", src, err, wrong)
		}
	}
}
