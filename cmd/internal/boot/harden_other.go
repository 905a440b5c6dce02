//go:build !linux

package boot

// harden does nothing where the system has no common way to do it; the files
// that hold secrets are created with mode 0600 in any case.
func harden() {}
