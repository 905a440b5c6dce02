package boot

import (
	"syscall"
	"unsafe"
)

// A panic that nobody recovers, in a library's goroutine say, ends the process,
// and before it does the runtime prints the value it panicked with, whatever
// GOTRACEBACK says; and the arguments of functions, if GOTRACEBACK is set to
// anything but none. Both may hold what was read. So the runtime's writes pass
// through here: nothing of them is printed but the text of a fatal error of its
// own and the name of a signal, which are constants.

// overrideWrite is what the runtime writes through where it is set. It is one of
// the few of its internals that the runtime promises to keep (go.dev/issue/67401).
//
//go:linkname overrideWrite runtime.overrideWrite
var overrideWrite func(descriptor uintptr, text unsafe.Pointer, n int32) int32

func muteRuntime() { overrideWrite = heed }

const (
	beforeConstant = "error: internal failure, at which the process had to end at once ("
	afterConstant  = "); please report it\n"
	withheldPanic  = beforeConstant + "panic, its value withheld because it could hold data" + afterConstant
)

// ownText says that what the runtime writes now, up to the end of the line, is
// a text of its own. The runtime's lock of its printing guards it.
var ownText bool

// heed is called by the runtime where there may be no stack to grow, no heap and
// no other goroutine: it does nothing but compare bytes and call the kernel.
//
//go:nosplit
//go:norace
func heed(descriptor uintptr, text unsafe.Pointer, n int32) int32 {
	if descriptor != 2 { // a file that somebody asked the runtime to write
		syscall.RawSyscall(syscall.SYS_WRITE, descriptor, uintptr(text), uintptr(n))
		return n
	}
	if !ownText {
		switch {
		case begins(text, n, "panic: "):
			die(withheldPanic)
		case begins(text, n, "fatal error: "), begins(text, n, "SIG"):
			ownText = true
			say(beforeConstant)
		default:
			return n // withheld
		}
	}
	length := int32(0)
	for length < n && *(*byte)(unsafe.Add(text, length)) != '\n' {
		length++
	}
	syscall.RawSyscall(syscall.SYS_WRITE, 2, uintptr(text), uintptr(length))
	if length < n {
		die(afterConstant)
	}
	return n
}

//go:nosplit
//go:norace
func begins(text unsafe.Pointer, n int32, with string) bool {
	if int(n) < len(with) {
		return false
	}
	for i := range len(with) {
		if *(*byte)(unsafe.Add(text, i)) != with[i] {
			return false
		}
	}
	return true
}

//go:nosplit
//go:norace
func say(text string) {
	syscall.RawSyscall(syscall.SYS_WRITE, 2, uintptr(unsafe.Pointer(unsafe.StringData(text))), uintptr(len(text)))
}

// die ends the process with the exit code of an internal failure: the runtime's
// own would be that of wrong usage.
//
//go:nosplit
//go:norace
func die(text string) {
	say(text)
	syscall.RawSyscall(syscall.SYS_EXIT_GROUP, 1, 0, 0)
}
