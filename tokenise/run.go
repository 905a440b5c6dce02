// Package tokenise turns a table of people into an encoded cohort: it judges
// each row, mints ids, makes tokens and encodings on all cores, sorts, and
// writes the cohort with its manifest, its quarantine and its crosswalk.
//
// Identifiers are in memory only, for as long as their batch is worked on.
// What reaches a disk is encoded, but for the crosswalk, whose source ids the
// region already holds.
package tokenise

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
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

	Out        string // the cohort's Parquet file
	Quarantine string // refused rows; empty writes none
	Warnings   string // fields that were not used, of rows that go on; empty writes none
	Crosswalk  string // minted ids and source ids
	Groups     string // group columns; empty writes none
	// MaxRefused is the share of rows that may be refused, 0 to 1. More, and no
	// cohort is written.
	MaxRefused float64
	Threads    int

	Software string
	Clock    func() time.Time        // the time that documents carry
	Wall     func() time.Time        // the real time, for expiry and future dates
	Progress func(done, total int64) // bytes of the input; may be nil
}

// Result is what a run did.
type Result struct {
	Manifest *cohort.Manifest
	Rows     int64 // of the input
	Tokens   int64 // rows with a token
	Encoded  int64 // rows with at least one filter or, without filters, tag
	Refused  map[reason.Code]int64
	Warned   map[reason.Code]int64
	// WarnedFields counts, for each field, the rows that go on without it.
	WarnedFields map[string]int64
}

// RefusedRows returns the number of rows refused for any reason.
func (r *Result) RefusedRows() (n int64) {
	for _, count := range r.Refused {
		n += count
	}
	return n
}

// Run encodes a table. The Result is also returned with an error of kind
// [fault.RowsRefused], which comes after the quarantine is written and instead
// of the cohort.
func Run(ctx context.Context, o Options) (*Result, error) {
	s, err := newSetting(&o)
	if err != nil {
		return nil, err
	}
	out, err := newOutput(ctx, s)
	if err != nil {
		return nil, err
	}
	defer out.abort()
	if err := s.process(ctx, out); err != nil {
		return nil, err
	}
	return out.finish(ctx)
}

// setting is what all workers of a run share.
type setting struct {
	*Options
	encoder     *encode.Encoder
	tokenKey    secret.Key // K_tok
	rowKey      secret.Key // K_row
	tokenKCV    string
	encodingKCV string
	layout      cohort.Layout
	today       demographics.Date
	groups      []groupColumn
	expires     time.Time
}

// groupColumn is a column that the project allows in groups.parquet.
type groupColumn struct {
	name string
	at   int
	// sex says that the column holds sex codes, which sources write in different
	// ways: groups.parquet has M, F and I.
	sex bool
}

func newSetting(o *Options) (*setting, error) {
	p := o.Project
	if err := p.CheckCurrent(o.Wall()); err != nil {
		return nil, err
	}
	if p.Reidentify.Mode == "none" {
		return nil, fault.New(fault.Policy, "checking project "+p.Name,
			"it says reidentify mode none, which needs release tokens, and this version does not make them: raw tokens must not leave a region under such a project",
			"use a project whose controllers accept mode direct")
	}
	if err := o.Keys.CheckProject(p); err != nil {
		return nil, err
	}
	s := &setting{Options: o, layout: o.Profile.Layout(), today: demographics.DateOf(o.Wall().UTC())}
	rowKey, ok := o.Keys.RowKeys[o.SourceDataset]
	if _, party := p.Party(o.SourceDataset); !party || !ok {
		return nil, fault.New(fault.Usage, "checking the source data set", o.SourceDataset+" is not a party of the project with a row key in the key file", "name one of the project's parties with --source")
	}
	s.rowKey, s.tokenKey = rowKey, o.Keys.TokenDeriver(p.Keys.TokenEpoch)
	var err error
	if s.encoder, err = encode.NewEncoder(o.Profile, o.Keys.EncodingKey, p.Name, p.Keys.EncodingEpoch); err != nil {
		return nil, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
	}
	if s.encodingKCV, err = s.encoder.KeyCheckValue(); err != nil {
		return nil, fault.Wrap(fault.Internal, "computing the key check value", err, "")
	}
	s.tokenKCV = keys.TokenKCV(s.tokenKey)
	if err := s.checkKeys(); err != nil {
		return nil, err
	}
	if s.expires, err = p.End(); err != nil {
		return nil, err
	}
	return s, s.findGroups()
}

// checkKeys refuses, with kind [fault.Disagreement], keys that are not those
// the project file pins.
func (s *setting) checkKeys() error {
	for _, c := range []struct {
		what   string
		pinned *string
		here   string
	}{{"token", s.Project.Keys.TokenKCV, s.tokenKCV}, {"encoding", s.Project.Keys.EncodingKCV, s.encodingKCV}} {
		if c.pinned != nil && *c.pinned != c.here {
			return fault.New(fault.Disagreement, "comparing the key file with the project file",
				"the key check value of the "+c.what+" key is "+c.here+" here and "+*c.pinned+" in the project",
				"use the key file and the profile that the project was made with, or a project file of the current epoch")
		}
	}
	return nil
}

func (s *setting) findGroups() error {
	if s.Groups == "" {
		return nil
	}
	header := s.Rows.Header()
	for _, name := range s.Project.Groups {
		for i, column := range header {
			if column == name {
				at, mapped := s.Columns.Fields[encode.FieldSex]
				s.groups = append(s.groups, groupColumn{name: name, at: i, sex: mapped && at == i})
			}
		}
	}
	if len(s.groups) == 0 {
		return fault.New(fault.Usage, "finding group columns", "the input has none of the columns that the project allows as groups",
			"name the columns in the project's groups as the input does, or leave --groups out")
	}
	return nil
}

// newTokenMAC returns the keyed hash of tokens, reset for each number.
func (s *setting) newTokenMAC() (mac hash.Hash) {
	s.tokenKey.Use(func(b *[secret.Size]byte) { mac = hmac.New(sha256.New, b[:]) })
	return mac
}

// tokenOf returns HMAC(K_tok, digits), specification (g).
func (w *worker) tokenOf(n nhsnumber.Number) (token [cohort.TokenBytes]byte) {
	w.tokenMAC.Reset()
	w.tokenMAC.Write(n[:])
	w.tokenMAC.Sum(token[:0])
	return token
}
