package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/tokenise"
	"tarn/tokenise/batch"
	"tarn/tokenise/lease"
	"tarn/tokenise/source"
)

// tableFlags are the flags that say how an input table is written.
type tableFlags struct {
	in, delimiter, encoding, mapPath string
	noHeader                         bool
}

func (t *tableFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&t.in, "in", "", "the table: CSV, NDJSON or Parquet, plain or compressed with gzip or zstd; - for standard input")
	flags.StringVar(&t.delimiter, "delimiter", "", `what divides CSV fields; "tab" for a tab (found if not given)`)
	flags.StringVar(&t.encoding, "encoding", source.EncodingAuto, "character encoding: auto, utf-8, utf-16le, utf-16be, windows-1252 or iso-8859-1")
	flags.BoolVar(&t.noHeader, "no-header", false, "the CSV has no header; columns are column_1, column_2, ..")
	flags.StringVar(&t.mapPath, "map", "", "column map, as tokeniser profile --write-map writes it")
}

func (t *tableFlags) options(stdin io.Reader) (source.Options, error) {
	o := source.Options{NoHeader: t.noHeader, Encoding: t.encoding, Stdin: stdin}
	switch runes := []rune(t.delimiter); {
	case t.in == "":
		return o, fault.New(fault.Usage, "reading the table", "--in is missing", "give the path of a CSV or Parquet file with --in")
	case t.delimiter == "tab" || t.delimiter == `\t`:
		o.Delimiter = '\t'
	case len(runes) == 1:
		o.Delimiter = runes[0]
	case len(runes) > 1:
		return o, fault.New(fault.Usage, "reading the table", "--delimiter is longer than one character", `give one character, or the word "tab"`)
	}
	return o, nil
}

// share is a flag for a share, written 1% or 0.01.
type share float64

func (s *share) String() string { return strconv.FormatFloat(100*float64(*s), 'g', -1, 64) + "%" }
func (s *share) Type() string   { return "share" }
func (s *share) Set(text string) error {
	number, percent := strings.CutSuffix(strings.TrimSpace(text), "%")
	v, err := strconv.ParseFloat(number, 64)
	if percent {
		v /= 100
	}
	if err != nil || !(v >= 0 && v <= 1) {
		return fault.New(fault.Usage, "reading a share", "it is not between 0% and 100%", "write it as 1% or 0.01")
	}
	*s = share(v)
	return nil
}

