package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"github.com/go-json-experiment/json"

	"tarn/keys/fault"
)

// tamperedFolder is a copy of the key holder's log in which one entry was changed.
const tamperedFolder = "tampered-log"

// verification is what the demonstration reads of auditor verify.
type verification struct {
	Whole    bool  `json:"whole"`
	Entries  int64 `json:"entries"`
	FirstBad *struct {
		Index int64 `json:"index"`
	} `json:"first_bad"`
}

// audit has the key holder's log verified, changes one entry of a copy, and has it
// named.
func (d *demo) audit() (string, error) {
	log := filepath.Join(holderFolder, "log", "1")
	var good verification
	if err := d.runInto(&good, "auditor", "verify", log); err != nil {
		return "", err
	}
	changed, err := d.tamper(log)
	if err != nil {
		return "", err
	}
	out, failed := d.run("auditor", "verify", tamperedFolder, "--json")
	var bad verification
	if err := json.Unmarshal(out, &bad); err != nil {
		return "", fault.New(fault.Internal, "reading what auditor verify printed", "it is no document", "use binaries of one version: make build")
	}
	d.document.Audit = &Audit{Entries: good.Entries, Verified: good.Whole}
	if failed == nil || bad.Whole || bad.FirstBad == nil || bad.FirstBad.Index != changed {
		return "", fault.New(fault.Internal, "verifying a log in which an entry was changed", "that entry was not named", "")
	}
	d.document.Audit.TamperDetectedAt = &bad.FirstBad.Index
	return fmt.Sprintf("%d entries are what was recorded; in a copy entry %d was changed, and named", good.Entries, changed), nil
}

// tamper copies a log and changes one entry of the copy: what the first region did
// becomes another organisation's. It returns the entry's index.
func (d *demo) tamper(log string) (index int64, err error) {
	const doing = "changing an entry of a copy of the log"
	to := filepath.Join(d.Folder, tamperedFolder)
	if err := os.CopyFS(to, os.DirFS(filepath.Join(d.Folder, log))); err != nil {
		return 0, fault.Wrap(fault.Internal, doing, err, "")
	}
	bundles, err := filepath.Glob(filepath.Join(to, "tile", "entries", "000*", "*"))
	if err != nil {
		return 0, err
	}
	whole, err := filepath.Glob(filepath.Join(to, "tile", "entries", "000"))
	if err != nil {
		return 0, err
	}
	was, becomes := []byte(`"org":"ZZ001"`), []byte(`"org":"ZZ999"`)
	index = -1
	for _, path := range append(bundles, whole...) { // the bundle as it grew, and whole
		b, err := os.ReadFile(path)
		if err != nil {
			return 0, fault.Wrap(fault.Internal, doing, err, "")
		}
		at := bytes.Index(b, was)
		if at < 0 {
			continue
		}
		index = entryAt(b, at)
		copy(b[at:], becomes)
		if err := os.WriteFile(path, b, 0o600); err != nil {
			return 0, fault.Wrap(fault.Internal, doing, err, "")
		}
	}
	if index < 0 {
		return 0, fault.New(fault.Internal, doing, "no entry of the first region is in the log's first bundle", "")
	}
	return index, nil
}

// entryAt returns the index of the entry in which a byte of a bundle lies.
func entryAt(bundle []byte, at int) (index int64) {
	for from := 0; ; index++ {
		from += 2 + int(bundle[from])<<8 + int(bundle[from+1])
		if from > at {
			return index
		}
	}
}
