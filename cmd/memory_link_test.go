//go:build heavy

package cmd_test

import (
	"encoding/binary"
	"encoding/json"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"tarn/linkage/cohort"
	"tarn/tokenise/encode"
)

// linkBound is the memory that ten million records a side are linked in.
const linkBound = 2 << 30

// TestLinkMemoryIsBounded: linker link takes less than 2 GiB for ten million
// records a side, and links the people that both have. Their encodings are
// random bits, in as many blocks of as many records as an encoder would make.
func TestLinkMemoryIsBounded(t *testing.T) {
	const (
		dates  = 36_500
		people = 274 // of each date on either side, half of them on both
	)
	binaries, folder := t.TempDir(), t.TempDir()
	build(t, binaries)
	for side, name := range []string{"north", "south"} {
		writeRandomCohort(t, folder, name, side, dates, people)
	}
	c := exec.Command(filepath.Join(binaries, "linker"), "link", filepath.Join(folder, "north.parquet"), filepath.Join(folder, "south.parquet"),
		"--out", filepath.Join(folder, "run"), "--tmp-dir", folder, "--memory", "2GiB", "--json")
	c.Env = append(os.Environ(), "GOMEMLIMIT=", "GOGC=")
	said, err := c.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	var summary struct {
		Pairs     struct{ Compared int64 }
		Links     struct{ Total int64 }
		Resources struct {
			WallS        float64 `json:"wall_s"`
			PeakRSSBytes int64   `json:"peak_rss_bytes"`
		}
	}
	if err := json.Unmarshal(said, &summary); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d pairs compared, %d links, %.0f s, %d MiB resident at most", summary.Pairs.Compared, summary.Links.Total, summary.Resources.WallS, summary.Resources.PeakRSSBytes>>20)
	if got := summary.Resources.PeakRSSBytes; got <= 0 || got > linkBound {
		t.Errorf("%d MiB, more than the %d promised", got>>20, int64(linkBound)>>20)
	}
	if want := int64(dates * people / 2); summary.Links.Total < want-want/50 || summary.Links.Total > want+want/1000 {
		t.Errorf("%d links where %d people are on both sides", summary.Links.Total, want)
	}
}

// writeRandomCohort writes a cohort of the default preset's layout. The first
// half of the people of each date is the same on both sides, but for their ids
// and for some whose given name or postcode is another.
func writeRandomCohort(t *testing.T, folder, name string, side, dates, people int) {
	t.Helper()
	profile, err := encode.LoadProfile(encode.DefaultPreset, "")
	if err != nil {
		t.Fatal(err)
	}
	layout := cohort.Layout{Blocks: []string{cohort.BlockDateOfBirth}, Tags: []string{"tag_postcode", "tag_sex"},
		Filters: []cohort.FilterColumn{{Name: "bf_given_name", Bytes: 64}, {Name: "bf_family_name", Bytes: 64}}}
	kcv := "00"
	identity := cohort.Identity{Schema: cohort.Schema, Project: "memory", Profile: encode.DefaultPreset, ProfileDigest: "d", EncodingEpoch: 1, EncodingKCV: "k", TokenScheme: "keyed-hash",
		TokenDomain: "nhs", TokenEpoch: 1, TokenKCV: &kcv, SourceDataset: name, SourceOrg: "o"}
	path := filepath.Join(folder, name+".parquet")
	w, err := cohort.Create(path, layout, identity, "test")
	if err != nil {
		t.Fatal(err)
	}
	defer w.Abort()
	own := rand.New(rand.NewPCG(uint64(side), 99))
	rows := make([]cohort.Row, people)
	for date := range dates {
		shared := rand.New(rand.NewPCG(uint64(date), 1))
		for i := range rows {
			from := shared
			if i >= people/2 {
				from = own
			}
			rows[i] = randomRow(int64(date)<<40, from, own)
		}
		slices.SortFunc(rows, func(a, b cohort.Row) int { return layout.Compare(&a, &b) })
		for i := range rows {
			if err := w.Append(&rows[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
	file, err := w.Commit()
	if err != nil {
		t.Fatal(err)
	}
	id, err := identity.CohortID()
	if err != nil {
		t.Fatal(err)
	}
	if err := cohort.WriteManifest(cohort.ManifestPath(path), &cohort.Manifest{CohortID: id, Identity: identity, Rows: file.Rows, Expires: "2999-01-01T00:00:00Z", Comparison: profile.Comparison}); err != nil {
		t.Fatal(err)
	}
}

// randomRow draws a person from one source, and what differs from record to
// record from another.
func randomRow(date int64, person, record *rand.Rand) cohort.Row {
	r := cohort.Row{NHSNumberState: "valid", Blocks: []cohort.Tag{{Value: date, Present: true}}, Filters: [][]byte{randomBytes(person, 64), randomBytes(person, 64)},
		Tags: []cohort.Tag{{Value: person.Int64(), Present: true}, {Value: person.Int64N(2), Present: true}}}
	copy(r.Token[:], randomBytes(person, cohort.TokenBytes))
	copy(r.UniqueID[:], randomBytes(record, 16))
	r.HasToken = record.IntN(10) > 0
	switch record.IntN(20) {
	case 0:
		r.Filters[0] = randomBytes(record, 64)
	case 1, 2, 3, 4:
		r.Tags[0].Value = record.Int64()
	}
	return r
}

func randomBytes(random *rand.Rand, n int) []byte {
	b := make([]byte, 0, n)
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, random.Uint64())
	}
	return b
}
