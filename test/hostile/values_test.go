//go:build unix

package hostile

import "strings"

// values are what an event may hold, by what they try. All are text that JSON can carry.
var values = map[string]string{
	"empty":         "",
	"quotes":        `"'` + "`",
	"json":          `"}{"channel":"#general`,
	"line breaks":   "a\r\nb\nc\rd",
	"http header":   "a\r\nX-Evil: 1\r\n\r\nGET /",
	"mail header":   "x\r\nBcc: evil@example.fr",
	"mail end":      "x\r\n.\r\nMAIL FROM:<evil@example.fr>\r\n",
	"encoded word":  "=?utf-8?q?x=0d=0aBcc:evil?=",
	"addresses":     "a@example.fr, evil@example.fr",
	"nul":           "a\x00b",
	"up":            "../../admin",
	"dots":          "..",
	"dot":           ".",
	"slash":         "a/b",
	"backslash":     `..\admin`,
	"encoded":       "%2e%2e%2fadmin%00%0d%0a",
	"query":         "?admin=1&x",
	"fragment":      "#x",
	"user":          "@evil.test/",
	"semicolon":     ";a=b",
	"template":      "{{ . }} ${{ event.id }} $${{ ${HOME} %s %n",
	"sql":           `'; DROP TABLE victims; --`,
	"sql or":        `' OR '1'='1`,
	"sql comment":   `*/ UNION SELECT 1 /* $1 ? :v @v`,
	"sql escape":    `\' OR 1=1 -- `,
	"dollar quotes": `$$; DROP TABLE victims; $$`,
	"html":          "<script>alert(1)</script>",
	"attribute":     `" onclick="x`,
	"script":        "javascript:alert(1)",
	"mention":       "<!channel> <https://evil.test|click> & ok",
	"redis":         "x\r\n*1\r\n$8\r\nFLUSHALL\r\n",
	"number":        "-0001e9999",
	"null":          "null",
	"unicode":       "é\u202e🙂\u2028\ufeff\u0000\U0010ffff",
	"ampersands":    strings.Repeat("&", 40_000),
	"long":          strings.Repeat("x", 1<<20-200),
}
