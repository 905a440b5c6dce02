package faults

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/transparency-dev/tessera/api/layout"

	longlog "tarn/bench/audit"
	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/audit/tiles"
	"tarn/keys/fault"
)

// verification is what is read of auditor verify.
type verification struct {
	Whole    bool   `json:"whole"`
	Entries  uint64 `json:"entries"`
	FirstBad *struct {
		Index uint64 `json:"index"`
		Last  uint64 `json:"last"`
		What  string `json:"what"`
	} `json:"first_bad"`
	RolledBack string `json:"rolled_back"`
}

// verify has auditor verify a log.
func (t *Trial) verify(log string, more ...string) (v verification, code int, err error) {
	code, out, said, err := t.command("auditor", append([]string{"verify", log, "--json"}, more...)...)
	if err != nil {
		return v, code, err
	}
	if json.Unmarshal(out, &v) != nil {
		return v, code, fault.New(fault.Internal, "verifying a log", fmt.Sprintf("exit code %d: %s", code, said), "")
	}
	return v, code, nil
}

// tampering is a way of changing a log of which the first entry that is wrong then
// is the one at an index.
type tampering struct {
	name string
	do   func(entries [][]byte, at int) [][]byte
	// room is how many entries there must be after the index.
	room int
}

var tamperings = []tampering{
	{name: "one bit of it flipped", do: func(entries [][]byte, at int) [][]byte {
		entries[at] = bytes.Clone(entries[at])
		entries[at][rand.IntN(len(entries[at]))] ^= 1 << rand.N(8)
		return entries
	}},
	{name: "removed", room: 1, do: func(entries [][]byte, at int) [][]byte { // and the size kept, as an intruder would
		return append(slices.Delete(entries, at, at+1), []byte(`{"kind":"start"}`))
	}},
	{name: "another put in before it", do: func(entries [][]byte, at int) [][]byte {
		return slices.Insert(entries, at, []byte(`{"kind":"start"}`))[:len(entries)]
	}},
	{name: "changed places with the next one", room: 1, do: func(entries [][]byte, at int) [][]byte {
		entries[at], entries[at+1] = entries[at+1], entries[at]
		return entries
	}},
	{name: "moved to the end", room: 2, do: func(entries [][]byte, at int) [][]byte {
		moved := entries[at]
		return append(slices.Delete(entries, at, at+1), moved)
	}},
	{name: "cut off with all after it", do: func(entries [][]byte, at int) [][]byte { return entries[:at] }},
}

// tampered is scenario 7.
func tampered(t *Trial) error {
	log, err := t.realLog(t.times(2_000, 12_000))
	if err != nil {
		return err
	}
	v, code, err := t.verify(log)
	if err != nil {
		return err
	}
	t.control(code == 0 && v.Whole, "the untouched copy is whole", "exit code %d, %d entries", code, v.Entries)
	t.figure("entries", float64(v.Entries))
	entries, err := readEntries(log, v.Entries)
	if err != nil {
		return err
	}
	last := len(entries) - 1
	places := []int{0, 1, tiles.Width - 1, tiles.Width, last - 2, last}
	for range t.times(3, 30) {
		places = append(places, rand.IntN(len(entries)))
	}
	aboutPeople, err := t.placesOf(entries)
	if err != nil {
		return err
	}
	places = append(places, aboutPeople...)
	for _, tamper := range tamperings {
		t.note("an entry is %s", tamper.name)
		for _, at := range places {
			if at+tamper.room > last {
				continue
			}
			if err := writeEntries(log, tamper.do(slices.Clone(entries), at)); err != nil {
				return err
			}
			v, code, err := t.verify(log)
			if err != nil {
				return err
			}
			named := code == 6 && !v.Whole && v.FirstBad != nil && v.FirstBad.Index == uint64(at) && v.FirstBad.Last == uint64(at)
			t.check(named, "an entry that is "+tamper.name+" is named", "entry %d of %d: exit code %d, %+v", at, len(entries), code, v.FirstBad)
			t.count("tampered", 1)
			if slices.Contains(aboutPeople, at) {
				t.count("tampered_of_reidentification", 1)
			}
		}
	}
	if err := t.madeToFit(log, entries); err != nil {
		return err
	}
	return t.longLog()
}

