package outfile_test

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tarn/keys/fault"
	"tarn/keys/outfile"
)

// TestCheck: an output may be new, empty or of an earlier run; nothing else is
// written over, by whatever name it goes.
func TestCheck(t *testing.T) {
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	for name, content := range map[string]string{"in.csv": "id\n1\n", "keys.json": "{}", "empty": "", "earlier": "row,x\n1,2\n", "other": "precious"} {
		if err := os.WriteFile(at(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for link, to := range map[string]string{"link.csv": "in.csv", "folder-link": "."} {
		if err := os.Symlink(to, at(link)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(at("in.csv"), at("hard.csv")); err != nil {
		t.Fatal(err)
	}
	inputs := []outfile.Input{{Flag: "--in", Path: at("in.csv")}, {Flag: "--key-file", Path: at("keys.json")}, {Flag: "--map"}}
	earlier := func(b []byte) bool { return bytes.HasPrefix(b, []byte("row,")) }
	for _, c := range []struct{ path, want string }{
		{at("new"), ""}, {at("empty"), ""}, {at("earlier"), ""}, {"", ""}, {"-", ""},
		{at("in.csv"), "--out and --in name the same file"}, {at("link.csv"), "--out and --in name the same file"}, {at("hard.csv"), "--out and --in name the same file"},
		{at("folder-link/in.csv"), "--out and --in"}, {at("folder-link/new-quarantine"), "--out and --quarantine name the same file"}, {folder + "/./keys.json", "--out and --key-file"},
		{at("other"), "exists and is not a list"}, {folder, "is that of a folder"}, {os.DevNull, "is no regular file"},
	} {
		outputs := []outfile.Output{{Flag: "--quarantine", Path: at("new-quarantine")}, {Flag: "--out", Path: c.path, Kind: "a list", Earlier: earlier}}
		err := outfile.Check("writing", inputs, outputs)
		if c.want == "" && err != nil || c.want != "" && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.path, err, c.want)
		}
	}
	if err := outfile.Check("writing", inputs, []outfile.Output{{Flag: "--out", Path: at("other")}}); err != nil {
		t.Errorf("where any regular file may be replaced: %v", err)
	}
}

// TestRemoveUnfinished removes what was begun of the outputs that are named, and nothing
// else.
func TestRemoveUnfinished(t *testing.T) {
	folder := t.TempDir()
	kept := []string{"out.csv", ".out.csv", ".out.csv.transfer", ".out.csv12x", ".other.csv123", "out.csv123", ".out.partial-xyz"}
	for _, name := range append([]string{".out.csv123456", ".out.partial-0a1b/part.parquet"}, kept...) {
		path := filepath.Join(folder, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	outfile.RemoveUnfinished("", filepath.Join(folder, "out.csv"), filepath.Join(folder, "out")+"/", filepath.Join(folder, "not-there", "x"))
	left, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range left {
		names = append(names, e.Name())
	}
	slices.Sort(kept)
	if !slices.Equal(names, kept) {
		t.Errorf("left: %q, want %q", names, kept)
	}
}
