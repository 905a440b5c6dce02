// Package batch encodes one file: it opens the table, finds or reads the
// column map, and runs the pipeline with the project's keys.
package batch

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/tokenise"
	"tarn/tokenise/encode"
	"tarn/tokenise/lease"
	"tarn/tokenise/source"
)

// Options are the settings of a batch run.
type Options struct {
	Project string // path of project.json
	KeyFile string // path of keys.json; empty with Lease
	// Lease leases the keys from a key holder, whose record of the project then
	// goes before Project. The key of minted ids is kept in the folder State, and
	// made there on first use from Rand.
	Lease  lease.Open
	State  string
	Rand   io.Reader
	In     string // CSV or Parquet, "-" for CSV on Stdin
	Source source.Options
	// Map is the path of a column map; empty finds the columns by name, which
	// ConfirmMap must accept.
	Map        string
	ConfirmMap bool
	// UniqueID names the column that identifies rows, or is source.RowID.
	UniqueID string
	// SourceDataset is the party; empty takes it from the name of In, or from
	// the project where it has one party.
	SourceDataset string

	Out        string // NAME.parquet, or with PartRows a folder
	PartRows   int64  // rows of each part of a folder; 0 is one file
	Quarantine string
	Warnings   string
	Groups     string
	MaxRefused float64
	Threads    int
	Resume     bool  // see tokenise.Options
	ChunkRows  int64 // see tokenise.Options

	Software string
	Clock    func() time.Time
	Wall     func() time.Time
	Progress func(done, total int64)
	Stage    func(name string)
	// Messages takes the column map that wants to be confirmed, how the input was
	// read, and what became of a checkpoint.
	Messages io.Writer
}

// CrosswalkPath returns where the crosswalk of a cohort goes: --out without
// its extension and .crosswalk.parquet.
func CrosswalkPath(out string) string {
	return strings.TrimSuffix(out, filepath.Ext(out)) + ".crosswalk.parquet"
}

// EscrowPath returns where the escrow of a cohort goes: --out without its extension and
// .escrow.
func EscrowPath(out string) string { return strings.TrimSuffix(out, filepath.Ext(out)) + ".escrow" }

// Run encodes a file. See tokenise.Run for what is returned with an error.
func Run(ctx context.Context, o Options) (*tokenise.Result, error) {
	result, err := run(ctx, o)
	why, next := "", ""
	switch {
	case errors.Is(err, tokenise.ErrInputChanged):
		why, next = "the input is not the one that was encoded before", "give the same table again to go on, or run without --resume; what was encoded is kept"
	case errors.Is(err, tokenise.ErrCheckpointDamaged):
		why, next = "what was kept of the interrupted run is damaged", "give the table again to start from the beginning"
	default:
		return result, err
	}
	if o.In == "-" {
		return nil, fault.New(fault.Usage, "going on with the interrupted run", why, next)
	}
	if err := o.say(why + ": starting from the beginning"); err != nil {
		return nil, err
	}
	o.Resume = false
	return run(ctx, o)
}

func (o *Options) say(text string) error {
	if o.Messages == nil {
		return nil
	}
	_, err := fmt.Fprintln(o.Messages, text)
	return err
}

func run(ctx context.Context, o Options) (*tokenise.Result, error) {
	project, err := keys.ReadProject(o.Project)
	if err != nil {
		return nil, err
	}
	if err := project.CheckCurrent(o.Wall()); err != nil {
		return nil, err
	}
	var keyFile *keys.KeyFile
	if o.Lease == nil {
		if keyFile, err = keys.ReadKeyFile(o.KeyFile); err != nil {
			return nil, err
		}
	}
	profile, err := encode.LoadProfile(project.Profile, filepath.Dir(o.Project))
	if err != nil {
		return nil, err
	}
	if err := o.checkFiles(); err != nil {
		return nil, err
	}
	dataset, err := sourceDataset(project, o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	rows, err := source.OpenContext(ctx, o.In, o.Source)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rows.Close() }() // opened for reading
	mapping, err := o.mapping(rows, profile)
	if err != nil {
		return nil, err
	}
	if err := o.say("reading " + rows.Input().String()); err != nil {
		return nil, err
	}
	positions, err := mapping.Resolve(rows.Header())
	if err != nil {
		return nil, err
	}
	if err := checkLeftOut(rows.Input(), positions, mapping.Absent, profile); err != nil {
		return nil, err
	}
	if err := checkInputs(positions, mapping.Absent, profile); err != nil {
		return nil, err
	}
	var use func(context.Context, int64) error
	var canaries func(int64)
	var evaluate tokenise.Evaluate
	if o.Lease != nil {
		running, session, err := o.Lease(ctx, project.Name, rows.Input().Rows, api.UseToken, api.UseEncoding)
		if err != nil {
			return nil, err
		}
		defer func() { o.close(ctx, session) }()
		if project, keyFile, err = o.leased(running, session, project, profile, dataset); err != nil {
			return nil, fault.Ended(running, err)
		}
		// A reader that waits for its writer ends with the leases, too.
		defer context.AfterFunc(running, func() { cancel(context.Cause(running)) })()
		ctx, use, canaries = running, session.Take, session.Canaries
		if session.Evaluated() {
			evaluate = session.Tokens
		}
	}
	guarded := &guard{Reader: rows}
	if at, ok := positions[source.UniqueIDField]; ok {
		guarded.watch(at, "it identifies rows but looks like NHS numbers (unique_id_looks_like_nhs_number)",
			"give another column with --unique-id COLUMN, or --unique-id row to use the row's number", fault.Usage)
	}
	if o.Groups != "" {
		guarded.watchGroups(project.Groups)
	}
	result, err := tokenise.Run(ctx, tokenise.Options{
		Project: project, Keys: keyFile, Profile: profile, SourceDataset: dataset, Rows: guarded,
		Columns: tokenise.Columns{Fields: positions, RowNumbers: mapping.UniqueID == source.RowID}, MapDigest: mapping.Digest(),
		Out: o.Out, PartRows: o.PartRows, Quarantine: o.Quarantine, Warnings: o.Warnings, Crosswalk: CrosswalkPath(o.Out), Escrow: EscrowPath(o.Out), Groups: o.Groups,
		MaxRefused: o.MaxRefused, Threads: o.Threads, Resume: o.Resume, ChunkRows: o.ChunkRows,
		Software: o.Software, Rand: o.Rand, Clock: o.Clock, Wall: o.Wall, Progress: o.Progress, Stage: o.Stage, Use: use, Canaries: canaries, Evaluate: evaluate,
		KeepOther: o.In == "-",
	})
	if result != nil && result.Restarted {
		return result, errors.Join(err, o.say("the checkpoint that was there is of another run (other keys, project, columns or version): started from the beginning"))
	}
	return result, err
}

