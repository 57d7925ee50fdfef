//go:build !linux

package bench

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"time"
)

var errNotMeasured = errors.New("the processor time and memory of a process are measured on Linux only")

func syncData(file *os.File) error { return file.Sync() }

func refuseMemoryDisk(string) error { return nil }

func processorTime(int) (time.Duration, error) { return 0, errNotMeasured }

func familyTime(int) (time.Duration, error) { return 0, errNotMeasured }

func residentBytes(int) (int64, error) { return 0, errNotMeasured }

func pause(*os.Process) error { return errNotMeasured }

func resume(*os.Process) error { return errNotMeasured }

func describeDisk(string) string { return "" }

func describeMachine() Machine { return Machine{System: runtime.GOOS} }

func endWithUs(*exec.Cmd) {}

func giveToServer(string, ...string) (func(*exec.Cmd), error) { return func(*exec.Cmd) {}, nil }
