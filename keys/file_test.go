package keys_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/keys/fault"
)

func TestReadSecret(t *testing.T) {
	path := filepath.Join(t.TempDir(), "identity.txt")
	if err := keys.WriteFile(path, []byte("x")); err != nil {
		t.Fatal(err)
	}
	if b, err := keys.ReadSecret(path); err != nil || string(b) != "x" {
		t.Errorf("read %q: %v", b, err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660, 0o601} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := keys.ReadSecret(path); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := keys.ReadSecret(path); err != nil {
		t.Errorf("mode 400: %v", err)
	}
	long := filepath.Join(t.TempDir(), "long")
	if err := os.WriteFile(long, make([]byte, 64<<10+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{filepath.Dir(path), path + "x", long} {
		if _, err := keys.ReadSecret(path); fault.KindOf(err) != fault.Usage {
			t.Errorf("%v", err)
		}
	}
}
