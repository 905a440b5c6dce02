package main

import (
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/tokenise/batch"
	"tarn/tokenise/clk"
	"tarn/tokenise/clk/clks"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

const clkHelp = `With --schema, a clkhash linkage schema of version 3, a table is encoded as clkhash and
anonlink encode it, bit for bit, into the file of CLKs that anonlink reads. The header
must be the identifiers of the schema's features, in their order. --secret-file holds
the secret as one line of UTF-8: the end of the line is not part of it, everything else
is, white space too. Only its owner may read it. The file of CLKs has no ids, so a row
that cannot be encoded ends in exit code 3 without a file. CLKs can be attacked by
whoever holds them, and nothing hardens these: see docs/clkhash.md.`

const clkExample = `  tokeniser run --schema schema.json --secret-file secret.txt --in people.csv --format clks.json --out clks.json`

// formatCLKs is the only format that --format names.
const formatCLKs = "clks.json"

// clkFlags are the flags of run for clkhash's linkage schemas.
type clkFlags struct {
	schema, secretFile, format string
	keepSpace                  bool
}

var clkFlagNames = []string{"schema", "secret-file", "format", "keep-space"}

func (f *clkFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.schema, "schema", "", "a clkhash linkage schema: write CLKs instead of a cohort")
	flags.StringVar(&f.secretFile, "secret-file", "", "with --schema: a file of one line, the secret, readable by its owner only")
	flags.StringVar(&f.format, "format", "", "with --schema: clks.json, what anonlink reads")
	flags.BoolVar(&f.keepSpace, "keep-space", false, "with --schema: keep white space around values, as clkhash does from 0.18 on")
}

// given reports whether any of the flags was.
func (f *clkFlags) given(flags *pflag.FlagSet) bool {
	for _, name := range clkFlagNames {
		if flags.Changed(name) {
			return true
		}
	}
	return false
}

// clkRefusals are flags of run that mean nothing with --schema, and why.
// --resume is none of them: it begins again, as it does without a checkpoint.
var clkRefusals = []struct{ name, why string }{
	{"project", "a linkage schema belongs to no project"},
	{"key-file", "the secret is in --secret-file"},
	{"as", "the secret is in --secret-file"},
	{"keyholder", "the secret is in --secret-file"},
	{"ca", "the secret is in --secret-file"},
	{"cert", "the secret is in --secret-file"},
	{"key", "the secret is in --secret-file"},
	{"state", "the file of CLKs has no ids"},
	{"map", "the header must be that of the schema"},
	{"confirm-map", "the header must be that of the schema"},
	{"unique-id", "the file of CLKs has no ids"},
	{"source", "the file of CLKs does not say whose it is"},
	{"part-rows", "the CLKs are one file"},
	{"warnings", "a value is encoded, or its row is refused"},
	{"groups", "the file of CLKs has no groups"},
	{"checkpoint-rows", "nothing is kept of a run that ended early"},
	{"max-refused", "a row that is left out would make every row after it another"},
}

func (f *clkFlags) check(flags *pflag.FlagSet, out string) error {
	const doing = "encoding a table with a linkage schema"
	const next = "see: tokeniser run --help"
	for _, flag := range []struct{ name, value string }{{"--schema", f.schema}, {"--secret-file", f.secretFile}, {"--out", out}} {
		if flag.value == "" {
			return fault.New(fault.Usage, doing, flag.name+" is missing", next)
		}
	}
	if f.format != formatCLKs && flags.Changed("format") {
		return fault.New(fault.Usage, doing, "the format given with --format is not known", "give --format "+formatCLKs)
	}
	var wrong []string
	for _, r := range clkRefusals {
		if flags.Changed(r.name) {
			wrong = append(wrong, fmt.Sprintf("--%s cannot be used (%s)", r.name, r.why))
		}
	}
	if wrong != nil {
		return fault.New(fault.Usage, doing, strings.Join(wrong, ", "), "leave it out; "+next)
	}
	switch strings.ToLower(filepath.Ext(out)) {
	case ".parquet", ".csv", ".gz", ".zst":
		return fault.New(fault.Usage, doing, "the name given with --out is that of another format", "name a file such as clks.json")
	}
	return nil
}

