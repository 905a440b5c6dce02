package boot

import "golang.org/x/sys/unix"

// harden keeps what the process holds in memory from reaching a disk or
// another process of the same user: no core file, no attaching of a debugger,
// and new files readable by their owner only. A kernel that refuses one of
// these leaves the others in force; nothing depends on them.
func harden() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	_ = unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0)
	unix.Umask(unix.Umask(0o077) | 0o077)
}
