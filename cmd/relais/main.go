// Command relais takes webhooks in, keeps them, and acts on them.
//
// main parses the command line and calls the rest. A command that asks for something speaks to the
// control API: over the data folder's socket when a server runs there, and else with the same API on the
// store that it opens by itself, whose lock refuses a second writer.
package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// version is set by the linker for a release.
var version = ""

func main() { os.Exit(run()) }

func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), stopSignals...)
	defer stop()
	p := &program{
		ctx: ctx, args: os.Args[1:], stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr,
		env: os.LookupEnv, lang: languageOf(os.Getenv), now: time.Now, version: versionOf(),
	}
	return p.run()
}

func versionOf() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

// program is one run of the command line, with all that it takes from outside.
type program struct {
	ctx            context.Context
	args           []string
	stdin          io.Reader
	stdout, stderr io.Writer
	env            func(string) (string, bool)
	lang           language
	now            func() time.Time
	version        string
	flags          grammar
	lost           error // what kept output from being written
}

// run runs the command and returns the exit code.
func (p *program) run() int {
	parser, err := p.parser()
	if err != nil {
		return p.fail(err)
	}
	args := p.args
	switch {
	case len(args) == 0:
		args = []string{"--help"}
	case len(args) == 1 && args[0] == "--version":
		args = []string{"version"}
	case args[0] == "help":
		args = append(slices.Clone(args[1:]), "--help")
	}
	code, left := 0, false
	parser.Exit = func(status int) { code, left = status, true }
	command, err := parser.Parse(args)
	if left {
		return code
	}
	if err != nil {
		return p.misused(err)
	}
	if p.flags.Data == "" {
		// Beside the configuration, as .env is: where a command is typed doesn't choose what it works on.
		p.flags.Data = filepath.Join(filepath.Dir(p.flags.Config), dataName)
	}
	command.Bind(p)
	if err := command.Run(); err != nil {
		return p.fail(err)
	}
	if p.lost != nil {
		return p.fail(p.lost)
	}
	return exitDone
}

// dataName is the data folder where none is given.
const dataName = "relais-data"

// Exit codes, as "relais --help" lists them.
const (
	exitDone     = 0
	exitFailed   = 1
	exitUsage    = 2
	exitConfig   = 3
	exitNotFound = 4
	exitAway     = 5
)

// failure is an error with its exit code and what to do next. An empty text has been told already.
type failure struct {
	code int
	text string
	hint string
}

func (f *failure) Error() string { return f.text }

// fail tells an error and returns its exit code.
func (p *program) fail(err error) int {
	var f *failure
	if !errors.As(err, &f) {
		f = p.failureOf(err)
	}
	if f.text != "" {
		p.complain("relais: %s\n", printableLines(f.text))
	}
	if f.hint != "" {
		p.complain("%s\n", f.hint)
	}
	return f.code
}

var unexpectedID = regexp.MustCompile(`^unexpected argument ((?:evt|dlv)_\w+|\d+|\S+/\S+)`)

// showOf is the command that shows the thing whose id was given to a list.
func showOf(path, message string) string {
	found := unexpectedID.FindStringSubmatch(message)
	command, _, _ := strings.Cut(strings.TrimPrefix(path, "relais "), " ")
	if found == nil || !slices.Contains([]string{"events", "deliveries", "rejections", "effects"}, command) {
		return ""
	}
	return "relais " + command + " show " + found[1]
}

// misused tells what is wrong with the command line, and where help is.
func (p *program) misused(err error) int {
	path := "relais"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		path = parse.Context.Selected().FullPath()
	}
	p.complain("relais: %s\n", p.lang.usage(err.Error()))
	if show := showOf(path, err.Error()); show != "" {
		p.complain("%s\n", p.lang.say("did_you_mean", show))
	}
	p.complain("%s\n", p.lang.say("see_help", path))
	return exitUsage
}
