package main

import (
	"os"
	"runtime/debug"
)

// heapLimit is where the collector begins to work harder. What run holds at a
// time - two chunks of rows as text, two encoded, the tables of a century of
// dates - is some 600 MiB in the presets, whatever the number of rows; without a
// limit the collector would let the process grow to twice that before it looks.
const heapLimit = 1 << 30

// boundMemory keeps the process near heapLimit. GOMEMLIMIT, which the runtime has
// read by now, goes before.
func boundMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(heapLimit)
	}
}
