//go:build heavy

package cmd_test

import (
	"os"
	"testing"
	"time"

	"tarn/bench/soak"
)

// TestSoak is a soak of two minutes: nothing lost, nothing wrong, memory flat. make soak has
// one of thirty.
func TestSoak(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	r, err := soak.Run(t.Context(), soak.Options{Binaries: binaries, Folder: t.TempDir(), Span: 2 * time.Minute, Rate: 60, Software: "test", Clock: time.Now, Progress: func(what string) { t.Log(what) }})
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range r.Against() {
		t.Error(line)
	}
	if err := r.Print(os.Stdout); err != nil {
		t.Error(err)
	}
}