// run encodes a table; of the flags that it shares with a run into a cohort,
// shared has --out, --quarantine, --threads and how the table is read.
func (f *clkFlags) run(c *cobra.Command, env *boot.Environment, table *tableFlags, shared *batch.Options, asJSON bool) error {
	if err := f.check(c.Flags(), shared.Out); err != nil {
		return err
	}
	if err := outfile.Check("encoding a table with a linkage schema", []outfile.Input{{Flag: "--in", Path: table.in}, {Flag: "--schema", Path: f.schema}, {Flag: "--secret-file", Path: f.secretFile}},
		[]outfile.Output{{Flag: "--quarantine", Path: shared.Quarantine, Kind: "a quarantine file", Earlier: source.IsQuarantine}, {Flag: "--out", Path: shared.Out}}); err != nil {
		return err
	}
	schema, err := clk.ReadSchema(f.schema)
	if err != nil {
		return err
	}
	secret, err := clk.ReadSecretFile(f.secretFile)
	if err != nil {
		return err
	}
	progress := env.Progress("encoding", "B")
	o := clks.Options{Schema: schema, Secret: secret, In: table.in, Source: shared.Source, KeepSpace: f.keepSpace,
		Out: filepath.Clean(shared.Out), Quarantine: shared.Quarantine, Threads: shared.Threads, Progress: progress.Set}
	result, err := clks.Run(c.Context(), o)
	progress.Done()
	if result == nil {
		return err
	}
	if asJSON {
		return errors.Join(err, writeCLKsJSON(env.Stdout, env.Clock(), &o, result, err == nil))
	}
	if err != nil {
		return err
	}
	return writeCLKsText(env.Stdout, &o, result)
}

// clksSummary is what run prints with --schema and --json.
type clksSummary struct {
	Schema      string                `json:"schema"`
	Software    string                `json:"software"`
	Created     string                `json:"created"`
	Format      string                `json:"format"`
	Compression string                `json:"compression"` // of the input; empty is none
	Encoding    string                `json:"encoding"`    // of CSV and NDJSON
	Rows        int64                 `json:"rows"`
	OK          int64                 `json:"ok"` // rows that can be encoded
	Refused     int64                 `json:"refused"`
	RefusedBy   map[reason.Code]int64 `json:"refused_by_code"` // a row may have several codes
	Bits        int                   `json:"clk_bits"`
	BitsMean    float64               `json:"clk_bits_set_mean"`
	BitsDev     float64               `json:"clk_bits_set_deviation"`
	Warnings    []string              `json:"warnings"`
	Outputs     []string              `json:"outputs"`
}

func writeCLKsJSON(w io.Writer, created time.Time, o *clks.Options, r *clks.Result, whole bool) error {
	mean, deviation := r.BitsSet()
	return writeJSON(w, clksSummary{
		Schema: "tarn.clks-summary/1", Software: boot.Software(), Created: created.Format(time.RFC3339),
		Format: r.Input.Format, Compression: r.Input.Compression, Encoding: r.Input.Encoding,
		Rows: r.Rows, OK: r.Rows - r.Refused, Refused: r.Refused, RefusedBy: r.Codes,
		Bits: o.Schema.Bits(), BitsMean: hundredths(mean), BitsDev: hundredths(deviation), Warnings: clksWarnings(o, r), Outputs: left(o.Out, o.Quarantine, whole),
	})
}

func hundredths(v float64) float64 { return math.Round(100*v) / 100 }

func clksWarnings(o *clks.Options, r *clks.Result) []string {
	warnings := append([]string{}, o.Schema.Warnings()...)
	if r.Rows == 0 {
		warnings = append(warnings, "the table has a header and no rows; the file has no CLKs")
	}
	if r.Spaced > 0 {
		warnings = append(warnings, fmt.Sprintf("%s rows have values with white space around them, which was dropped; clkhash keeps it from 0.18 on: if the other side encodes such values with that, clean the table, or give --keep-space", humanize.Comma(r.Spaced)))
	}
	return warnings
}

func writeCLKsText(w io.Writer, o *clks.Options, r *clks.Result) error {
	var b strings.Builder
	mean, deviation := r.BitsSet()
	fmt.Fprintf(&b, "%s rows read and encoded\n", humanize.Comma(r.Rows))
	fmt.Fprintf(&b, "%s bits a CLK, %.1f of them set on average (standard deviation %.1f)\n", humanize.Comma(int64(o.Schema.Bits())), mean, deviation)
	for _, warning := range clksWarnings(o, r) {
		fmt.Fprintf(&b, "warning: %s\n", warning)
	}
	b.WriteString("note: whoever holds CLKs can find out who is in them; share them as you would the table\n")
	fmt.Fprintf(&b, "written: %s\n", strings.Join(left(o.Out, o.Quarantine, true), ", "))
	_, err := io.WriteString(w, b.String())
	return err
}
