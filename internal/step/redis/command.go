package redis

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"relais/internal/core"
	"relais/internal/expr"
	"relais/internal/step"
)

const (
	maxCommands = 128
	maxArgs     = 1024
	maxBytes    = 4 << 20 // of all arguments
)

// repeatableCommands and otherCommands are all that may be sent; the former end the same when they are
// done twice. What isn't in the lists is refused: commands that come with a later Redis or with a module
// aren't known to be harmless.
var (
	repeatableCommands = words(`GET MGET STRLEN GETRANGE SUBSTR SET SETEX PSETEX SETRANGE MSET
		EXISTS TTL PTTL EXPIRETIME PEXPIRETIME TYPE DEL UNLINK TOUCH EXPIRE PEXPIRE EXPIREAT PEXPIREAT PERSIST
		HGET HMGET HGETALL HKEYS HVALS HLEN HSTRLEN HEXISTS HSET HMSET HDEL HEXPIRE HPEXPIRE HEXPIREAT HPEXPIREAT HTTL HPERSIST
		LRANGE LLEN LINDEX LPOS LSET SADD SREM SCARD SISMEMBER SMISMEMBER SMEMBERS SRANDMEMBER SINTER SUNION SDIFF SINTERSTORE SUNIONSTORE
		ZADD ZREM ZCARD ZCOUNT ZSCORE ZMSCORE ZRANK ZREVRANK ZRANGE ZREVRANGE ZRANGEBYSCORE ZREVRANGEBYSCORE ZRANGEBYLEX ZLEXCOUNT ZREMRANGEBYSCORE ZREMRANGEBYLEX
		XLEN XRANGE XREVRANGE XDEL XTRIM SETBIT GETBIT BITCOUNT BITPOS PFADD PFCOUNT PFMERGE
		GEOADD GEOPOS GEODIST GEOHASH GEOSEARCH JSON.SET JSON.GET JSON.MGET JSON.DEL JSON.MERGE JSON.TYPE PING TIME`)
	otherCommands = words(`INCR INCRBY INCRBYFLOAT DECR DECRBY APPEND SETNX MSETNX GETSET GETDEL GETEX COPY RENAME RENAMENX
		HSETNX HINCRBY HINCRBYFLOAT LPUSH LPUSHX RPUSH RPUSHX LPOP RPOP LREM LTRIM LINSERT LMOVE RPOPLPUSH SPOP SMOVE SDIFFSTORE
		ZINCRBY ZPOPMIN ZPOPMAX ZREMRANGEBYRANK ZRANGESTORE XADD BITFIELD JSON.NUMINCRBY JSON.ARRAPPEND PUBLISH SPUBLISH`)
)

// refusals say why of the commands that people are most likely to try.
var refusals = map[string]string{
	"EVAL": scripts, "EVALSHA": scripts, "EVAL_RO": scripts, "EVALSHA_RO": scripts, "SCRIPT": scripts, "FUNCTION": scripts, "FCALL": scripts, "FCALL_RO": scripts,
	"CONFIG": server, "FLUSHALL": server, "FLUSHDB": server, "SHUTDOWN": server, "DEBUG": server, "MODULE": server, "SLAVEOF": server, "REPLICAOF": server,
	"ACL": server, "SAVE": server, "BGSAVE": server, "BGREWRITEAOF": server, "SWAPDB": server, "CLUSTER": server, "FAILOVER": server, "CLIENT": server, "MIGRATE": server, "RESTORE": server,
	"KEYS": "it reads all keys while everybody waits", "SCAN": "it walks over all keys",
	"MONITOR": waits, "SUBSCRIBE": waits, "PSUBSCRIBE": waits, "SSUBSCRIBE": waits, "BLPOP": waits, "BRPOP": waits, "BLMOVE": waits, "BRPOPLPUSH": waits, "BLMPOP": waits,
	"BZPOPMIN": waits, "BZPOPMAX": waits, "BZMPOP": waits, "XREAD": waits, "XREADGROUP": waits, "WAIT": waits, "WAITAOF": waits,
	"SELECT": session, "AUTH": session, "HELLO": session, "QUIT": session, "RESET": session, "WATCH": session, "UNWATCH": session,
	"MULTI": transactions, "EXEC": transactions, "DISCARD": transactions,
}

