//go:build unix

package hostile

import (
	"strconv"
	"testing"

	"relais/internal/config"
	"relais/internal/step/redis/redistest"
)

func redisCommand(t *testing.T) check {
	server := redistest.Start(t)
	connections := []config.Connection{{Name: "cache", Kind: "redis", Settings: map[string]any{"url": config.NewSecret(server.URL())}}}
	return func(t *testing.T, _, value string) {
		server.Do("FLUSHALL")
		server.Do("SET", "victim", "here")
		// As a value, as a key, and in several commands, of which it must not end one and begin another.
		for _, with := range []map[string]any{
			{"command": []any{"SET", "a", "${{ event.data.v }}"}},
			{"command": []any{"HSET", "by key", "${{ event.data.v }}", "1"}},
			{"commands": []any{[]any{"SET", "b", "x ${{ event.data.v }}"}, []any{"RPUSH", "c", "${{ event.data.v }}", "${{ event.data.v }}"}}},
		} {
			if out := attempt(t, config.Step{Use: "redis/command", With: with}, connections, value); !succeeded(out) {
				t.Errorf("ended with %s %s: %.200s", out.Verdict, out.Reason, out.Message)
			}
		}
		if server.Do("GET", "a") != value || server.Do("GET", "b") != "x "+value || server.Do("LINDEX", "c", "1") != value {
			t.Errorf("the value became %.200q", server.Do("GET", "a"))
		}
		if server.Do("HSTRLEN", "by key", value) != strconv.Itoa(1) || server.Do("DBSIZE") != "5" || server.Do("GET", "victim") != "here" {
			t.Errorf("there are %s keys", server.Do("DBSIZE"))
		}
	}
}
