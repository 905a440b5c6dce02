package keys

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys/fault"
)

// keyText is a key file of keys that are nobody's.
func keyText() string {
	key := func(digit string) string { return strings.Repeat(digit, 64) }
	return `{"schema":"tarn.keys/1","test":true,"project":"p","domain":"d","scheme":"keyed-hash","token_key":"` + key("1") +
		`","encoding_key":"` + key("2") + `","release_key":"` + key("3") + `","row_keys":{"north":"` + key("4") + `"}}`
}

// TestKeyFileRoundTrip: what is written is read, with mode 0600 and no other.
func TestKeyFileRoundTrip(t *testing.T) {
	k, err := ParseKeyFile([]byte(keyText()))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "keys.json")
	if err := k.Write(path, "tarn test", "2026-11-25T00:00:00Z", false); err != nil {
		t.Fatal(err)
	}
	again, err := ReadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if HexKey(again.TokenKey) != strings.Repeat("1", 64) || HexKey(again.RowKeys["north"]) != strings.Repeat("4", 64) || !again.Test || again.Project != "p" {
		t.Error("what was read is not what was written")
	}
	if err := k.Write(path, "tarn test", "", false); fault.KindOf(err) != fault.Usage {
		t.Errorf("keys were overwritten: %v", err)
	}
	for _, mode := range []os.FileMode{0o640, 0o604, 0o660} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadKeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600") {
			t.Errorf("mode %o: %v", mode, err)
		}
	}
}

// FuzzParseKeyFile: no error holds anything of a key, and what is read can be
// written as it was.
func FuzzParseKeyFile(f *testing.F) {
	f.Add([]byte(keyText()))
	f.Add([]byte(strings.Replace(keyText(), "1111", "zzzz", 1)))
	f.Add([]byte(strings.Replace(keyText(), "22", "", 1)))
	f.Add([]byte(strings.Replace(keyText(), "3333", `33\u0033"`, 1)))
	f.Add([]byte(strings.Replace(keyText(), "keys/1", "keys/2", 1)))
	f.Add([]byte(strings.Replace(keyText(), "north", "../north", 1)))
	f.Add([]byte(strings.Replace(keyText(), strings.Repeat("1", 64), strings.Repeat("0", 64), 1)))
	f.Add([]byte(strings.Replace(keyText(), `"test":true`, `"deadbeef00000000":true`, 1)))
	f.Add([]byte(strings.Replace(keyText(), `"north":"4`, `"deadbeef00000000":"5`, 1)))
	f.Add([]byte(strings.Replace(keyText(), `"north"`, `"deadbeef00000000":"1","deadbeef00000000"`, 1)))
	f.Fuzz(func(t *testing.T, document []byte) {
		k, err := ParseKeyFile(document)
		if err != nil {
			// Eight digits in a row are a key's: nothing else in these messages is so long.
			for i := 0; i+8 <= len(document); i++ {
				if part := string(document[i : i+8]); strings.Trim(part, "0123456789abcdefABCDEF") == "" && strings.Contains(err.Error(), part) {
					t.Fatalf("the error repeats the document: %v", err)
				}
			}
			return
		}
		path := filepath.Join(t.TempDir(), "keys.json")
		if err := k.Write(path, "", "", false); err != nil {
			t.Fatal(err)
		}
		again, err := ReadKeyFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if HexKey(again.TokenKey) != HexKey(k.TokenKey) || len(again.RowKeys) != len(k.RowKeys) {
			t.Fatal("what was written is not what was read")
		}
	})
}
