package regionstore_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/regionstore"
)

// TestKeyIsMadeOnce, beside the store and for its owner only; all who come first at
// one time get one.
func TestKeyIsMadeOnce(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "region", "store")
	path := regionstore.KeyPath(dir + "/")
	if filepath.Dir(path) != filepath.Dir(dir) {
		t.Fatalf("the key lies at %s", path)
	}
	const many = 16
	var wait sync.WaitGroup
	got, failed := make([]secret.Key, many), make([]error, many)
	for i := range many {
		wait.Go(func() { got[i], failed[i] = regionstore.OpenKey(path, nil) })
	}
	wait.Wait()
	for i := range many {
		if failed[i] != nil {
			t.Fatal(failed[i])
		}
		if !got[i].Equal(got[0]) {
			t.Error("two keys for one store")
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	another, err := regionstore.OpenKey(regionstore.KeyPath(dir+"2"), nil)
	if err != nil || another.Equal(got[0]) {
		t.Errorf("another store has the same key, %v", err)
	}
}

// TestKeyThatIsNotOne is refused, and never replaced; the text holds no byte of it.
func TestKeyThatIsNotOne(t *testing.T) {
	const hexKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	whole := `{"schema": "tarn.region-store-key/1", "key": "` + hexKey + `"}`
	for name, tt := range map[string]struct {
		content string
		mode    os.FileMode
		kind    fault.Kind
	}{
		"whole":           {whole, 0o600, 0},
		"others may read": {whole, 0o640, fault.Usage},
		"empty":           {"", 0o600, fault.Usage},
		"cut off":         {whole[:len(whole)-10], 0o600, fault.Usage},
		"a short key":     {strings.Replace(whole, hexKey, hexKey[2:], 1), 0o600, fault.Usage},
		"no key":          {strings.Replace(whole, hexKey, strings.Repeat("0", 64), 1), 0o600, fault.Usage},
		"another schema":  {strings.Replace(whole, "store-key/1", "store-key/2", 1), 0o600, fault.Usage},
		"one member more": {strings.Replace(whole, "{", `{"note": 1, `, 1), 0o600, fault.Usage},
		"key as a name":   {strings.Replace(whole, `"key"`, `"`+hexKey+`"`, 1), 0o600, fault.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "store.key.json")
			if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			_, err := regionstore.OpenKey(path, nil)
			if (err != nil) != (tt.kind != 0) || err != nil && fault.KindOf(err) != tt.kind {
				t.Errorf("%v", err)
			}
			if err != nil && strings.Contains(err.Error(), hexKey[:8]) {
				t.Error("the error holds the key")
			}
			if left, err := os.ReadFile(path); err != nil || string(left) != tt.content {
				t.Error("the file was changed")
			}
		})
	}
}
