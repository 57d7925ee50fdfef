package bench

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// syncData waits until a file's bytes are on the disk.
func syncData(file *os.File) error { return unix.Fdatasync(int(file.Fd())) }

// refuseMemoryDisk fails for a folder that is in memory: a sync there costs nothing, and the numbers
// would be about something else.
func refuseMemoryDisk(dir string) error {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return fmt.Errorf("look at the disk of %s: %w", dir, err)
	}
	if stat.Type == unix.TMPFS_MAGIC || stat.Type == unix.RAMFS_MAGIC {
		return fmt.Errorf("%s is in memory, where a sync costs nothing: choose a folder on a disk", dir)
	}
	return nil
}

// tick is the unit of /proc/PID/stat. Linux has shown 100 a second to every program since 2.6.
const tick = time.Second / 100

// processorTime is what a process has used of the processors, in user and kernel mode, all threads.
func processorTime(pid int) (time.Duration, error) { return processorFields(pid, 11, 13) }

// processorFields adds up some of the times of /proc/PID/stat. The second field, the name, stands in
// parentheses and may hold anything; behind it, 11 and 12 are user and kernel time, 13 and 14 those of
// children that were waited for.
func processorFields(pid, from, to int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process's processor time: %w", err)
	}
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < to {
		return 0, fmt.Errorf("read a process's processor time: %d fields", len(fields))
	}
	var ticks int64
	for _, field := range fields[from:to] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read a process's processor time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
}

// familyTime is what a process and its children have used, those that have ended included.
func familyTime(pid int) (time.Duration, error) {
	total, err := processorFields(pid, 11, 15)
	if err != nil {
		return 0, err
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return 0, fmt.Errorf("find a process's children: %w", err)
	}
	for field := range strings.FieldsSeq(string(text)) {
		child, err := strconv.Atoi(field)
		if err != nil {
			return 0, fmt.Errorf("find a process's children: %w", err)
		}
		if used, err := processorTime(child); err == nil { // else it has ended meanwhile
			total += used
		}
	}
	return total, nil
}

// residentBytes is the memory that a process holds and that no file backs (RssAnon): pages of the
// database and of the program that are mapped are the system's to give back, and are not counted.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	kib, err := strconv.ParseInt(procField(string(text), "RssAnon", " kB"), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read a process's memory: %w", err)
	}
	return kib << 10, nil
}

// procField returns the first value of a name in the "name: value" lines of /proc.
func procField(text, name, unit string) string {
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSuffix(strings.TrimSpace(value), unit)
		}
	}
	return ""
}

// describeDisk names the file system that a folder is on, and tells where it discards online: each file that is
// deleted there stops the syncs of all others for a while.
func describeDisk(dir string) string {
	var stat unix.Stat_t
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || unix.Stat(dir, &stat) != nil {
		return ""
	}
	device := fmt.Sprintf("%d:%d", unix.Major(stat.Dev), unix.Minor(stat.Dev))
	for line := range strings.Lines(string(mounts)) {
		mount, system, _ := strings.Cut(line, " - ")
		of, is := strings.Fields(mount), strings.Fields(system)
		if len(of) < 3 || len(is) < 3 || of[2] != device {
			continue
		}
		if slices.Contains(strings.Split(is[2], ","), "discard") {
			return is[0] + ", discard"
		}
		return is[0]
	}
	return ""
}

func describeMachine() Machine {
	m := Machine{System: "linux"}
	if text, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		m.Processor = procField(string(text), "model name", "")
	}
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		if kib, err := strconv.ParseInt(procField(string(text), "MemTotal", " kB"), 10, 64); err == nil {
			m.MemoryMiB = kib >> 10
		}
	}
	var name unix.Utsname
	if err := unix.Uname(&name); err == nil {
		m.Kernel = unix.ByteSliceToString(name.Release[:])
	}
	return m
}

// endWithUs lets no child outlive the generator, even one that is killed.
func endWithUs(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// pause keeps a process from running, without its knowing, until resume.
func pause(process *os.Process) error { return process.Signal(syscall.SIGSTOP) }

func resume(process *os.Process) error { return process.Signal(syscall.SIGCONT) }

// giveToServer makes folders and files those of the user that PostgreSQL runs as, which may not be root,
// and lets that user through run, the folder that they are in. What it returns makes a command that
// user's, and one that doesn't outlive the generator.
func giveToServer(run string, paths ...string) (func(*exec.Cmd), error) {
	attributes := syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	as := func(cmd *exec.Cmd) { own := attributes; cmd.SysProcAttr = &own }
	if os.Geteuid() != 0 {
		return as, nil
	}
	for _, name := range []string{"postgres", "nobody"} {
		found, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err := strconv.ParseUint(found.Uid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("find the user %s: %w", name, err)
		}
		gid, err := strconv.ParseUint(found.Gid, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("find the user %s: %w", name, err)
		}
		if err := reachable(run, name); err != nil {
			return nil, err
		}
		attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
		failed := os.Chmod(run, 0o711) //nolint:gosec // through, not into
		for _, path := range paths {
			failed = errors.Join(failed, os.Chown(path, int(uid), int(gid)))
		}
		if failed != nil {
			return nil, fmt.Errorf("make a folder for PostgreSQL: %w", failed)
		}
		return as, nil
	}
	return nil, errors.New("running as root, and there is no user postgres or nobody to run PostgreSQL as")
}

// reachable fails where a folder above run lets no other user through.
func reachable(run, name string) error {
	above, err := filepath.Abs(run)
	if err != nil {
		return fmt.Errorf("make a folder for PostgreSQL: %w", err)
	}
	for above != filepath.Dir(above) {
		above = filepath.Dir(above)
		info, err := os.Stat(above)
		if err != nil {
			return fmt.Errorf("make a folder for PostgreSQL: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return fmt.Errorf("PostgreSQL doesn't run as root, and its user %s may not go through %s: choose a --dir elsewhere, or chmod o+x it", name, above)
		}
	}
	return nil
}
