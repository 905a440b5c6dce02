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
	"tarn/keys/fault"
	"tarn/keys/outfile"
	answers "tarn/keys/relationship"
	"tarn/tokenise/reason"
	"tarn/tokenise/relationship"
	"tarn/tokenise/relationship/table"
	"tarn/tokenise/source"
)

func relationshipsCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "relationships",
		Short: "Keep the region's table of who has to do with whom, by token",
		Long: `Keep the table from which tokeniser serve answers the key holder, before it opens a token
for direct care: has this organisation now to do with this patient? The table never
leaves the region.`,
		Example: `  tokeniser relationships load --in relationships.csv --dir relationships --quarantine relationships.refused.csv
  tokeniser relationships list --dir relationships`,
	}
	c.AddCommand(loadRelationships(env), listRelationships(env), dropRelationships(env), relationshipsKey(env))
	return c
}

const dirUsage = "the folder of the tables, [relationships] dir of tokeniser.toml"

func missingFlag(c *cobra.Command, name string) error {
	return fault.New(fault.Usage, c.CommandPath(), name+" is missing", "see: "+c.CommandPath()+" --help")
}

func loadRelationships(env *boot.Environment) *cobra.Command {
	var o relationship.LoadOptions
	var t tableFlags
	maxRefused := share(.01)
	asJSON := false
	var drop []uint
	c := &cobra.Command{
		Use:   "load",
		Short: "Replace the table of relationships",
		Long: `Read a table (CSV, NDJSON or Parquet) with the columns token (74 characters that begin
with tarn1), organisation (an ODS code), from and to (days as 2026-11-26, both included;
to is empty where there is no end yet), and put it in place of the one before. No other
column may be there but relationship: registered for the practice that the patient is
registered with, to whom worklists go, else other. Where that column is missing, an
organisation whose code has the form of a GP practice's (a letter and five digits) is
taken for that practice; codes that begin with Y are not all practices: give the column.
A day is one in Europe/London.

Replaced are the tables of those schemes, domains and token epochs of which there are
tokens in the input, all at once; those of other epochs stay and answer, too, as during a
change of keys, until they are dropped. A running service goes on with the new tables; a
load that fails, or is killed, changes nothing. Memory is bounded.

Rows that ended before yesterday are counted and not kept: nobody can ask for them. When
more rows are refused than --max-refused allows, nothing is replaced and the exit code
is 3.`,
		Example: `  tokeniser relationships load --in relationships.csv.gz --dir relationships --quarantine relationships.refused.csv
  tokeniser relationships load --in relationships.csv --dir relationships --drop-epoch 3`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			if o.Source, err = t.options(env.Stdin); err != nil {
				return err
			}
			if o.Dir == "" {
				return missingFlag(c, "--dir")
			}
			if o.DropEpochs, err = epochs(c, drop); err != nil {
				return err
			}
			if err := outfile.Check(c.CommandPath(), []outfile.Input{{Flag: "--in", Path: t.in}},
				[]outfile.Output{{Flag: "--quarantine", Path: o.Quarantine, Kind: "a quarantine file", Earlier: source.IsQuarantine}}); err != nil {
				return err
			}
			o.In, o.MaxRefused, o.Software, o.Clock, o.Wall = t.in, float64(maxRefused), boot.Software(), env.Clock, env.Wall
			progress := env.Progress("loading", "B")
			o.Progress = progress.Set
			boundMemory()
			loaded, err := relationship.Load(c.Context(), o)
			progress.Done()
			if asJSON && loaded != nil {
				return errors.Join(err, writeJSON(env.Stdout, loadDocument(env, &o, loaded, err == nil)))
			}
			if err != nil {
				return err
			}
			return writeLoaded(env.Stdout, &o, loaded)
		},
	}
	flags := c.Flags()
	flags.StringVar(&t.in, "in", "", "the table: CSV, NDJSON or Parquet, plain or compressed with gzip or zstd; - for standard input")
	flags.StringVar(&t.delimiter, "delimiter", "", `what divides CSV fields; "tab" for a tab (found if not given)`)
	flags.StringVar(&t.encoding, "encoding", source.EncodingAuto, "character encoding: auto, utf-8, utf-16le, utf-16be, windows-1252 or iso-8859-1")
	flags.StringVar(&o.Dir, "dir", "", dirUsage)
	flags.StringVar(&o.Quarantine, "quarantine", "", "write refused rows here as row,unique_id,field,code; unique_id stays empty")
	flags.Var(&maxRefused, "max-refused", "share of rows that may be refused")
	flags.UintSliceVar(&drop, "drop-epoch", nil, "a token epoch that is over: its table counts no more when the new one does; may be given more than once")
	flags.BoolVar(&o.DryRun, "dry-run", false, "read and count, and change nothing")
	flags.IntVar(&o.Threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	return c
}

