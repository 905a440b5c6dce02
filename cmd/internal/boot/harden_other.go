//go:build !linux

package boot

import (
	"runtime"
	"runtime/debug"
)

// harden has the runtime print no stacks. For the rest the system has no common
// way, and it says so; the files that hold secrets are created with mode 0600 in
// any case.
func harden() (lacking []string) {
	debug.SetTraceback("none")
	return []string{"core files and debuggers cannot be refused on " + runtime.GOOS}
}