// tracesOfOpening are the kinds of entries that a request leaves that another approved, that
// was opened, and shown again.
var tracesOfOpening = []audit.Kind{audit.KindReidRequest, audit.KindReidDecision, audit.KindApproval, audit.KindReidIntent, audit.KindReidOutcome, audit.KindRedeliver}

// placesOf are where a log has such entries: the first of each kind.
func (t *Trial) placesOf(entries [][]byte) (places []int, err error) {
	for _, kind := range tracesOfOpening {
		at := slices.IndexFunc(entries, func(entry []byte) bool {
			leaf, err := audit.Decode(entry)
			return err == nil && leaf.Kind == kind
		})
		if at < 0 {
			return nil, fault.New(fault.Internal, "looking for entries of re-identification", "there is none of kind "+string(kind), "")
		}
		places = append(places, at)
	}
	return places, nil
}

// realLog is the log of a key holder that was used for so many entries, and ended. What
// somebody did who was told who a patient is is among them.
func (t *Trial) realLog(size int) (string, error) {
	d, err := t.desk(4, keyholder.Options{})
	if err != nil {
		return "", err
	}
	k := d.KeyHolder
	if err := t.populate(k); err != nil {
		return "", err
	}
	r, err := d.approved(stranger, 0)
	if err != nil {
		return "", err
	}
	for range 2 {
		a, err := d.open(stranger, r)
		if err != nil || !a.Done() {
			return "", errors.Join(err, fmt.Errorf("a request that was approved is not opened"))
		}
	}
	tokeniser, err := k.CallAs(loadClient)
	if err != nil {
		return "", err
	}
	defer tokeniser.Close()
	t.note("a log of %d entries", size)
	var held api.Lease
	path := "/v1/projects/" + loadProject + "/leases"
	status, code, err := tokeniser.Call(t.ctx, http.MethodPost, path, api.LeaseRequest{Use: api.UseToken, RowsExpected: int64(size)}, &held)
	if err != nil || status >= http.StatusMultipleChoices {
		return "", fault.New(fault.Internal, "leasing a key", fmt.Sprintf("status %d, %s", status, code), "")
	}
	var n atomic.Int64
	var callers sync.WaitGroup
	var failed atomic.Pointer[error]
	for range 32 {
		callers.Go(func() {
			for i := n.Add(1); i <= int64(size) && failed.Load() == nil; i = n.Add(1) {
				// No two entries are the same: each is of another number of rows.
				status, code, err := tokeniser.Call(t.ctx, http.MethodPost, path+"/"+held.ID+"/usage", api.Usage{Rows: i}, nil)
				if err == nil && status >= http.StatusMultipleChoices {
					err = fault.New(fault.Internal, "reporting usage", fmt.Sprintf("status %d, %s", status, code), "")
				}
				if err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		return "", *err
	}
	if err := k.Stop(); err != nil {
		return "", err
	}
	copied, err := t.sub("copy")
	if err == nil {
		err = copyTo(copied, k.Log(1))
	}
	return filepath.Join(copied, filepath.Base(k.Log(1))), err
}

// readEntries returns the entries of a log.
func readEntries(folder string, size uint64) (entries [][]byte, err error) {
	log := tiles.Open(folder)
	for i := uint64(0); i*tiles.Width < size; i++ {
		bundle, err := log.Bundle(i, size)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "reading the entries of a log", err, "")
		}
		entries = append(entries, bundle...)
	}
	return entries, nil
}

// writeEntries puts other entries in the place of a log's, and leaves its hashes and
// its checkpoint.
func writeEntries(folder string, entries [][]byte) error {
	const doing = "writing the entries of a log"
	if err := os.RemoveAll(filepath.Join(folder, filepath.FromSlash("tile/entries"))); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	for i := 0; i < len(entries); i += tiles.Width {
		bundle := entries[i:min(i+tiles.Width, len(entries))]
		var b []byte
		for _, entry := range bundle {
			b = append(binary.BigEndian.AppendUint16(b, uint16(len(entry))), entry...)
		}
		path := filepath.Join(folder, filepath.FromSlash(layout.EntriesPath(uint64(i/tiles.Width), uint8(len(bundle)%tiles.Width))))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		if err == nil {
			err = os.WriteFile(path, b, 0o600)
		}
		if err != nil {
			return fault.Wrap(fault.Internal, doing, err, "")
		}
	}
	return nil
}

// madeToFit changes an entry and its hash with it, as somebody would who knows how a
// log is made: the entry cannot be named then, and the log is not called whole.
func (t *Trial) madeToFit(log string, entries [][]byte) error {
	const at = tiles.Width + 7
	changed := tamperings[0].do(slices.Clone(entries), at)
	if err := writeEntries(log, changed); err != nil {
		return err
	}
	path := filepath.Join(log, filepath.FromSlash(layout.TilePath(0, at/tiles.Width, 0)))
	tile, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(fault.Internal, "changing a hash of a log", err, "")
	}
	hash := leafHash(changed[at])
	copy(tile[at%tiles.Width*len(hash):], hash[:])
	if err := os.WriteFile(path, tile, 0o600); err != nil {
		return fault.Wrap(fault.Internal, "changing a hash of a log", err, "")
	}
	v, code, err := t.verify(log)
	if err != nil {
		return err
	}
	t.check(code == 6 && !v.Whole && v.FirstBad != nil && v.FirstBad.Index <= at && at <= v.FirstBad.Last, "an entry whose hash was made to fit is among those that are named",
		"entry %d of %d: exit code %d, %+v", at, len(entries), code, v.FirstBad)
	return nil
}

