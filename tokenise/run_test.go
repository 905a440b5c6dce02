package tokenise_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/cohorttest"
	"tarn/linkage/cohort/table"
	"tarn/tokenise"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// memory is a table in memory, read a few rows at a time. After failAfter rows
// it ends with an error, as a killed process would.
type memory struct {
	rows      []source.Row
	batch     int
	failAfter int
	await     string // a file without which it does not end
	at        int
}

var header = []string{"unique_id", "nhs_number", "given_name", "family_name", "date_of_birth", "sex", "postcode", "ethnicity"}

var errKilled = errors.New("killed")

func (m *memory) Header() []string { return header }
func (m *memory) Input() source.Input {
	return source.Input{Format: "csv"}
}
func (m *memory) Position() (int64, int64) { return int64(m.at), int64(len(m.rows)) }
func (m *memory) Close() error             { return nil }
func (m *memory) Read(b *source.Batch) error {
	b.Rows = b.Rows[:0]
	if m.failAfter > 0 && m.at >= m.failAfter {
		for range 1000 {
			if _, err := os.Stat(m.await); m.await == "" || err == nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		return errKilled
	}
	if m.at == len(m.rows) {
		return io.EOF
	}
	for len(b.Rows) < m.batch && m.at < len(m.rows) {
		b.Rows = append(b.Rows, m.rows[m.at])
		m.at++
	}
	return nil
}

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func project(t interface{ Fatal(...any) }, mode string) *keys.Project {
	p, err := keys.ParseProject([]byte(`{"schema": "tarn.project/1", "name": "p", "domain": "d", "scheme": "keyed-hash", "profile": "nhs-field-dob-1", "purpose": "a test",
 "legal_basis": {}, "controllers": ["nobody"], "parties": [{"source_dataset": "north", "ods": "X26"}], "opt_outs": {"ndoo": true, "type1": false, "local": false}, "groups": ["sex", "ethnicity"],
 "keys": {"domain_no": 1, "token_epoch": 3, "token_public_key": null, "token_kcv": null, "encoding_epoch": 2, "encoding_kcv": null}, "reidentify": {"mode": "` + mode + `"}, "expires": "2099-12-31"}`))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func keyFile(seed byte) *keys.KeyFile {
	key := func(n byte) secret.Key { return secret.New([secret.Size]byte{seed, n}) }
	return &keys.KeyFile{Project: "p", Domain: "d", Scheme: "keyed-hash", TokenKey: key(1), EncodingKey: key(2), ReleaseKey: key(3), RowKeys: map[string]secret.Key{"north": key(4)}}
}

func options(t interface{ Fatal(...any) }, folder string, rows source.Reader) tokenise.Options {
	profile, err := encode.LoadProfile("nhs-field-dob-1", "")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]int{}
	for i, name := range header[:7] {
		fields[name] = i
	}
	clock := func() time.Time { return now }
	return tokenise.Options{
		Project: project(t, "direct"), Keys: keyFile(1), Profile: profile, SourceDataset: "north", Rows: rows, Columns: tokenise.Columns{Fields: fields},
		Out: filepath.Join(folder, "north.parquet"), Quarantine: filepath.Join(folder, "refused.csv"), Warnings: filepath.Join(folder, "warnings.csv"),
		Crosswalk: filepath.Join(folder, "north.crosswalk.parquet"), Groups: filepath.Join(folder, "groups.parquet"),
		MaxRefused: 1, Threads: 2, ChunkRows: 5, Software: "tarn test", Clock: clock, Wall: clock,
	}
}

// people draws a table with everything in it that can be wrong.
func people(t *rapid.T) []source.Row {
	pick := func(name string, values ...string) string { return rapid.SampledFrom(values).Draw(t, name) }
	var rows []source.Row
	for i := range rapid.IntRange(0, 40).Draw(t, "rows") {
		row := source.Row{Number: int64(i + 1)}
		if rapid.IntRange(0, 12).Draw(t, "malformed") == 0 {
			row.Problem = reason.Code(pick("problem", "row_malformed", "row_encoding"))
		} else {
			id := fmt.Sprint("id", rapid.IntRange(0, 60).Draw(t, "id"))
			if rapid.IntRange(0, 15).Draw(t, "no id") == 0 {
				id = pick("odd id", "", strings.Repeat("x", 1025))
			}
			row.Values = []string{id, pick("number", "9434765919", "943 476 5870", "", "1", "9990000018"), pick("given", "Anne", "Zoë Mary", "unknown", "", "Олена"), pick("family", "Smith", "O'Brien", ""),
				pick("born", "1973-10-22", "22/10/1973", "1980-01-01", "1900-01-01", "", "rubbish"), pick("sex", "1", "F", "9", ""), pick("postcode", "SW1A 2AA", "ZZ99 3VZ", "x", ""), pick("group", "White", "Asian", "")}
		}
		rows = append(rows, row)
	}
	return rows
}

// expected is what a run leaves, as text.
type expected struct {
	cohort, crosswalk, groups []string
	quarantine, warnings      string
}

// slow is the run read aloud: one row after another, everything in memory.
func slow(t *rapid.T, rows []source.Row, o *tokenise.Options) (e expected) {
	e.quarantine, e.warnings = "row,unique_id,field,code\n", "row,unique_id,field,code\n"
	encoder, err := encode.NewEncoder(o.Profile, o.Keys.EncodingKey, "p", 2)
	if err != nil {
		t.Fatal(err)
	}
	kTok := o.Keys.TokenKey.Derive(keys.LP(keys.Text("tarn/nhs-token/v1"), keys.Text("d"), keys.U32(3)))
	seen := map[string]bool{}
	var encoded []cohort.Row
	for _, row := range rows {
		refuse := func(id, field string, code reason.Code) {
			e.quarantine += fmt.Sprintf("%d,%s,%s,%s\n", row.Number, id, field, code)
		}
		switch {
		case row.Problem != "":
			refuse("", "", row.Problem)
			continue
		case row.Values[0] == "":
			refuse("", "unique_id", reason.UniqueIDEmpty)
			continue
		case len(row.Values[0]) > 1024:
			refuse("", "", reason.RowMalformed)
			continue
		}
		var minted string
		o.Keys.RowKeys["north"].Derive(keys.LP(keys.Text("tarn/row/v1"), keys.Text("north"), keys.Text(row.Values[0]))).Use(func(b *[secret.Size]byte) { minted = hex.EncodeToString(b[:16]) })
		var warnings []reason.Problem
		report := func(field string, code reason.Code) {
			warnings = append(warnings, reason.Problem{Field: field, Code: code})
		}
		number, state, problem := nhsnumber.Parse(row.Values[1])
		if problem != nhsnumber.None {
			report("nhs_number", reason.Code(problem.String()))
		}
		var record encode.Record
		o.Profile.NewNormaliser(demographics.DateOf(now)).Normalise(func(in string) string {
			if i := slices.Index(header, in); i >= 0 {
				return row.Values[i]
			}
			return ""
		}, &record, report)
		var out encode.Encoded
		if err := encoder.NewWorker().Encode(&record, &out); err != nil {
			t.Fatal(err)
		}
		r := cohort.Row{NHSNumberState: state.String(), Blocks: out.Blocks, Filters: out.Filters, Tags: out.Tags}
		if b, err := hex.DecodeString(minted); err != nil || copy(r.UniqueID[:], b) != 16 {
			t.Fatal(err)
		}
		if r.HasToken = state == nhsnumber.Valid; r.HasToken {
			kTok.Derive(number[:]).Use(func(b *[secret.Size]byte) { r.Token = *b })
		}
		nothing := !r.HasToken && r.Filters[0] == nil && r.Filters[1] == nil
		first := !seen[minted]
		seen[minted] = true
		switch {
		case nothing:
			refuse(minted, "", reason.RowNothingLinkable)
		case !first:
			refuse(minted, "unique_id", reason.UniqueIDDuplicate)
			continue
		}
		for _, w := range warnings {
			e.warnings += fmt.Sprintf("%d,%s,%s,%s\n", row.Number, minted, w.Field, w.Code)
		}
		if nothing {
			continue
		}
		encoded = append(encoded, r)
		e.crosswalk = append(e.crosswalk, minted+" north "+row.Values[0])
		sex := map[string]string{"1": "M", "F": "F"}[row.Values[5]]
		e.groups = append(e.groups, fmt.Sprintf("%s %s %s", minted, sex, row.Values[7]))
	}
	slices.SortFunc(encoded, func(a, b cohort.Row) int { return o.Profile.Layout().Compare(&a, &b) })
	for i := range encoded {
		e.cohort = append(e.cohort, describe(&encoded[i]))
	}
	slices.Sort(e.crosswalk)
	slices.Sort(e.groups)
	return e
}

func describe(r *cohort.Row) string {
	return fmt.Sprintf("%x %v %x %v %x %v", r.UniqueID, r.HasToken, r.Token, r.Blocks, r.Filters, r.Tags)
}

// left reads what a run left.
func left(t *rapid.T, o *tokenise.Options) (e expected) {
	rows, notes, err := cohorttest.Rows(t.Context(), o.Out)
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) > 0 {
		t.Fatalf("the cohort is not what its manifest says: %v", notes)
	}
	for i := range rows {
		e.cohort = append(e.cohort, describe(&rows[i]))
	}
	e.crosswalk = lines(t, o.Crosswalk, "unique_id", "source_dataset", "source_id")
	e.groups = lines(t, o.Groups, "unique_id", "sex", "ethnicity")
	for path, text := range map[string]*string{o.Quarantine: &e.quarantine, o.Warnings: &e.warnings} {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		*text = string(b)
	}
	return e
}

