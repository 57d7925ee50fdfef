//go:build unix

// Package testserver runs other people's servers for tests: programs of this machine, as an unprivileged user,
// with their files in a temporary folder. They end with the test process, however that ends, and the folder
// goes with them.
package testserver

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// janitor ends what still runs in the folder $1 and removes it, once its standard input ends. That is a
// pipe whose other end this process holds: the system closes it at the process's end, kill -9 included.
// Ours is what has its working folder in there: a number in a file could be another process's by now.
// Quitting, unlike killing, lets a server give back its shared memory; continuing wakes those that a test
// had paused. Where there is no /proc, a server ends by itself in the minute after its files are gone.
const janitor = `
cat >/dev/null
inside() { ls -l /proc/[0-9]*/cwd 2>/dev/null | sed -n "s|.* /proc/\\([0-9]*\\)/cwd -> $1.*|\\1|p"; }
n=0
pids=$(inside "$1")
while [ -n "$pids" ] && [ $n -lt 100 ]; do
	[ $n -eq 90 ] && kill -KILL $pids
	kill -QUIT $pids
	kill -CONT $pids
	sleep 0.1
	n=$((n + 1))
	pids=$(inside "$1")
done 2>/dev/null
rm -rf "$1"
`

// root is the folder of everything that this process's servers write. What is open in it stays so until
// the process ends: it is referred to from here, or the garbage collector would close it.
type root struct {
	dir   string
	lock  *os.File
	alive io.Closer // the janitor acts when this closes
}

var folder = sync.OnceValues(makeFolder)

func makeFolder() (root, error) {
	prefix := "relais-test-" + strconv.Itoa(os.Getuid()) + "-"
	sweep(prefix)
	dir, err := os.MkdirTemp("", prefix)
	if err != nil {
		return root{}, err
	}
	r, err := keep(dir)
	if err != nil {
		return root{}, errors.Join(err, os.RemoveAll(dir))
	}
	return r, nil
}

// keep readies a folder for servers, and has a janitor wait for the end of this process.
func keep(dir string) (root, error) {
	dir, err := filepath.EvalSymlinks(dir) // the janitor compares it with what /proc says
	if err != nil {
		return root{}, err
	}
	// The server's user must get through; what is in here is that user's own.
	if err := os.Chmod(dir, 0o755); err != nil { //nolint:gosec // see above
		return root{}, err
	}
	held, err := lock(dir)
	if err != nil {
		return root{}, err
	}
	cmd := exec.CommandContext(context.Background(), "sh", "-c", janitor, "sh", dir) //nolint:gosec // a constant script
	alive, err := cmd.StdinPipe()
	if err != nil {
		return root{}, err
	}
	// A group of its own: a Ctrl-C in the terminal must not reach it before its work is done.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return root{}, err
	}
	return root{dir: dir, lock: held, alive: alive}, nil
}

// sweep removes the folders of processes whose janitor was killed too.
func sweep(prefix string) {
	found, err := filepath.Glob(filepath.Join(os.TempDir(), prefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range found {
		// A younger one may be about to be locked by its owner.
		if info, err := os.Stat(dir); err != nil || time.Since(info.ModTime()) < time.Minute {
			continue
		}
		held, err := lock(dir)
		if err != nil {
			continue
		}
		// Best effort: what can't be removed here is another start's to try.
		_ = exec.CommandContext(context.Background(), "sh", "-c", janitor, "sh", dir).Run() //nolint:gosec // a constant script
		_ = held.Close()
	}
}

// lock takes the folder's lock, which lasts as long as this process does. It holds across containers
// that share the folder, where process numbers say nothing.
func lock(dir string) (*os.File, error) {
	f, err := os.Open(dir) //nolint:gosec // our own folder
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// unprivileged is whom servers run as, since they refuse to be root: the first of the users that this machine
// has; nil where this process isn't root either.
func unprivileged(users []string) (*syscall.Credential, error) {
	if os.Geteuid() != 0 {
		return nil, nil
	}
	for _, name := range users {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return nil, err
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			return nil, err
		}
		return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}, nil
	}
	return nil, fmt.Errorf("running as root, and there is no user %s to run a server as", strings.Join(users, " or "))
}

// Folder makes a folder for a server, and says whom the server is to run as: the folder belongs to the first of
// these users that there is, and to this process's own where that isn't root. Servers have their working folder
// in there: by that they are found at the end.
func Folder(prefix string, users ...string) (string, *syscall.Credential, error) {
	root, err := folder()
	if err != nil {
		return "", nil, fmt.Errorf("make a folder: %w", err)
	}
	as, err := unprivileged(users)
	if err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp(root.dir, prefix)
	if err != nil {
		return "", nil, err
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return "", nil, err
		}
	}
	return dir, as, nil
}
