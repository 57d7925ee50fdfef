package main

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"time"

	"relais/internal/api"
)

type backupCommand struct {
	File  string `arg:"" name:"file" help:"${arg_backup}"`
	Force bool   `help:"${flag_backup_force}"`
	output
}

// progressEvery is how often a person is told how far a backup is.
const progressEvery = 250 * time.Millisecond

// Run has the server copy its store, or copies a stopped one's.
func (b *backupCommand) Run(p *program) error {
	// The server has a working directory of its own.
	file, err := filepath.Abs(b.File)
	if err != nil {
		return err
	}
	return p.with(func(c *client) error {
		stop := p.watchBackup(c)
		var out api.BackedUp
		err := c.post("/backup", api.Backup{File: file, Force: b.Force}, &out)
		stop()
		if err != nil {
			return err
		}
		return show(p, b.output, &out, func(out *api.BackedUp) error {
			p.say("backed_up", oneLine(out.File), p.lang.size(out.Bytes), p.number(out.Events), p.lang.short(time.Duration(out.TookMS)*time.Millisecond))
			p.say("backup_leaves")
			return nil
		})
	})
}

// watchBackup tells how far the backup is, where somebody looks on, until it is stopped.
func (p *program) watchBackup(c *client) (stop func()) {
	if !terminal(p.stderr) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(p.ctx)
	watcher := client{ctx: ctx, http: c.http, user: c.user, lang: c.lang}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		again := time.NewTicker(progressEvery)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
			}
			var now api.BackupProgress
			if err := watcher.get("/backup", nil, &now); err != nil || !now.Running || now.Total == 0 {
				continue // the backup's own answer tells what is wrong
			}
			line := p.lang.say("backing_up", 100*now.Copied/now.Total, p.lang.size(now.Copied), p.lang.size(now.Total))
			if now.Copied == now.Total {
				line = p.lang.say("checking")
			}
			p.complain("\r\x1b[K%s", line)
		}
	}()
	return func() {
		cancel()
		<-ended
		p.complain("\r\x1b[K")
	}
}

// terminal tells whether a person may be looking on.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}
