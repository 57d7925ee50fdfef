package main

import "os"

var stopSignals = []os.Signal{os.Interrupt}

// outliveOutput: on Windows such a write fails by itself.
func outliveOutput() {}

// reloadSignals: Windows has no hang-up signal; "relais reload" does it there.
func reloadSignals() (<-chan os.Signal, func()) { return nil, func() {} }