func sourceDataset(p *keys.Project, o Options) (string, error) {
	name := o.SourceDataset
	if name == "" && o.In != "-" {
		if stem := source.TableName(o.In); slices.Contains(p.SourceDatasets(), stem) {
			name = stem
		}
	}
	if name == "" && len(p.Parties) == 1 {
		name = p.Parties[0].SourceDataset
	}
	if _, ok := p.Party(name); !ok {
		return "", fault.New(fault.Usage, "finding the source data set", "neither --source nor the name of the input is one of the project's parties",
			"give --source with one of: "+strings.Join(p.SourceDatasets(), ", "))
	}
	return name, nil
}

// mapping returns the confirmed column map. One that was found and not yet
// confirmed is shown, and the run ends.
func (o Options) mapping(rows source.Reader, profile *encode.Profile) (*source.Mapping, error) {
	var m *source.Mapping
	if o.Map != "" {
		var err error
		if m, err = source.LoadMap(o.Map); err != nil {
			return nil, err
		}
	} else {
		m = source.FindMapping(rows.Header(), profile.Inputs())
		m.Show(rows.Input().LeftOut)
	}
	if err := m.CheckFields(profile.Inputs()); err != nil {
		return nil, err
	}
	if o.UniqueID != "" {
		m.UniqueID = o.UniqueID
	}
	confirmed := o.ConfirmMap || o.Map != "" && m.Confirmed
	if !confirmed && o.Messages != nil {
		if err := o.show(m); err != nil {
			return nil, err
		}
	}
	switch {
	case !confirmed:
		return nil, fault.New(fault.Usage, "mapping columns to fields", "the column map has not been confirmed",
			"read it; if it is right, run again with --confirm-map, or keep it in a file: tokeniser profile --write-map")
	case m.UniqueID == "":
		return nil, fault.New(fault.Usage, "mapping columns to fields", "no column identifies rows", "give --unique-id COLUMN, or --unique-id row to use the row's number")
	}
	return m, nil
}

func (o Options) show(m *source.Mapping) error {
	if m.Columns == nil {
		return m.Write(o.Messages)
	}
	if _, err := fmt.Fprintln(o.Messages, "column map found:"); err != nil {
		return err
	}
	return m.WriteText(o.Messages)
}

// checkLeftOut refuses a table in which a column that would be taken for a field
// holds objects or lists: the field would be missing in every row.
func checkLeftOut(in source.Input, positions map[string]int, absent []string, profile *encode.Profile) error {
	for _, column := range in.LeftOut {
		field := source.FieldNamed(column, profile.Inputs())
		if _, mapped := positions[field]; field == "" || mapped || slices.Contains(absent, field) {
			continue
		}
		return fault.New(fault.Usage, "mapping columns to fields", "the column "+column+", by its name "+field+", has objects or lists in it, so none of its values can be read",
			"write one value in each row; or name "+field+" in absent of a column map to go on without it")
	}
	return nil
}

// checkInputs refuses a table that has none of what makes a record linkable,
// or lacks an input of the profile and does not say so.
func checkInputs(positions map[string]int, absent []string, profile *encode.Profile) error {
	var missing []string
	mapped := 0
	for _, input := range profile.Inputs() {
		if _, ok := positions[input]; ok {
			mapped++
		} else if !slices.Contains(absent, input) {
			missing = append(missing, input)
		}
	}
	if _, number := positions[encode.FieldNHSNumber]; mapped == 0 && !number {
		return fault.New(fault.Usage, "mapping columns to fields", "no column holds a field that could be linked on", "name the columns in a map: tokeniser profile --write-map, then --map")
	}
	if len(missing) > 0 {
		return fault.New(fault.Usage, "mapping columns to fields", "no column holds "+strings.Join(missing, ", ")+", which the profile "+profile.Name+" encodes",
			"name the columns in a map (tokeniser profile --write-map, then --map); a field that the table does not have goes into absent there")
	}
	return nil
}
