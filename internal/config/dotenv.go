package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// lookup finds a variable, like os.LookupEnv.
type lookup func(name string) (value string, set bool)

// withDotenv looks in the environment first, then in the file: what was set for this one run wins.
func withDotenv(env lookup, path string) (lookup, Problems) {
	text, err := readBounded(path, maxFile)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return env, nil
	case err != nil:
		return env, Problems{{Place: Place{File: path}, Message: plainFileError(err)}}
	}
	values, problems := parseDotenv(path, string(text))
	return func(name string) (string, bool) {
		if value, set := env(name); set {
			return value, true
		}
		value, set := values[name]
		return value, set
	}, problems
}

// parseDotenv reads lines KEY=VALUE, with # comments, an "export" before the key, and quotes: 'as it
// is', "with \n, \" and \\". Nothing is expanded in it.
func parseDotenv(file, text string) (map[string]string, Problems) {
	values := map[string]string{}
	var problems Problems
	number := 0
	for line := range strings.Lines(strings.TrimPrefix(text, "\uFEFF")) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, value, ok := strings.Cut(strings.TrimSpace(strings.TrimPrefix(line, "export ")), "=")
		name = strings.TrimSpace(name)
		if !ok || !isVariableName(name) {
			problems = append(problems, Problem{Place{file, number, 1}, "", "a line is KEY=VALUE, or a comment that begins with #"})
			continue
		}
		value, ok = dotenvValue(strings.TrimSpace(value))
		if !ok {
			problems = append(problems, Problem{Place{file, number, 1}, name, "the value's quote has no end, or something follows it"})
			continue
		}
		values[name] = value
	}
	return values, problems
}

func isVariableName(s string) bool {
	return s != "" && (s[0] < '0' || s[0] > '9') && isWord(s) && !strings.Contains(s, "-")
}

// dotenvValue reads what stands behind the =. Where nothing stands before a comment the value is empty: a file
// that was not filled in must not make a secret of the words that say what belongs there.
func dotenvValue(s string) (string, bool) {
	if s == "" || s[0] != '"' && s[0] != '\'' {
		for i := range len(s) {
			if s[i] == '#' && (i == 0 || s[i-1] == ' ' || s[i-1] == '\t') {
				s = s[:i]
				break
			}
		}
		return strings.TrimSpace(s), true
	}
	quote := s[0]
	var out strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == quote:
			rest := strings.TrimSpace(s[i+1:])
			return out.String(), rest == "" || rest[0] == '#'
		case s[i] == '\\' && quote == '"' && i+1 < len(s):
			i++
			switch s[i] {
			case 'n':
				out.WriteByte('\n')
			case 't':
				out.WriteByte('\t')
			default:
				out.WriteByte(s[i])
			}
		default:
			out.WriteByte(s[i])
		}
	}
	return "", false
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path) //nolint:gosec // the operator names the files
	if err != nil {
		return nil, err
	}
	defer file.Close() //nolint:errcheck // what was read is already in hand
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, errors.New("it is a folder")
	}
	text, err := io.ReadAll(io.LimitReader(file, limit+1))
	if err == nil && int64(len(text)) > limit {
		return nil, fmt.Errorf("it is larger than %s", showSize(limit))
	}
	return text, err
}

// plainFileError says why a file can't be read, without the path that the problem shows already.
func plainFileError(err error) string {
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return "the file can't be read: " + err.Error()
}
