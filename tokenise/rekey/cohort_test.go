package rekey_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/parts"
	"tarn/tokenise/rekey"
)

var now = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

const (
	software    = "tarn test"
	encodingKCV = "00112233445566778899aabbccddeeff"
)

// project parses a record; the epoch's public key is made of what tells it from others.
func project(t *testing.T, name, domain string, number, epoch uint32, expires string, edit ...string) *keys.Project {
	t.Helper()
	public := sha256.Sum256(fmt.Append(nil, domain, epoch))
	document := fmt.Sprintf(`{"schema": "tarn.project/1", "name": %q, "domain": %q, "scheme": "oblivious", "profile": "nhs-field-dob-1", "purpose": "a test",
 "legal_basis": {}, "controllers": ["nobody"], "parties": [{"source_dataset": "north", "ods": "X26"}], "opt_outs": {"ndoo": true, "type1": false, "local": false}, "groups": [],
 "keys": {"domain_no": %d, "token_epoch": %d, "token_public_key": "%x", "token_kcv": %q, "encoding_epoch": 2, "encoding_kcv": %q}, "reidentify": {"mode": "direct"}, "expires": %q}`,
		name, domain, number, epoch, public, keys.PublicKCV(public[:]), encodingKCV, expires)
	document = strings.NewReplacer(edit...).Replace(document)
	p, err := keys.ParseProject([]byte(document))
	must(t, err)
	return p
}

var layout = cohort.Layout{Blocks: []string{cohort.BlockDateOfBirth, "blk_area"}, Tags: []string{"tag_sex"}, Filters: []cohort.FilterColumn{{Name: "bf_given_name", Bytes: 16}, {Name: "bf_record", Bytes: 24}}}

var comparison = cohort.Comparison{Fields: []cohort.FieldComparison{{Name: "sex", Column: "tag_sex", Measure: cohort.MeasureEqual, M: []float64{.1, .9}, U: []float64{.5, .5}, Twin: cohort.TwinDiffers}}}

