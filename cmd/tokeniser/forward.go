package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
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
	"tarn/keys/outfile"
	"tarn/keys/parcel"
	"tarn/tokenise/forward"
	"tarn/tokenise/source"
)

func recipientCommand(env *boot.Environment) *cobra.Command {
	out, public := "", ""
	c := &cobra.Command{
		Use:   "recipient NAME",
		Short: "Make the keys of who is to receive another party's rows",
		Long: `Make the keys with which tokeniser receive opens what another party sends. The private
half stays here, in a file of mode 0600; the public half is for the key holder's
operators, who name it in a grant (keyholder grant add --recipient). Use a pair for one
grant only, and remove it when the rows have arrived.`,
		Example: `  tokeniser recipient registry --out registry.keys.json --public registry.recipient.json`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 || !keys.ValidName(args[0]) {
				return fault.New(fault.Usage, "making a recipient's keys", "one name of 1 to 32 of a-z, 0-9 and - is needed", "see: tokeniser recipient --help")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			const doing = "making a recipient's keys"
			if out == "" || public == "" {
				return fault.New(fault.Usage, doing, "--out or --public is missing", "see: tokeniser recipient --help")
			}
			// Keys that are written over open nothing any more: neither file may be there.
			none := func([]byte) bool { return false }
			if err := outfile.Check(doing, nil, []outfile.Output{{Flag: "--out", Path: out, Kind: "a new file", Earlier: none}, {Flag: "--public", Path: public, Kind: "a new file", Earlier: none}}); err != nil {
				return err
			}
			k, err := parcel.NewKeys(args[0], boot.Software(), env.Clock().UTC().Format(time.RFC3339), env.Rand)
			if err != nil {
				return fault.Wrap(fault.Internal, doing, err, "")
			}
			defer k.Destroy()
			document, err := keys.Encode(k.Public)
			if err != nil {
				return fault.New(fault.Internal, doing, "the public half could not be written down", "")
			}
			if err := k.Write(out); err != nil {
				return err
			}
			if err := keys.WriteFile(public, document); err != nil {
				return fault.Wrap(fault.Internal, "writing "+public, err, "choose a folder that exists and can be written")
			}
			_, err = fmt.Fprintf(env.Stdout, "keys: %s (keep it here)\nfor the key holder's operators: %s\n", out, public)
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "the private half")
	c.Flags().StringVar(&public, "public", "", "the public half, for the key holder's operators")
	return c
}

// send converts a table's tokens for the recipient that a grant names.
func (t *transfer) send(c *cobra.Command, env *boot.Environment, grant *api.Grant) (err error) {
	o := &t.o
	if err := t.required(c); err != nil {
		return err
	}
	if o.Column == "" {
		return fault.New(fault.Usage, c.CommandPath(), "--column is missing", "name the column of tokens; of an encoded cohort, which is for a linker of its own project, no rows are sent")
	}
	if t.table.in == "-" {
		return fault.New(fault.Usage, c.CommandPath(), "--in is standard input, which cannot be read again where a run is interrupted", "give a file")
	}
	if err := outfile.Check(c.CommandPath(), []outfile.Input{{Flag: "--in", Path: t.table.in}, {Flag: "--from", Path: t.from}, {Flag: "--to", Path: t.at}},
		[]outfile.Output{{Flag: "--out", Path: o.Out, Kind: "a parcel of this grant", Earlier: t.isParcel(grant.Name)}, {Flag: "--quarantine", Path: o.Quarantine, Kind: "a quarantine file", Earlier: source.IsQuarantine}}); err != nil {
		return err
	}
	if o.From, o.Project, err = t.records(); err != nil {
		return err
	}
	if err := o.From.CheckCurrent(env.Wall()); err != nil {
		return err
	}
	if o.Source, err = t.table.options(env.Stdin); err != nil {
		return err
	}
	random := env.Rand
	if random == nil {
		random = rand.Reader
	}
	return t.as.With(env, func(to *client.Client) error {
		progress := env.Progress("converting", "B")
		sent, err := forward.Send(c.Context(), forward.SendOptions{
			Grant: grant, From: o.From, To: o.Project, In: t.table.in, Source: o.Source, Column: o.Column, Out: o.Out, Invalid: o.Invalid, Quarantine: o.Quarantine,
			Convert: func(ctx context.Context, request []byte, coming int64) ([]byte, error) {
				return to.ConvertForParty(ctx, grant.Name, o.From.Name, coming, request)
			},
			Random: random, Software: boot.Software(), Clock: env.Clock, Progress: progress.Set,
			Resumed: func(batches int) {
				fmt.Fprintf(env.Stderr, "going on with a run that was interrupted: %d batches were converted then\n", batches)
			},
		})
		progress.Done()
		if t.asJSON && sent != nil {
			return errors.Join(err, writeColumnJSON(env.Stdout, env.Clock(), o, &sent.Result, 0, err == nil))
		}
		if err != nil {
			return err
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s rows read (%s)\n%s have a token, %s have none\n", humanize.Comma(sent.Rows), sent.Input.Format, humanize.Comma(sent.Tokens), humanize.Comma(sent.Absent))
		writeCounts(&b, "without a token now", sent.Emptied)
		writeCounts(&b, "left out", sent.LeftOut)
		fmt.Fprintf(&b, "parcel for %s, to open with tokeniser receive: %s\n", grant.Recipient.Keys.Name, strings.Join(left(o.Out, o.Quarantine, true), ", "))
		_, err = io.WriteString(env.Stdout, b.String())
		return err
	})
}

// isParcel returns what tells an earlier parcel of a grant.
func (t *transfer) isParcel(grant string) func([]byte) bool {
	if t.o.Replace {
		return nil
	}
	return func(start []byte) bool { return forward.IsParcel(start, grant) }
}

// receivedSummary is what receive prints with --json.
type receivedSummary struct {
	Schema   string   `json:"schema"`
	Software string   `json:"software"`
	Created  string   `json:"created"`
	Grant    string   `json:"grant"`
	From     string   `json:"from"` // the domain that the rows come from
	Format   string   `json:"format"`
	Column   string   `json:"column"`
	Rows     int64    `json:"rows"`
	Tokens   int64    `json:"tokens"`
	Absent   int64    `json:"absent"`
	Batches  int      `json:"batches"`
	Outputs  []string `json:"outputs"`
}

func receiveCommand(env *boot.Environment) *cobra.Command {
	var o forward.ReceiveOptions
	var as connection.Flags
	own, to := "", ""
	asJSON := false
	c := &cobra.Command{
		Use:   "receive",
		Short: "Open rows that another party sent, with tokens of this domain",
		Long: `Open a parcel that another party made with tokeniser convert under a grant to this
recipient. Every proof of the key holder is verified: that the tokens were converted to
the domain of --to, with the public key of its record, from the sender's, whose public key
the key holder is asked for. The rows are counted, and are in an order that was the key
holder's. What is wrong anywhere leaves no table.

The table has the format of the sender's: CSV, NDJSON or Parquet. It is compressed if its
name ends in .gz or .zst. ` + replaceHelp + `; of NDJSON, whose
columns the parcel does not name, --replace is needed always.`,
		Example: `  tokeniser receive --in visits.parcel --recipient-keys registry.keys.json --to registry.project.json --as credentials --out visits.csv`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			const doing = "opening the parcel"
			for _, flag := range []struct{ name, value string }{{"--in", o.Parcel}, {"--recipient-keys", own}, {"--to", to}, {"--out", o.Out}} {
				if flag.value == "" {
					return fault.New(fault.Usage, doing, flag.name+" is missing", "see: tokeniser receive --help")
				}
			}
			if o.Out == "-" {
				return fault.New(fault.Usage, doing, "--out is standard output, and the table is written whole or not at all", "give --out the name of a file")
			}
			if err := outfile.Check(doing, []outfile.Input{{Flag: "--in", Path: o.Parcel}, {Flag: "--recipient-keys", Path: own}, {Flag: "--to", Path: to}},
				[]outfile.Output{{Flag: "--out", Path: o.Out}}); err != nil {
				return err
			}
			if o.To, err = keys.ReadProject(to); err != nil {
				return err
			}
			if err := o.To.CheckCurrent(env.Wall()); err != nil {
				return err
			}
			if o.Keys, err = parcel.ReadKeys(own); err != nil {
				return err
			}
			defer o.Keys.Destroy()
			var r *forward.Received
			err = as.With(env, func(holder *client.Client) error {
				progress := env.Progress("opening", "rows")
				defer progress.Done()
				o.Progress, o.PublicKey = progress.Set, holder.PublicKey
				r, err = forward.Receive(c.Context(), o)
				return err
			})
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(env.Stdout, receivedSummary{
					Schema: "tarn.receive-summary/1", Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Grant: r.Grant, From: r.From, Format: r.Format, Column: r.Column,
					Rows: r.Rows, Tokens: r.Tokens, Absent: r.Absent, Batches: r.Batches, Outputs: []string{o.Out},
				})
			}
			_, err = fmt.Fprintf(env.Stdout, "%s rows received from domain %s (%s), as many as were sent\n%s have a token of domain %s, %s have none\nwritten: %s\n",
				humanize.Comma(r.Rows), r.From, r.Format, humanize.Comma(r.Tokens), o.To.Domain, humanize.Comma(r.Absent), o.Out)
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Parcel, "in", "", "the parcel")
	flags.StringVar(&own, "recipient-keys", "", "the private half of the keys that tokeniser recipient made")
	flags.StringVar(&to, "to", "", "project.json of the recipient's project")
	as.Add(flags)
	flags.StringVar(&o.Out, "out", "", "the table to write")
	flags.BoolVar(&o.Replace, "replace", false, replaceFlag)
	flags.IntVar(&o.Threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	return c
}
