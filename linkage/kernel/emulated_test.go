package kernel

import (
	"bytes"
	"cmp"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestAVX512Emulated interprets the assembly of AVX-512, which few machines
// that build this can run, and compares it with counting. Each planted fault
// must be found.
func TestAVX512Emulated(t *testing.T) {
	python := cmp.Or(os.Getenv("TARN_PYTHON"), "python3")
	if _, err := exec.LookPath(python); err != nil {
		t.Skipf("no Python to emulate with: %v", err)
	}
	source, err := os.ReadFile("kernels_amd64.s")
	if err != nil {
		t.Skip("the assembly is not here: the test runs away from its repository")
	}
	for _, c := range []struct{ name, fault, planted string }{
		{name: "as it is"},
		{"the carry of all three", "$0xb2", "$0xe8"},
		{"lanes alive for dead", "VPTERNLOGQ $0x55", "VPTERNLOGQ $0xaa"},
		{"a part of a pack", "VPSLLQ      $0x20", "VPSLLQ      $0x21"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			spoilt := bytes.ReplaceAll(source, []byte(c.fault), []byte(c.planted))
			if c.fault != "" && bytes.Equal(spoilt, source) {
				t.Fatal("there is no place for the fault")
			}
			if c.fault == "" {
				spoilt = source
			}
			path := filepath.Join(t.TempDir(), "kernels.s")
			if err := os.WriteFile(path, spoilt, 0o600); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(python, "-I", "testdata/emulate.py", path, "1").CombinedOutput()
			if passed := err == nil; passed != (c.fault == "") {
				t.Errorf("passed is %v: %s", passed, out)
			}
		})
	}
}