// drawRows draws records in the order of a cohort: some have no token, and some the same.
func drawRows(n int) (rows []cohort.Row) {
	random := rand.New(rand.NewPCG(uint64(n), 5))
	some := func(b []byte) []byte {
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	tag := func() cohort.Tag {
		if random.IntN(4) == 0 {
			return cohort.Tag{}
		}
		return cohort.Tag{Value: int64(random.Uint64()), Present: true}
	}
	for i := range n {
		r := cohort.Row{NHSNumberState: "absent", Blocks: []cohort.Tag{tag(), tag()}, Tags: []cohort.Tag{tag()}, Filters: [][]byte{some(make([]byte, 16)), some(make([]byte, 24))}}
		some(r.UniqueID[:])
		if i%5 == 0 {
			r.Filters[i%2] = nil
		}
		if i%3 > 0 {
			r.HasToken, r.NHSNumberState, r.Token = true, "valid", [cohort.TokenBytes]byte{byte(i), byte(i >> 9)}
		}
		rows = append(rows, r)
	}
	slices.SortFunc(rows, func(a, b cohort.Row) int { return layout.Compare(&a, &b) })
	return rows
}

// manifest is what tokeniser run would say of the rows.
func manifest(t *testing.T, p *keys.Project, rows []cohort.Row, expires string) *cohort.Manifest {
	t.Helper()
	var ids []cohort.ID
	for i := range rows {
		ids = append(ids, rows[i].UniqueID)
	}
	slices.SortFunc(ids, cohort.ID.Compare)
	identity := cohort.Identity{Schema: cohort.Schema, Project: p.Name, ProjectDigest: p.Digest(), Profile: "nhs-field-dob-1", ProfileDigest: "d", EncodingEpoch: 2, EncodingKCV: encodingKCV,
		TokenScheme: p.Scheme, TokenDomain: p.Domain, TokenEpoch: p.Keys.TokenEpoch, TokenKCV: p.Keys.TokenKCV, SourceDataset: "north", SourceOrg: "X26", RowsDigest: cohort.RowsDigest(ids)}
	return &cohort.Manifest{Identity: identity, Created: now.Format(time.RFC3339), Expires: expires, Software: software, DomainNo: p.Keys.DomainNo, Rows: int64(len(rows)),
		Refused: map[string]int64{"row_malformed": 2}, Warnings: map[string]int64{"name_junk": 1}, OptOuts: []string{"ndoo"}, MapDigest: "m", Comparison: comparison}
}

// write writes a cohort as tokeniser run does.
func write(t *testing.T, path string, partRows int64, m *cohort.Manifest, rows []cohort.Row) {
	t.Helper()
	w, err := parts.Create(path, partRows, layout, m.Identity, software)
	must(t, err)
	defer w.Abort()
	for i := range rows {
		must(t, w.Append(&rows[i]))
	}
	must(t, w.Finish())
	must(t, w.Commit())
	m.Files = w.Files()
	writeManifest(t, path, m)
}

func writeManifest(t *testing.T, path string, m *cohort.Manifest) {
	t.Helper()
	var err error
	m.CohortID, err = m.Identity.CohortID()
	must(t, err)
	must(t, cohort.WriteManifest(cohort.ManifestPath(path), m))
}

// moved is what a token becomes.
func moved(token [keys.TokenSize]byte) [keys.TokenSize]byte {
	token[31] ^= 0xff
	return token
}

func move(_ context.Context, tokens [][keys.TokenSize]byte) (all [][keys.TokenSize]byte, err error) {
	time.Sleep(time.Duration(rand.IntN(2000)) * time.Microsecond) // so that batches overtake one another
	for _, token := range tokens {
		all = append(all, moved(token))
	}
	return all, nil
}

func movedRows(rows []cohort.Row) (all []cohort.Row) {
	for _, r := range rows {
		if r.HasToken {
			r.Token = moved(r.Token)
		}
		all = append(all, r)
	}
	return all
}

func options(in, out string, from, to *keys.Project) rekey.Options {
	clock := func() time.Time { return now }
	return rekey.Options{In: in, Out: out, From: from, To: to, Convert: from.Domain != to.Domain, Batch: 64, Software: software, Clock: clock, Wall: clock}
}

func run(t *testing.T, o rekey.Options, by rekey.Move) (*rekey.Result, error) {
	t.Helper()
	if !rekey.IsCohort(o.In) {
		t.Error("it is not known as a cohort")
	}
	c, err := rekey.OpenCohort(t.Context(), o)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Move(t.Context(), by, nil)
}

// sameFiles holds all files of a folder to those of another.
func sameFiles(t *testing.T, got, want string) {
	t.Helper()
	read := func(folder string) map[string]string {
		all := map[string]string{}
		must(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			name, _ := filepath.Rel(folder, path)
			all[name] = string(b)
			return err
		}))
		return all
	}
	here, there := read(got), read(want)
	for name, content := range there {
		if here[name] != content {
			t.Errorf("%s differs", name)
		}
	}
	if len(here) != len(there) || len(there) < 2 {
		t.Errorf("%d files, want %d", len(here), len(there))
	}
}

// TestCohortThatIsReplaced: what an earlier run has left is replaced, also one that was
// killed before the manifest; another cohort, or another table, is not.
func TestCohortThatIsReplaced(t *testing.T) {
	from, to := project(t, "study", "lake", 1, 1, "2099-12-31"), project(t, "study", "lake", 1, 2, "2098-12-31")
	folder, rows := t.TempDir(), drawRows(20)
	in, out := filepath.Join(folder, "in.parquet"), filepath.Join(folder, "out.parquet")
	write(t, in, 0, manifest(t, from, rows, "2100-01-01T00:00:00Z"), rows)
	o := options(in, out, from, to)
	again := func(want string) {
		t.Helper()
		_, err := run(t, o, move)
		if want == "" && err != nil || want != "" && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), want)) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	const refused = "is not a cohort of the same source with tokens of the epoch"
	again("")
	again("")
	must(t, os.Remove(cohort.ManifestPath(out)))
	again("")
	m := manifest(t, to, rows, "2100-01-01T00:00:00Z")
	m.SourceDataset = "south"
	write(t, out, 0, m, rows)
	again(refused)
	write(t, out, 0, manifest(t, from, rows, "2100-01-01T00:00:00Z"), rows)
	again(refused)
	must(t, os.WriteFile(cohort.ManifestPath(out), []byte("{}"), 0o600))
	again(refused)
	o.Replace = true
	again("")
}

