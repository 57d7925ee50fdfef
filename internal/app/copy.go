package app

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"relais/internal/config"
	"relais/internal/core"
	"relais/internal/store"
	"relais/internal/store/postgres"
	"relais/internal/store/sqlite"
)

// CopyOptions ask for a copy of a stopped relais' data folder into a PostgreSQL database.
type CopyOptions struct {
	Options
	// To is the database's URL; "" is the configuration's store.
	To string
	// DryRun only counts what would be copied.
	DryRun bool
	// Progress is told how many rows are copied, of how many; it may be nil.
	Progress func(copied, total int64)
}

// CopiedTable is how many rows of a table the folder and the database hold.
type CopiedTable struct {
	Table  string `json:"table"`
	Source int64  `json:"source"`
	Target int64  `json:"target"`
}

// Copied says what was copied.
type Copied struct {
	From   string        `json:"from"`
	To     string        `json:"to,omitempty"`
	Tables []CopiedTable `json:"tables"`
	Rows   int64         `json:"rows"` // by this run
	Took   time.Duration `json:"took_ns"`
	// Resumed tells that an interrupted copy was gone on with, Already that there was nothing left to copy.
	Resumed bool `json:"resumed,omitempty"`
	Already bool `json:"already,omitempty"`
	DryRun  bool `json:"dry_run,omitempty"`
	// Unmarked says why the folder couldn't be marked as copied; "" when it was.
	Unmarked string `json:"unmarked,omitempty"`
}

const (
	// A transaction of a copy has so many rows, or bytes.
	copyRows, copyBytes = 5000, 8 << 20
	// copyPatience is about how long a database that is away is waited for before the copy gives up.
	copyPatience = 8 * time.Second
	// copyTablesAtOnce is how many tables are copied at once: while one is read, another is written.
	copyTablesAtOnce = 3
	// copiedName is the file that marks a folder whose data were copied.
	copiedName = "copied-to-postgresql"
)

// CopyStore copies all of a stopped relais' data folder into an empty database, or goes on with a copy that
// was interrupted. The folder is read only, but for the mark at the end, and locked: no relais works on it
// meanwhile, and none on the database before the copy is whole and its rows were counted.
func CopyStore(ctx context.Context, o CopyOptions) (Copied, error) {
	begun := time.Now()
	// A file that can't be read leaves the copy possible where the URL is given.
	cfg, err := load(o.Options)
	if o.To == "" && !o.DryRun {
		if err != nil {
			return Copied{}, err
		}
		o.To = cfg.Store.Reveal()
	}
	if !o.DryRun && !isURL(o.To) {
		return Copied{}, core.Errorf(core.CodeInvalid, "copy to where? --to postgres://user:password@host:5432/database, or the same in the configuration's store")
	}
	source, err := sqlite.OpenExport(ctx, sqlite.ExportOptions{Dir: o.Data, Windows: dedupWindows(cfg)})
	if err != nil {
		return Copied{}, err
	}
	defer source.Close() //nolint:errcheck // it was only read
	c := &copying{options: o, source: source, done: Copied{From: o.Data, DryRun: o.DryRun}}
	if o.DryRun {
		err = c.count(ctx)
	} else {
		c.done.To = databaseOf(o.To)
		err = c.run(ctx)
	}
	c.done.Took = time.Since(begun)
	return c.done, err
}

// dedupWindows are the windows that the sources' keys probably have: the stored ones are told apart by them.
func dedupWindows(cfg *config.Config) []time.Duration {
	windows := []time.Duration{72 * time.Hour, 10 * time.Minute}
	if cfg != nil {
		for _, s := range cfg.Sources {
			if s.DedupWindow > 0 {
				windows = append(windows, s.DedupWindow)
			}
		}
	}
	return windows
}

// databaseOf names a database without whoever uses it.
func databaseOf(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "PostgreSQL"
	}
	return u.Host + u.Path
}

type copying struct {
	options CopyOptions
	source  *sqlite.Export
	target  *postgres.Import
	done    Copied

	mu            sync.Mutex
	copied, total int64
}

func (c *copying) count(ctx context.Context) error {
	counts, err := c.source.Counts(ctx, time.Now())
	for _, table := range store.CopyTables {
		c.done.Tables = append(c.done.Tables, CopiedTable{Table: table.Name, Source: counts[table.Name]})
	}
	return err
}

