package encode

import (
	"testing"

	"tarn/bench/peer"
)

// AskTwin starts the implementation in Python for tests outside this package.
func AskTwin(t testing.TB) func(t peer.Fataler, request, answer any) { return startTwin(t).Ask }