// TestRotatedCohort is byte for byte the one that would be made at the new epoch, in one
// file and in parts, with its rows in batches of any size.
func TestRotatedCohort(t *testing.T) {
	from, to := project(t, "study", "lake", 1, 1, "2099-12-31"), project(t, "study", "lake", 1, 2, "2098-12-31")
	for _, c := range []struct {
		rows, batch int
		partRows    int64
		name        string
	}{{1000, 64, 0, "north.parquet"}, {1000, 1, 0, "north.parquet"}, {200, 5000, 0, "north.parquet"}, {0, 64, 0, "north.parquet"}, {1000, 64, 300, "north"}, {300, 7, 300, "north"}, {0, 7, 300, "north"}} {
		t.Run(fmt.Sprintf("%+v", c), func(t *testing.T) {
			rows := drawRows(c.rows)
			old, want, got := t.TempDir(), t.TempDir(), t.TempDir()
			write(t, filepath.Join(old, c.name), c.partRows, manifest(t, from, rows, "2100-01-01T00:00:00Z"), rows)
			write(t, filepath.Join(want, c.name), c.partRows, manifest(t, to, rows, "2099-01-01T00:00:00Z"), movedRows(rows))
			o := options(filepath.Join(old, c.name), filepath.Join(got, c.name), from, to)
			o.Batch = c.batch
			r, err := run(t, o, move)
			must(t, err)
			sameFiles(t, got, want)
			tokens := int64(0)
			for i := range rows {
				if rows[i].HasToken {
					tokens++
				}
			}
			if r.Rows != int64(c.rows) || r.Tokens != tokens || len(r.Outputs) != 2 || r.Manifest.Rows != int64(c.rows) {
				t.Errorf("%+v", r)
			}
			// Again, over the earlier output; and not over the input.
			_, err = run(t, o, move)
			must(t, err)
			sameFiles(t, got, want)
			o.Out = o.In
			if _, err := run(t, o, move); fault.KindOf(err) != fault.Usage {
				t.Errorf("written over the input: %v", err)
			}
		})
	}
}

// TestConvertedCohort stays the project's that encoded it; only what is said of its tokens
// is the other domain's, and it ends with whichever ends first.
func TestConvertedCohort(t *testing.T) {
	from, to := project(t, "study", "lake", 1, 3, "2099-12-31"), project(t, "register", "registry", 2, 5, "2100-12-31")
	rows, old, want, got := drawRows(300), t.TempDir(), t.TempDir(), t.TempDir()
	m := manifest(t, from, rows, "2026-06-01T00:00:00Z")
	m.ProjectDigest = "of an earlier version of the record"
	write(t, filepath.Join(old, "north.parquet"), 0, m, rows)
	expected := *m
	expected.TokenDomain, expected.TokenEpoch, expected.TokenKCV, expected.DomainNo = "registry", 5, to.Keys.TokenKCV, 2
	write(t, filepath.Join(want, "north.parquet"), 0, &expected, movedRows(rows))
	_, err := run(t, options(filepath.Join(old, "north.parquet"), filepath.Join(got, "north.parquet"), from, to), move)
	must(t, err)
	sameFiles(t, got, want)
}

// rewrite writes a Parquet file again, as a tool does that knows no fixed widths.
func rewrite(t *testing.T, path string) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	raw, err := file.NewParquetReader(bytes.NewReader(b))
	must(t, err)
	reader, err := pqarrow.NewFileReader(raw, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	must(t, err)
	in, err := reader.ReadTable(t.Context())
	must(t, err)
	fields, columns := in.Schema().Fields(), []arrow.Column{}
	for i := range fields {
		chunks := in.Column(i).Data().Chunks()
		if fields[i].Type.ID() == arrow.FIXED_SIZE_BINARY {
			fields[i].Type = arrow.BinaryTypes.Binary
			for k, chunk := range chunks {
				builder := array.NewBinaryBuilder(memory.DefaultAllocator, arrow.BinaryTypes.Binary)
				for row := range chunk.Len() {
					if value := chunk.(*array.FixedSizeBinary); value.IsNull(row) {
						builder.AppendNull()
					} else {
						builder.Append(value.Value(row))
					}
				}
				chunks[k] = builder.NewArray()
			}
		}
		columns = append(columns, *arrow.NewColumn(fields[i], arrow.NewChunked(fields[i].Type, chunks)))
	}
	schema := arrow.NewSchema(fields, nil)
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	must(t, err)
	must(t, w.WriteTable(array.NewTable(schema, columns, in.NumRows()), 100))
	must(t, w.Close())
	must(t, os.WriteFile(path, out.Bytes(), 0o600))
}

