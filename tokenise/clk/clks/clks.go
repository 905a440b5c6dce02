// Package clks encodes tables into files of CLKs as anonlink reads them:
// {"clks": ["..", ".."]}, in base64, byte for byte as anonlink's own command
// writes them of the same table, schema and secret.
//
// Such a file has no ids: a linkage names its rows by their position. So there
// is a file only if every row of the table is in it, in the table's order; else
// all rows that cannot be encoded are told, by number, feature and code.
//
// Memory does not grow with the table, and the file does not depend on the
// number of threads.
package clks

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/tokenise/clk"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// Options are the settings of a run.
type Options struct {
	Schema *clk.Schema
	Secret clk.Secret
	In     string // CSV, NDJSON or Parquet; "-" is standard input
	Source source.Options
	// KeepSpace encodes values with the white space around them, as clkhash does
	// from 0.18 on; else it is dropped.
	KeepSpace  bool
	Out        string
	Quarantine string // takes row, feature and code of what cannot be encoded; "" is none
	Threads    int
	Progress   func(done, total int64) // bytes of the input; may be nil
}

// Result is what a run did.
type Result struct {
	Input   source.Input
	Rows    int64
	Refused int64                 // rows that cannot be encoded
	Codes   map[reason.Code]int64 // why; a row may have several
	Spaced  int64                 // rows with a value whose white space was dropped
	set     bitsSet
	first   []problem // the first that were refused
}

// bitsSet is the sum of the bits set in so many CLKs, and of its squares.
type bitsSet struct{ clks, sum, squares int64 }

func (b *bitsSet) add(o bitsSet) {
	b.clks += o.clks
	b.sum += o.sum
	b.squares += o.squares
}

// BitsSet returns the mean and the standard deviation of the number of bits
// set in a CLK, both 0 where there is none.
func (r *Result) BitsSet() (mean, deviation float64) {
	if r.set.clks == 0 {
		return 0, 0
	}
	n := float64(r.set.clks)
	mean = float64(r.set.sum) / n
	return mean, math.Sqrt(max(0, float64(r.set.squares)/n-mean*mean))
}

// problem is one reason why one row cannot be encoded.
type problem struct {
	row int64
	reason.Problem
}

// Run encodes a table. An error of kind [fault.RowsRefused] comes with the
// Result, after the quarantine is written and instead of the file.
func Run(ctx context.Context, o Options) (*Result, error) {
	if err := o.checkPaths(); err != nil {
		return nil, err
	}
	encoder, err := clk.NewEncoder(o.Schema, o.Secret)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "encoding a table", err, "")
	}
	o.Source.Verbatim = true
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reader, err := source.OpenContext(ctx, o.In, o.Source)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }() // opened for reading
	if err := o.checkHeader(reader); err != nil {
		return nil, err
	}
	out, err := create(&o)
	if err != nil {
		return nil, err
	}
	defer out.abort()
	result := &Result{Codes: map[reason.Code]int64{}}
	err = (&pipeline{Options: &o, encoder: encoder, reader: reader, out: out, result: result}).run(ctx)
	result.Input = reader.Input()
	if err == nil {
		err = result.refusal()
	}
	if err = out.end(err); err != nil && fault.KindOf(err) != fault.RowsRefused {
		return nil, err
	}
	return result, err
}

// namedRows is the number of rows that an error names.
const namedRows = 10

// refusal returns the error of a table with rows that cannot be encoded.
func (r *Result) refusal() error {
	if r.Refused == 0 {
		return nil
	}
	var rows []string
	for _, p := range r.first {
		text := "row " + strconv.FormatInt(p.row, 10)
		if p.Field != "" {
			text += " " + strconv.Quote(p.Field)
		}
		rows = append(rows, text+" "+string(p.Code))
	}
	if r.Refused > int64(len(rows)) {
		rows = append(rows, "..")
	}
	return fault.New(fault.RowsRefused, "encoding a table", fmt.Sprintf("%d of %d rows cannot be encoded (%s), so no file was written: it has no ids, and every row after one left out would be taken for another", r.Refused, r.Rows, strings.Join(rows, ", ")),
		"correct these rows or take them out of the table itself; --quarantine FILE lists all of them")
}

// CodesSorted returns the codes in order.
func (r *Result) CodesSorted() []reason.Code { return slices.Sorted(maps.Keys(r.Codes)) }

// checkHeader refuses a table whose columns are not the schema's. It says
// nothing of what stands in the header, which may be a row of data.
func (o *Options) checkHeader(reader source.Reader) error {
	header, names := reader.Header(), o.Schema.Identifiers()
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	var wrong []string
	if len(header) != len(names) {
		wrong = append(wrong, fmt.Sprintf("it has %d columns and the schema %d features, ignored ones included", len(header), len(names)))
	}
	next := "give a table with the columns of the schema's features, in their order"
	if !o.Source.NoHeader {
		next = "name and order the columns as the schema's features; if the first line is data, give --no-header"
		if at := firstDifference(header, names); at < len(names) {
			wrong = append(wrong, fmt.Sprintf("column %d of its header is not %s%s", at+1, strconv.Quote(names[at]), elsewhere(header, names[at])))
		}
	}
	if wrong == nil {
		return nil
	}
	return fault.New(fault.Usage, "reading "+o.In, strings.Join(wrong, "; "), next)
}

// firstDifference returns how many names the header begins with.
func firstDifference(header, names []string) int {
	at := 0
	for at < min(len(header), len(names)) && header[at] == names[at] {
		at++
	}
	return at
}

// elsewhere says where in the header a name is.
func elsewhere(header []string, name string) string {
	if at := slices.Index(header, name); at >= 0 {
		return fmt.Sprintf(", which is column %d", at+1)
	}
	return ""
}

// checkPaths refuses outputs that would replace something else than an earlier
// file of CLKs.
func (o *Options) checkPaths() error {
	doing := "writing " + o.Out
	if o.Out == "-" {
		return fault.New(fault.Usage, doing, "standard output could not be taken back where a row turns out to be wrong", "name a file such as clks.json with --out")
	}
	for _, path := range []string{o.In, o.Out} {
		if o.Quarantine != "" && outfile.Same(o.Quarantine, path) {
			return fault.New(fault.Usage, "writing "+o.Quarantine, "it is named with another flag too", "choose another name for --quarantine")
		}
	}
	f, err := os.Open(o.Out)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "name another file with --out")
	}
	defer func() { _ = f.Close() }() // opened for reading
	start := make([]byte, len(opening)-1)
	if n, _ := f.Read(start); string(start[:n]) != opening[:len(opening)-1] {
		return fault.New(fault.Usage, doing, "it exists and is not a file of CLKs", "name another file with --out")
	}
	return nil
}
