package bench

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
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
func processorTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("read a process's processor time: %w", err)
	}
	// The second field, the name, stands in parentheses and may hold anything; fields 14 and 15 are
	// user and kernel time.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("read a process's processor time: %d fields", len(fields))
	}
	var ticks int64
	for _, field := range fields[11:13] {
		n, err := strconv.ParseInt(field, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("read a process's processor time: %w", err)
		}
		ticks += n
	}
	return time.Duration(ticks) * tick, nil
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