// describe puts the digest of a file into its manifest.
func describe(t *testing.T, path string, m *cohort.Manifest) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	sum := sha256.Sum256(b)
	m.Files[0].SHA256 = hex.EncodeToString(sum[:])
	writeManifest(t, path, m)
}

// TestVariableWidth: tokens and filters of variable width are read, and written as the
// format has them; a file that the manifest does not describe is refused all the same.
func TestVariableWidth(t *testing.T) {
	from, to := project(t, "study", "lake", 1, 1, "2099-12-31"), project(t, "study", "lake", 1, 2, "2099-12-31")
	rows, old, want, got := drawRows(300), t.TempDir(), t.TempDir(), t.TempDir()
	in := filepath.Join(old, "north.parquet")
	m := manifest(t, from, rows, "2100-01-01T00:00:00Z")
	write(t, in, 0, m, rows)
	write(t, filepath.Join(want, "north.parquet"), 0, manifest(t, to, rows, "2100-01-01T00:00:00Z"), movedRows(rows))
	rewrite(t, in)
	o := options(in, filepath.Join(got, "north.parquet"), from, to)
	if _, err := run(t, o, move); fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "it is not the file that the manifest describes") {
		t.Errorf("of another digest: %v", err)
	}
	describe(t, in, m)
	_, err := run(t, o, move)
	must(t, err)
	sameFiles(t, got, want)
}

