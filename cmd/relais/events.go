package main

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"relais/internal/api"
)

// with opens the API, runs the request and closes it.
func (p *program) with(request func(*client) error) error {
	c, err := p.connect()
	if err != nil {
		return err
	}
	err = request(c)
	if closed := c.close(); err == nil {
		err = closed
	}
	return err
}

// show prints a result as JSON, or for people.
func show[T any](p *program, o output, result *T, people func(*T) error) error {
	if o.JSON {
		return p.printJSON(result)
	}
	return people(result)
}

// query holds the parameters of a list; empty ones are left out.
type query url.Values

func (q query) set(name, value string) query {
	if value != "" {
		q[name] = []string{value}
	}
	return q
}

func (q query) time(name string, m moment) query {
	if m.IsZero() {
		return q
	}
	return q.set(name, m.Format(time.RFC3339Nano))
}

func (q query) flag(name string, on bool) query {
	if on {
		q[name] = []string{"true"}
	}
	return q
}

func (pg page) query() query {
	return query{}.set("limit", strconv.Itoa(pg.Limit)).set("cursor", pg.Cursor)
}

// more tells how to see the next page.
func (p *program) more(cursor string) {
	if cursor != "" {
		p.say("next_page", cursor)
	}
}

// sourceAndType separates "source/type", as routes write it.
func sourceAndType(source, typ string) (string, string) {
	if s, t, ok := strings.Cut(typ, "/"); ok && source == "" {
		return s, t
	}
	return source, typ
}

// Run lists events.
func (e *eventsList) Run(p *program) error {
	source, typ := sourceAndType(e.Source, e.Type)
	q := e.query().set("source", source).set("type", typ).time("since", e.Since).time("until", e.Until).flag("repeats", e.Repeats)
	return p.with(func(c *client) error {
		list, err := e.get(p, c, q.set("where", e.Where))
		if list == nil {
			return err
		}
		if shown := show(p, e.output, list, p.eventTable); err == nil {
			err = shown
		}
		return err
	})
}

// get asks for a page; with a condition in as many requests as it takes, and tells after each how far it is. What was found
// before an error, an interruption for instance, is returned with it.
func (e *eventsList) get(p *program, c *client, q query) (*api.Events, error) {
	var sum *api.Events
	for {
		var more api.Events
		if err := c.get("/events", url.Values(q), &more); err != nil {
			return sum, err
		}
		if sum == nil {
			sum = &more
		} else {
			sum.Items, sum.NextCursor = append(sum.Items, more.Items...), more.NextCursor
			sum.Read, sum.Undecided = sum.Read+more.Read, sum.Undecided+more.Undecided
			if sum.UndecidedExample == "" {
				sum.UndecidedExample = more.UndecidedExample
			}
		}
		left := e.Limit - len(sum.Items)
		if e.Where == "" || left <= 0 || sum.NextCursor == "" {
			return sum, nil
		}
		p.complain("%s\n", p.lang.say("events_so_far", p.number(int64(sum.Read)), p.number(int64(len(sum.Items))), sum.NextCursor))
		q.set("cursor", sum.NextCursor).set("limit", strconv.Itoa(left))
	}
}

func (p *program) eventTable(list *api.Events) error {
	if list.Undecided > 0 {
		p.say("events_undecided", p.number(int64(list.Undecided)), oneLine(list.UndecidedExample))
	}
	if len(list.Items) == 0 {
		p.say("no_events")
		p.more(list.NextCursor)
		return nil
	}
	rows := make([][]string, len(list.Items))
	for i, e := range list.Items {
		rows[i] = []string{e.ID, when(e.ReceivedAt), e.Source, e.Type, p.marks(&e)}
	}
	err := p.table("head_events", rows)
	p.more(list.NextCursor)
	return err
}

