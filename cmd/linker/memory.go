package main

import (
	"os"
	"runtime/debug"
)

// collectAt is how much the heap may grow, in per cent of what is in use,
// before the collector looks. Nearly all of the linker's memory is large pieces
// without a pointer, which it need not read: to look often costs next to
// nothing.
const collectAt = 40

// boundMemory keeps the process near what it may take: an eighth is for what
// the collector does not count. GOMEMLIMIT and GOGC,
// which the runtime has read by now, go before.
func boundMemory(bytes int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(collectAt)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes - bytes/8)
	}
}
