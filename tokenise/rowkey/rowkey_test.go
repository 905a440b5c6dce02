package rowkey_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/rowkey"
)

func open(t *testing.T, folder, project, source string) (secret.Key, bool) {
	t.Helper()
	key, made, err := rowkey.Open(folder, project, source, nil)
	if err != nil {
		t.Fatal(err)
	}
	return key, made
}

// TestRowKeyIsMadeOnce: the first call makes a key, for its owner only; later
// ones find it; another project or source has another.
func TestRowKeyIsMadeOnce(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	first, made := open(t, folder, "study", "north")
	if !made {
		t.Error("a key was there before it was made")
	}
	again, made := open(t, folder, "study", "north")
	if made || !again.Equal(first) {
		t.Error("the second call makes another key")
	}
	for _, other := range [][2]string{{"study", "south"}, {"audit", "north"}} {
		if key, made := open(t, folder, other[0], other[1]); !made || key.Equal(first) {
			t.Errorf("%v has the key of another", other)
		}
	}
	info, err := os.Stat(rowkey.Path(folder, "study", "north"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file: %v, %v", info.Mode(), err)
	}
	left, err := os.ReadDir(filepath.Join(folder, "study"))
	if err != nil || len(left) != 2 {
		t.Errorf("%d files for two keys, %v", len(left), err)
	}
}

// TestRowKeyOfManyProcesses: all who come first at one time get one key.
func TestRowKeyOfManyProcesses(t *testing.T) {
	folder := t.TempDir()
	const many = 16
	var wait sync.WaitGroup
	got, made, failed := make([]secret.Key, many), make([]bool, many), make([]error, many)
	for i := range many {
		wait.Go(func() { got[i], made[i], failed[i] = rowkey.Open(folder, "study", "north", nil) })
	}
	wait.Wait()
	makers := 0
	for i := range many {
		if failed[i] != nil {
			t.Fatal(failed[i])
		}
		if made[i] {
			makers++
		}
		if !got[i].Equal(got[0]) {
			t.Error("two keys for one source")
		}
	}
	if makers != 1 {
		t.Errorf("%d made the key", makers)
	}
}

// TestRowKeyThatIsNotOne: what is damaged, of another source or for others to read
// is refused, and never replaced; the text holds no byte of it.
func TestRowKeyThatIsNotOne(t *testing.T) {
	const hexKey = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
	whole := `{"schema": "tarn.row-key/1", "project": "study", "source_dataset": "north", "row_key": "` + hexKey + `"}`
	for name, tt := range map[string]struct {
		content string
		mode    os.FileMode
		kind    fault.Kind
	}{
		"whole":            {whole, 0o600, 0},
		"others may read":  {whole, 0o640, fault.Usage},
		"empty":            {"", 0o600, fault.Usage},
		"cut off":          {whole[:len(whole)-10], 0o600, fault.Usage},
		"a short key":      {strings.Replace(whole, hexKey, hexKey[2:], 1), 0o600, fault.Usage},
		"not hex":          {strings.Replace(whole, "00112233", "0011223g", 1), 0o600, fault.Usage},
		"another source":   {strings.Replace(whole, "north", "south", 1), 0o600, fault.Disagreement},
		"another schema":   {strings.Replace(whole, "row-key/1", "row-key/2", 1), 0o600, fault.Usage},
		"one member more":  {strings.Replace(whole, "{", `{"note": 1, `, 1), 0o600, fault.Usage},
		"key as a name":    {strings.Replace(whole, `"row_key"`, `"`+hexKey+`"`, 1), 0o600, fault.Usage},
		"capitals are hex": {strings.Replace(whole, "aabb", "AABB", 1), 0o600, 0},
	} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			path := rowkey.Path(folder, "study", "north")
			if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(tt.content), tt.mode); err != nil {
				t.Fatal(err)
			}
			_, made, err := rowkey.Open(folder, "study", "north", nil)
			if (err != nil) != (tt.kind != 0) || err != nil && fault.KindOf(err) != tt.kind || made {
				t.Errorf("made %v, %v", made, err)
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
