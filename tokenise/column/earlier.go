package column

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/source"
)

// Earlier says by what a table is known to be what an earlier run of the same command has
// left, which the next run may replace. Nothing but tokens is written into a table: it is
// known by what is in it. See docs/decisions/0025-what-is-replaced.md.
type Earlier struct {
	Format string // of what is to be written
	// Columns are those of what is to be written, the left-out ones of NDJSON and Parquet,
	// too; nil where they are not known, so that nothing is replaced.
	Columns []string
	Column  string // of the tokens
	Source  source.Options
	// Token is one of those to be written; its Value says nothing.
	Token keys.Token
}

// earlierRows is how many rows of a table are looked at.
const earlierRows = 1000

// Check refuses, with kind [fault.Usage], to write over a table that is there and is not
// known for one that an earlier run has left.
func (e *Earlier) Check(ctx context.Context, path string) error {
	info, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) || err == nil && info.Size() == 0 {
		return nil
	}
	if err == nil && e.left(ctx, path) {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.New(fault.Usage, "writing "+path, fmt.Sprintf("there is a file of this name, and it is not known for what an earlier run of this command left: a table of the same columns with tokens of domain %d, epoch %d in column %s, and no others",
		e.Token.DomainNo, e.Token.TokenEpoch, fault.Name(e.Column)), "name another file with --out, or give --replace to write over it")
}

// left reports whether the table at path has the columns that are to be written, and in
// its first rows tokens of the kind to be written, and no others. One of no rows holds
// nothing that could be lost.
func (e *Earlier) left(ctx context.Context, path string) bool {
	if e.Columns == nil {
		return false
	}
	o := e.Source
	o.Stdin = nil
	r, err := source.OpenContext(ctx, path, o)
	if err != nil {
		return false
	}
	defer func() { _ = r.Close() }() // opened for reading
	at := slices.Index(r.Header(), e.Column)
	if input := r.Input(); at < 0 || input.Format != e.Format || !slices.Equal(Columns(r.Header(), input), e.Columns) {
		return false
	}
	rows, tokens := 0, 0
	for rows < earlierRows {
		var b source.Batch
		if err := r.Read(&b); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return false
		}
		for i := range b.Rows {
			if rows++; b.Rows[i].Problem != "" {
				return false
			}
			text := b.Rows[i].Values[at]
			if text == "" {
				continue
			}
			token, err := keys.ParseToken(text)
			if token.Value = e.Token.Value; err != nil || token != e.Token {
				return false
			}
			tokens++
		}
	}
	return tokens > 0 || rows == 0
}

// Columns returns a table's columns as Earlier compares them: of CSV in their order, else,
// since members of objects have none and those that are left out are told apart from the
// others, sorted and with these.
func Columns(header []string, input source.Input) []string {
	if input.Format == source.FormatCSV {
		return slices.Clone(header)
	}
	return slices.Sorted(slices.Values(slices.Concat(header, input.LeftOut)))
}

// checkEarlier refuses to write over what no earlier run has left. Of records what is being
// read is known already; nil is a Parquet file.
func (s *setting) checkEarlier(ctx context.Context, records *source.Records) error {
	if s.Out == stdout || s.Replace {
		return nil
	}
	e := Earlier{Format: source.FormatParquet, Column: s.Column, Source: s.Source}
	if records != nil {
		e.Format, e.Columns = records.Input().Format, Columns(records.Header(), records.Input())
	} else if r, err := source.OpenContext(ctx, s.In, s.Source); err == nil { // else reading it says why
		e.Columns = Columns(r.Header(), r.Input())
		_ = r.Close() // opened for reading
	}
	text, err := s.keys.Text([keys.TokenSize]byte{})
	if err != nil {
		return err
	}
	if e.Token, err = keys.ParseToken(text); err != nil {
		return fault.New(fault.Internal, "writing "+s.Out, "a token of the project could not be made", "")
	}
	return e.Check(ctx, s.Out)
}