func lines(t *rapid.T, path string, columns ...string) (all []string) {
	r, err := table.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	err = r.Scan(t.Context(), columns, func(batch arrow.RecordBatch) error {
		for i := range int(batch.NumRows()) {
			var cells []string
			for c := range columns {
				text := ""
				if !batch.Column(c).IsNull(i) {
					switch a := batch.Column(c).(type) {
					case *array.String:
						text = a.Value(i)
					case *array.Dictionary:
						text = a.Dictionary().(*array.String).Value(a.GetValueIndex(i))
					}
				}
				cells = append(cells, text)
			}
			all = append(all, strings.Join(cells, " "))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestRunIsTheSlowRun: chunks, workers, merges and interruptions make no
// difference to what is written.
func TestRunIsTheSlowRun(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		folder, rows := t.TempDir(), people(r)
		o := options(r, folder, nil)
		want := slow(r, rows, &o)
		o.Threads, o.ChunkRows = rapid.IntRange(1, 3).Draw(r, "threads"), int64(rapid.IntRange(1, 50).Draw(r, "chunk"))
		batch := rapid.IntRange(1, 9).Draw(r, "batch")
		if rapid.Bool().Draw(r, "parts") {
			o.PartRows, o.Out = int64(rapid.IntRange(1, 20).Draw(r, "part")), filepath.Join(folder, "north")
		}
		resumed := int64(0)
		for _, after := range slices.Sorted(slices.Values(rapid.SliceOfN(rapid.IntRange(1, 45), 0, 3).Draw(r, "kills"))) {
			o.Rows, o.Resume = &memory{rows: rows, batch: batch, failAfter: after}, true
			result, err := tokenise.Run(t.Context(), o)
			if after > len(rows) && err == nil {
				break
			}
			if !errors.Is(err, errKilled) {
				r.Fatalf("killed after %d of %d rows: %v", after, len(rows), err)
			}
			if result != nil {
				resumed = result.ResumedRows
			}
			if _, err := os.Stat(o.Out); err == nil {
				r.Fatal("a cohort has its name before it is complete")
			}
		}
		o.Rows = &memory{rows: rows, batch: batch}
		result, err := tokenise.Run(t.Context(), o)
		if err != nil {
			r.Fatal(err)
		}
		if result.ResumedRows < resumed {
			r.Fatal("rows that were kept are encoded again")
		}
		got := left(r, &o)
		for _, c := range []struct {
			name      string
			got, want any
		}{{"cohort", got.cohort, want.cohort}, {"crosswalk", got.crosswalk, want.crosswalk}, {"groups", got.groups, want.groups}, {"quarantine", got.quarantine, want.quarantine}, {"warnings", got.warnings, want.warnings}} {
			if fmt.Sprint(c.got) != fmt.Sprint(c.want) {
				r.Fatalf("%s:\n%v\nwant\n%v", c.name, c.got, c.want)
			}
		}
		if !result.Complete {
			checkCounts(r, result, &want, len(rows))
		}
		if files, _ := filepath.Glob(filepath.Join(folder, ".*")); len(files) > 0 {
			r.Fatalf("left behind: %q", files)
		}
	})
}

func checkCounts(t *rapid.T, result *tokenise.Result, want *expected, rows int) {
	refused, warned := strings.Count(want.quarantine, "\n")-1, strings.Count(want.warnings, "\n")-1
	n := int64(0)
	for _, count := range result.Warned {
		n += count
	}
	if result.Rows != int64(rows) || result.RefusedRows() != int64(refused) || n != int64(warned) || result.Manifest.Rows != int64(len(want.cohort)) {
		t.Fatalf("counted %d rows, %d refused, %d warnings, %d encoded; there are %d, %d, %d, %d", result.Rows, result.RefusedRows(), n, result.Manifest.Rows, rows, refused, warned, len(want.cohort))
	}
}

// table of n people who differ.
func crowd(n int) (rows []source.Row) {
	for i := range n {
		rows = append(rows, source.Row{Number: int64(i + 1), Values: []string{fmt.Sprint("canaryid", i), "", "canarygiven", "canaryfamily" + strings.Repeat("x", i%7), fmt.Sprintf("19%02d-05-06", 30+i%60), "1", "SW1A 2AA", "White"}})
	}
	return rows
}

// interrupted is a run that ended after two chunks were kept.
func interrupted(t *testing.T, folder string) tokenise.Options {
	o := options(t, folder, &memory{rows: crowd(40), batch: 4, failAfter: 30, await: filepath.Join(folder, ".north.parquet.checkpoint", "chunk-000001")})
	if _, err := tokenise.Run(t.Context(), o); !errors.Is(err, tokenise.ErrInterrupted) || !errors.Is(err, errKilled) {
		t.Fatal(err)
	}
	return o
}

func files(t *testing.T, folder string) map[string]string {
	all := map[string]string{}
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		all[strings.TrimPrefix(path, folder)] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestCheckpointHoldsNoIdentifier: what waits on the disk has no name and no
// date in it. The source ids, the control, are there, as the crosswalk will
// hold them.
func TestCheckpointHoldsNoIdentifier(t *testing.T) {
	folder := t.TempDir()
	interrupted(t, folder)
	found := false
	for name, content := range files(t, folder) {
		for _, identifier := range []string{"canarygiven", "canaryfamily", "1930", "SW1A", "05-06"} {
			if strings.Contains(content, identifier) {
				t.Errorf("%s holds %q", name, identifier)
			}
		}
		found = found || strings.Contains(content, "canaryid")
		if info, err := os.Stat(filepath.Join(folder, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s can be read by others", name)
		}
	}
	if !found {
		t.Error("the control is not there: the test looks at nothing")
	}
}

// TestResumeOfAnotherRun: a checkpoint is used for the run that made it only.
func TestResumeOfAnotherRun(t *testing.T) {
	interruptedRun := func(t *testing.T) tokenise.Options {
		o := interrupted(t, t.TempDir())
		o.Resume, o.Rows = true, &memory{rows: crowd(40), batch: 4}
		return o
	}
	t.Run("same", func(t *testing.T) {
		o := interruptedRun(t)
		if r, err := tokenise.Run(t.Context(), o); err != nil || r.ResumedRows == 0 || r.Restarted {
			t.Fatalf("%+v %v", r, err)
		}
	})
	t.Run("not asked for", func(t *testing.T) {
		o := interruptedRun(t)
		o.Resume = false
		if r, err := tokenise.Run(t.Context(), o); err != nil || r.ResumedRows != 0 {
			t.Fatalf("%+v %v", r, err)
		}
	})
	for name, change := range map[string]func(*tokenise.Options){
		"keys":     func(o *tokenise.Options) { o.Keys = keyFile(2) },
		"project":  func(o *tokenise.Options) { o.Project = project(t, "none") },
		"software": func(o *tokenise.Options) { o.Software = "tarn other" },
		"ids":      func(o *tokenise.Options) { o.Columns.RowNumbers = true },
		"columns": func(o *tokenise.Options) {
			o.Columns.Fields = maps.Clone(o.Columns.Fields)
			delete(o.Columns.Fields, "sex")
		},
		"groups": func(o *tokenise.Options) { o.Groups = "" },
	} {
		t.Run(name, func(t *testing.T) {
			o := interruptedRun(t)
			change(&o)
			if r, err := tokenise.Run(t.Context(), o); err != nil || r.ResumedRows != 0 || !r.Restarted {
				t.Fatalf("%+v %v", r, err)
			}
		})
	}
	for name, change := range map[string]func([]source.Row) []source.Row{
		"a changed value": func(rows []source.Row) []source.Row { rows[3].Values[3] = "other"; return rows },
		"a lost row":      func(rows []source.Row) []source.Row { return slices.Delete(rows, 2, 3) },
		"a shorter table": func(rows []source.Row) []source.Row { return rows[:10] },
	} {
		t.Run(name, func(t *testing.T) {
			o := interruptedRun(t)
			o.Rows = &memory{rows: change(crowd(40)), batch: 4}
			if _, err := tokenise.Run(t.Context(), o); !errors.Is(err, tokenise.ErrInputChanged) {
				t.Fatal(err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Out), "*")); len(left) > 0 {
				t.Fatalf("left behind: %q", left)
			}
		})
	}
	t.Run("damaged", func(t *testing.T) {
		o := interruptedRun(t)
		chunks, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Out), ".north.parquet.checkpoint", "chunk-000001"))
		b, err := os.ReadFile(chunks[0])
		if err != nil {
			t.Fatal(err)
		}
		b[100] ^= 1
		if err := os.WriteFile(chunks[0], b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tokenise.Run(t.Context(), o); !errors.Is(err, tokenise.ErrCheckpointDamaged) {
			t.Fatal(err)
		}
		o.Rows = &memory{rows: crowd(40), batch: 4}
		if _, err := tokenise.Run(t.Context(), o); err != nil {
			t.Fatalf("the next run: %v", err)
		}
	})
	t.Run("kept for another", func(t *testing.T) {
		o := interruptedRun(t)
		o.KeepOther = true
		o.Rows = &memory{rows: crowd(40)[:3], batch: 4}
		if _, err := tokenise.Run(t.Context(), o); !errors.Is(err, tokenise.ErrInputChanged) {
			t.Fatal(err)
		}
		o.Rows = &memory{rows: crowd(40), batch: 4}
		if result, err := tokenise.Run(t.Context(), o); err != nil || result.ResumedRows == 0 {
			t.Fatalf("%v: what was kept was not used: %+v", err, result)
		}
	})
	t.Run("somebody else's folder", func(t *testing.T) {
		o := interruptedRun(t)
		stranger := filepath.Join(filepath.Dir(o.Out), ".north.parquet.checkpoint", "letters.txt")
		if err := os.WriteFile(stranger, []byte("precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := tokenise.Run(t.Context(), o); fault.KindOf(err) != fault.Usage {
			t.Fatal(err)
		}
		if _, err := os.Stat(stranger); err != nil {
			t.Fatal(err)
		}
	})
}

// TestCompletedRunIsLeftAlone: with --resume nothing is written again, unless
// the input is another.
func TestCompletedRunIsLeftAlone(t *testing.T) {
	o := options(t, t.TempDir(), &memory{rows: crowd(40), batch: 4})
	if _, err := tokenise.Run(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	before := files(t, filepath.Dir(o.Out))
	o.Resume, o.Rows = true, &memory{rows: crowd(40), batch: 7}
	o.Clock = func() time.Time { return now.AddDate(0, 0, 1) }
	if r, err := tokenise.Run(t.Context(), o); err != nil || !r.Complete || r.Rows != 40 || r.Manifest == nil {
		t.Fatalf("%+v %v", r, err)
	}
	if !maps.Equal(before, files(t, filepath.Dir(o.Out))) {
		t.Error("files changed")
	}
	rows := crowd(40)
	rows[39].Values[2] = "other"
	o.Rows = &memory{rows: rows, batch: 4}
	if _, err := tokenise.Run(t.Context(), o); !errors.Is(err, tokenise.ErrInputChanged) {
		t.Error(err)
	}
	if err := os.Truncate(o.Out, 100); err != nil {
		t.Fatal(err)
	}
	o.Rows = &memory{rows: crowd(40), batch: 4}
	if r, err := tokenise.Run(t.Context(), o); err != nil || r.Complete {
		t.Errorf("a damaged cohort counts as complete: %+v %v", r, err)
	}
}

func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*tokenise.Options)
		kind   fault.Kind
	}{
		"too many refused": {func(o *tokenise.Options) {
			o.MaxRefused, o.Columns.Fields = .01, map[string]int{"unique_id": 0, "nhs_number": 1}
		}, fault.RowsRefused},
		"expired":                {func(o *tokenise.Options) { o.Wall = func() time.Time { return now.AddDate(100, 0, 0) } }, fault.Policy},
		"other project's keys":   {func(o *tokenise.Options) { o.Keys.Project = "q" }, fault.Disagreement},
		"pinned token key":       {func(o *tokenise.Options) { kcv := strings.Repeat("0", 32); o.Project.Keys.TokenKCV = &kcv }, fault.Disagreement},
		"pinned encoding key":    {func(o *tokenise.Options) { kcv := strings.Repeat("0", 32); o.Project.Keys.EncodingKCV = &kcv }, fault.Disagreement},
		"no such party":          {func(o *tokenise.Options) { o.SourceDataset = "south" }, fault.Usage},
		"no group column":        {func(o *tokenise.Options) { o.Project.Groups = []string{"other"} }, fault.Usage},
		"a name among the group": {func(o *tokenise.Options) { o.Project.Groups = []string{"family_name"} }, fault.Policy},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t, t.TempDir(), &memory{rows: crowd(20), batch: 4})
			c.change(&o)
			if _, err := tokenise.Run(t.Context(), o); fault.KindOf(err) != c.kind {
				t.Fatalf("%v", err)
			}
			if left, _ := filepath.Glob(filepath.Join(filepath.Dir(o.Out), "*north*")); len(left) > 0 {
				t.Errorf("left behind: %q", left)
			}
		})
	}
}

