package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/tokenise/column"
	"tarn/tokenise/lease"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// columnSummary is what column prints with --json.
type columnSummary struct {
	Schema      string                `json:"schema"`
	Software    string                `json:"software"`
	Created     string                `json:"created"`
	Format      string                `json:"format"`
	Compression string                `json:"compression"` // of the input; empty is none
	Encoding    string                `json:"encoding"`    // of CSV and NDJSON
	Rows        int64                 `json:"rows"`
	Tokens      int64                 `json:"tokens"`
	Absent      int64                 `json:"absent"`
	Emptied     map[reason.Code]int64 `json:"emptied_by_code"`
	LeftOut     map[reason.Code]int64 `json:"left_out_by_code"`
	Notes       map[reason.Code]int64 `json:"notes"` // cells with a token
	Outputs     []string              `json:"outputs"`
	CohortID    *string               `json:"cohort_id"`    // of rotate and convert, whose input is a cohort; null of a table
	Known       int64                 `json:"known_tokens"` // of rotate and convert: what an interrupted run had left
}

const (
	columnSummarySchema = "tarn.column-summary/1"
	formatCohort        = "cohort"
)

// What is said of --out and --replace wherever a table gets tokens.
const (
	replaceHelp = `A file that is there is replaced if an earlier run of the command left it: it has
the same columns, and in the column tokens of the epoch that is written, and no others.
Any other is refused unless --replace is given, and an input always`
	replaceFlag = "write over --out whatever it is, but for an input"
)