func (c *copying) run(ctx context.Context) (err error) {
	from, err := c.source.Source(ctx)
	if err != nil {
		return err
	}
	c.target, err = postgres.OpenImport(ctx, postgres.Options{URL: c.options.To})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.target.Close()) }()
	state, err := c.target.Begin(ctx, from)
	if err != nil {
		return err
	}
	counts, err := c.source.Counts(ctx, state.Begun)
	if err != nil {
		return err
	}
	for _, table := range store.CopyTables {
		c.total += counts[table.Name]
		c.copied += state.Rows[table.Name]
	}
	before := c.copied
	c.done.Resumed, c.done.Already = state.Resumed && !state.Finished, state.Finished
	if !state.Finished {
		if err := c.copyTables(ctx, state); err != nil {
			return err
		}
	}
	c.done.Rows = c.copied - before
	if err := c.compare(ctx, counts); err != nil {
		return err
	}
	if !state.Finished {
		numbers, err := c.source.Numbers(ctx)
		if err != nil {
			return err
		}
		if err := c.target.Finish(ctx, numbers); err != nil {
			return err
		}
	}
	c.mark()
	return nil
}

// copyTables copies several tables at once. The first that fails stops the others.
func (c *copying) copyTables(ctx context.Context, state postgres.CopyState) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	tables := make(chan store.CopyTable, len(store.CopyTables))
	for _, table := range store.CopyTables {
		tables <- table
	}
	close(tables)
	var workers sync.WaitGroup
	for range copyTablesAtOnce {
		workers.Go(func() {
			for table := range tables {
				if err := c.copyTable(ctx, table, state); err != nil {
					stop(fmt.Errorf("%s: %w", table.Name, err))
					return
				}
			}
		})
	}
	workers.Wait()
	return context.Cause(ctx)
}

func (c *copying) copyTable(ctx context.Context, table store.CopyTable, state postgres.CopyState) error {
	place := state.Places[table.Name]
	rows, err := c.source.Rows(ctx, table.Name, place, state.Begun)
	if err != nil {
		return err
	}
	defer rows.Close()
	for {
		some, to, err := rows.Next(copyRows, copyBytes)
		if err != nil || len(some) == 0 {
			return err
		}
		if err := again(ctx, func() error { return c.target.Write(ctx, table, place, to, some) }); err != nil {
			return err
		}
		place = to
		c.advance(int64(len(some)))
	}
}

// again calls what fails because the database is away a few times more: a copy outlives a server's restart.
func again(ctx context.Context, write func() error) error {
	for wait := copyPatience / 8; ; wait *= 2 {
		err := write()
		if !errors.Is(err, store.ErrUnavailable) || wait > copyPatience {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func (c *copying) advance(rows int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.copied += rows
	if c.options.Progress != nil {
		c.options.Progress(c.copied, c.total)
	}
}

// compare counts the database's rows against the folder's.
func (c *copying) compare(ctx context.Context, source map[string]int64) error {
	target, err := c.target.Counts(ctx)
	if err != nil {
		return err
	}
	var wrong []string
	for _, table := range store.CopyTables {
		t := CopiedTable{table.Name, source[table.Name], target[table.Name]}
		c.done.Tables = append(c.done.Tables, t)
		if t.Source != t.Target {
			wrong = append(wrong, fmt.Sprintf("%s: %d of %d", t.Table, t.Target, t.Source))
		}
	}
	if len(wrong) > 0 {
		return core.Errorf(core.CodeConflict, "the database doesn't hold what the folder does (%s): copy again, into another, empty one", strings.Join(wrong, ", "))
	}
	return nil
}

// mark keeps serve from working on the folder by mistake: it would receive and deliver beside the database,
// and know nothing of the effects there.
func (c *copying) mark() {
	text := fmt.Sprintf("%s\n%s\n", c.done.To, time.Now().UTC().Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(c.options.Data, copiedName), []byte(text), 0o600); err != nil {
		c.done.Unmarked = err.Error()
	}
}

// refuseCopied refuses to work on a folder whose data were copied into a database.
func refuseCopied(cfg *config.Config, data string) error {
	if shared(cfg) {
		return nil
	}
	path := filepath.Join(data, copiedName)
	text, err := os.ReadFile(path) //nolint:gosec // the operator's folder
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return core.Errorf(core.CodeUnavailable, "the data folder can't be used: %w", err)
	}
	to, _, _ := strings.Cut(string(text), "\n")
	return core.Errorf(core.CodeInvalid, "the data of this folder were copied to %s, where relais goes on: name that database in the configuration's store. "+
		"Working here too would do again what is done there; to come back to this folder for good, remove %s", to, path)
}