// TestOneRunAtATime: two runs of one output would spoil each other's chunks.
func TestOneRunAtATime(t *testing.T) {
	folder := t.TempDir()
	started, release := make(chan struct{}), make(chan struct{})
	o := options(t, folder, &memory{rows: crowd(20), batch: 4})
	o.Stage = func(string) {
		select {
		case <-started:
		default:
			close(started)
			<-release
		}
	}
	done := make(chan error)
	go func() { _, err := tokenise.Run(context.Background(), o); done <- err }()
	<-started
	other := options(t, folder, &memory{rows: crowd(20), batch: 4})
	if _, err := tokenise.Run(t.Context(), other); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "another run") {
		t.Error(err)
	}
	close(release)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := tokenise.Run(t.Context(), other); err != nil {
		t.Errorf("the control: %v", err)
	}
}

// TestReleaseToken follows specification (l) with crypto of its own.
func TestReleaseToken(t *testing.T) {
	k := keyFile(1)
	direct, err := tokenise.NewTokenKeys(project(t, "direct"), k)
	if err != nil {
		t.Fatal(err)
	}
	release, err := tokenise.NewTokenKeys(project(t, "none"), k)
	if err != nil {
		t.Fatal(err)
	}
	number, _, _ := nhsnumber.Parse("9434765919")
	token, released := direct.NewTokens().Of(number), release.NewTokens().Of(number)
	var want [keys.TokenSize]byte
	k.ReleaseKey.Derive(keys.LP(keys.Text("tarn/export/v1"), keys.Text("d"), keys.U32(3), token[:])).Use(func(b *[secret.Size]byte) { want = *b })
	if released != want || direct.Release() || !release.Release() || direct.KCV() == release.KCV() {
		t.Error("not the release token of the specification")
	}
	for keys, scheme := range map[*tokenise.TokenKeys]uint8{direct: 1, release: 4} {
		text, err := keys.Text(token)
		parsed, errParse := parseToken(text)
		if err != nil || errParse != nil || parsed.Scheme != scheme || parsed.TokenEpoch != 3 || parsed.DomainNo != 1 || !bytes.Equal(parsed.Value[:], token[:]) {
			t.Errorf("%v %v: %+v", err, errParse, parsed)
		}
	}
}

func parseToken(text string) (keys.Token, error) { return keys.ParseToken(text) }
