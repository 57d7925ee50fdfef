package main

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"relais/internal/api"
)

// Run lists refused requests.
func (r *rejectionsList) Run(p *program) error {
	q := r.query().set("source", r.Source).set("reason", r.Reason).time("since", r.Since)
	return p.with(func(c *client) error {
		var list api.List[api.Rejection]
		if err := c.get("/rejections", url.Values(q), &list); err != nil {
			return err
		}
		return show(p, r.output, &list, func(list *api.List[api.Rejection]) error {
			if len(list.Items) == 0 {
				p.say("no_rejections")
				return nil
			}
			rows := make([][]string, len(list.Items))
			for i, r := range list.Items {
				rows[i] = []string{r.ID, when(r.At), r.Source, r.Reason, strconv.Itoa(r.Status), r.Address, p.clip(p.lang.answer(r.Detail), 70), r.Event}
			}
			err := p.table("head_rejections", rows)
			p.more(list.NextCursor)
			return err
		})
	})
}

// Run shows one refused request.
func (r *rejectionsShow) Run(p *program) error {
	return p.with(func(c *client) error {
		var one api.Rejection
		path := "/rejections/" + strconv.FormatInt(r.ID, 10)
		if err := c.get(path, url.Values(query{}.flag("body", r.Body)), &one); err != nil {
			return err
		}
		return show(p, r.output, &one, func(one *api.Rejection) error { return p.rejection(one, r.Body) })
	})
}

func (p *program) rejection(r *api.Rejection, body bool) error {
	kept := p.lang.say("kept_part")
	if r.Complete {
		kept = p.lang.say("kept_whole")
	}
	err := p.fields("f_rejection", r.ID, "f_number", strconv.FormatInt(r.Request, 10), "f_source", r.Source, "f_at", when(r.At), "f_reason", r.Reason, "f_detail", p.lang.answer(r.Detail),
		"f_status", strconv.Itoa(r.Status), "f_address", r.Address, "f_request", strings.TrimSpace(r.Method+" "+r.Path),
		"f_query", r.Query, "f_body", p.lang.size(r.BodyBytes)+", "+kept, "f_became", r.Event)
	if err != nil {
		return err
	}
	p.headers(r.Headers)
	if body {
		p.printf("\n%s\n", printableLines(r.Body+r.BodyBase64))
	}
	return nil
}

// Run verifies refused requests again.
func (r *rejectionsRetry) Run(p *program) error {
	in := api.Retry{IDs: r.IDs, Source: r.Source, Since: r.Since.Time, DryRun: r.DryRun}
	return p.with(func(c *client) error {
		var out api.Retried
		if err := c.post("/rejections/retry", in, &out); err != nil {
			return err
		}
		return show(p, r.output, &out, p.retried)
	})
}

func (p *program) retried(r *api.Retried) error {
	if r.DryRun {
		p.say("would_retry", p.number(int64(r.Tried)))
	} else {
		p.say("retried", p.number(int64(r.Tried)), p.number(int64(r.Accepted)))
	}
	for _, one := range r.Results {
		if one.Event != "" {
			p.printf("  %s → %s\n", one.Rejection, one.Event)
		}
	}
	for _, message := range slices.Sorted(maps.Keys(r.Refused)) {
		p.say("still_refused", p.number(int64(r.Refused[message])), oneLine(p.lang.answer(message)))
	}
	if r.Incomplete > 0 {
		p.say("retry_incomplete", p.number(int64(r.Incomplete)))
	}
	if r.Done > 0 {
		p.say("retry_done", p.number(int64(r.Done)))
	}
	return nil
}
