//go:build unix

package redis

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
	"relais/internal/step/redis/redistest"
	"relais/internal/store"
)

func compile(url string, s config.Step) (*step.Program, step.Connections, error) {
	connections := []config.Connection{{Name: "cache", Kind: "redis", Settings: map[string]any{"url": config.NewSecret(url)}}}
	s.Use, s.ID = "redis/command", "r"
	route := config.Route{Name: "stock", Steps: []config.Step{s}}
	kinds := func(e *egress.Egress) *step.Registry {
		return step.NewRegistry([]step.Kind{Command()}, []step.ConnectionKind{Connection(e)})
	}
	e, err := egress.New(egress.Options{Trusted: kinds(nil).TrustedHosts(connections, []config.Route{route})})
	if err != nil {
		return nil, nil, err
	}
	opened, err := kinds(e).Open(connections)
	if err != nil {
		return nil, nil, err
	}
	p, err := step.Compile(route, kinds(e), opened, step.Options{})
	return p, opened, err
}

func delivery(data any) *store.Claimed {
	body, _ := json.Marshal(data)
	return &store.Claimed{
		Delivery: core.Delivery{ID: 1, Claim: 1, Destination: core.Destination{Tenant: "default", Kind: core.DestinationRoute, Name: "stock"}},
		Event:    core.Event{Format: core.FormatJSON, Body: body},
	}
}

func attempt(t *testing.T, url string, with map[string]any, data any) store.Outcome {
	t.Helper()
	return attemptStep(t, url, config.Step{With: with}, data)
}

func attemptStep(t *testing.T, url string, s config.Step, data any) store.Outcome {
	t.Helper()
	p, opened, err := compile(url, s)
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Retire()
	return p.Run(t.Context(), delivery(data))
}

func reply(t *testing.T, out store.Outcome) string {
	t.Helper()
	if out.Verdict != store.VerdictSucceeded || len(out.Steps) != 1 {
		t.Fatalf("%+v", out)
	}
	var result struct{ Reply json.RawMessage }
	if err := json.Unmarshal(out.Steps[0].Result, &result); err != nil {
		t.Fatal(err)
	}
	return string(result.Reply)
}

func TestOneCommandWithWhatTheEventSays(t *testing.T) {
	s := redistest.Start(t)
	data := map[string]any{"productId": "TD-123456", "stock": 150, "ratio": 1.5, "on": true}
	got := reply(t, attempt(t, s.URL(), map[string]any{"command": []any{"set", "stock:${{ event.data.productId }}", "${{ event.data.stock }}", "EX", int64(3600)}}, data))
	if got != `"OK"` || s.Do("GET", "stock:TD-123456") != "150" || s.Do("TTL", "stock:TD-123456") != "3600" {
		t.Errorf("%s", got)
	}
	attempt(t, s.URL(), map[string]any{"command": []any{"HSET", "h", "r", "${{ event.data.ratio }}", "b", "${{ event.data.on }}"}}, data)
	if got := reply(t, attempt(t, s.URL(), map[string]any{"command": []any{"HMGET", "h", "r", "b", "absent"}}, data)); got != `["1.5","true",null]` {
		t.Errorf("%s", got)
	}
	if got := reply(t, attempt(t, s.URL(), map[string]any{"command": []any{"GET", "absent"}}, data)); got != "null" {
		t.Errorf("%s", got)
	}
	if got := reply(t, attempt(t, s.URL(), map[string]any{"command": []any{"INCRBY", "n", int64(7)}}, data)); got != "7" {
		t.Errorf("%s", got)
	}
}

func TestSeveralCommandsAreOneTransaction(t *testing.T) {
	s := redistest.Start(t)
	with := map[string]any{"commands": []any{[]any{"SET", "a", "${{ event.data.v }}"}, []any{"INCR", "n"}, []any{"GET", "absent"}}}
	if got := reply(t, attempt(t, s.URL(), with, map[string]any{"v": "x"})); got != `["OK",1,null]` || s.Do("GET", "a") != "x" {
		t.Errorf("%s", got)
	}
	// What can't be queued keeps the others from being done.
	out := attempt(t, s.URL(), map[string]any{"commands": []any{[]any{"SET", "b", "1"}, []any{"GET"}}}, nil)
	if out.Verdict != store.VerdictDead || out.Reason != core.ReasonStatus || s.Do("EXISTS", "b") != "0" || strings.Contains(out.Message, "were done") {
		t.Errorf("%+v", out)
	}
	// What fails as it is done doesn't: the delivery is dead, and says so.
	out = attempt(t, s.URL(), map[string]any{"commands": []any{[]any{"SET", "b", "1"}, []any{"LPUSH", "a", "1"}}}, nil)
	if out.Verdict != store.VerdictDead || s.Do("EXISTS", "b") != "1" || !strings.Contains(out.Message, "command 2, LPUSH: Redis answered WRONGTYPE") ||
		!strings.HasSuffix(out.Message, "; the others were done") {
		t.Errorf("%+v", out)
	}
}

