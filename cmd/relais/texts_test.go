package main

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"relais/internal/api"
)

// verbs are what a format takes, in the order in which it takes it.
func verbs(format string) []string {
	found := regexp.MustCompile(`%(\[\d\])?[-+.\d]*[a-zA-Z]`).FindAllString(format, -1)
	slices.Sort(found)
	return found
}

func TestEveryTextIsInBothLanguages(t *testing.T) {
	for name, catalogue := range map[string]map[string]text{"help": helpTexts, "details": details, "messages": messages} {
		for key, x := range catalogue {
			if strings.TrimSpace(x.en) == "" || strings.TrimSpace(x.fr) == "" {
				t.Errorf("%s %q lacks a language", name, key)
			}
			if name == "messages" && !slices.Equal(verbs(x.en), verbs(x.fr)) {
				t.Errorf("%q takes %v in English and %v in French", key, verbs(x.en), verbs(x.fr))
			}
		}
	}
}

// said are the keys of messages that the package's code names.
func said(t *testing.T) map[string]bool {
	t.Helper()
	packages, err := parser.ParseDir(token.NewFileSet(), ".", nil, 0) //nolint:staticcheck // build tags don't matter for texts
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for name, file := range packages["main"].Files {
		if strings.HasPrefix(name, "texts") || strings.HasSuffix(name, "_test.go") {
			continue
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				if value, err := strconv.Unquote(literal.Value); err == nil {
					found[value] = true
				}
			}
			return true
		})
	}
	return found
}

func TestNoMessageIsForgotten(t *testing.T) {
	used := said(t)
	for key := range messages {
		if !used[key] {
			t.Errorf("nothing says %q", key)
		}
	}
	for key := range used {
		if _, ok := messages[key]; !ok && regexp.MustCompile(`^(f|head|hint|no)_[a-z_]+$`).MatchString(key) {
			t.Errorf("there is no message %q", key)
		}
	}
}

