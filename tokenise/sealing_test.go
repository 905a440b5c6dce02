package tokenise_test

import (
	"bytes"
	"crypto/hpke"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/linkage/cohort/cohorttest"
	"tarn/tokenise"
	"tarn/tokenise/escrow/escrowfile"
	"tarn/tokenise/source"
)

// sealed are options of a project that has an escrow, and who can open it.
func sealed(t interface{ Fatal(...any) }, folder, mode string, rows source.Reader) (tokenise.Options, hpke.PrivateKey) {
	holder, err := escrow.KEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	o := options(t, folder, rows)
	o.Project = withEscrow(t, mode, holder)
	o.Escrow = filepath.Join(folder, "north.escrow")
	return o, holder
}

func withEscrow(t interface{ Fatal(...any) }, mode string, holder hpke.PrivateKey) *keys.Project {
	p := project(t, mode)
	public := hex.EncodeToString(holder.PublicKey().Bytes())
	p.Keys.EscrowPublicKey = &public
	b, err := keys.Encode(p)
	if err != nil {
		t.Fatal(err)
	}
	if p, err = keys.ParseProject(b); err != nil {
		t.Fatal(err)
	}
	return p
}

// opened returns the numbers in an escrow file by their tokens.
func opened(t interface {
	Fatal(...any)
	Fatalf(string, ...any)
}, path string, holder hpke.PrivateKey, o *tokenise.Options) (numbers map[string]string, batches int) {
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := escrowfile.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	h := file.Header()
	if want := (escrow.Context{Project: "p", Domain: "d", TokenEpoch: 3, HolderKeyID: escrow.KeyID(holder.PublicKey().Bytes())}); h.Context != want {
		t.Fatalf("the file is of %+v", h.Context)
	}
	kTok := keys.TokenDeriver(o.Keys.TokenKey, "d", 3).MAC()
	numbers = map[string]string{}
	for {
		items, err := file.Next()
		if err != nil {
			return numbers, len(h.Batches) // that it is whole is looked at below
		}
		for _, item := range items {
			batch := h.Batches[item.Batch]
			e := escrow.Envelope{HolderKeyID: h.HolderKeyID, Batch: batch.ID, Enc: batch.Enc, Index: item.Index, Token: item.Token, Sealed: item.Sealed[:]}
			number, err := e.Open(holder, h.Context, kTok)
			if err != nil {
				t.Fatal(err)
			}
			numbers[hex.EncodeToString(item.Token[:])] = string(number[:])
		}
	}
}

func whole(path string) error {
	b, err := os.ReadFile(path)
	if err == nil {
		_, _, err = escrowfile.Check(bytes.NewReader(b))
	}
	return err
}

// TestEscrowIsOfTheCohort: it has each token of the cohort once and no other, whatever is
// wrong with rows, whatever was interrupted, and each opens to the number it is of. The
// cohort is the one that it would be without an escrow. Its numbers are in no file.
func TestEscrowIsOfTheCohort(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		folder, rows := t.TempDir(), people(r)
		o, holder := sealed(r, folder, "direct", nil)
		want := slow(r, rows, &o)
		o.Threads, o.ChunkRows = rapid.IntRange(1, 3).Draw(r, "threads"), int64(rapid.IntRange(1, 50).Draw(r, "chunk"))
		for _, after := range slices.Sorted(slices.Values(rapid.SliceOfN(rapid.IntRange(1, 45), 0, 3).Draw(r, "kills"))) {
			o.Rows, o.Resume = &memory{rows: rows, batch: 3, failAfter: after}, true
			if _, err := tokenise.Run(t.Context(), o); err == nil {
				break
			}
			noNumbers(r, folder, rows)
			if _, err := os.Stat(o.Escrow); err == nil {
				r.Fatal("an escrow has its name before it is complete")
			}
		}
		o.Rows, o.Resume = &memory{rows: rows, batch: 3}, true
		result, err := tokenise.Run(t.Context(), o)
		if err != nil {
			r.Fatal(err)
		}
		if got := left(r, &o); fmt.Sprint(got) != fmt.Sprint(want) {
			r.Fatalf("with an escrow the other files are\n%v\nwant\n%v", got, want)
		}
		noNumbers(r, folder, rows)
		if err := whole(o.Escrow); err != nil {
			r.Fatal(err)
		}
		got, _ := opened(r, o.Escrow, holder, &o)
		all, _, err := cohorttest.Rows(t.Context(), o.Out)
		if err != nil {
			r.Fatal(err)
		}
		tokens := map[string]bool{}
		for _, row := range all {
			if row.HasToken {
				tokens[hex.EncodeToString(row.Token[:])] = true
			}
		}
		if len(got) != len(tokens) || result.Escrowed == nil || *result.Escrowed != int64(len(tokens)) {
			r.Fatalf("%d envelopes, %v counted, for %d tokens", len(got), result.Escrowed, len(tokens))
		}
		hasher := secret.NewHasher()
		kTok := keys.TokenDeriver(o.Keys.TokenKey, "d", 3).MAC()
		for token, number := range got {
			if !tokens[token] || hex.EncodeToString(hasher.Sum(kTok, []byte(number))[:]) != token {
				r.Fatal("an envelope is of no token of the cohort")
			}
		}
	})
}

