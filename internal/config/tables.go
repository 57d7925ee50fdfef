package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"time"
)

const day = 24 * time.Hour

var aPrefix = kind[netip.Prefix]{parsePrefix, netip.Prefix.String,
	map[string]any{"type": "string", "examples": []string{"194.2.122.158", "10.0.0.0/8"}}}

// topKeys are the keys of the file.
func topKeys() []field[Config] {
	return []field[Config]{
		one("public_url", "The URL under which the world reaches relais: for providers that sign URLs, and for links.",
			aURL, func(c *Config) *string { return &c.PublicURL }),
		oneWith("listen", ":3000", "Where sources call, and /health. Left out, the environment's WEBHOOK_PORT gives the port.",
			anAddress, func(c *Config) *string { return &c.Listen }),
		oneWith("admin_listen", "127.0.0.1:3001", "Where /health, /ready and /metrics answer; off opens nothing. The control API stands on the Unix socket in the data folder alone.",
			anAddressOrOff, func(c *Config) *string { return &c.AdminListen }),
		secretKey("store", "Where events and deliveries are kept: postgres://user:password@host:5432/database. Left out, it is SQLite in the data folder.",
			checkStore, func(c *Config) *Secret { return &c.Store }),
		oneWith("dev", false, "Lets connections reach private addresses from the API and from payloads. Refused with a public listen address.",
			aBool, func(c *Config) *bool { return &c.Dev }),
		many("trusted_proxies", "Addresses whose X-Forwarded-For is believed.",
			aPrefix, func(c *Config) *[]netip.Prefix { return &c.TrustedProxies }),
		section("ingest", "Bounds of what comes in.", ingestKeys(), func(c *Config) *Ingest { return &c.Ingest }),
		section("retention", "How long what is kept.", retentionKeys(), func(c *Config) *Retention { return &c.Retention }),
		section("lanes", "Bounds of what runs at once on this node.", laneKeys(), func(c *Config) *Lanes { return &c.Lanes }),
		section("log", "How relais logs.", logKeys(), func(c *Config) *Log { return &c.Log }),
		commandKey(),
		sourcesKey(),
		connectionsKey(),
		routesKey(),
	}
}

// checkStore refuses what is no address of a store, without showing it: it holds a password.
func checkStore(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return errors.New("postgres://user:password@host:5432/database is expected; leave store out for SQLite in the data folder")
	}
	return nil
}

func ingestKeys() []field[Ingest] {
	positive := atLeast(aSize, 1)
	return []field[Ingest]{
		oneWith("max_body", 1<<20, "Largest body of a request; a larger one is refused, never cut.",
			positive, func(i *Ingest) *int64 { return &i.MaxBodyBytes }),
		oneWith("in_flight", 64<<20, "Bytes of all requests at once; past it requests are answered 503.",
			positive, func(i *Ingest) *int64 { return &i.InFlightBytes }),
		oneWith("body_timeout", 10*time.Second, "Time to send a whole request.",
			atLeast(aDuration, time.Millisecond), func(i *Ingest) *time.Duration { return &i.BodyTimeout }),
		{
			name: "address_rate", doc: "Requests from one address (a /64 in IPv6). Addresses that the source's allow_ips names are bounded by its rate alone.", def: "1000/s",
			shape: func(*schemaMaker) map[string]any { return aRate.shape },
			init:  func(i *Ingest) { i.AddressRate = 1000 },
			read: func(r *reader, n *node, path string, i *Ingest) {
				if v, ok := readScalar(r, n, path, aRate); ok {
					i.AddressRate = v.perSecond
				}
			},
		},
		oneWith("address_burst", 2000, "Requests from one address at once.",
			atLeast(aCount, 1), func(i *Ingest) *int { return &i.AddressBurst }),
		oneWith("spool", true, "Whether events are kept on this node's disk while PostgreSQL is away, in the data folder's spool; off answers them 503.",
			aSwitch, func(i *Ingest) *bool { return &i.Spool }),
		oneWith("spool_size", 1<<30, "Bytes that the spool may hold; past it events are answered 503.",
			positive, func(i *Ingest) *int64 { return &i.SpoolBytes }),
		section("rejections", "Bounds of what refused requests may take.", rejectionKeys(), func(i *Ingest) *Rejections { return &i.Rejections }),
	}
}