const (
	scripts      = "scripts are programs, and an argument would run in them"
	server       = "it acts on the server, and not on data"
	waits        = "it waits, and holds its connection"
	session      = "it changes the connection for other steps; write the database and the user in the connection's url"
	transactions = "write the commands under `commands`: they are one transaction"
)

func words(list string) map[string]bool {
	out := map[string]bool{}
	for word := range strings.FieldsSeq(list) {
		out[word] = true
	}
	return out
}

// command is one that is sent: its name in capitals, and all its words.
type command struct {
	name string
	args []any
}

// checkCommand refuses what the file alone shows to be wrong.
func checkCommand(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return errors.New("it must be a list: the command's name and its arguments, such as [SET, key, value]")
	}
	name, ok := list[0].(string)
	if !ok || expr.HasExpressions(name) {
		return errors.New("the command's name must be written out: no ${{ }} may stand there")
	}
	if len(list) > maxArgs {
		return fmt.Errorf("a command has at most %d words", maxArgs)
	}
	return allowed(strings.ToUpper(name))
}

func allowed(name string) error {
	if repeatableCommands[name] || otherCommands[name] {
		return nil
	}
	if why := refusals[name]; why != "" {
		return fmt.Errorf("the command %s is not allowed: %s", name, why)
	}
	known := slices.Collect(func(yield func(string) bool) {
		for _, list := range []map[string]bool{repeatableCommands, otherCommands} {
			for name := range list {
				if !yield(name) {
					return
				}
			}
		}
	})
	slices.Sort(known)
	if near := core.Nearest(name, known); near != "" {
		return fmt.Errorf("the command %q is not one of those that are allowed; did you mean %s?", name, near)
	}
	return fmt.Errorf("the command %q is not one of those that are allowed: they read or write data, and don't wait", name)
}

func checkCommands(value any) error {
	list, ok := value.([]any)
	if !ok || len(list) == 0 {
		return errors.New("it must be a list of commands, each a list such as [SET, key, value]")
	}
	if len(list) > maxCommands {
		return fmt.Errorf("at most %d commands may stand here", maxCommands)
	}
	for i, one := range list {
		if err := checkCommand(one); err != nil {
			return fmt.Errorf("command %d: %w", i+1, err)
		}
	}
	return nil
}

// commandsOf reads the evaluated parameters. What was a list in the file is one now, and no expression
// can have made a command of an argument: names are looked at again all the same.
func commandsOf(with map[string]any) (commands []command, several bool, err error) {
	single, hasOne := with["command"]
	list, hasMany := with["commands"]
	if hasOne == hasMany {
		return nil, false, errors.New("one of command and commands must be given")
	}
	if hasOne {
		one, err := commandOf(single)
		return []command{one}, false, err
	}
	if err := checkCommands(list); err != nil {
		return nil, false, fmt.Errorf("commands: %w", err)
	}
	items, _ := list.([]any)
	for i, item := range items {
		one, err := commandOf(item)
		if err != nil {
			return nil, false, fmt.Errorf("command %d: %w", i+1, err)
		}
		commands = append(commands, one)
	}
	return commands, true, nil
}

func commandOf(value any) (command, error) {
	if err := checkCommand(value); err != nil {
		return command{}, err
	}
	words, _ := value.([]any)
	name, _ := words[0].(string)
	out := command{name: strings.ToUpper(name), args: make([]any, len(words))}
	size := 0
	for i, word := range words {
		text, err := step.Text(word)
		if err != nil {
			return command{}, fmt.Errorf("%s, argument %d: %w", out.name, i, err)
		}
		if size += len(text); size > maxBytes {
			return command{}, fmt.Errorf("%s: the arguments are larger than %d MiB", out.name, maxBytes>>20)
		}
		out.args[i] = text
	}
	return out, nil
}

// conditional are the options with which a command's second answer, or its effect, differs from the first.
var conditional = words("NX XX GET INCR")

// repeatable tells whether the commands may be sent again after nobody knows whether they were done.
func repeatable(commands []command) bool {
	for _, one := range commands {
		if !repeatableCommands[one.name] {
			return false
		}
		if one.name != "SET" && one.name != "ZADD" && one.name != "GEOADD" && one.name != "JSON.SET" {
			continue
		}
		for _, arg := range one.args[1:] {
			if text, _ := arg.(string); conditional[strings.ToUpper(text)] {
				return false
			}
		}
	}
	return true
}