// epochs reads numbers of token epochs.
func epochs(c *cobra.Command, given []uint) (all []uint16, err error) {
	for _, n := range given {
		if n < 1 || n > 1<<16-1 {
			return nil, fault.New(fault.Usage, c.CommandPath(), "a token epoch is a number from 1 to 65535", "see: tokeniser relationships list")
		}
		all = append(all, uint16(n))
	}
	return all, nil
}

// loadSummary is what load prints with --json.
type loadSummary struct {
	Schema     string                `json:"schema"`
	Software   string                `json:"software"`
	Created    string                `json:"created"`
	Format     string                `json:"format"`
	DryRun     bool                  `json:"dry_run"`
	Replaced   bool                  `json:"replaced"`
	Rows       int64                 `json:"rows"`
	Used       int64                 `json:"used"`
	Ended      int64                 `json:"ended"`
	Repeated   int64                 `json:"repeated"`
	Refused    map[reason.Code]int64 `json:"refused"`
	Tables     []loadedTable         `json:"tables"`
	Dropped    []droppedTable        `json:"dropped"`
	Quarantine string                `json:"quarantine,omitzero"`
}

type loadedTable struct {
	Scheme     string `json:"scheme"`
	DomainNo   uint32 `json:"domain_no"`
	TokenEpoch uint16 `json:"token_epoch"`
	Rows       int64  `json:"rows"`
	RowsBefore *int64 `json:"rows_before"`
}

type droppedTable struct {
	Scheme     string `json:"scheme"`
	DomainNo   uint32 `json:"domain_no"`
	TokenEpoch uint16 `json:"token_epoch"`
	Rows       int64  `json:"rows"`
}

const loadSummarySchema = "tarn.relationships-load/1"

func loadDocument(env *boot.Environment, o *relationship.LoadOptions, l *relationship.Loaded, whole bool) loadSummary {
	s := loadSummary{
		Schema: loadSummarySchema, Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Format: l.Input.Format, DryRun: o.DryRun, Replaced: whole && !o.DryRun,
		Rows: l.Rows, Used: l.Used, Ended: l.Ended, Repeated: l.Repeated, Refused: l.Refused, Tables: []loadedTable{}, Dropped: []droppedTable{}, Quarantine: o.Quarantine,
	}
	for _, t := range l.Tables {
		s.Tables = append(s.Tables, loadedTable{t.Scheme, t.DomainNo, t.TokenEpoch, t.Rows, t.Before})
	}
	for _, t := range l.Dropped {
		s.Dropped = append(s.Dropped, droppedTable{t.Scheme, t.DomainNo, t.TokenEpoch, t.Rows})
	}
	return s
}

