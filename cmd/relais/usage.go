package main

import (
	"bytes"
	"errors"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// parser builds the command line in the language of the run.
func (p *program) parser() (*kong.Kong, error) {
	return kong.New(&p.flags,
		kong.Name("relais"),
		kong.Description(p.lang.unbroken(p.lang.say("description"))),
		p.lang.vars(),
		kong.Writers(p.stdout, p.stderr),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: true, WrapUpperBound: 100}),
		kong.Help(p.help),
		kong.PostBuild(func(k *kong.Kong) error {
			k.Model.HelpFlag.Help = p.lang.of(helpTexts["flag_help"])
			return kong.Visit(k.Model, func(node kong.Visitable, next kong.Next) error {
				switch n := node.(type) {
				case *kong.Application:
					n.Detail = p.lang.detail("")
				case *kong.Node:
					n.Detail = p.lang.detail(strings.TrimPrefix(n.Path(), "relais "))
				}
				return next(nil)
			})
		}),
		kong.TypeMapper(reflect.TypeFor[moment](), kong.MapperFunc(p.mapMoment)),
	)
}

// help prints kong's help with its own words in the language of the run.
func (p *program) help(options kong.HelpOptions, ctx *kong.Context) error {
	if p.lang == english {
		return kong.DefaultHelpPrinter(options, ctx)
	}
	var out bytes.Buffer
	stdout := ctx.Stdout
	ctx.Stdout = &out
	err := kong.DefaultHelpPrinter(options, ctx)
	ctx.Stdout = stdout
	if err != nil {
		return err
	}
	for line := range strings.Lines(out.String()) {
		if _, err := stdout.Write([]byte(frenchLine(strings.ReplaceAll(line, noBreak, " ")))); err != nil {
			return err
		}
	}
	return nil
}

// frenchHeadings are the lines of kong's help that are not of the catalogue.
var frenchHeadings = map[string]string{
	"Flags:\n":     "Options :\n",
	"Arguments:\n": "Arguments :\n",
	"Commands:\n":  "Commandes :\n",
	"Run \"relais <command> --help\" for more information on a command.\n": "« relais <commande> --help » en dit plus sur une commande.\n",
}

func frenchLine(line string) string {
	if translated, ok := frenchHeadings[line]; ok {
		return translated
	}
	if rest, ok := strings.CutPrefix(line, "Usage: "); ok {
		return "Utilisation : " + strings.NewReplacer("<command>", "<commande>", "[flags]", "[options]").Replace(rest)
	}
	if path, ok := strings.CutPrefix(line, `Run "`); ok {
		if path, ok = strings.CutSuffix(path, " --help\" for more information.\n"); ok {
			return "« " + path + " --help » en dit plus.\n"
		}
	}
	return line
}

// usageErrors are kong's messages about a wrong command line, in French.
var usageErrors = []struct {
	pattern *regexp.Regexp
	french  string
}{
	{regexp.MustCompile(`^unknown flag (\S+), did you mean one of (.+)\?$`), "option inconnue : $1 ; vouliez-vous dire l'une de $2 ?"},
	{regexp.MustCompile(`^unexpected argument (\S+), did you mean one of (.+)\?$`), "argument inattendu : $1 ; vouliez-vous dire l'un de $2 ?"},
	{regexp.MustCompile(`^unknown flag (\S+), did you mean (.+)\?$`), "option inconnue : $1 ; vouliez-vous dire $2 ?"},
	{regexp.MustCompile(`^unknown flag (.+)$`), "option inconnue : $1"},
	{regexp.MustCompile(`^unexpected argument (\S+), did you mean (.+)\?$`), "argument inattendu : $1 ; vouliez-vous dire $2 ?"},
	{regexp.MustCompile(`^unexpected argument (.+)$`), "argument inattendu : $1"},
	{regexp.MustCompile(`^missing flags: (.+)$`), "il manque : $1"},
	{regexp.MustCompile(`^expected one of (.+)$`), "il faut l'un de : $1"},
	{regexp.MustCompile(`^expected "?([^"]+)"?$`), "il manque : $1"},
	{regexp.MustCompile(`^(.+): missing value, expecting "(.+)"$`), "$1 : il manque la valeur"},
	{regexp.MustCompile(`^(.+): expected a valid (.+) but got (.+)$`), "$1 : $3 n'est pas une valeur possible ($2)"},
	{regexp.MustCompile(`^(.+) and (.+) can't be used together$`), "$1 et $2 s'excluent"},
}

// usage says what is wrong with the command line in the language of the run.
func (l language) usage(message string) string {
	if l == english {
		return message
	}
	for _, e := range usageErrors {
		if e.pattern.MatchString(message) {
			return strings.ReplaceAll(e.pattern.ReplaceAllString(message, e.french), " or ", " ou ")
		}
	}
	return message
}

// mapMoment reads a time, a day, or how long ago.
func (p *program) mapMoment(ctx *kong.DecodeContext, target reflect.Value) error {
	var text string
	if err := ctx.Scan.PopValueInto("time", &text); err != nil {
		return err
	}
	at, err := parseMoment(text, p.now())
	if err != nil {
		return errors.New(p.lang.say("bad_time", text))
	}
	target.Set(reflect.ValueOf(moment{at}))
	return nil
}

var errMoment = errors.New("not a time")

// parseMoment reads RFC 3339, "2006-01-02 15:04", "2006-01-02", "15:04" (today), or a duration before
// now, whose units may be days.
func parseMoment(text string, now time.Time) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, nil
	}
	for _, layout := range []string{"2006-01-02 15:04:05", "2006-01-02 15:04", "2006-01-02T15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			return t, nil
		}
	}
	if t, err := time.ParseInLocation("15:04", text, time.Local); err == nil {
		y, m, d := now.Date()
		return time.Date(y, m, d, t.Hour(), t.Minute(), 0, 0, time.Local), nil
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return now.AddDate(0, 0, -int(n)), nil
		}
	}
	if ago, err := time.ParseDuration(text); err == nil && ago >= 0 {
		return now.Add(-ago), nil
	}
	return time.Time{}, errMoment
}