func TestEveryCommandShowsAnExampleOfItself(t *testing.T) {
	for _, lang := range []language{english, french} {
		p := &program{lang: lang, stdout: io.Discard, stderr: io.Discard, now: time.Now}
		k, err := p.parser()
		if err != nil {
			t.Fatal(err)
		}
		err = kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
			n, ok := node.(*kong.Node)
			if !ok || n.Hidden {
				return next(nil)
			}
			path := strings.TrimPrefix(n.FullPath(), "relais ")
			if !strings.Contains(n.Detail, "\n  relais "+strings.TrimSuffix(path, " list")) {
				t.Errorf("%s shows no example", path)
			}
			return next(nil)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestLanguageOfMessages(t *testing.T) {
	for _, c := range []struct {
		env  map[string]string
		want language
	}{
		{nil, english},
		{map[string]string{"LANG": "fr_FR.UTF-8"}, french},
		{map[string]string{"LANG": "fr"}, french},
		{map[string]string{"LANG": "fr_FR.UTF-8", "LC_ALL": "C"}, english},
		{map[string]string{"LANG": "en_US.UTF-8", "LC_MESSAGES": "fr_CA.UTF-8"}, french},
		{map[string]string{"LANG": "de_DE.UTF-8"}, english},
	} {
		if got := languageOf(func(name string) string { return c.env[name] }); got != c.want {
			t.Errorf("%v: %v", c.env, got)
		}
	}
}

func TestMoments(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 30, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"2026-03-01T10:00:00Z": time.Date(2026, 3, 1, 10, 0, 0, 0, time.UTC),
		"2026-03-01":           time.Date(2026, 3, 1, 0, 0, 0, 0, time.Local),
		"2026-03-01 08:05":     time.Date(2026, 3, 1, 8, 5, 0, 0, time.Local),
		"08:05":                time.Date(2026, 3, 2, 8, 5, 0, 0, time.Local),
		"90m":                  now.Add(-90 * time.Minute),
		"7d":                   now.AddDate(0, 0, -7),
	} {
		if got, err := parseMoment(text, now); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	for _, text := range []string{"", "-5m", "yesterday", "7", "d", "-1d", "99999999d", "2026-13-01"} {
		if got, err := parseMoment(text, now); err == nil {
			t.Errorf("%q was read as %v", text, got)
		}
	}
}

func TestAmountsAndSizesAreReadable(t *testing.T) {
	en, fr := &program{lang: english}, &program{lang: french}
	for _, c := range []struct{ got, want string }{
		{en.amount("1234567.5", "EUR"), "1,234,567.50 EUR"},
		{fr.amount("1234567.5", "EUR"), "1 234 567,50 EUR"},
		{fr.amount("-0.05", "EUR"), "-0,05 EUR"},
		{en.amount("999.995", ""), "1,000.00"},
		{en.amount("n/a", "EUR"), "n/a EUR"},
		{en.amount("1e300", "EUR"), "1e300 EUR"},
		{en.number(999), "999"},
		{en.number(1000), "1,000"},
		{english.size(1023), "1023 B"},
		{english.size(3 << 20), "3.0 MiB"},
		{french.size(1023), "1023 o"},
		{french.size(3 << 20), "3,0 Mio"},
		{english.short(12 * time.Millisecond), "12 ms"},
		{english.short(125 * time.Second), "2 min 05 s"},
		{english.short(51 * time.Hour), "2 d 03 h"},
		{french.short(51 * time.Hour), "2 j 03 h"},
		{oneLine("a\nb\x1b[31m\u009b"), "a b [31m "},
		{oneLine("facture\u202efdp.exe\u2069\u2028"), "facture fdp.exe  "},
		{clip("été comme hiver", 6), "été c…"},
	} {
		if c.got != c.want {
			t.Errorf("got %q want %q", c.got, c.want)
		}
	}
}

func TestJSONMovesNoCursor(t *testing.T) {
	var out strings.Builder
	p := &program{stdout: &out}
	planted := "\u009b31m\x7f\x1b[2J\u202e\n\u00e9"
	if err := p.printJSON(map[string]string{"type": planted}); err != nil {
		t.Fatal(err)
	}
	want := "{\n  \"type\": \"\\u009b31m\\u007f\\u001b[2J\\u202e\\n\u00e9\"\n}\n"
	var back map[string]string
	if err := json.Unmarshal([]byte(out.String()), &back); err != nil || back["type"] != planted || out.String() != want {
		t.Errorf("printed %q, want %q; read again as %q, %v", out.String(), want, back["type"], err)
	}
}

func TestKnownAnswersAreSaidInFrench(t *testing.T) {
	for en, fr := range map[string]string{
		"there is no delivery dlv_9":                          "il n'y a pas de livraison dlv_9",
		"there is no effect a/b/c":                            "il n'y a pas d'effet a/b/c",
		`there is no route "factur"; did you mean "facture"?`: `il n'y a pas de route "factur" ; vouliez-vous dire "facture" ?`,
		"the variable SECRET is not set: write it into .env beside the file, or set it in the environment":                               "la variable SECRET n'a pas de valeur : écrivez-la dans .env, à côté du fichier, ou dans l'environnement",
		`the result of step "facture" has no "statu"; did you mean steps.facture.status? (it has id, status)`:                            `le résultat de l'étape "facture" n'a pas de "statu" ; vouliez-vous dire steps.facture.status ? (il y a : id, status)`,
		"the store can't be used: the database can't be reached; webhooks are still accepted: 3 wait in this node's spool":               "la base est inutilisable : elle est injoignable ; les webhooks sont toujours acceptés : 3 en attente dans la file locale de ce nœud",
		"the store can't be used: the database stock doesn't exist: create it (PostgreSQL's code 3D000)":                                 "la base est inutilisable : la base de données stock n'existe pas : créez-la (code 3D000 de PostgreSQL)",
		"its delivery is still pending and will end by itself":                                                                           "leur livraison est encore en attente et s'achèvera d'elle-même",
		"the store can't be used: the database refuses relais' user: check the user and the password in store (PostgreSQL's code 28P01)": "la base est inutilisable : elle refuse l'utilisateur de relais : vérifiez l'utilisateur et le mot de passe dans store (code 28P01 de PostgreSQL)",
		"the store can't be used: the database can't be reached at 127.0.0.1:5432":                                                       "la base est inutilisable : elle est injoignable (127.0.0.1:5432)",
		"not well formed: a tab stands here: indent with spaces":                                                                         "mal formé : une tabulation se trouve ici : indentez avec des espaces",
		"the expression isn't well formed: and is written &&":                                                                            "l'expression est mal formée : « et » s'écrit &&",
		"${EMAIL_PASS} is empty: fill it in. The user's password.":                                                                       "${EMAIL_PASS} est vide : complétez-la (docs/steps.md dit ce qu'il y faut)",
		"secret is missing: stripe signs its requests; give the secret, or say auth: none to take anything from anyone":                  "secret manque : stripe signe ses requêtes ; donnez le secret, ou dites auth: none pour tout accepter de tous",
		"keys with values are expected here, and this is a list":                                                                         "il faut ici des clés et leurs valeurs, et non une liste",
		"a text that nobody translated":              "a text that nobody translated",
		"there is no event evt_1\nthe body is empty": "il n'y a pas d'événement evt_1\nle corps est vide",
	} {
		if got := french.answer(en); got != fr {
			t.Errorf("%q is said as %q, want %q", en, got, fr)
		}
		if got := english.answer(en); got != en {
			t.Errorf("in English %q is said as %q", en, got)
		}
	}
}

// TestNobodyLosesWhenADeliveryIsDue: a window cuts what is long, a pipe nothing.
func TestNobodyLosesWhenADeliveryIsDue(t *testing.T) {
	now := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	message := strings.Repeat("the answer was long ", 10)
	d := &api.Delivery{State: "pending", Reason: "status", Message: message, DueAt: now.Add(3 * time.Minute)}
	p := &program{stdout: &strings.Builder{}, now: func() time.Time { return now }}
	whole := "due in 3 min 00 s: status: " + message
	if got := p.outcome(d); got != whole {
		t.Errorf("a pipe gets %q", got)
	}
	tty, err := os.OpenFile("/dev/null", os.O_WRONLY, 0) // a character device, as a terminal is
	if err != nil {
		t.Fatal(err)
	}
	defer tty.Close()
	t.Setenv("TERM", "xterm")
	p.stdout = tty
	if got := p.outcome(d); got != clip(whole, 80) || !strings.HasPrefix(got, "due in 3 min") {
		t.Errorf("a window shows %q", got)
	}
}