// TestRefusedCohorts: before anything is asked and written.
func TestRefusedCohorts(t *testing.T) {
	lake := func(epoch uint32, edit ...string) *keys.Project {
		return project(t, "study", "lake", 1, epoch, "2099-12-31", edit...)
	}
	type setting struct {
		m         *cohort.Manifest
		rows      []cohort.Row
		o         *rekey.Options
		rewritten func(in string)
	}
	for name, c := range map[string]struct {
		change func(*setting)
		kind   fault.Kind
		says   string
	}{
		"control":        {func(*setting) {}, 0, ""},
		"release tokens": {func(s *setting) { s.m.TokenRelease = true }, fault.Policy, "one-way; make them again from the numbers"},
		"scheme":         {func(s *setting) { s.m.TokenScheme = keys.SchemeKeyedHash }, fault.Policy, "of scheme keyed-hash"},
		"project":        {func(s *setting) { s.m.Project = "other" }, fault.Disagreement, "project is other in the cohort and study in the record"},
		"domain":         {func(s *setting) { s.m.TokenDomain = "pond" }, fault.Disagreement, "token domain is pond"},
		"domain number":  {func(s *setting) { s.m.DomainNo = 9 }, fault.Disagreement, "number of the domain is 9"},
		"epoch":          {func(s *setting) { s.o.From, s.o.To = lake(2), lake(3) }, fault.Disagreement, "token epoch is 1 in the cohort and 2 in the record"},
		"check value":    {func(s *setting) { kcv := strings.Repeat("0", 32); s.m.TokenKCV = &kcv }, fault.Disagreement, "token key check value is 000"},
		"no check value": {func(s *setting) { s.m.TokenKCV = nil }, fault.Disagreement, "token key check value is not stated"},
		"record's key":   {func(s *setting) { kcv := strings.Repeat("0", 32); s.o.From.Keys.TokenKCV = &kcv }, fault.Disagreement, "is not the one of the record's key check value"},
		"to project":     {func(s *setting) { s.o.To = project(t, "other", "lake", 1, 2, "2099-12-31") }, fault.Disagreement, "project is study in the cohort and other in the record"},
		"encoding epoch": {func(s *setting) { s.o.To = lake(2, `"encoding_epoch": 2`, `"encoding_epoch": 3`) }, fault.Disagreement, "encoding epoch is 2 in the cohort and 3"},
		"encoding key":   {func(s *setting) { s.o.To = lake(2, encodingKCV, strings.Repeat("1", 32)) }, fault.Disagreement, "encoding key check value"},
		"party":          {func(s *setting) { s.o.To = lake(2, `"north"`, `"south"`) }, fault.Disagreement, "the record has no party north"},
		"expired":        {func(s *setting) { s.m.Expires = "2025-12-31T00:00:00Z" }, fault.Policy, "its project expired at 2025-12-31"},
		"expired record": {func(s *setting) { s.o.To = project(t, "study", "lake", 1, 2, "2025-12-01") }, fault.Policy, "it expired on 2025-12-01"},
		"converts from an expired": {func(s *setting) {
			s.o.From, s.o.To, s.o.Convert = project(t, "study", "lake", 1, 1, "2025-12-01"), project(t, "register", "registry", 2, 1, "2099-01-01"), true
		}, fault.Policy, "it expired on 2025-12-01"},
		"number of rows": {func(s *setting) { s.m.Rows++ }, fault.Usage, "it has another number of rows"},
		"digest of rows": {func(s *setting) { s.m.RowsDigest = strings.Repeat("0", 64) }, fault.Usage, "its rows are not those"},
		"order":          {func(s *setting) { s.rewritten = func(in string) { turn(t, in) } }, fault.Usage, "not in the order of the format"},
		"other bytes": {func(s *setting) {
			s.rewritten = func(in string) {
				b, err := os.ReadFile(in)
				must(t, err)
				b[100] ^= 1
				must(t, os.WriteFile(in, b, 0o600))
			}
		}, fault.Usage, "it is not the file that the manifest describes"},
		"another name": {func(s *setting) {
			s.rewritten = func(in string) {
				s.o.In = filepath.Join(filepath.Dir(in), "copy.parquet")
				b, err := os.ReadFile(in)
				must(t, err)
				must(t, os.WriteFile(s.o.In, b, 0o600))
			}
		}, fault.Usage, "under the name that its manifest has"},
		"no manifest":     {func(s *setting) { s.rewritten = func(in string) { must(t, os.Remove(cohort.ManifestPath(in))) } }, fault.Usage, "copy the manifest"},
		"manifest's name": {func(s *setting) { s.o.Out = filepath.Join(filepath.Dir(s.o.In), "north.PARQUET") }, fault.Usage, "would take the place of that of --in"},
		"extension":       {func(s *setting) { s.o.Out += ".csv" }, fault.Usage, "does not end in .parquet"},
		"something else":  {func(s *setting) { must(t, os.WriteFile(s.o.Out, []byte("precious"), 0o600)) }, fault.Usage, "exists and is not a cohort of the same source"},
	} {
		t.Run(name, func(t *testing.T) {
			old, got := t.TempDir(), t.TempDir()
			rows := drawRows(100)
			o := options(filepath.Join(old, "north.parquet"), filepath.Join(got, "north.parquet"), lake(1), lake(2))
			s := &setting{m: manifest(t, lake(1), rows, "2100-01-01T00:00:00Z"), rows: rows, o: &o}
			c.change(s)
			write(t, o.In, 0, s.m, s.rows)
			if s.rewritten != nil {
				s.rewritten(o.In)
			}
			before, _ := os.ReadDir(got)
			var calls atomic.Int64
			_, err := run(t, o, func(ctx context.Context, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error) {
				calls.Add(1)
				return move(ctx, tokens)
			})
			if c.kind == 0 {
				must(t, err)
				return
			}
			if fault.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v", err)
			}
			if calls.Load() > 0 && name != "order" {
				t.Error("something was asked")
			}
			if after, _ := os.ReadDir(got); len(after) != len(before) {
				t.Errorf("left: %v", after)
			}
		})
	}
}