func runCommand(env *boot.Environment) *cobra.Command {
	var o batch.Options
	var table tableFlags
	var clk clkFlags
	var keyed keyFlags
	maxRefused := share(.01)
	asJSON := false
	c := &cobra.Command{
		Use:   "run",
		Short: "Encode a table into a cohort that can be linked",
		Long: `Encode a table into a cohort: NAME.parquet and NAME.manifest.json, which may go to
the linker, and NAME.crosswalk.parquet (your ids and the minted ones), which never
leaves the region. With --part-rows the cohort is a folder of parts and its manifest.
Where the project's record names the key holder's escrow key, NAME.escrow is left as
well, for the region's store: see tokeniser escrow.

The columns are found by their names and shown; nothing is encoded until they are
confirmed, by --confirm-map or by a map with confirmed = true. A row is refused only
when it is malformed or nothing in it can be linked; a field that cannot be used is
a warning and the row goes on without it. When more rows are refused than
--max-refused allows, no cohort is written and the exit code is 3.

Memory does not grow with the table: it stays near 1 GiB. While it runs, encoded rows
wait on the disk beside --out, about 300 bytes a row, with what crosswalk and groups
will hold. A run that was interrupted, or killed, goes on with --resume and the same
flags, and writes the same bytes. No output is written over an input, another output,
or a file that no earlier run has written. The output is the same whatever --threads says.

` + keysHelp + `

` + clkHelp,
		Example: `  tokeniser run --project project.json --key-file keys.json --in north.csv --out north.parquet \
    --quarantine north.refused.csv --confirm-map
  tokeniser run --project project.json --as credentials --in north.csv --out north.parquet --confirm-map
` + clkExample,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Source, err = table.options(env.Stdin); err != nil {
				return err
			}
			if clk.given(c.Flags()) {
				return clk.run(c, env, &table, &o, asJSON)
			}
			for _, flag := range []struct{ name, value string }{{"--project", o.Project}, {"--out", o.Out}} {
				if flag.value == "" {
					return fault.New(fault.Usage, "encoding a table", flag.name+" is missing", "see: tokeniser run --help")
				}
			}
			if err := keyed.check("encoding a table", "run"); err != nil {
				return err
			}
			if err := checkOut(&o); err != nil {
				return err
			}
			if o.State == "" {
				o.State = stateFolder(o.Project)
			} else if !keyed.as.Given() {
				return fault.New(fault.Usage, "encoding a table", "--state is given with --key-file, which holds the keys of minted ids", "leave --state out")
			}
			o.In, o.Map, o.MaxRefused, o.KeyFile = table.in, table.mapPath, float64(maxRefused), keyed.file
			o.Software, o.Clock, o.Wall, o.Rand, o.Messages = boot.Software(), env.Clock, env.Wall, env.Rand, env.Stderr
			return keyed.with(env, func(open lease.Open) error {
				o.Lease = open
				return encodeTable(c.Context(), env, &o, asJSON)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Project, "project", "", "project.json")
	keyed.add(flags)
	flags.StringVar(&o.State, "state", "", "with a key holder: the folder that keeps the keys of minted ids (tokeniser-state beside project.json if not given)")
	table.add(flags)
	flags.BoolVar(&o.ConfirmMap, "confirm-map", false, "accept the column map that is found")
	flags.StringVar(&o.UniqueID, "unique-id", "", `the column that identifies rows, or "row" for the row's number`)
	flags.StringVar(&o.SourceDataset, "source", "", "the party of the project this table is from (else from the file's name)")
	flags.StringVar(&o.Out, "out", "", "the cohort to write: NAME.parquet, or with --part-rows a folder")
	flags.Int64Var(&o.PartRows, "part-rows", 0, "write a folder of parts of so many rows each (0: one file)")
	flags.BoolVar(&o.Resume, "resume", false, "go on with a run that was interrupted; does nothing if it was completed")
	flags.StringVar(&o.Quarantine, "quarantine", "", "write refused rows here as row,unique_id,field,code")
	flags.StringVar(&o.Warnings, "warnings", "", "write fields that were not used here, in the same form")
	flags.StringVar(&o.Groups, "groups", "", "write the project's group columns here, for linker equity")
	flags.Int64Var(&o.ChunkRows, "checkpoint-rows", tokenise.DefaultChunkRows, "keep what was encoded after so many rows; memory grows with it, the output does not depend on it")
	flags.Var(&maxRefused, "max-refused", "share of rows that may be refused")
	flags.IntVar(&o.Threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	clk.add(flags)
	return c
}

// encodeTable runs, and prints what came of it.
func encodeTable(ctx context.Context, env *boot.Environment, o *batch.Options, asJSON bool) error {
	progress := env.Progress("encoding", "B")
	o.Progress = progress.Set
	boundMemory()
	result, err := batch.Run(ctx, *o)
	progress.Done()
	if errors.Is(err, tokenise.ErrInterrupted) {
		fmt.Fprintln(env.Stderr, "what was encoded so far is kept; run again with --resume to go on from there")
	}
	if asJSON && result != nil {
		return errors.Join(err, writeRunJSON(env, o, result))
	}
	if err != nil {
		if f := fixFirst(result); f != nil {
			fmt.Fprintf(env.Stderr, "to fix first: %s\n", f)
		}
		return err
	}
	return writeRunText(env.Stdout, o, result)
}

// checkOut refuses a name that does not say what is written.
func checkOut(o *batch.Options) error {
	parquet := filepath.Ext(o.Out) == ".parquet"
	switch {
	case o.Threads < 1:
		return fault.New(fault.Usage, "encoding a table", "--threads is less than 1", "give the number of cores to use, or leave it out to use all")
	case o.ChunkRows < 1:
		return fault.New(fault.Usage, "encoding a table", "--checkpoint-rows is less than 1", "give the number of rows, or leave it out")
	case o.PartRows < 0:
		return fault.New(fault.Usage, "encoding a table", "--part-rows is negative", "give the number of rows of each part")
	case o.PartRows > 0 && parquet:
		return fault.New(fault.Usage, "encoding a table", "the name given with --out is that of a file, and --part-rows writes a folder", "name a folder such as north with --out")
	case o.PartRows == 0 && !parquet:
		return fault.New(fault.Usage, "encoding a table", "the name given with --out does not end in .parquet", "name a file such as north.parquet with --out, or give --part-rows to write a folder of parts")
	}
	o.Out = filepath.Clean(o.Out)
	return nil
}