func columnCommand(env *boot.Environment) *cobra.Command {
	var o column.Options
	var table tableFlags
	var keyed keyFlags
	project := ""
	asJSON := false
	c := &cobra.Command{
		Use:   "column",
		Short: "Replace the NHS numbers in one column of a table by tokens",
		Long: `Replace the NHS numbers in one column of a table by tokens (74 characters that begin
with tarn1), and leave all else as it is: CSV and NDJSON byte for byte, Parquet by
value, type, null and row group. The output has the format of the input; it is
compressed if its name ends in .gz or .zst.

No cell of the column keeps what it held. A cell that holds nothing stays empty. One
that holds something else than a number that may get a token is emptied and counted
(--invalid null), or there is no output and the exit code is 3 (--invalid error). A row
in which the cell cannot be found, such as a line with too few fields, ends in exit
code 3 too, unless --quarantine names a file: the row is then left out of the output
and listed there by its number. Other columns are not looked at: numbers that stand in
them, or in free text, still stand there afterwards.

With --out - the table goes to standard output as it is read, and the summary to
standard error; use it only if the exit code is 0.

` + replaceHelp + `.

` + keysHelp,
		Example: `  tokeniser column --project project.json --key-file keys.json --in visits.csv.gz --column nhs_number \
    --out visits.tokens.csv.gz --quarantine visits.refused.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Source, err = table.options(env.Stdin); err != nil {
				return err
			}
			for _, flag := range []struct{ name, value string }{{"--project", project}, {"--column", o.Column}, {"--out", o.Out}} {
				if flag.value == "" {
					return fault.New(fault.Usage, "replacing a column by tokens", flag.name+" is missing", "see: tokeniser column --help")
				}
			}
			if err := keyed.check("replacing a column by tokens", "column"); err != nil {
				return err
			}
			if err := outfile.Check("replacing a column by tokens", []outfile.Input{{Flag: "--in", Path: table.in}, {Flag: "--project", Path: project}, {Flag: "--key-file", Path: keyed.file}},
				[]outfile.Output{{Flag: "--out", Path: o.Out}, {Flag: "--quarantine", Path: o.Quarantine, Kind: "a quarantine file", Earlier: source.IsQuarantine}}); err != nil {
				return err
			}
			if o.Project, err = keys.ReadProject(project); err != nil {
				return err
			}
			o.In, o.Stdout, o.Wall = table.in, env.Stdout, env.Wall
			return keyed.with(env, func(open lease.Open) error {
				if open == nil {
					if o.Keys, err = keys.ReadKeyFile(keyed.file); err != nil {
						return err
					}
					return replaceColumn(c.Context(), env, &o, asJSON, 0)
				}
				return leasedColumn(c.Context(), env, open, &o, asJSON)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&project, "project", "", "project.json")
	keyed.add(flags)
	flags.StringVar(&o.Domain, "domain", "", "the domain of the tokens; it must be the project's")
	flags.StringVar(&table.in, "in", "", "the table: CSV, NDJSON or Parquet, plain or compressed with gzip or zstd; - for standard input")
	flags.StringVar(&table.delimiter, "delimiter", "", `what divides CSV fields; "tab" for a tab (found if not given)`)
	flags.StringVar(&table.encoding, "encoding", source.EncodingAuto, "character encoding: auto, utf-8, utf-16le, utf-16be, windows-1252 or iso-8859-1")
	flags.BoolVar(&table.noHeader, "no-header", false, "the CSV has no header; columns are column_1, column_2, ..")
	flags.StringVar(&o.Column, "column", "", "the column to replace")
	flags.StringVar(&o.Out, "out", "", "the table to write; - for standard output")
	flags.BoolVar(&o.Replace, "replace", false, replaceFlag)
	flags.StringVar(&o.Invalid, "invalid", column.InvalidNull, "what becomes of cells that hold no number: null or error")
	flags.StringVar(&o.Quarantine, "quarantine", "", "leave out rows that cannot be read, and write them and emptied cells here as row,unique_id,field,code")
	flags.IntVar(&o.Threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	return c
}

// leasedColumn runs with a key that a key holder leases.
func leasedColumn(ctx context.Context, env *boot.Environment, open lease.Open, o *column.Options, asJSON bool) error {
	running, session, err := open(ctx, o.Project.Name, 0, api.UseToken)
	if err != nil {
		return err
	}
	record, material := session.Keys()
	if err = lease.Agree(o.Project, record, env.Stderr); err == nil {
		o.Project, o.Keys, o.Use, o.Canaries = record, material, session.Take, session.Canaries
		if session.Evaluated() {
			o.Evaluate = session.Tokens
		}
		err = replaceColumn(running, env, o, asJSON, 0)
	}
	if e := session.Close(ctx); e != nil {
		fmt.Fprintf(env.Stderr, "the key holder was not told of all rows that its key was used for: %v\n", e)
	}
	return err
}

// replaceColumn runs, and prints what came of it. known is how many tokens an interrupted
// run had left.
func replaceColumn(ctx context.Context, env *boot.Environment, o *column.Options, asJSON bool, known int64) error {
	progress := env.Progress("replacing", "B")
	o.Progress = progress.Set
	result, err := column.Run(ctx, *o)
	progress.Done()
	to := env.Stdout
	if o.Out == "-" {
		to = env.Stderr
	}
	if asJSON && result != nil {
		return errors.Join(err, writeColumnJSON(to, env.Clock(), o, result, known, err == nil))
	}
	if err != nil {
		return err
	}
	return writeColumnText(to, o, result)
}

func writeColumnJSON(w io.Writer, created time.Time, o *column.Options, r *column.Result, known int64, whole bool) error {
	return writeJSON(w, columnSummary{
		Schema: columnSummarySchema, Software: boot.Software(), Created: created.Format(time.RFC3339),
		Format: r.Input.Format, Compression: r.Input.Compression, Encoding: r.Input.Encoding,
		Rows: r.Rows, Tokens: r.Tokens, Absent: r.Absent, Known: known, Emptied: r.Emptied, LeftOut: r.LeftOut, Notes: r.Noted, Outputs: left(o.Out, o.Quarantine, whole),
	})
}

func writeColumnText(w io.Writer, o *column.Options, r *column.Result) error {
	var b strings.Builder
	how := []string{r.Input.Format, r.Input.Compression, r.Input.Encoding}
	if r.Input.Format == source.FormatCSV {
		how = append(how, "delimiter "+columnDelimiter(r.Input.Delimiter))
	}
	fmt.Fprintf(&b, "%s rows read (%s)\n", humanize.Comma(r.Rows), strings.Join(strings.Fields(strings.Join(how, " ")), " "))
	fmt.Fprintf(&b, "%s have a token, %s have no number\n", humanize.Comma(r.Tokens), humanize.Comma(r.Absent))
	writeCounts(&b, "emptied", r.Emptied)
	writeCounts(&b, "left out", r.LeftOut)
	writeCounts(&b, "note", r.Noted)
	fmt.Fprintf(&b, "written: %s\n", strings.Join(left(o.Out, o.Quarantine, true), ", "))
	_, err := io.WriteString(w, b.String())
	return err
}

func columnDelimiter(delimiter string) string {
	if delimiter == "\t" {
		return "tab"
	}
	return delimiter
}
