// Package trial links a data set whose truth is known and says how well it
// went: what was found at the threshold chosen without truth, what any method
// could have found, whether probabilities are what they say, and where the
// errors lie. It is for benchmarks: it reads clear text and truth.
package trial

import (
	"context"
	"io"
	"path/filepath"
	"slices"
	"time"

	"tarn/bench/synth"
	"tarn/tokenise/batch"
	"tarn/tokenise/encode"
)

// Side is one data set that takes part: its clear text, and what the tokeniser
// makes of it.
type Side struct {
	Name   string // source_dataset
	Table  string // CSV of clear text
	Map    string // column map; empty finds the columns by name
	Cohort string // Parquet, made by Encode; its crosswalk lies beside it
}

// Dataset is a set of records whose truth is known: one side to deduplicate,
// or several to link.
type Dataset struct {
	Name          string
	Sides         []Side
	Project, Keys string // of the sides
	Truth         string // CSV on minted ids, by pairs or by clusters
	Groups        string // CSV on minted ids; empty for none

	ID        string   // the clear-text column with the source id
	Fields    []string // clear-text columns that are compared; errors are told apart by these
	Date      string   // the clear-text column with the date of birth
	Number    string   // the clear-text column with the NHS number, empty where there is none
	DateKeyed bool     // records of different dates of birth cannot be compared
	Twins     Twins
}

// Twins names the clear-text columns by which false links of relatives and
// namesakes are told apart.
type Twins struct{ Given, Family, Place string }

// Rows is the number of records of the first side.
func (d *Dataset) Rows(c *Clear) int64 { return int64(c.sides[0]) }

// Dedupe reports whether the data set is one side, to be deduplicated.
func (d *Dataset) Dedupe() bool { return len(d.Sides) == 1 }

// Encode encodes every side with the project's profile.
func (d *Dataset) Encode(ctx context.Context, threads int, software string, clock func() time.Time) error {
	for _, s := range d.Sides {
		_, err := batch.Run(ctx, batch.Options{Project: d.Project, KeyFile: d.Keys, In: s.Table, Map: s.Map, ConfirmMap: true, SourceDataset: s.Name, Out: s.Cohort,
			MaxRefused: 1, Threads: threads, Software: software, Clock: clock, Wall: clock, Messages: io.Discard})
		if err != nil {
			return err
		}
	}
	return nil
}

// People are synthetic people on two sides.
type People struct {
	Folder    string // an existing folder to write into
	Rows      int    // of each side
	Seed      uint64
	Errors    string // error model of tarn synth
	Overlap   float64
	NoNumbers bool
	Threads   int
	Software  string
}

// Columns of synthetic people that are compared.
var peopleFields = []string{"given_name", "family_name", "postcode", "sex"}

// Make makes and encodes synthetic people, with the default preset.
func (p People) Make(ctx context.Context) (*Dataset, error) {
	config := synth.Config{People: p.Rows, Parties: 2, Seed: p.Seed, Errors: p.Errors, Overlap: p.Overlap, NoNumbers: p.NoNumbers, Threads: p.Threads}
	project, err := synth.NewProject(&config, encode.DefaultPreset)
	if err != nil {
		return nil, err
	}
	if err := project.Write(p.Folder); err != nil {
		return nil, err
	}
	config.Mint = project.Mint
	summary, err := synth.Generate(ctx, config, p.Folder, nil)
	if err != nil {
		return nil, err
	}
	return p.dataset(summary.Parties), synth.Encode(ctx, p.Folder, summary.Parties, p.Threads, p.Software, nil)
}

// Made returns the data set of a folder that Make has filled.
func (p People) Made() *Dataset { return p.dataset([]string{synth.PartyName(0), synth.PartyName(1)}) }

func (p People) dataset(parties []string) *Dataset {
	in := func(name string) string { return filepath.Join(p.Folder, name) }
	d := &Dataset{Name: "tarn synth, error model " + p.Errors, Project: in(synth.ProjectFile), Keys: in(synth.KeyFileName), Truth: in(synth.TruthFile), Groups: in(synth.GroupsFile),
		ID: "unique_id", Fields: slices.Clone(peopleFields), Date: "date_of_birth", Number: "nhs_number", DateKeyed: true,
		Twins: Twins{Given: "given_name", Family: "family_name", Place: "postcode"}}
	for _, party := range parties {
		d.Sides = append(d.Sides, Side{Name: party, Table: in(party + ".csv"), Cohort: in(party + ".parquet")})
	}
	return d
}
