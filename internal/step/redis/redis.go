// Package redis is the step redis/command: one command of a Redis server, or several in one transaction.
//
// A command's name is the file's own word, and one of a list: those that read and write data. What an
// event holds can only be an argument, and arguments are sent by length: nothing in them is ever read as
// a command. Redis has no key by which it would know a repeated command. Commands that end the same when
// they are done twice (SET, HSET, DEL) are simply repeated after a lost answer; of the others (INCR,
// LPUSH, PUBLISH) nobody knows, and on_unknown decides.
//
// Commands of one delivery come in its steps' order. Between deliveries there is no order but the
// route's: where the last value must win, the route says order_by.
package redis

import (
	"context"
	"errors"
	"fmt"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"relais/internal/core"
	"relais/internal/egress"
	"relais/internal/step"
)

// Command is the kind redis/command.
func Command() step.Kind {
	return step.Kind{
		Name:       "redis/command",
		Class:      step.ClassAtLeastOnce,
		Connection: "redis",
		Result:     []string{"reply", "truncated"},
		Doc: "Sends one command, or several that Redis does together (MULTI). Its result has `reply`: what Redis answered, or a list with the answer to each of `commands`; null where a key isn't there. " +
			"Of a reply past 48 KiB only `truncated: true` is kept, and one past 1 MiB fails. " +
			"Only commands that read or write data are allowed, and none that waits. Those that can be repeated without harm (SET without NX, XX or GET, HSET, DEL, EXPIRE, SADD, ZADD …) are repeated when an answer was lost; " +
			"for the others (INCR, LPUSH, XADD, PUBLISH …) `on_unknown` decides. Deliveries may overtake each other: give the route `order_by` where the newest value must win.",
		Params: []step.Param{
			{Name: "command", Type: step.TypeAny, Check: checkCommand,
				Doc: "The command as a list: its name, written out, and its arguments, such as `[SET, \"stock:${{ event.data.id }}\", \"${{ event.data.stock }}\", EX, 3600]`."},
			{Name: "commands", Type: step.TypeAny, Check: checkCommands,
				Doc: "Several commands, each a list as in `command`, that Redis does together or not at all."},
		},
		Run: run,
	}
}

func run(ctx context.Context, call *step.Call) (step.Result, error) {
	c, ok := call.Connection.(*connection)
	if !ok {
		return nil, fmt.Errorf("redis/command got a connection of type %T", call.Connection)
	}
	commands, several, err := commandsOf(call.With)
	if err != nil {
		return nil, &step.Failure{Disposition: step.Final, Reason: core.ReasonParameter, Message: err.Error(), Cause: err}
	}
	client, release, err := c.client.Use()
	if err != nil {
		return nil, err
	}
	defer release()
	if !several {
		reply, err := client.Do(ctx, commands[0].args...).Result()
		if err != nil && !errors.Is(err, goredis.Nil) {
			return nil, meaning(err, commands)
		}
		return result(reply), nil
	}
	pipe := client.TxPipeline()
	for _, one := range commands {
		_ = pipe.Do(ctx, one.args...) // told by Exec
	}
	answers, err := pipe.Exec(ctx)
	if err != nil && !errors.Is(err, goredis.Nil) && !isReply(err) {
		return nil, meaning(err, commands)
	}
	replies := make([]any, len(answers))
	for i, answer := range answers {
		single, _ := answer.(*goredis.Cmd)
		if err := answer.Err(); err != nil && !errors.Is(err, goredis.Nil) {
			return nil, meaningOfOne(err, i, answers, commands)
		} else if err == nil && single != nil {
			replies[i] = single.Val()
		}
	}
	return result(replies), nil
}

// meaningOfOne tells of the command that was refused. Redis does the others of a transaction all the same
// when one of them fails as it is done; it does none when one couldn't even be queued.
func meaningOfOne(err error, at int, answers []goredis.Cmder, commands []command) error {
	failure := meaning(err, commands)
	failure.Message = fmt.Sprintf("command %d, %s: %s", at+1, commands[at].name, failure.Message)
	for _, other := range answers {
		if other.Err() == nil || errors.Is(other.Err(), goredis.Nil) {
			failure.Disposition = step.Final
			failure.Message += "; the others were done"
			break
		}
	}
	return failure
}

// meaning tells what a failed command means for the delivery.
func meaning(err error, commands []command) *step.Failure {
	if isReply(err) {
		return refused(err)
	}
	failure := &step.Failure{Disposition: step.Retry, Reason: egress.Classify(err), Message: "Redis: " + egress.Explain(err), Cause: err}
	var call *egress.Error
	switch {
	case failure.Reason == core.ReasonAddress || failure.Reason == core.ReasonTooLarge:
		failure.Disposition = step.Final // the same command would end the same way
	case errors.Is(err, goredis.ErrPoolTimeout):
		failure.Reason, failure.Message = core.ReasonTimeout, "Redis: all connections are taken by commands that get no answer"
	case errors.As(err, &call) && !call.MayHaveSent:
	case !repeatable(commands):
		failure.Disposition = step.Unknown
	}
	if failure.Reason == core.ReasonInternal {
		failure.Reason, failure.Message = core.ReasonReset, "Redis: the answer could not be read"
	}
	return failure
}

// passing are the refusals that say how the server is, and not what is wrong with the command: the first
// word of the error, as Redis' documentation of its protocol has it.
var passing = map[string]bool{
	"LOADING": true, "READONLY": true, "BUSY": true, "TRYAGAIN": true, "CLUSTERDOWN": true, "MASTERDOWN": true,
	"NOREPLICAS": true, "OOM": true, "MISCONF": true, "FAILOVER": true, "UNBLOCKED": true,
}

var denying = map[string]bool{"NOAUTH": true, "WRONGPASS": true, "NOPERM": true}

const maxSaid = 200

// refused reads an error that Redis itself gave.
func refused(err error) *step.Failure {
	said := err.Error()
	if i := strings.Index(said, ", with args"); i > 0 {
		said = said[:i] // what follows are the arguments, which are customers' data
	}
	if len(said) > maxSaid {
		said = strings.ToValidUTF8(said[:maxSaid], "") + "…"
	}
	failure := &step.Failure{Disposition: step.Final, Reason: core.ReasonStatus, Message: "Redis answered " + said, Cause: err}
	word, _, _ := strings.Cut(said, " ")
	switch {
	case passing[word], strings.HasPrefix(said, "ERR max number of clients"):
		failure.Disposition = step.Retry
	case denying[word]:
		failure.Reason = core.ReasonAuth
	case word == "MOVED" || word == "ASK" || word == "CROSSSLOT":
		failure.Message = "Redis answered " + word + ": it is a cluster, which this connection doesn't speak to"
	}
	return failure
}

// isReply tells Redis' own errors from those of the way there.
func isReply(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply) && !errors.Is(err, goredis.Nil)
}
