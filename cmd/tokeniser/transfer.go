package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/oprf"
	"tarn/keys/outfile"
	"tarn/linkage/cohort"
	"tarn/tokenise/column"
	"tarn/tokenise/forward"
	"tarn/tokenise/reason"
	"tarn/tokenise/rekey"
	"tarn/tokenise/source"
)

const resumeHelp = `A run that was interrupted is run again, and goes on:
until it is done a file beside the output, OUT` + rekey.JournalSuffix + `, has what was answered. That is not
asked again; the batch under way is, and is charged once if that is within a day.

` + replaceHelp + `. Of a cohort, one of the same source with tokens of that epoch is replaced.`

func rotateCommand(env *boot.Environment) *cobra.Command {
	t := transfer{to: "project"}
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Bring the tokens of a table to the current epoch of their domain",
		Long: `Bring tokens from an epoch whose key was replaced to the current one, without the
numbers: the key holder multiplies what it cannot see, and proves for every batch with
which keys; each proof is verified. Only tokens of scheme oblivious can be rotated.

Of a table they are the tokens in one column; all else stays as it is, as with tokeniser
column. Of a cohort that tokeniser run wrote (NAME.parquet, or a folder of parts, with its
manifest beside it) --column is not needed: the cohort that is written, with a manifest of
its own, is byte for byte the one that tokeniser run would make now of the same people.

--from is the project's record from before the key was rotated (keyholder key rotate),
--project the one of now. ` + resumeHelp,
		Example: `  tokeniser project study --as credentials --out project.json
  tokeniser rotate --from project.old.json --project project.json --as credentials --in visits.tokens.csv --column nhs_number --out visits.csv
  tokeniser rotate --from project.old.json --project project.json --as credentials --in old/north.parquet --out north.parquet`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return t.run(c, env, "", func(to *client.Client, answers *rekey.Answers) (*client.Transfer, error) {
				return client.NewRotation(to, t.o.From, t.o.Project, answers.Seed(), answers)
			})
		},
	}
	t.add(c, "project.json from before the key was rotated", "project.json as it is now")
	return c
}

func convertCommand(env *boot.Environment) *cobra.Command {
	t := transfer{to: "to"}
	grant := ""
	c := &cobra.Command{
		Use:   "convert",
		Short: "Make the tokens of a table those of another domain, under a grant",
		Long: `Make the tokens of a table those of another domain, within one controller and under a
grant that the key holder's operators gave (keyholder grant add --kind convert), without
the numbers: as with tokeniser rotate, every proof is verified, and all but the tokens of
a column, or of a cohort, stays as it is. Whoever has both tables can join the domains:
the grant says so, and counts the rows. A cohort's encodings, and the project that they
are of, remain those of --from.

--grant is the grant's name, or a file with its record (keyholder grant show NAME);
--from is the record of a project of the domain of the tokens, --to that of one of the
domain that they become tokens of. ` + resumeHelp + `

Where the grant names a recipient, another party, --grant has to be its record, and the
output is a parcel that only the recipient can open (tokeniser receive): each token
encrypted, all else in its row sealed, the rows in an order of the key holder's. Nobody
sees both tokens of a row; rows without a token go, too. The other columns arrive as they
are: leave out beforehand what the recipient may not see. Until it is done a folder
beside the parcel, OUT` + forward.StateSuffix + `, has what was sent.`,
		Example: `  tokeniser convert --grant registry --from lake.project.json --to registry.project.json --as credentials \
    --in visits.tokens.csv --column nhs_number --out visits.registry.csv
  tokeniser convert --grant follow-up.json --from lake.project.json --to registry.project.json --as credentials \
    --in visits.tokens.csv --column nhs_number --out visits.parcel`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			name, record, err := readGrant(grant)
			if err != nil {
				return err
			}
			if record != nil && record.Recipient != nil {
				return t.send(c, env, record)
			}
			return t.run(c, env, name, func(to *client.Client, answers *rekey.Answers) (*client.Transfer, error) {
				return client.NewConversion(to, name, t.o.From, t.o.Project, answers.Seed(), answers)
			})
		},
	}
	c.Flags().StringVar(&grant, "grant", "", "the grant's name, or a file with its record")
	t.add(c, "project.json of a project of the domain of the tokens", "project.json of one of the domain that they become tokens of")
	return c
}

