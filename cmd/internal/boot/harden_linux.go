package boot

import (
	"runtime/debug"

	"golang.org/x/sys/unix"
)

// harden keeps what the process holds in memory from reaching a disk, a
// terminal or another process of the same user: no core file, no attaching of a
// debugger, no word of the runtime's about a value, and new files readable by
// their owner only. It returns what the kernel refused, which leaves the rest in
// force; nothing else depends on it.
func harden() (lacking []string) {
	muteRuntime()
	debug.SetTraceback("none")
	unix.Umask(unix.Umask(0o077) | 0o077)
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}) // looked at below
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)     // looked at below
	return unhardened()
}

// unhardened returns what of the process's limits is not as harden leaves it.
func unhardened() (lacking []string) {
	var core unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core.Cur != 0 || core.Max != 0 {
		lacking = append(lacking, "the limit of core files is not 0")
	}
	if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
		lacking = append(lacking, "PR_SET_DUMPABLE was refused")
	}
	return lacking
}
