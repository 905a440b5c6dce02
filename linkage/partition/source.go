// Package partition reads a cohort part by part in the order of a blocking
// pass, so that a job holds only what it is comparing. A cohort that lies in
// that order is read from one end to the other; any other is scattered first,
// in memory as far as it may be used and on disk beyond.
package partition

import (
	"context"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
)

// Source yields the records of one cohort that have a key, part by part.
type Source interface {
	// Load fills rows with the records of the next part, in the order of
	// [block.Compare]. There must be one.
	Load(ctx context.Context, rows *cohort.Rows) error
	// Finish reads the records that have no key, where they are to be seen.
	Finish(ctx context.Context) error
	// Close removes what is on disk.
	Close()
}

// Pass says how one cohort takes part in a pass.
type Pass struct {
	File    *cohort.File
	Shape   *cohort.Shape
	Rounded bool              // see [cohort.File.ReadTags]
	Tags    *cohort.TagValues // nil for the pass block.All
	IDs     []cohort.ID
	Runs    *block.Runs
	Parts   []block.Part
	Cohort  int // its place in Parts' From and To
	// Seen, if not nil, is called with every record of the cohort once, its key
	// left out of account.
	Seen func(rows *cohort.Rows)
}

func (p *Pass) seen(rows *cohort.Rows) {
	if p.Seen != nil {
		p.Seen(rows)
	}
}

// pieceRows is how many records are read at a time where no part says how many.
const pieceRows = 16 << 10

// inOrder reads a cohort that lies in the order of the pass.
type inOrder struct {
	stream *cohort.Stream
	pass   Pass
	part   int
	run    int // of the next record
}

// InOrder returns a source for a cohort that lies in the order of the pass, see
// [block.InOrder]. It holds one part.
func InOrder(p Pass) Source { return &inOrder{stream: p.File.Stream(p.Shape, p.Rounded), pass: p} }

func (s *inOrder) Load(ctx context.Context, rows *cohort.Rows) error {
	part := s.pass.Parts[s.part]
	s.part++
	from, to := part.From[s.pass.Cohort], part.To[s.pass.Cohort]
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.stream.Read(rows, int(to-from)); err != nil {
		return err
	}
	s.pass.seen(rows)
	for at := from; at < to; s.run++ {
		end := min(s.pass.Runs.Start[s.run+1], to)
		for ; at < end; at++ {
			rows.Key[at-from] = s.pass.Runs.Key[s.run]
		}
	}
	return nil
}

func (s *inOrder) Finish(ctx context.Context) error {
	if s.pass.Seen == nil {
		return nil
	}
	var rows cohort.Rows
	for from := s.pass.Runs.Rows(); from < s.pass.File.Rows(); from += pieceRows {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.stream.Read(&rows, min(pieceRows, s.pass.File.Rows()-from)); err != nil {
			return err
		}
		s.pass.seen(&rows)
	}
	return nil
}

func (s *inOrder) Close() {}