// readGrant returns the name of a grant that is named, or the record that a file holds.
func readGrant(given string) (name string, record *api.Grant, err error) {
	const doing, next = "reading the grant", "give its name, or a file with its record: keyholder grant show NAME"
	if keys.ValidName(given) {
		return given, nil, nil
	}
	if given == "" {
		return "", nil, fault.New(fault.Usage, "tokeniser convert", "--grant is missing", next)
	}
	b, err := os.ReadFile(given)
	if err != nil {
		return "", nil, fault.Wrap(fault.Usage, doing, err, next)
	}
	var g api.GrantRecord
	if err := keys.DecodeStrict(b, &g); err != nil || g.Schema != api.GrantSchema || g.Kind != api.GrantConvert || !keys.ValidName(g.Name) {
		return "", nil, fault.New(fault.Usage, doing, given+" holds no grant to convert", next)
	}
	return g.Name, &g.Grant, nil
}

// transfer is what rotate and convert have in common.
type transfer struct {
	o        column.Options
	table    tableFlags
	as       connection.Flags
	from, at string // paths of records
	to       string // the flag that names the second
	asJSON   bool
}

func (t *transfer) add(c *cobra.Command, from, to string) {
	flags := c.Flags()
	flags.StringVar(&t.from, "from", "", from)
	flags.StringVar(&t.at, t.to, "", to)
	t.as.Add(flags)
	flags.StringVar(&t.table.in, "in", "", "the table: CSV, NDJSON or Parquet, plain or compressed with gzip or zstd; or an encoded cohort")
	flags.StringVar(&t.table.delimiter, "delimiter", "", `what divides CSV fields; "tab" for a tab (found if not given)`)
	flags.StringVar(&t.table.encoding, "encoding", source.EncodingAuto, "character encoding: auto, utf-8, utf-16le, utf-16be, windows-1252 or iso-8859-1")
	flags.BoolVar(&t.table.noHeader, "no-header", false, "the CSV has no header; columns are column_1, column_2, ..")
	flags.StringVar(&t.o.Column, "column", "", "the column of tokens; not needed for a cohort")
	flags.StringVar(&t.o.Out, "out", "", "the table, or the cohort, to write")
	flags.BoolVar(&t.o.Replace, "replace", false, replaceFlag)
	flags.StringVar(&t.o.Invalid, "invalid", column.InvalidError, "what becomes of cells that hold no token of the epoch: null (they are emptied) or error (no table is written)")
	flags.StringVar(&t.o.Quarantine, "quarantine", "", "leave out rows that cannot be read, and write them and emptied cells here as row,unique_id,field,code")
	flags.IntVar(&t.o.Threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&t.asJSON, "json", false, "print the summary as JSON")
}

// run brings a table's or a cohort's tokens to where begin says.
func (t *transfer) run(c *cobra.Command, env *boot.Environment, grant string, begin func(*client.Client, *rekey.Answers) (*client.Transfer, error)) (err error) {
	o := &t.o
	if err := t.required(c); err != nil {
		return err
	}
	isCohort := t.table.in != "-" && rekey.IsCohort(t.table.in)
	if err := t.checkFlags(c, isCohort); err != nil {
		return err
	}
	if o.From, o.Project, err = t.records(); err != nil {
		return err
	}
	if !isCohort {
		if o.Source, err = t.table.options(env.Stdin); err != nil {
			return err
		}
	}
	charged := o.Project.Name
	if c.Name() == "convert" {
		charged = o.From.Name
	}
	of := rekey.Run{Operation: c.Name(), Project: charged, Grant: grant, From: o.From, To: o.Project, In: t.table.in}
	return t.as.With(env, func(to *client.Client) (err error) {
		var encoded *rekey.Cohort
		if isCohort {
			encoded, err = rekey.OpenCohort(c.Context(), rekey.Options{In: t.table.in, Out: o.Out, Replace: o.Replace, From: o.From, To: o.Project, Convert: c.Name() == "convert", Batch: oprf.MaxBatch,
				Software: boot.Software(), Clock: env.Clock, Wall: env.Wall})
			if err != nil {
				return err
			}
			defer encoded.Close()
		}
		answers, err := rekey.OpenAnswers(rekey.JournalPath(o.Out), of, env.Rand)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, answers.Close()) }()
		moving, err := begin(to, answers)
		if err != nil {
			return err
		}
		if n := answers.Known(); n > 0 {
			fmt.Fprintf(env.Stderr, "going on with a run that was interrupted: %s tokens are known, and are not asked for again\n", humanize.Comma(n))
		}
		if encoded != nil {
			err = t.moveCohort(c.Context(), env, encoded, moving, answers.Known())
		} else {
			err = t.moveColumn(c.Context(), env, moving, answers.Known())
		}
		if err != nil {
			return err
		}
		return answers.Remove()
	})
}