func rejectionKeys() []field[Rejections] {
	return []field[Rejections]{
		oneWith("per_source", 10_000, "Rows kept for one source.", aCount, func(j *Rejections) *int { return &j.PerSource }),
		oneWith("size", 64<<20, "Bytes kept in all.", aSize, func(j *Rejections) *int64 { return &j.Bytes }),
		oneWith("age", 7*day, "Age after which they are deleted; 0 is no bound.", aDuration, func(j *Rejections) *time.Duration { return &j.Age }),
		oneWith("per_hour", 100, "Rows kept for one address and hour; the rest is counted.", aCount, func(j *Rejections) *int { return &j.PerHour }),
	}
}

func retentionKeys() []field[Retention] {
	age := atLeast(aDuration, time.Minute)
	return []field[Retention]{
		oneWith("events", 30*day, "Age of events.", age, func(r *Retention) *time.Duration { return &r.Events }),
		oneWith("dead", 90*day, "Age of dead deliveries and their events: that long they can be replayed.", age, func(r *Retention) *time.Duration { return &r.Dead }),
		oneWith("attempts", 30*day, "Age of attempts.", age, func(r *Retention) *time.Duration { return &r.Attempts }),
		oneWith("size", 0, "Bytes of the database's used pages; 0 is no bound.", aSize, func(r *Retention) *int64 { return &r.Size }),
	}
}

func sourceRetentionKeys() []field[SourceRetention] {
	age := atLeast(aDuration, time.Minute)
	return []field[SourceRetention]{
		one("events", "Age of its events; retention.events when left out. No shorter than its dedup_window.", age,
			func(r *SourceRetention) *time.Duration { return &r.Events }),
		one("rejections", "Age of its refused requests; ingest.rejections.age when left out.", age,
			func(r *SourceRetention) *time.Duration { return &r.Rejections }),
	}
}

func laneKeys() []field[Lanes] {
	count, wait := atLeast(aCount, 1), atLeast(aDuration, time.Millisecond)
	return []field[Lanes]{
		oneWith("running", 2048, "Attempts at once.", count, func(l *Lanes) *int { return &l.Running }),
		oneWith("bytes", 256<<20, "Bytes of the events of running attempts.", atLeast(aSize, 1), func(l *Lanes) *int64 { return &l.Bytes }),
		oneWith("window", 16, "Attempts at once of one lane, unless its route says otherwise.", count, func(l *Lanes) *int { return &l.Window }),
		oneWith("timeout", 5*time.Minute, "Longest time of one attempt.", wait, func(l *Lanes) *time.Duration { return &l.Timeout }),
		oneWith("stop_timeout", 25*time.Second, "Time that attempts get to end at a stop.", aDuration, func(l *Lanes) *time.Duration { return &l.StopTimeout }),
		oneWith("ready_delay", 5*time.Second, "Time between /ready answering 503 and the listener closing.", aDuration, func(l *Lanes) *time.Duration { return &l.ReadyDelay }),
		oneWith("interrupted", 3, "Interruptions in a row after which a delivery is dead.", count, func(l *Lanes) *int { return &l.Interrupted }),
		oneWith("breaker_after", 10, "Failures in a row after which a lane rests.", count, func(l *Lanes) *int { return &l.BreakerAfter }),
		oneWith("breaker_rest", 10*time.Second, "A lane's first rest; it doubles up to 5 minutes.", wait, func(l *Lanes) *time.Duration { return &l.BreakerRest }),
	}
}

var logLevels = []string{"debug", "info", "warn", "error"}

func logKeys() []field[Log] {
	return []field[Log]{
		oneWith("level", "info", "Least level that is logged. The environment's LOG_LEVEL goes before it.",
			oneOf(logLevels...), func(l *Log) *string { return &l.Level }),
		oneWith("format", "text", "text for people, json for collectors.",
			oneOf("text", "json"), func(l *Log) *string { return &l.Format }),
	}
}

// commandKey is on_dead of the whole file: a program with its arguments, never a shell's line.
func commandKey() field[Config] {
	words := map[string]any{"type": "array", "minItems": 1, "items": map[string]any{"type": "string"}}
	return field[Config]{
		name:  "on_dead",
		doc:   "A program and its arguments, run without a shell for each dead delivery, whose JSON it gets on its standard input.",
		shape: func(*schemaMaker) map[string]any { return words },
		read: func(r *reader, n *node, path string, c *Config) {
			if n.kind != listNode || len(n.items) == 0 {
				r.fault(n.place, path, "a program and its arguments are expected, as a list: [/usr/local/bin/notify, --dead]")
				return
			}
			for i, item := range n.items {
				if word, ok := r.plainText(item, fmt.Sprintf("%s[%d]", path, i)); ok {
					c.OnDead = append(c.OnDead, word)
				}
			}
		},
	}
}
