package kernel

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestGeneratedIsWhatTheGeneratorWrites runs the generator and compares byte
// for byte.
func TestGeneratedIsWhatTheGeneratorWrites(t *testing.T) {
	if _, err := os.Stat("generate"); err != nil {
		t.Skip("the generator is not here: the test runs away from its repository")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("there is no go command")
	}
	module := exec.Command("go", "mod", "download", "-modfile=../../tools/go.mod", "github.com/mmcloughlin/avo")
	if out, err := module.CombinedOutput(); err != nil {
		t.Skipf("the generator's library cannot be had: %v\n%s", err, out)
	}
	folder := t.TempDir()
	if out, err := exec.Command("go", "run", "-modfile=../../tools/go.mod", "-tags", "avo", "./generate", folder).CombinedOutput(); err != nil {
		t.Fatalf("the generator: %v\n%s", err, out)
	}
	for _, name := range []string{"kernels_amd64.s", "kernels_amd64.go"} {
		got, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil {
			t.Fatal(err)
		}
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s is not what the generator writes: run go generate ./linkage/kernel", name)
		}
	}
}
