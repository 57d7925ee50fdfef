package expr_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"relais/internal/expr"
)

// patience is far past the bound of 10 ms: the machine that fuzzes is busy.
const patience = 5 * time.Second

// FuzzCondition: any text compiles or is refused on one line, and any evaluation ends soon.
func FuzzCondition(f *testing.F) {
	for _, seed := range []string{
		"event.data.id == 1", "has(event.data.x) && steps.facture.number > 2", "event.data.rows.all(r, r.q > 0)",
		"'a'.matches('(a|b)*c')", "'%s'.format([event])", "[1,2].map(x, [x, x]).size() == 2", "event.?data.orValue(1) == 1",
		"timestamp('2020-01-01T00:00:00Z') < timestamp(event.received_at)", "json('[1]')[0] == 1", "b'a' + b'b' == b'ab'",
	} {
		f.Add(seed)
	}
	c := compiler(f, "facture")
	vars := sample(f)
	f.Fuzz(func(t *testing.T, src string) {
		condition, err := c.Condition(src)
		if err != nil {
			var fault *expr.CompileError
			if !errors.As(err, &fault) || fault.Offset < 0 || fault.Offset > len(src) || strings.Contains(fault.Message, "\n") {
				t.Fatalf("%q: %#v", src, err)
			}
			return
		}
		started := time.Now()
		_, err = condition.Eval(context.Background(), vars)
		if d := time.Since(started); d > patience {
			t.Errorf("%q took %v (%v)", src, d, err)
		}
	})
}

// FuzzTemplate: what a template inserts is text, within its bound, and is never evaluated again.
func FuzzTemplate(f *testing.F) {
	for _, seed := range []string{
		"n° ${{ event.data.id }}", "$${{ x }}", "${{ {\"a\": \"}}\"} }}", "${{ event.data.trap }}", "${{", "${{ 'x' ", "a ${{ 1.5 }} b ${{ true }}",
		"${{ event.data.rows.map(r, r.q) }}", "${{ r'}}' }}", "${{ '''a}}''' }}", "$$${{ 1 }}",
	} {
		f.Add(seed)
	}
	c := compiler(f, "facture")
	vars := sample(f)
	f.Fuzz(func(t *testing.T, src string) {
		if !utf8.ValidString(src) {
			return // the configuration's reader refuses it
		}
		segments, err := expr.Split(src)
		if err != nil {
			return
		}
		literal, dynamic := "", false
		for _, segment := range segments {
			if segment.Expr {
				dynamic = true
			} else {
				literal += segment.Text
			}
		}
		if again, err := expr.Split(expr.Escape(literal)); err != nil || len(again) > 1 || len(again) == 1 && (again[0].Expr || again[0].Text != literal) {
			t.Fatalf("%q is not itself after Escape and Split: %v %v", literal, again, err)
		}
		if dynamic != expr.HasExpressions(src) {
			t.Fatalf("%q: HasExpressions is wrong", src)
		}
		template, err := c.Template(src)
		if err != nil {
			return
		}
		started := time.Now()
		value, err := template.Eval(context.Background(), vars)
		if d := time.Since(started); d > patience {
			t.Errorf("%q took %v", src, d)
		}
		if text, ok := value.(string); ok && err == nil {
			if len(text) > expr.MaxResult || !strings.HasPrefix(text, expr.LiteralPrefix(src)) && expr.LiteralPrefix(src) != "" {
				t.Errorf("%q: %.100q", src, text)
			}
			if !dynamic && text != literal {
				t.Errorf("%q without expressions became %q", src, text)
			}
		}
	})
}