func writeLoaded(w io.Writer, o *relationship.LoadOptions, l *relationship.Loaded) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s rows read (%s)\n", humanize.Comma(l.Rows), l.Input)
	writeCounts(&b, "refused", l.Refused)
	for _, left := range []struct {
		n    int64
		text string
	}{{l.Ended, "ended before yesterday, and are not kept"}, {l.Repeated, "were there already"}} {
		if left.n > 0 {
			fmt.Fprintf(&b, "%s %s\n", humanize.Comma(left.n), left.text)
		}
	}
	for _, t := range l.Tables {
		before := "new"
		if t.Before != nil {
			before = humanize.Comma(*t.Before) + " before"
		}
		fmt.Fprintf(&b, "%s, domain %d, token epoch %d: %s rows (%s)\n", t.Scheme, t.DomainNo, t.TokenEpoch, humanize.Comma(t.Rows), before)
	}
	for _, t := range l.Dropped {
		fmt.Fprintf(&b, "%s, domain %d, token epoch %d: dropped (%s rows)\n", t.Scheme, t.DomainNo, t.TokenEpoch, humanize.Comma(t.Rows))
	}
	if o.DryRun {
		b.WriteString("nothing was changed: --dry-run\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// listDocument is what list prints with --json.
type listDocument struct {
	Schema   string        `json:"schema"`
	Software string        `json:"software"`
	Created  string        `json:"created"`
	Tables   []listedTable `json:"tables"`
}

type listedTable struct {
	Scheme     string `json:"scheme"`
	DomainNo   uint32 `json:"domain_no"`
	TokenEpoch uint16 `json:"token_epoch"`
	Rows       int64  `json:"rows"`
	Loaded     string `json:"loaded"`
	State      string `json:"state"` // whole, damaged, unreadable
}

const listSchema = "tarn.relationships-list/1"

func listRelationships(env *boot.Environment) *cobra.Command {
	dir, check, asJSON := "", false, false
	c := &cobra.Command{
		Use:   "list",
		Short: "List the tables that count: rows, when they were loaded, of which token epoch",
		Long: `List the tables that count, one for each scheme, domain and token epoch: rows, and when
it was loaded. --check reads all of each; a table that is damaged ends in exit code 1,
and is loaded again.`,
		Example: "  tokeniser relationships list --dir relationships --check",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if dir == "" {
				return missingFlag(c, "--dir")
			}
			document, err := readTables(c, dir)
			if err != nil {
				return err
			}
			list := listDocument{Schema: listSchema, Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Tables: []listedTable{}}
			damaged := 0
			for i := range document.Tables {
				e := &document.Tables[i]
				state, err := tableState(c.Context(), dir, e, check)
				if err != nil {
					return err
				}
				if state != stateWhole {
					damaged++
				}
				list.Tables = append(list.Tables, listedTable{e.Scheme, e.DomainNo, e.TokenEpoch, e.Rows, e.Loaded, state})
			}
			if asJSON {
				err = writeJSON(env.Stdout, list)
			} else {
				err = writeList(env.Stdout, &list)
			}
			if err == nil && damaged > 0 {
				err = fault.New(fault.Internal, c.CommandPath(), fmt.Sprintf("%d of %d tables cannot be read whole, and are not answered from", damaged, len(list.Tables)), "load the tables of these epochs again")
			}
			return err
		},
	}
	c.Flags().StringVar(&dir, "dir", "", dirUsage)
	c.Flags().BoolVar(&check, "check", false, "read all of each table")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// readTables reads which tables count.
func readTables(c *cobra.Command, dir string) (*table.Document, error) {
	document, err := table.Read(dir)
	switch {
	case errors.Is(err, table.ErrNone):
		return nil, fault.New(fault.Usage, c.CommandPath(), "nothing was loaded into "+dir+" yet", "see: tokeniser relationships load --help")
	case errors.Is(err, table.ErrDamaged):
		return nil, fault.New(fault.Internal, c.CommandPath(), table.DocumentFile+" in "+dir+" is damaged", "remove it, and load the tables of every epoch again")
	case err != nil:
		return nil, fault.Wrap(fault.Internal, c.CommandPath(), err, "give the folder of the tables with --dir")
	}
	return document, nil
}

// States of a table.
const (
	stateWhole      = "whole"
	stateDamaged    = "damaged"
	stateUnreadable = "unreadable"
)

// tableState opens a table, and reads all of it if that is asked. An error says that it was
// interrupted.
func tableState(ctx context.Context, dir string, e *table.Entry, check bool) (string, error) {
	t, err := table.Open(dir, e)
	if err == nil {
		defer func() { _ = t.Close() }() // opened for reading
		if check {
			err = t.Check(ctx)
		}
	}
	switch {
	case err == nil:
		return stateWhole, nil
	case ctx.Err() != nil:
		return "", ctx.Err()
	case errors.Is(err, table.ErrDamaged):
		return stateDamaged, nil
	}
	return stateUnreadable, nil
}

func writeList(w io.Writer, l *listDocument) error {
	var b strings.Builder
	for _, t := range l.Tables {
		fmt.Fprintf(&b, "%s, domain %d, token epoch %d: %s rows, loaded %s", t.Scheme, t.DomainNo, t.TokenEpoch, humanize.Comma(t.Rows), t.Loaded)
		if t.State != stateWhole {
			b.WriteString(", " + t.State)
		}
		b.WriteString("\n")
	}
	if len(l.Tables) == 0 {
		b.WriteString("no table: every question is denied\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func dropRelationships(env *boot.Environment) *cobra.Command {
	dir, scheme, dryRun := "", "", false
	var domain uint32
	var epoch uint
	c := &cobra.Command{
		Use:   "drop",
		Short: "Remove the table of a token epoch that is over",
		Long: `Remove the table of a token epoch, as when all tokens of it were replaced. What it
answered is denied from then on. The file is deleted; what a disk or its copies keep of
deleted files is not.`,
		Example: "  tokeniser relationships drop --dir relationships --domain-no 7 --epoch 3",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, flag := range []struct {
				name    string
				missing bool
			}{{"--dir", dir == ""}, {"--domain-no", !c.Flags().Changed("domain-no")}, {"--epoch", !c.Flags().Changed("epoch")}} {
				if flag.missing {
					return missingFlag(c, flag.name)
				}
			}
			of, err := epochs(c, []uint{epoch})
			if err != nil {
				return err
			}
			document, err := readTables(c, dir)
			if err != nil {
				return err
			}
			var found []table.Entry
			for _, e := range document.Tables {
				if e.DomainNo == domain && e.TokenEpoch == of[0] && (scheme == "" || e.Scheme == scheme) {
					found = append(found, e)
				}
			}
			if len(found) != 1 {
				return fault.New(fault.Usage, c.CommandPath(), fmt.Sprintf("%d tables are of this domain and epoch", len(found)), "see: tokeniser relationships list; --scheme tells those of one domain apart")
			}
			if !dryRun {
				if err := dropTable(env, dir, &found[0]); err != nil {
					return err
				}
			}
			said := "dropped"
			if dryRun {
				said = "would be dropped: --dry-run"
			}
			_, err = fmt.Fprintf(env.Stdout, "%s, domain %d, token epoch %d: %s rows, %s\n", found[0].Scheme, found[0].DomainNo, found[0].TokenEpoch, humanize.Comma(found[0].Rows), said)
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&dir, "dir", "", dirUsage)
	flags.Uint32Var(&domain, "domain-no", 0, "the domain's number")
	flags.UintVar(&epoch, "epoch", 0, "the token epoch")
	flags.StringVar(&scheme, "scheme", "", "the tokens' scheme, where there are tables of several: "+strings.Join(keys.Schemes(), ", "))
	flags.BoolVar(&dryRun, "dry-run", false, "say what would be removed, and change nothing")
	return c
}

func dropTable(env *boot.Environment, dir string, e *table.Entry) error {
	update, err := table.Begin(dir)
	if err != nil {
		return err
	}
	defer update.Close()
	key, err := e.Key()
	if err != nil || !update.Drop(key) {
		return fault.New(fault.Usage, "dropping a table of relationships", "it is gone meanwhile", "see: tokeniser relationships list")
	}
	return update.Commit(boot.Software(), env.Clock())
}

func relationshipsKey(env *boot.Environment) *cobra.Command {
	out := ""
	c := &cobra.Command{
		Use:   "key",
		Short: "Make the key that signs answers to the key holder",
		Long: `Make the key with which tokeniser serve signs its answers to the key holder: Ed25519, a
PEM file of mode 0600, which is never written over. Its public half is printed, for
verify_key of [[relationships]] in the key holder's configuration.`,
		Example: "  tokeniser relationships key --out relationships.key",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "" {
				return missingFlag(c, "--out")
			}
			key, err := relationship.NewSigningKey(env.Rand)
			if err != nil {
				return fault.Wrap(fault.Internal, c.CommandPath(), err, "")
			}
			defer key.Destroy()
			if err := key.Write(out); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "key: %s (keep it here)\nfor the key holder's configuration: verify_key = %q\n", out, answers.VerifyKeyText(key.Public()))
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "the file to write, which must not be there")
	return c
}
