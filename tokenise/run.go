// Package tokenise turns a table of people into an encoded cohort: it judges
// each row, mints ids, makes tokens and encodings on all cores, sorts, and
// writes the cohort with its manifest, its quarantine and its crosswalk.
//
// Identifiers are in memory only, for as long as their batch is worked on.
// What reaches a disk is encoded, but for the crosswalk and the groups, which
// the region already holds. Memory does not grow with the table; a run that is
// interrupted can be gone on with.
package tokenise

import (
	"context"
	"errors"
	"io"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/escrow"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
	"tarn/tokenise/spill"
)

// Columns says where in a row the fields are.
type Columns struct {
	// Fields gives the column of each input field that is there: canonical
	// fields and those of the profile's own.
	Fields map[string]int
	// RowNumbers says that rows are identified by their number, because no
	// column identifies them.
	RowNumbers bool
}

// Options are the settings of a run.
type Options struct {
	Project       *keys.Project
	Keys          *keys.KeyFile
	Profile       *encode.Profile
	SourceDataset string
	Rows          source.Reader
	Columns       Columns
	MapDigest     string

	Out        string // the cohort's Parquet file, or its folder of parts
	PartRows   int64  // rows of each part; 0 is one file
	Quarantine string // refused rows; empty writes none
	Warnings   string // fields that were not used, of rows that go on; empty writes none
	Crosswalk  string // minted ids and source ids
	Groups     string // group columns; empty writes none
	// Escrow is for the region's store: whose each token is, sealed to the key holder. It
	// is written where the project has an escrow, see tokenise/escrow.
	Escrow string
	// MaxRefused is the share of rows that may be refused, 0 to 1. More, and no
	// cohort is written.
	MaxRefused float64
	Threads    int
	// Resume goes on with an earlier run of the same settings and input that was
	// interrupted. Without one it starts from the beginning; after one that was
	// completed it changes nothing.
	Resume bool
	// ChunkRows is the number of rows after which what was done is kept on the
	// disk; 0 is DefaultChunkRows. The output does not depend on it.
	ChunkRows int64

	Software string
	Rand     io.Reader               // for the ids of escrow batches; nil is the operating system's
	Clock    func() time.Time        // the time that documents carry
	Wall     func() time.Time        // the real time, for expiry and future dates
	Progress func(done, total int64) // bytes of the input; may be nil
	Stage    func(name string)       // what is being done; may be nil
	// Evaluate has tokens made by the key holder, of a scheme of which it makes them; nil
	// else.
	Evaluate Evaluate
	// Use is asked before keys are used for rows, and refuses; what was done before is
	// kept, and a run that goes on begins there. May be nil.
	Use func(ctx context.Context, rows int64) error
	// Canaries is told of rows with an NHS number of the test range; may be nil.
	Canaries func(rows int64)
	// KeepOther keeps the checkpoint of a run whose input turns out to be another:
	// of an input that cannot be read again, the right one may follow.
	KeepOther bool
}

// DefaultChunkRows is the number of rows of a chunk. Two are in memory as text
// and two encoded: with the default profile some 300 MB.
const DefaultChunkRows = 128 << 10

func (o *Options) chunkRows() int64 {
	if o.ChunkRows > 0 {
		return o.ChunkRows
	}
	return DefaultChunkRows
}

func (o *Options) stage(name string) {
	if o.Stage != nil {
		o.Stage(name)
	}
}

// Result is what a run did.
type Result struct {
	Manifest *cohort.Manifest
	Rows     int64  // of the input
	Tokens   int64  // rows with a token
	Encoded  int64  // rows with at least one filter or, without filters, tag
	Escrowed *int64 // tokens in the escrow; nil where the project has none
	Refused  map[reason.Code]int64
	Warned   map[reason.Code]int64
	// WarnedFields counts, for each field, the rows that go on without it.
	WarnedFields map[string]int64
	// WarnedProblems counts the same by field and reason.
	WarnedProblems map[reason.Problem]int64
	// ResumedRows is the number of rows that an earlier, interrupted run had
	// encoded.
	ResumedRows int64
	// Restarted says that there was a checkpoint, of another run, and it was not
	// used.
	Restarted bool
	// Complete says that an earlier run had done all this already, and nothing
	// was changed. Only Manifest, Rows and Escrowed are set then.
	Complete bool
	Input    source.Input // how the input was read
}

