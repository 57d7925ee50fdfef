//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

var stopSignals = []os.Signal{os.Interrupt, syscall.SIGTERM}

// outliveOutput lets a write that nobody reads fail, instead of ending the program: it has a process and a folder to
// take away first.
func outliveOutput() { signal.Ignore(syscall.SIGPIPE) }

// reloadSignals returns a channel that gets a value for each hang-up signal, and what ends it.
func reloadSignals() (<-chan os.Signal, func()) {
	c := make(chan os.Signal, 1)
	signal.Notify(c, syscall.SIGHUP)
	return c, func() { signal.Stop(c) }
}
