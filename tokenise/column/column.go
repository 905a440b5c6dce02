// Package column replaces the NHS numbers in one column of a table by tokens
// and leaves every other byte of the table as it is: quotes, line ends, blank
// lines, byte order mark and character encoding of CSV, spacing and order of
// NDJSON, the values, types, nulls, row groups and metadata of Parquet.
//
// No cell of the column keeps what it held, whatever that was: it gets a token,
// or it is emptied. A row in which the cell cannot be found is never passed on.
// Memory does not grow with the table, and the output does not depend on the
// number of threads.
package column

import (
	"context"
	"io"
	"strings"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/outfile"
	"tarn/tokenise"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// What becomes of cells that hold something else than a number that may get a
// token.
const (
	InvalidNull  = "null"  // they are emptied and counted
	InvalidError = "error" // there is no output
)

const replacing = "replacing a column by tokens"

// Field is the name of the column in quarantine files.
const field = "nhs_number"

// Options are the settings of a run.
type Options struct {
	Project *keys.Project
	Keys    *keys.KeyFile
	Domain  string // must be the project's; empty takes the project's
	In      string // CSV, NDJSON or Parquet; "-" is standard input
	Source  source.Options
	Column  string
	Invalid string // InvalidNull or InvalidError; empty is InvalidNull
	// Out is the table to write. It is compressed if its name ends in .gz or .zst.
	// "-" writes to Stdout as rows are read, whole or not.
	Out    string
	Stdout io.Writer
	// Replace writes over whatever table Out is; else only over what an earlier run has
	// left, see [Earlier].
	Replace bool
	// Quarantine takes row, field and code of every row that is left out and of
	// every cell that is emptied for a reason. Without one, a row in which the
	// cell cannot be found ends the run without output.
	Quarantine string
	Threads    int
	Wall       func() time.Time        // the real time, for expiry
	Progress   func(done, total int64) // bytes of the input; may be nil
	// Evaluate has tokens made by the key holder, of a scheme of which it makes them; nil
	// else.
	Evaluate tokenise.Evaluate
	// Rotate, if it is not nil, brings tokens that the column holds from the epoch of the
	// record From to that of Project; numbers are then not looked for.
	Rotate func(ctx context.Context, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error)
	From   *keys.Project
	// Use is asked before the keys are used for rows, and refuses; may be nil.
	Use func(ctx context.Context, rows int64) error
	// Canaries is told of rows with a number of the test range; may be nil.
	Canaries func(rows int64)
	Opened   func(input source.Input) error // how the input is read; may be nil
}

// Result is what a run did.
type Result struct {
	Input   source.Input
	Rows    int64
	Tokens  int64                 // cells that hold a token now
	Absent  int64                 // cells that held nothing
	Emptied map[reason.Code]int64 // cells that held no number that may get a token
	LeftOut map[reason.Code]int64 // rows that are not in the output
	Noted   map[reason.Code]int64 // cells with a token of which there is something to say
}

func newResult() *Result {
	return &Result{Emptied: map[reason.Code]int64{}, LeftOut: map[reason.Code]int64{}, Noted: map[reason.Code]int64{}}
}

// Run replaces a column. An error of kind [fault.RowsRefused] comes with the
// Result, after the quarantine is written and instead of the output.
func Run(ctx context.Context, o Options) (*Result, error) {
	s, err := newSetting(&o)
	if err != nil {
		return nil, err
	}
	records, err := source.OpenRecordsContext(ctx, o.In, o.Column, o.Source)
	if err != nil {
		return nil, err
	}
	parquet := records == nil
	err = o.checkOut(parquet)
	if err == nil {
		err = s.checkEarlier(ctx, records)
	}
	if err != nil {
		if !parquet {
			_ = records.Close() // opened for reading
		}
		return nil, err
	}
	out, err := create(&o)
	if err != nil {
		return nil, err
	}
	defer out.abort()
	s.out = out
	s.refused, err = NewRefusals(replacing, "table",
		"correct these rows, or give --invalid null to empty cells that hold no number, and --quarantine FILE to list them and to leave out rows that cannot be read", o.Quarantine, o.Invalid, s.result)
	defer s.refused.Abort()
	if err != nil {
		return nil, err
	}
	if parquet {
		err = s.parquet(ctx)
	} else {
		err = s.text(ctx, records)
	}
	if err == nil {
		err = s.refused.Err(s.result.Rows)
	}
	if err = fault.Ended(ctx, out.end(err, s.refused)); err != nil && fault.KindOf(err) != fault.RowsRefused {
		return nil, err
	}
	return s.result, err
}

// use asks whether the keys may be used for more rows.
func (s *setting) use(ctx context.Context, rows int64) error {
	if s.Use == nil || rows == 0 {
		return nil
	}
	return s.Use(ctx, rows)
}

// proceeded reports how far the run is: bytes of the input, and canaries since the
// last call.
func (s *setting) proceeded(done, total int64) {
	if s.Progress != nil {
		s.Progress(done, total)
	}
	if found := s.result.Noted[reason.NHSNumberTestRange] + s.result.Emptied[reason.NHSNumberTestRange]; s.Canaries != nil && found > s.canaries {
		s.Canaries(found - s.canaries)
		s.canaries = found
	}
}

// setting is what a run works with.
type setting struct {
	*Options
	keys    *tokenise.TokenKeys
	result  *Result
	out     *output
	refused *Refusals
	// canaries are the rows with a number of the test range that were told.
	canaries int64
}

func newSetting(o *Options) (*setting, error) {
	const doing = replacing
	if o.Invalid == "" {
		o.Invalid = InvalidNull
	}
	switch {
	case o.Invalid != InvalidNull && o.Invalid != InvalidError:
		return nil, fault.New(fault.Usage, doing, "--invalid is neither null nor error", "give --invalid null or --invalid error")
	case o.Domain != "" && o.Domain != o.Project.Domain:
		return nil, fault.New(fault.Disagreement, doing, "the domain given with --domain is not that of the project, which is "+o.Project.Domain,
			"leave --domain out, or give the project and the key file of that domain")
	}
	if err := o.Project.CheckCurrent(o.Wall()); err != nil {
		return nil, err
	}
	tokens, err := tokenise.NewTokenKeys(o.Project, o.Keys)
	if err != nil {
		return nil, err
	}
	return &setting{Options: o, keys: tokens, result: newResult()}, nil
}

// checkOut refuses a name that says something else than what is written, and
// the input itself.
func (o *Options) checkOut(parquet bool) error {
	doing := "writing " + o.Out
	if o.Out == stdout {
		return nil
	}
	if named := strings.HasSuffix(strings.ToLower(o.Out), ".parquet"); named != parquet {
		return fault.New(fault.Usage, doing, "its name ends in the extension of another format than that of the input", "give --out a name of the input's format: a column is replaced, a table is not converted")
	}
	if outfile.Same(o.In, o.Out) {
		return fault.New(fault.Usage, doing, "it is the input", "choose another name: the input is still needed to check the output")
	}
	return nil
}

// event is a row that is left out, or a cell that is emptied.
type event struct {
	row  int64
	code reason.Code
	cell bool // the cell only
}

// note takes down an event; they come in the order of rows.
func (s *setting) note(e event) error {
	if e.cell {
		return s.refused.Emptied(e.row, e.code)
	}
	return s.refused.LeftOut(e.row, e.code)
}

// judge turns what a cell held into what it holds from now on.
type judge struct {
	keys     *tokenise.TokenKeys
	tokens   *tokenise.Tokens
	evaluate tokenise.Evaluate
	options  *Options
	test     bool
	counts   *Result
}

func (s *setting) newJudge() *judge {
	return &judge{keys: s.keys, tokens: s.keys.NewTokens(), evaluate: s.Evaluate, options: s.Options, test: s.Keys.Test, counts: newResult()}
}

// cells returns for each value the token's text, or "" and why there is none; no code
// where nothing was there. The key holder, where it makes the tokens, is asked once for
// all.
func (j *judge) cells(ctx context.Context, values []string) (texts []string, codes []reason.Code, err error) {
	if j.options.Rotate != nil {
		return j.rotated(ctx, values)
	}
	texts, codes = make([]string, len(values)), make([]reason.Code, len(values))
	var numbers []nhsnumber.Number
	var at []int
	for i, value := range values {
		number, state, problem := nhsnumber.Parse(value)
		code := reason.Code(problem.String())
		switch {
		case state == nhsnumber.Absent:
			j.counts.Absent++
		case !state.Identifies(j.test):
			codes[i] = code
		default:
			if code != "" {
				j.counts.Noted[code]++
			}
			numbers, at = append(numbers, number), append(at, i)
		}
	}
	j.counts.Tokens += int64(len(numbers))
	var made [][keys.TokenSize]byte
	if j.evaluate != nil && len(numbers) > 0 {
		if made, err = j.evaluate(ctx, numbers); err != nil {
			return nil, nil, err
		}
	}
	for i, number := range numbers {
		var token [keys.TokenSize]byte
		if made != nil {
			token = j.tokens.Released(made[i])
		} else {
			token = j.tokens.Of(number)
		}
		if texts[at[i]], err = j.keys.Text(token); err != nil {
			return nil, nil, err
		}
	}
	return texts, codes, nil
}

// rotated is cells for a column of tokens.
func (j *judge) rotated(ctx context.Context, values []string) (texts []string, codes []reason.Code, err error) {
	texts, codes = make([]string, len(values)), make([]reason.Code, len(values))
	scheme, err := keys.SchemeNo(j.options.From.Scheme, false)
	if err != nil {
		return nil, nil, err
	}
	var tokens [][keys.TokenSize]byte
	var at []int
	for i, value := range values {
		if value == "" {
			j.counts.Absent++
			continue
		}
		token, err := keys.ParseToken(value)
		switch from := j.options.From.Keys; {
		case err != nil:
			codes[i] = reason.TokenMalformed
		case token.Scheme != scheme || token.DomainNo != from.DomainNo || uint32(token.TokenEpoch) != from.TokenEpoch:
			codes[i] = reason.TokenOther
		default:
			tokens, at = append(tokens, token.Value), append(at, i)
		}
	}
	j.counts.Tokens += int64(len(tokens))
	made, err := j.options.Rotate(ctx, tokens)
	if err != nil {
		return nil, nil, err
	}
	for i, token := range made {
		if texts[at[i]], err = j.keys.Text(token); err != nil {
			return nil, nil, err
		}
	}
	return texts, codes, nil
}

// add adds what one judge counted.
func (r *Result) add(o *Result) {
	r.Tokens += o.Tokens
	r.Absent += o.Absent
	for code, n := range o.Noted {
		r.Noted[code] += n
	}
}