// turn writes the rows of a cohort in another order.
func turn(t *testing.T, in string) {
	t.Helper()
	f, err := cohort.Open(t.Context(), in)
	must(t, err)
	defer f.Close()
	m := f.Manifest
	b, err := os.ReadFile(in)
	must(t, err)
	raw, err := file.NewParquetReader(bytes.NewReader(b))
	must(t, err)
	reader, err := pqarrow.NewFileReader(raw, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	must(t, err)
	table, err := reader.ReadTable(t.Context())
	must(t, err)
	half := table.NumRows() / 2
	var columns []arrow.Column
	for i := range int(table.NumCols()) {
		data := table.Column(i).Data()
		chunks := append(array.NewChunkedSlice(data, half, table.NumRows()).Chunks(), array.NewChunkedSlice(data, 0, half).Chunks()...)
		columns = append(columns, *arrow.NewColumn(table.Schema().Field(i), arrow.NewChunked(data.DataType(), chunks)))
	}
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(table.Schema(), &out, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	must(t, err)
	must(t, w.WriteTable(array.NewTable(table.Schema(), columns, table.NumRows()), table.NumRows()))
	must(t, w.Close())
	must(t, os.WriteFile(in, out.Bytes(), 0o600))
	describe(t, in, m)
}

// TestFailedMove: whatever stops a run, nothing is written under a name, and nothing left.
func TestFailedMove(t *testing.T) {
	from, to := project(t, "study", "lake", 1, 1, "2099-12-31"), project(t, "study", "lake", 1, 2, "2099-12-31")
	rows := drawRows(1000)
	for _, name := range []string{"north.parquet", "north"} {
		for what, stop := range map[string]func(context.CancelFunc) ([][keys.TokenSize]byte, error){
			"an error": func(context.CancelFunc) ([][keys.TokenSize]byte, error) {
				return nil, fault.New(fault.Unavailable, "asking", "nobody answers", "")
			},
			"stopped": func(cancel context.CancelFunc) ([][keys.TokenSize]byte, error) {
				cancel()
				return nil, context.Canceled
			},
			"fewer tokens":  func(context.CancelFunc) ([][keys.TokenSize]byte, error) { return nil, nil },
			"a panic there": func(context.CancelFunc) ([][keys.TokenSize]byte, error) { panic("x") },
		} {
			old, got := t.TempDir(), t.TempDir()
			in := filepath.Join(old, name)
			partRows := int64(0)
			if name == "north" {
				partRows = 300
			}
			write(t, in, partRows, manifest(t, from, rows, "2100-01-01T00:00:00Z"), rows)
			c, err := rekey.OpenCohort(t.Context(), options(in, filepath.Join(got, name), from, to))
			must(t, err)
			var calls atomic.Int64
			ctx, cancel := context.WithCancel(t.Context())
			_, err = c.Move(ctx, func(ctx context.Context, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error) {
				if calls.Add(1) == 9 {
					return stop(cancel)
				}
				return move(ctx, tokens)
			}, nil)
			cancel()
			c.Close()
			if err == nil || what == "an error" && fault.KindOf(err) != fault.Unavailable || what == "stopped" && !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", what, err)
			}
			if left, _ := os.ReadDir(got); len(left) > 0 {
				t.Errorf("%s: left: %v", what, left)
			}
		}
	}
}

// TestInterruptedCohortGoesOn: with a journal a run that failed asks for the batches that
// were not answered, and for no others, and writes what an undisturbed one writes.
func TestInterruptedCohortGoesOn(t *testing.T) {
	from, to := project(t, "study", "lake", 1, 1, "2099-12-31"), project(t, "study", "lake", 1, 2, "2099-12-31")
	rows, old, want, got := drawRows(1000), t.TempDir(), t.TempDir(), t.TempDir()
	in, out := filepath.Join(old, "north.parquet"), filepath.Join(got, "north.parquet")
	write(t, in, 0, manifest(t, from, rows, "2100-01-01T00:00:00Z"), rows)
	write(t, filepath.Join(want, "north.parquet"), 0, manifest(t, to, rows, "2100-01-01T00:00:00Z"), movedRows(rows))
	stopped := fault.New(fault.Unavailable, "asking", "nobody answers", "")
	// attempt asks for what the journal lacks, and fails after so many batches.
	attempt := func(most int64) (asked int64, known int64, err error) {
		answers, err := rekey.OpenAnswers(rekey.JournalPath(out), rotation(), nil)
		must(t, err)
		var calls atomic.Int64
		_, err = run(t, options(in, out, from, to), func(ctx context.Context, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error) {
			sum := sha256.New()
			for _, token := range tokens {
				sum.Write(token[:])
			}
			id := uuid.UUID(sum.Sum(nil)[:16])
			if kept, known, err := answers.Get(id, len(tokens)); known || err != nil {
				return kept, err
			}
			if calls.Add(1) > most {
				return nil, stopped
			}
			made, err := move(ctx, tokens)
			return made, errors.Join(err, answers.Put(id, made))
		})
		known = answers.Known()
		if err == nil {
			must(t, answers.Remove())
		}
		must(t, answers.Close())
		return calls.Load(), known, err
	}
	if _, _, err := attempt(5); !errors.Is(err, stopped) {
		t.Fatal(err)
	}
	if asked, known, err := attempt(4); !errors.Is(err, stopped) || known == 0 || asked < 5 {
		t.Fatalf("asked for %d batches, %d tokens known, %v", asked, known, err)
	}
	asked, known, err := attempt(1000)
	if err != nil || asked != 16-9 || known < 9*30 {
		t.Errorf("the last run asked for %d batches, %d tokens known, %v", asked, known, err)
	}
	sameFiles(t, got, want)
	if asked, known, err = attempt(1000); err != nil || asked != 16 || known != 0 {
		t.Errorf("control: a run anew asked for %d batches, %d tokens known, %v", asked, known, err)
	}
}

// TestBothSidesAreBusy: a batch does not wait for the answer to the one before, and no more
// than a few are on their way.
func TestBothSidesAreBusy(t *testing.T) {
	from, to := project(t, "study", "lake", 1, 1, "2099-12-31"), project(t, "study", "lake", 1, 2, "2099-12-31")
	rows, old := drawRows(1000), t.TempDir()
	in := filepath.Join(old, "north.parquet")
	write(t, in, 0, manifest(t, from, rows, "2100-01-01T00:00:00Z"), rows)
	var onTheirWay, most, calls atomic.Int64
	second := make(chan struct{})
	_, err := run(t, options(in, filepath.Join(t.TempDir(), "out.parquet"), from, to), func(ctx context.Context, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error) {
		n := onTheirWay.Add(1)
		defer onTheirWay.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		switch calls.Add(1) {
		case 1:
			select {
			case <-second:
			case <-time.After(20 * time.Second):
				t.Error("the second batch waits for the first")
			}
		case 2:
			close(second)
		}
		return move(ctx, tokens)
	})
	must(t, err)
	if most.Load() > 3 {
		t.Errorf("%d batches were on their way", most.Load())
	}
}

// TestIsCohort knows a cohort by its columns, and takes nothing else for one.
func TestIsCohort(t *testing.T) {
	folder := t.TempDir()
	if rekey.IsCohort(folder) || rekey.IsCohort(filepath.Join(folder, "not-there")) {
		t.Error("nothing is taken for a cohort")
	}
	text := filepath.Join(folder, "visits.csv")
	must(t, os.WriteFile(text, []byte("unique_id,cohort_id,nhs_token\n"), 0o600))
	if rekey.IsCohort(text) {
		t.Error("a table of text is taken for a cohort")
	}
	for kind, is := range map[arrow.DataType]bool{arrow.BinaryTypes.String: false, arrow.BinaryTypes.Binary: true, arrow.PrimitiveTypes.Int64: false} {
		for _, names := range [][]string{{"unique_id", "cohort_id", "nhs_token"}, {"unique_id", "other", "nhs_token"}} {
			var fields []arrow.Field
			for _, name := range names {
				fields = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String})
			}
			fields[2].Type = kind
			var out bytes.Buffer
			w, err := pqarrow.NewFileWriter(arrow.NewSchema(fields, nil), &out, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
			must(t, err)
			must(t, w.Close())
			path := filepath.Join(folder, "t.parquet")
			must(t, os.WriteFile(path, out.Bytes(), 0o600))
			if got := rekey.IsCohort(path); got != (is && names[1] == "cohort_id") {
				t.Errorf("%v of %v: %v", names, kind, got)
			}
		}
	}
}