func TestWhatCheckRefuses(t *testing.T) {
	for says, with := range map[string]map[string]any{
		"the command EVAL is not allowed: scripts":        {"command": []any{"eval", "return 1", "0"}},
		"the command CONFIG is not allowed: it acts":      {"command": []any{"CONFIG", "SET", "dir", "/"}},
		"the command FLUSHALL is not allowed":             {"command": []any{"FlushAll"}},
		"the command KEYS is not allowed: it reads all":   {"command": []any{"KEYS", "*"}},
		"the command BLPOP is not allowed: it waits":      {"command": []any{"BLPOP", "q", "0"}},
		"the command SELECT is not allowed":               {"command": []any{"SELECT", "1"}},
		"the command MULTI is not allowed: write":         {"command": []any{"MULTI"}},
		"did you mean HSET":                               {"command": []any{"HSETT", "a"}},
		"no ${{ }} may stand there":                       {"command": []any{"${{ event.data.c }}", "a"}},
		"it must be a list":                               {"command": "${{ event.data.list }}"},
		"command 2: the command SCRIPT":                   {"commands": []any{[]any{"GET", "a"}, []any{"SCRIPT", "FLUSH"}}},
		"command 1: the command's name must":              {"commands": []any{[]any{"GE${{ 'T' }}", "a"}}},
		"it must be a list of commands, each a list such": {"commands": []any{}},
	} {
		if _, _, err := compile("redis://127.0.0.1:1", config.Step{With: with}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%v, want %q", err, says)
		}
	}
	for _, list := range []map[string]bool{repeatableCommands, otherCommands} {
		for name := range list {
			if refusals[name] != "" || repeatableCommands[name] && otherCommands[name] {
				t.Errorf("%s stands in two lists", name)
			}
		}
	}
}

// The real server knows which of its commands are dangerous: none of what may be sent is of those kinds.
func TestAllowedCommandsAreNotWhatRedisCallsDangerous(t *testing.T) {
	s := redistest.Start(t)
	for _, category := range []string{"dangerous", "admin", "blocking", "scripting", "pubsub"} {
		listed := strings.Fields(strings.ToUpper(strings.Join(list(t, s, "ACL", "CAT", category), " ")))
		if len(listed) == 0 {
			t.Fatalf("no commands of the category %s", category)
		}
		for _, name := range listed {
			if (repeatableCommands[name] || otherCommands[name]) && name != "PUBLISH" && name != "SPUBLISH" {
				t.Errorf("%s is allowed, and is %s", name, category)
			}
		}
	}
}

func list(t *testing.T, s *redistest.Server, words ...string) []string {
	t.Helper()
	_, opened, err := compile(s.URL(), config.Step{With: map[string]any{"command": []any{"PING"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer opened.Retire()
	c, _ := opened["cache"].Value.(*connection)
	client, release, err := c.client.Use()
	if err != nil {
		t.Fatal(err)
	}
	defer release()
	args := make([]any, len(words))
	for i, word := range words {
		args[i] = word
	}
	got, err := client.Do(t.Context(), args...).StringSlice()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestRefusalsOfTheServer(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "hidden")
	for _, c := range []struct {
		name, url string
		do        []string
		with      map[string]any
		want      store.Verdict
		reason    core.Reason
		says      string
	}{
		{"no password", s.URL(), nil, map[string]any{"command": []any{"GET", "a"}}, store.VerdictDead, core.ReasonAuth, "NOAUTH"},
		{"wrong password", "redis://:wrong@" + s.Address, nil, map[string]any{"command": []any{"GET", "a"}}, store.VerdictDead, core.ReasonAuth, "WRONGPASS"},
		{"wrong arguments", "redis://:hidden@" + s.Address, nil, map[string]any{"command": []any{"SET", "a"}}, store.VerdictDead, core.ReasonStatus, "ERR wrong number"},
		{"not a number", "redis://default:hidden@" + s.Address + "/3", nil, map[string]any{"command": []any{"SETEX", "a", "x", "v"}}, store.VerdictDead, core.ReasonStatus, "ERR value is not an integer"},
		{"no such database", "redis://:hidden@" + s.Address + "/99", nil, map[string]any{"command": []any{"GET", "a"}}, store.VerdictDead, core.ReasonStatus, "ERR DB index"},
	} {
		out := attempt(t, c.url, c.with, nil)
		if out.Verdict != c.want || out.Reason != c.reason || !strings.Contains(out.Message, c.says) || strings.Contains(out.Message, "hidden") {
			t.Errorf("%s: %+v", c.name, out)
		}
	}
}

func TestStatesOfTheServerAreRetried(t *testing.T) {
	s := redistest.Start(t)
	s.Do("CONFIG", "SET", "maxmemory", "1")
	out := attempt(t, s.URL(), map[string]any{"command": []any{"SET", "a", "1"}}, nil)
	if out.Verdict != store.VerdictRetry || !strings.Contains(out.Message, "OOM") {
		t.Errorf("%+v", out)
	}
	s.Do("CONFIG", "SET", "maxmemory", "0")
	s.Do("REPLICAOF", "127.0.0.1", "1")
	out = attempt(t, s.URL(), map[string]any{"command": []any{"SET", "a", "1"}}, nil)
	if out.Verdict != store.VerdictRetry || !strings.Contains(out.Message, "READONLY") {
		t.Errorf("%+v", out)
	}
	out = attempt(t, s.URL(), map[string]any{"commands": []any{[]any{"SET", "a", "1"}, []any{"SET", "b", "1"}}}, nil)
	if out.Verdict != store.VerdictRetry || !strings.Contains(out.Message, "READONLY") {
		t.Errorf("%+v", out)
	}
	s.Do("REPLICAOF", "NO", "ONE")
	s.Stop()
	out = attempt(t, s.URL(), map[string]any{"command": []any{"INCR", "a"}}, nil)
	if out.Verdict != store.VerdictRetry || out.Reason != core.ReasonRefused {
		t.Errorf("%+v", out)
	}
}

// A server that takes a command and breaks the connection may have done it.
func TestLostAnswers(t *testing.T) {
	url := silent(t)
	for _, c := range []struct {
		command []any
		reason  core.Reason
	}{
		{[]any{"SET", "a", "1"}, core.ReasonReset}, // once more ends the same
		{[]any{"SET", "a", "1", "nx"}, core.ReasonUnknown},
		{[]any{"INCR", "a"}, core.ReasonUnknown},
		{[]any{"SDIFFSTORE", "a", "b", "a"}, core.ReasonUnknown}, // what it makes is what it reads
	} {
		out := attempt(t, url, map[string]any{"command": c.command}, nil)
		if out.Verdict != store.VerdictRetry || out.Reason != c.reason {
			t.Errorf("%v: %+v", c.command, out)
		}
	}
}

// silent accepts, reads, and closes.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 4096)
				for {
					n, err := conn.Read(buf)
					if err != nil || !strings.Contains(strings.ToUpper(string(buf[:n])), "HELLO") {
						return
					}
					if _, err := conn.Write([]byte("-ERR unknown command\r\n")); err != nil {
						return
					}
				}
			}()
		}
	}()
	return "redis://" + l.Addr().String()
}