// RefusedRows returns the number of rows refused for any reason.
func (r *Result) RefusedRows() (n int64) {
	for _, count := range r.Refused {
		n += count
	}
	return n
}

// ErrInterrupted is wrapped by the error of a run that --resume can go on with.
var ErrInterrupted = errors.New("tokenise: what was encoded so far is kept")

// interrupted is an error after which the run can be gone on with.
type interrupted struct{ error }

// Unwrap gives the cause, whose text this is.
func (i interrupted) Unwrap() error { return i.error }

// Is reports that this is ErrInterrupted, too. (That is no second cause: it would
// be told as one.)
func (interrupted) Is(target error) bool { return target == ErrInterrupted }

// ErrCheckpointDamaged says that what an earlier part of the run had kept is not
// what was written. It is gone; start from the beginning.
var ErrCheckpointDamaged = errors.New("tokenise: the checkpoint is damaged")

// ErrInputChanged is wrapped by the error of a resumed run whose input is not
// the one it began with. The checkpoint is gone, unless Options.KeepOther is set;
// start from the beginning.
var ErrInputChanged = errors.New("tokenise: the input is not the one that was interrupted")

// Run encodes a table. The Result is also returned with an error of kind
// [fault.RowsRefused], which comes after the quarantine is written and instead
// of the cohort. An error that wraps ErrInterrupted leaves a checkpoint.
func Run(ctx context.Context, o Options) (*Result, error) {
	s, err := newSetting(&o)
	if err != nil {
		return nil, err
	}
	if err := s.checkOutputs(); err != nil {
		return nil, err
	}
	c, restarted, err := openCheckpoint(o.Out, o.Resume, s.newChain().sum(), s.today)
	if err != nil {
		return nil, err
	}
	s.today = c.today
	s.removeUnfinished()
	resumed := c.rows()
	result, err := s.run(ctx, c)
	if result != nil {
		result.ResumedRows, result.Restarted, result.Input = resumed, restarted, o.Rows.Input()
	}
	stale := errors.Is(err, errStale)
	kept := c.close(stale && o.KeepOther || err != nil && canGoOn(err))
	switch {
	case stale:
		return nil, ErrInputChanged
	case errors.Is(err, spill.ErrDamaged):
		return nil, ErrCheckpointDamaged
	case kept:
		return result, interrupted{fault.Ended(ctx, err)}
	}
	return result, fault.Ended(ctx, err)
}

func (s *setting) run(ctx context.Context, c *checkpoint) (*Result, error) {
	if s.Resume && len(c.chunks) == 0 {
		if m, end := s.completed(ctx); m != nil {
			return s.verifyComplete(ctx, m, end)
		}
	}
	return s.encodeAll(ctx, c)
}

func (s *setting) encodeAll(ctx context.Context, c *checkpoint) (*Result, error) {
	s.stage("encoding")
	if err := s.beginSealing(c); err != nil {
		return nil, err
	}
	chain, err := s.process(ctx, c)
	if err != nil {
		return nil, err
	}
	s.sealing = nil
	s.encoder = nil // its tables take hundreds of megabytes, and nothing is encoded any more
	return s.finish(ctx, c, chain)
}

// canGoOn reports whether a run that ended with err would end otherwise if it
// went on: not after a refusal or wrong use.
func canGoOn(err error) bool {
	if errors.Is(err, errStale) {
		return false
	}
	if errors.As(err, new(noMoreRows)) {
		return true // another day
	}
	switch fault.KindOf(err) {
	case fault.Usage, fault.RowsRefused, fault.Policy, fault.Disagreement:
		return false
	}
	return !errors.Is(err, spill.ErrDamaged)
}