// longLog measures how soon an entry of a long log is named.
func (t *Trial) longLog() error {
	size := t.times(50_000, 1_000_000)
	t.note("a log of %d entries", size)
	folder := filepath.Join(t.folder, "long")
	if err := longlog.Make(t.ctx, folder, size); err != nil {
		return err
	}
	v, code, err := t.verify(folder)
	if err != nil {
		return err
	}
	t.control(code == 0 && v.Whole && v.Entries == uint64(size), "the untouched long log is whole", "exit code %d, %d entries", code, v.Entries)
	at := rand.IntN(size)
	if err := flipEntry(folder, uint64(size), at); err != nil {
		return err
	}
	begun := time.Now()
	if v, code, err = t.verify(folder); err != nil {
		return err
	}
	took := time.Since(begun).Seconds()
	t.check(code == 6 && v.FirstBad != nil && v.FirstBad.Index == uint64(at) && v.FirstBad.Last == uint64(at), "an entry of a long log is named", "entry %d of %d: exit code %d, %+v", at, size, code, v.FirstBad)
	t.figure("long_log_entries", float64(size))
	t.figure("named_in_s", took)
	t.figure("named_in_s_a_million", took*1e6/float64(size))
	return nil
}

// flipEntry flips a bit of one entry of a log, where it lies.
func flipEntry(folder string, size uint64, at int) error {
	number := uint64(at / tiles.Width)
	bundle, err := tiles.Open(folder).Bundle(number, size)
	if err != nil {
		return fault.Wrap(fault.Internal, "changing an entry of a log", err, "")
	}
	offset := 2
	for _, entry := range bundle[:at%tiles.Width] {
		offset += 2 + len(entry)
	}
	partial := uint8(0)
	if rest := size - number*tiles.Width; rest < tiles.Width {
		partial = uint8(rest)
	}
	path := filepath.Join(folder, filepath.FromSlash(layout.EntriesPath(number, partial)))
	b, err := os.ReadFile(path)
	if err == nil {
		b[offset+len(bundle[at%tiles.Width])/2] ^= 1
		err = os.WriteFile(path, b, 0o600)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "changing an entry of a log", err, "")
	}
	return nil
}

// leafHash is the hash of an entry, RFC 6962.
func leafHash(entry []byte) tiles.Hash { return sha256.Sum256(append([]byte{0}, entry...)) }