// noNumbers fails if a number of the rows is in a file of a folder.
func noNumbers(t *rapid.T, folder string, rows []source.Row) {
	numbers := map[string]bool{}
	for _, row := range rows {
		if len(row.Values) > 1 {
			if n, state, _ := nhsnumber.Parse(row.Values[1]); state == nhsnumber.Valid {
				numbers[string(n[:])], numbers[row.Values[1]] = true, true
			}
		}
	}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for number := range numbers {
			if bytes.Contains(b, []byte(number)) {
				t.Fatalf("%s holds a number", d.Name())
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// numbered are people who have numbers, every one twice under another id, and one row whose
// id is there twice: its number is nobody's else.
func numbered(n int) (rows []source.Row) {
	for i := 400_000_000; len(rows) < 2*n; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		digit, ok := nhsnumber.CheckDigit(first)
		if !ok {
			continue
		}
		for range 2 {
			rows = append(rows, source.Row{Values: []string{fmt.Sprint("id", len(rows)), string(append(first[:], digit)), "Ann", "Smith", "1950-05-06", "1", "SW1A 2AA", ""}})
		}
	}
	rows = append(rows, source.Row{Values: []string{"id0", "9434765919", "Ann", "Smith", "1950-05-06", "1", "SW1A 2AA", ""}})
	for i := range rows {
		rows[i].Number = int64(i + 1)
	}
	return rows
}

// TestInterruptedEscrow has a batch for each part of the run, and no envelope of a row
// that was refused as a duplicate.
func TestInterruptedEscrow(t *testing.T) {
	folder := t.TempDir()
	rows := numbered(30)
	o, holder := sealed(t, folder, "direct", nil)
	for _, after := range []int{20, 44} {
		o.Rows, o.Resume = &memory{rows: rows, batch: 4, failAfter: after, await: filepath.Join(folder, ".north.parquet.checkpoint", fmt.Sprintf("chunk-%06d", after/8-1))}, true
		if _, err := tokenise.Run(t.Context(), o); !errors.Is(err, tokenise.ErrInterrupted) {
			t.Fatal(err)
		}
	}
	o.Rows = &memory{rows: rows, batch: 4}
	result, err := tokenise.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	got, batches := opened(t, o.Escrow, holder, &o)
	if err := whole(o.Escrow); err != nil || batches != 3 || len(got) != 30 || result.ResumedRows == 0 {
		t.Errorf("%d envelopes in %d batches, %v", len(got), batches, err)
	}
	if slices.Contains(slices.Collect(maps.Values(got)), "9434765919") {
		t.Error("there is an envelope of a row that was refused")
	}
	if info, err := os.Stat(o.Escrow); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v", info.Mode())
	}
}

// TestResumeAfterCompletionLeavesTheEscrow as it is; without it, damaged or sealed to
// another key it is made again.
func TestResumeAfterCompletionLeavesTheEscrow(t *testing.T) {
	folder := t.TempDir()
	o, holder := sealed(t, folder, "direct", &memory{rows: numbered(5), batch: 4})
	again := func() *tokenise.Result {
		t.Helper()
		o.Resume, o.Rows = true, &memory{rows: numbered(5), batch: 4}
		result, err := tokenise.Run(t.Context(), o)
		if err != nil || result.Escrowed == nil || *result.Escrowed != 5 {
			t.Fatalf("%+v, %v", result, err)
		}
		return result
	}
	if again().Complete {
		t.Fatal("nothing was done")
	}
	before := files(t, folder)
	if !again().Complete || !maps.Equal(files(t, folder), before) {
		t.Error("something was changed")
	}
	for name, spoil := range map[string]func() error{
		"removed": func() error { return os.Remove(o.Escrow) },
		"damaged": func() error {
			b := []byte(before["/north.escrow"])
			b[len(b)-40] ^= 1
			return os.WriteFile(o.Escrow, b, 0o600)
		},
		"of another run": func() error {
			var b bytes.Buffer
			w, err := escrowfile.NewWriter(&b, &escrowfile.Header{Context: escrow.Context{Project: "q", Domain: "d", TokenEpoch: 3, HolderKeyID: escrow.KeyID(holder.PublicKey().Bytes())}, At: now})
			if err == nil {
				err = errors.Join(w.Finish(), os.WriteFile(o.Escrow, b.Bytes(), 0o600))
			}
			return err
		},
	} {
		if err := spoil(); err != nil {
			t.Fatal(err)
		}
		if again().Complete {
			t.Errorf("%s: nothing was done", name)
		}
		if got, _ := opened(t, o.Escrow, holder, &o); whole(o.Escrow) != nil || len(got) != 5 {
			t.Errorf("%s: %d envelopes", name, len(got))
		}
	}
	next, err := escrow.KEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	o.Project = withEscrow(t, "direct", next)
	if again().Complete {
		t.Error("sealed to another key: nothing was done")
	}
	if got, _ := opened(t, o.Escrow, next, &o); len(got) != 5 {
		t.Errorf("sealed to another key: %d envelopes", len(got))
	}
}

// TestNoEscrow: release tokens are opened by nobody, and without a key nothing is sealed.
func TestNoEscrow(t *testing.T) {
	for name, change := range map[string]func(*tokenise.Options){
		"release tokens": func(o *tokenise.Options) {
			holder, err := escrow.KEM().GenerateKey()
			if err != nil {
				t.Fatal(err)
			}
			o.Project = withEscrow(t, "none", holder)
		},
		"no key": func(o *tokenise.Options) { o.Project = project(t, "direct") },
	} {
		folder := t.TempDir()
		o, _ := sealed(t, folder, "direct", &memory{rows: numbered(5), batch: 4})
		change(&o)
		result, err := tokenise.Run(t.Context(), o)
		if err != nil || result.Escrowed != nil {
			t.Errorf("%s: %+v, %v", name, result, err)
		}
		if _, err := os.Stat(o.Escrow); err == nil {
			t.Errorf("%s: there is an escrow", name)
		}
	}
}

// TestEscrowIsWrittenOverNothingElse.
func TestEscrowIsWrittenOverNothingElse(t *testing.T) {
	folder := t.TempDir()
	o, _ := sealed(t, folder, "direct", &memory{rows: numbered(5), batch: 4})
	if err := os.WriteFile(o.Escrow, []byte("notes of somebody"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := tokenise.Run(t.Context(), o); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "not an escrow file") {
		t.Errorf("over another file: %v", err)
	}
	o.Quarantine, o.Rows = o.Escrow, &memory{rows: numbered(5), batch: 4}
	if _, err := tokenise.Run(t.Context(), o); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--quarantine") {
		t.Errorf("over another output: %v", err)
	}
}