// required refuses a run without what every one needs.
func (t *transfer) required(c *cobra.Command) error {
	for _, flag := range []struct {
		name    string
		missing bool
	}{{"--from", t.from == ""}, {"--" + t.to, t.at == ""}, {"--in", t.table.in == ""}, {"--out", t.o.Out == "" || t.o.Out == "-"}} {
		if flag.missing {
			return fault.New(fault.Usage, c.CommandPath(), flag.name+" is missing", "see: "+c.CommandPath()+" --help")
		}
	}
	return nil
}

// records reads the records of both sides.
func (t *transfer) records() (from, to *keys.Project, err error) {
	if from, err = keys.ReadProject(t.from); err != nil {
		return nil, nil, err
	}
	to, err = keys.ReadProject(t.at)
	return from, to, err
}

// checkFlags refuses flags that are missing, or that say nothing about what is read.
func (t *transfer) checkFlags(c *cobra.Command, isCohort bool) error {
	o := &t.o
	if !isCohort {
		if o.Column == "" {
			return fault.New(fault.Usage, c.CommandPath(), "--column is missing, and the table is no encoded cohort", "name the column of tokens; see: "+c.CommandPath()+" --help")
		}
		return outfile.Check(c.CommandPath(), []outfile.Input{{Flag: "--in", Path: t.table.in}, {Flag: "--from", Path: t.from}, {Flag: "--" + t.to, Path: t.at}},
			[]outfile.Output{{Flag: "--out", Path: o.Out}, {Flag: "--quarantine", Path: o.Quarantine, Kind: "a quarantine file", Earlier: source.IsQuarantine}})
	}
	if o.Column != "" && o.Column != cohort.ColumnToken {
		return fault.New(fault.Usage, c.CommandPath(), "the table is an encoded cohort, whose tokens are in the column "+cohort.ColumnToken, "leave --column out")
	}
	for _, name := range []string{"delimiter", "encoding", "no-header", "invalid", "quarantine"} {
		if c.Flags().Changed(name) {
			return fault.New(fault.Usage, c.CommandPath(), "the table is an encoded cohort, all of whose rows are written: --"+name+" says nothing about one", "leave --"+name+" out")
		}
	}
	return nil
}

// moveColumn moves the tokens in a column of any table.
func (t *transfer) moveColumn(ctx context.Context, env *boot.Environment, moving *client.Transfer, known int64) error {
	o := &t.o
	o.In, o.Stdout, o.Wall, o.Rotate = t.table.in, env.Stdout, env.Wall, moving.Tokens
	// The project's other keys are not used.
	o.Keys = &keys.KeyFile{Project: o.Project.Name, Domain: o.Project.Domain, Scheme: o.Project.Scheme}
	outfile.RemoveUnfinished(o.Out, o.Quarantine) // the journal's lock says that no run is writing them
	return replaceColumn(ctx, env, o, t.asJSON, known)
}

// moveCohort moves the tokens of an encoded cohort, and prints what came of it.
func (t *transfer) moveCohort(ctx context.Context, env *boot.Environment, encoded *rekey.Cohort, moving *client.Transfer, known int64) error {
	progress := env.Progress("moving tokens", "rows")
	result, err := encoded.Move(ctx, moving.Tokens, progress.Set)
	progress.Done()
	if err != nil {
		return err
	}
	if t.asJSON {
		none := map[reason.Code]int64{}
		return writeJSON(env.Stdout, columnSummary{
			Schema: columnSummarySchema, Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Format: formatCohort, CohortID: &result.Manifest.CohortID,
			Rows: result.Rows, Tokens: result.Tokens, Absent: result.Rows - result.Tokens, Known: known, Emptied: none, LeftOut: none, Notes: none, Outputs: result.Outputs,
		})
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s rows read (%s)\n", humanize.Comma(result.Rows), formatCohort)
	fmt.Fprintf(&b, "%s have a token, %s have no number\n", humanize.Comma(result.Tokens), humanize.Comma(result.Rows-result.Tokens))
	fmt.Fprintf(&b, "cohort %s: %s\n", result.Manifest.CohortID, strings.Join(result.Outputs, ", "))
	_, err = io.WriteString(env.Stdout, b.String())
	return err
}