func (p *program) marks(e *api.Event) string {
	var marks []string
	if e.RepeatOf != "" {
		marks = append(marks, p.lang.say("mark_repeat", e.RepeatOf))
	}
	if e.Test {
		marks = append(marks, "test")
	}
	if e.Redacted {
		marks = append(marks, p.lang.say("mark_redacted"))
	}
	return strings.Join(marks, ", ")
}

// shownEvent is an event with what became of it.
type shownEvent struct {
	api.Event
	Deliveries []api.Delivery `json:"deliveries"`
}

// Run shows one event.
func (e *eventsShow) Run(p *program) error {
	return p.with(func(c *client) error {
		var shown shownEvent
		if err := c.get("/events/"+url.PathEscape(e.ID), url.Values(query{}.flag("body", e.Body)), &shown.Event); err != nil {
			return err
		}
		var deliveries api.List[api.Delivery]
		if err := c.get("/deliveries", url.Values(query{}.set("event", e.ID)), &deliveries); err != nil {
			return err
		}
		shown.Deliveries = deliveries.Items
		return show(p, e.output, &shown, func(s *shownEvent) error { return p.event(s, e.Body) })
	})
}

func (p *program) event(s *shownEvent, body bool) error {
	err := p.fields("f_event", s.ID, "f_number", strconv.FormatInt(s.Seq, 10), "f_source", s.Source, "f_type", s.Type, "f_native", s.NativeType,
		"f_received", when(s.ReceivedAt), "f_repeat_of", s.RepeatOf, "f_marks", p.marks(&api.Event{Test: s.Test, Redacted: s.Redacted}),
		"f_path", s.Path, "f_query", s.Query, "f_body", p.lang.size(int64(s.BodyBytes)))
	if err != nil {
		return err
	}
	p.headers(s.Headers)
	if body {
		text := s.Body
		if s.BodyBase64 != "" {
			text = s.BodyBase64
		}
		p.printf("\n%s\n", printableLines(text))
	}
	if len(s.Deliveries) == 0 {
		switch {
		case s.RepeatOf != "":
			p.say("no_deliveries_of_repeat", s.RepeatOf)
		case s.Test:
			p.say("no_deliveries_of_test")
		default:
			p.say("no_deliveries_of_event")
		}
		return nil
	}
	p.printf("\n")
	return p.deliveryTable(&api.List[api.Delivery]{Items: s.Deliveries})
}

// printableLines keeps line breaks and drops what would move a terminal's cursor.
func printableLines(s string) string {
	lines := strings.Split(strings.ReplaceAll(s, "\r\n", "\n"), "\n")
	for i, line := range lines {
		lines[i] = oneLine(line)
	}
	return strings.Join(lines, "\n")
}

// Run deletes events.
func (e *eventsPurge) Run(p *program) error {
	source, typ := sourceAndType(e.Source, e.Type)
	in := api.Purge{Events: e.IDs, Where: e.Where, Source: source, Type: typ, Since: e.Since.Time, Until: e.Until.Time, DryRun: e.DryRun}
	return p.with(func(c *client) error {
		var out api.Purged
		if err := c.post("/events/purge", in, &out); err != nil {
			return err
		}
		return show(p, e.output, &out, func(r *api.Purged) error {
			key := "purged"
			count := r.Purged
			if r.DryRun {
				key, count = "would_purge", r.Matched
			}
			p.say(key, p.number(int64(count)), p.number(int64(r.Read)))
			for _, id := range r.Events {
				p.printf("  %s\n", id)
			}
			if r.Matched > len(r.Events) {
				p.say("and_more", p.number(int64(r.Matched-len(r.Events))))
			}
			if r.Busy > 0 {
				p.say("purge_busy", p.number(int64(r.Busy)))
			}
			if r.Undecided > 0 {
				p.say("purge_undecided", p.number(int64(r.Undecided)), oneLine(r.UndecidedExample))
			}
			if r.Note != "" {
				p.printf("%s\n", r.Note)
			}
			return nil
		})
	})
}
