package main

import (
	"fmt"
	"strings"

	"github.com/alecthomas/kong"
)

// text is one text of the catalogue in every language: what is said in one and forgotten in the other
// is seen on the line where it is written.
type text struct{ en, fr string }

// language chooses a text.
type language int

const (
	english language = iota
	french
)

// languageOf reads the language of messages as POSIX orders its variables.
func languageOf(env func(string) string) language {
	for _, name := range []string{"LC_ALL", "LC_MESSAGES", "LANG"} {
		if value := env(name); value != "" {
			if strings.HasPrefix(strings.ToLower(value), "fr") {
				return french
			}
			return english
		}
	}
	return english
}

func (l language) of(t text) string {
	if l == french {
		return t.fr
	}
	return t.en
}

// code is the language as POSIX names it.
func (l language) code() string { return l.of(text{"en", "fr"}) }

// say fills in a text of the catalogue of messages.
func (l language) say(key string, args ...any) string {
	t, ok := messages[key]
	if !ok {
		return key // a test keeps the code from naming a message that isn't there
	}
	return fmt.Sprintf(l.of(t), args...)
}

// vars are the texts of help, as kong's variables.
func (l language) vars() kong.Vars {
	vars := make(kong.Vars, len(helpTexts))
	for key, t := range helpTexts {
		vars[key] = l.unbroken(l.of(t))
	}
	return vars
}

// detail is what a command's own help says below its first line.
func (l language) detail(path string) string { return l.unbroken(l.of(details[path])) }

// noBreak stands for a space at which kong's help must not break a line; help prints it as a space. It is of Unicode's
// private use: a real one counts as any other space there.
const noBreak = "\uE000"

var frenchSpaces = strings.NewReplacer(" ;", noBreak+";", " :", noBreak+":", " ?", noBreak+"?", " !", noBreak+"!", "« ", "«"+noBreak, " »", noBreak+"»")

// unbroken keeps French signs of punctuation on the line of their words.
func (l language) unbroken(help string) string {
	if l == english {
		return help
	}
	return frenchSpaces.Replace(help)
}
