package main

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"relais/internal/app"
	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
)

type storeCommands struct {
	Copy storeCopy `cmd:"" help:"${cmd_store_copy}"`
}

type storeCopy struct {
	To     string `placeholder:"URL" help:"${flag_copy_to}"`
	DryRun bool   `help:"${flag_copy_dry_run}"`
	output
}

// Run copies the data folder of a stopped relais into PostgreSQL.
func (s *storeCopy) Run(p *program) error {
	o := app.CopyOptions{Options: p.appOptions(), To: s.To, DryRun: s.DryRun}
	if !s.JSON && terminal(p.stderr) {
		o.Progress = p.copyProgress()
	}
	done, err := app.CopyStore(p.ctx, o)
	if o.Progress != nil {
		p.complain("\r\x1b[K")
	}
	if err != nil {
		return p.copyFailure(err, &done)
	}
	return show(p, s.output, &done, p.showCopied)
}

// copyProgress tells how far the copy is, a few times a second.
func (p *program) copyProgress() func(copied, total int64) {
	var last time.Time
	return func(copied, total int64) {
		if time.Since(last) < progressEvery || total == 0 {
			return
		}
		last = time.Now()
		p.complain("\r\x1b[K%s", p.lang.say("copying_store", bar(copied, total), 100*copied/total, p.number(copied), p.number(total)))
	}
}

const barWidth = 30

// bar draws how much of the total is done.
func bar(done, total int64) string {
	full := int(barWidth * min(done, total) / total)
	return strings.Repeat("#", full) + strings.Repeat(".", barWidth-full)
}

func (p *program) showCopied(done *app.Copied) error {
	rows := make([][]string, 0, len(done.Tables))
	total := int64(0)
	for _, t := range done.Tables {
		total += t.Source
		copied := ""
		if !done.DryRun {
			copied = strconv.FormatInt(t.Target, 10)
		}
		rows = append(rows, []string{t.Table, strconv.FormatInt(t.Source, 10), copied})
	}
	if err := p.table("head_copied", rows); err != nil {
		return err
	}
	switch {
	case done.DryRun:
		p.say("copy_counted", oneLine(done.From), p.number(total))
		return nil
	case done.Already:
		p.say("copy_already", oneLine(done.From), oneLine(done.To))
	default:
		p.say("store_copied", oneLine(done.From), oneLine(done.To), p.number(done.Rows), p.lang.short(done.Took))
	}
	if done.Resumed {
		p.say("copy_resumed")
	}
	if done.Unmarked != "" {
		p.say("copy_unmarked", oneLine(done.Unmarked))
	}
	p.say("copy_next")
	return nil
}

// copyFailure tells what to do about a copy that failed.
func (p *program) copyFailure(err error, done *app.Copied) error {
	var problems config.Problems
	if errors.As(err, &problems) {
		return p.configFailure(err)
	}
	f := p.failureOf(err)
	var away *store.Away
	switch {
	case errors.As(err, &away) && away.Lasting:
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, context.Canceled):
		f.hint = p.lang.say("hint_copy")
	case core.CodeOf(err) == core.CodeConflict && done.From == "": // before the folder could be read
		f.code, f.hint = exitAway, p.lang.say("hint_stop")
	}
	return f
}