func TestLargeReplies(t *testing.T) {
	s := redistest.Start(t)
	s.Do("SET", "kept", strings.Repeat("x", 50<<10))
	out := attempt(t, s.URL(), map[string]any{"command": []any{"GET", "kept"}}, nil)
	if out.Verdict != store.VerdictSucceeded || !strings.Contains(string(out.Steps[0].Result), `"truncated":true`) {
		t.Errorf("%+v", out)
	}
	s.Do("SETRANGE", "large", "2000000", "x")
	out = attempt(t, s.URL(), map[string]any{"command": []any{"GET", "large"}}, nil)
	if out.Verdict != store.VerdictDead || out.Reason != core.ReasonTooLarge {
		t.Errorf("%+v", out)
	}
	s.Do("SET", "bytes", "\xff\x00")
	if got := reply(t, attempt(t, s.URL(), map[string]any{"command": []any{"GET", "bytes"}}, nil)); got != `{"base64":"/wA="}` {
		t.Errorf("%s", got)
	}
}

// What runs under an old configuration ends as it began, and its sockets are closed then.
func TestRetiredConnectionsCloseTheirSockets(t *testing.T) {
	s := redistest.Start(t)
	p, opened, err := compile(s.URL(), config.Step{With: map[string]any{"command": []any{"INCR", "n"}}})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := opened["cache"].Value.(*connection)
	reply(t, p.Run(t.Context(), delivery(nil)))
	client, release, err := c.client.Use()
	if err != nil {
		t.Fatal(err)
	}
	opened.Retire()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("a command that began before: %v", err)
	}
	release()
	if err := client.Ping(t.Context()).Err(); err == nil {
		t.Error("its client is still open")
	}
	if got := reply(t, p.Run(t.Context(), delivery(nil))); got != "2" {
		t.Errorf("a step after it: %s", got)
	}
	deadline := time.Now().Add(10 * time.Second)
	for len(strings.Split(strings.TrimSpace(s.Do("CLIENT", "LIST")), "\n")) > 1 {
		if time.Now().After(deadline) {
			t.Fatal("sockets stay open")
		}
	}
}

func TestUnusableURLIsRefusedWithoutShowingIt(t *testing.T) {
	for _, text := range []string{"", "http://hidden", "redis://", "redis://u:hidden@h/x", "redis://u:hidden@h?db=1", "redis://u:12?hidden@h:6379/0", "rediss://u:12?hidden&ca=hidden@h", "redis://hidden\x7f"} {
		_, err := Connection(nil).Open(map[string]any{"url": config.NewSecret(text)})
		if err == nil || strings.Contains(err.Error(), "hidden") {
			t.Errorf("%q: %v", text, err)
		}
	}
	hosts := Connection(nil).Hosts(map[string]any{"url": config.NewSecret("rediss://u:p@cache.example.fr/2")})
	if !slices.Equal(hosts, []string{"redis://cache.example.fr:6379"}) {
		t.Errorf("%v", hosts)
	}
}