// noMoreRows is why the keys may not be used for more rows.
type noMoreRows struct{ error }

// Unwrap returns the reason.
func (e noMoreRows) Unwrap() error { return e.error }

// setting is what all workers of a run share.
type setting struct {
	*Options
	encoder     *encode.Encoder
	tokenKeys   *TokenKeys
	rowKey      secret.Key // K_row
	encodingKCV string
	layout      cohort.Layout
	packer      packer
	today       demographics.Date
	groups      []groupColumn
	expires     time.Time
	recipient   *escrow.Recipient // nil where the project has no escrow
	sealing     *sealing          // while numbers are at hand
}

func newSetting(o *Options) (*setting, error) {
	p := o.Project
	if err := p.CheckCurrent(o.Wall()); err != nil {
		return nil, err
	}
	s := &setting{Options: o, layout: o.Profile.Layout(), today: demographics.DateOf(o.Wall().UTC())}
	if err := s.findRecipient(); err != nil {
		return nil, err
	}
	s.packer = newPacker(s.layout, s.recipient != nil)
	var err error
	if s.tokenKeys, err = NewTokenKeys(p, o.Keys); err != nil {
		return nil, err
	}
	rowKey, ok := o.Keys.RowKeys[o.SourceDataset]
	if _, party := p.Party(o.SourceDataset); !party || !ok {
		return nil, fault.New(fault.Usage, "checking the source data set", o.SourceDataset+" is not a party of the project with a row key in the key file", "name one of the project's parties with --source")
	}
	s.rowKey = rowKey
	if s.encoder, err = encode.NewEncoder(o.Profile, o.Keys.EncodingKey, p.Name, p.Keys.EncodingEpoch); err != nil {
		return nil, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
	}
	if s.encodingKCV, err = s.encoder.KeyCheckValue(); err != nil {
		return nil, fault.Wrap(fault.Internal, "computing the key check value", err, "")
	}
	if err := checkPinned("encoding", p.Keys.EncodingKCV, s.encodingKCV); err != nil {
		return nil, err
	}
	if s.expires, err = p.End(); err != nil {
		return nil, err
	}
	return s, s.findGroups()
}

// groupColumn is a column that the project allows in groups.parquet.
type groupColumn struct {
	name string
	at   int
	// sex says that the column holds sex codes, which sources write in different
	// ways: groups.parquet has M, F and I.
	sex bool
}

// findGroups finds the columns that go into groups.parquet. A column that
// identifies a person is refused with kind [fault.Policy], whatever the project
// says: groups leave the region.
func (s *setting) findGroups() error {
	if s.Groups == "" {
		return nil
	}
	fields := map[int]string{}
	for field, at := range s.Columns.Fields {
		fields[at] = field
	}
	for at, column := range s.Rows.Header() {
		for _, name := range s.Project.Groups {
			if column != name {
				continue
			}
			if field, mapped := fields[at]; mapped && field != encode.FieldSex {
				return fault.New(fault.Policy, "finding group columns", "the column "+column+" holds "+field+", which identifies people and may not lie beside minted ids",
					"take it out of the project's groups")
			}
			if field := source.FieldNamed(column, nil); field != "" && field != encode.FieldSex {
				return fault.New(fault.Policy, "finding group columns", "the column "+column+" is by its name "+field+", which identifies people and may not lie beside minted ids",
					"take it out of the project's groups")
			}
			s.groups = append(s.groups, groupColumn{name: name, at: at, sex: fields[at] == encode.FieldSex})
		}
	}
	if len(s.groups) == 0 {
		return fault.New(fault.Usage, "finding group columns", "the input has none of the columns that the project allows as groups",
			"name the columns in the project's groups as the input does, or leave --groups out")
	}
	return nil
}
