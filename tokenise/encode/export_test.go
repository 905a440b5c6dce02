package encode

import "testing"

// AskTwin starts the implementation in Python for tests outside this package.
func AskTwin(t testing.TB) func(t fataler, request, answer any) { return startTwin(t).ask }
