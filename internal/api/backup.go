package api

import (
	"context"
	"net"
	"net/http"
	"sync"
	"time"

	"relais/internal/core"
)

// Backup asks for a copy of the store in a file that the server writes itself.
type Backup struct {
	File  string `json:"file" minLength:"1" maxLength:"4096" doc:"Absolute path, as the server sees it, outside of the data folder" example:"/var/backups/relais.db"`
	Force bool   `json:"force,omitempty" doc:"Replace the file where it exists"`
}

// BackedUp says what a backup holds.
type BackedUp struct {
	File   string `json:"file"`
	Bytes  int64  `json:"bytes"`
	Events int64  `json:"events" doc:"Stored events in it"`
	TookMS int64  `json:"took_ms"`
}

// BackupProgress says how far the backup is that is being made.
type BackupProgress struct {
	Running bool   `json:"running"`
	File    string `json:"file,omitempty"`
	Copied  int64  `json:"copied" doc:"Bytes; once they are all copied, the copy is checked"`
	Total   int64  `json:"total"`
}

// BackUp makes a copy, and tells how many bytes are copied, of how many.
type BackUp func(ctx context.Context, b Backup, progress func(copied, total int64)) (BackedUp, error)

type backupRequest struct {
	By
	Body Backup
}

type backupResult struct{ Body BackedUp }

type backupProgress struct{ Body BackupProgress }

// backups keep how far the backup is for whoever asks meanwhile.
type backups struct {
	mu  sync.Mutex
	now BackupProgress
}

func (b *backups) set(p BackupProgress) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now = p
}

func (b *backups) get() BackupProgress {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.now
}

func (s *server) registerBackup() {
	b := &backups{}
	op := operation(http.MethodPost, "/backup", "back-up", "Store", "Write a consistent copy of the embedded store into a file",
		http.StatusForbidden, http.StatusConflict, http.StatusServiceUnavailable)
	op.Description = "Events are received meanwhile. It ends with the request: whoever gives up waiting ends the backup. Only over the data folder's socket."
	register(s, op, func(ctx context.Context, in *backupRequest) (*backupResult, error) { return s.backup(ctx, b, in) })
	register(s, operation(http.MethodGet, "/backup", "backup-progress", "Store", "How far the backup is"),
		func(context.Context, *struct{}) (*backupProgress, error) { return &backupProgress{b.get()}, nil })
}

func (s *server) backup(ctx context.Context, b *backups, in *backupRequest) (*backupResult, error) {
	if !local(ctx) {
		return nil, core.Errorf(core.CodeForbidden, "a backup is a file of the server's machine: ask over the socket, with relais backup")
	}
	if s.BackUp == nil {
		return nil, core.Errorf(core.CodeConflict, "only the embedded store is backed up so: use PostgreSQL's own tools, pg_dump or its continuous archive")
	}
	began, told := s.Now(), false
	out, err := s.BackUp(ctx, in.Body, func(copied, total int64) {
		told = true
		b.set(BackupProgress{Running: true, File: in.Body.File, Copied: copied, Total: total})
	})
	if told { // one that is refused because another runs must not end that one's progress
		b.set(BackupProgress{})
	}
	if err != nil {
		return nil, at("body.file", err)
	}
	out.TookMS = s.Now().Sub(began).Round(time.Millisecond).Milliseconds()
	return &backupResult{out}, s.audit(ctx, in.By, "backup", in.Body.File, "")
}

// local tells that the caller is on this machine with the rights of relais' own user: on the socket, or in
// this process.
func local(ctx context.Context) bool {
	address, ok := ctx.Value(http.LocalAddrContextKey).(net.Addr)
	return !ok || address.Network() == "unix"
}
