package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/audit"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/fhir"
	"tarn/keys/audit/tiles"
	"tarn/keys/audit/verify"
	"tarn/keys/fault"
	"tarn/keys/outfile"
)

// exportFlags say what of a log is written, and where.
type exportFlags struct {
	keyFlags
	format     string
	from       uint64
	month      string
	out        string
	unverified bool
}

func exportCommand(env *boot.Environment) *cobra.Command {
	var f exportFlags
	c := &cobra.Command{
		Use:   "export LOG --format fhir",
		Short: "Write a log as AuditEvents of FHIR R4, for other programs",
		Long: `Write the entries of a log as resources AuditEvent of FHIR R4, one on each line
(application/fhir+ndjson): for an audit repository, or for a SIEM. The log is verified
first, and what is written is held to what was verified: a log that is not whole is
refused. The same entries always give the same bytes.

Nobody's identity, no token and no free text is in a log, so none can be in what is
written. It names those who asked.

A log that cannot be verified, such as one that is kept for evidence, is written with
--unverified, and then every resource is tagged as unverified.`,
		Example: `  auditor export /srv/keyholder/log/1 --format fhir --month 2026-11 --out november.ndjson
  auditor export /srv/keyholder/log/1 --format fhir --from 120000 | gzip > new.ndjson.gz`,
		Args: oneLog,
		RunE: func(c *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return f.run(c.Context(), env, args[0])
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&f.format, "format", "", "fhir: AuditEvents of FHIR R4, one on each line")
	c.Flags().Uint64Var(&f.from, "from", 0, "the index of the first entry to write")
	c.Flags().StringVar(&f.month, "month", "", "only entries of this month, as in 2026-11")
	c.Flags().StringVar(&f.out, "out", "-", "the file to write; - is standard output")
	c.Flags().BoolVar(&f.unverified, "unverified", false, "do not verify the log, and say so in every resource")
	return c
}

func (f *exportFlags) check() error {
	const doing = "exporting a log"
	if f.format != "fhir" {
		return fault.New(fault.Usage, doing, "--format is not fhir", "give --format fhir")
	}
	if f.month != "" {
		if _, err := time.Parse("2006-01", f.month); err != nil {
			return fault.New(fault.Usage, doing, "--month is not of the form YYYY-MM", "give it as in --month 2026-11")
		}
	}
	return outfile.Check(doing, nil, []outfile.Output{{Flag: "--out", Path: f.out, Kind: "an export of a log", Earlier: func(start []byte) bool {
		return bytes.HasPrefix(start, []byte(`{"resourceType":"AuditEvent"`))
	}}})
}

// exporting is an export under way.
type exporting struct {
	log      *tiles.Log
	size     uint64
	root     tiles.Hash
	options  fhir.Options
	from     uint64
	month    string // with its hyphen; empty takes all
	to       *bufio.Writer
	progress func(done uint64)

	written uint64
	// unfit is the number of entries that cannot be written, and firstUnfit the first.
	unfit, firstUnfit uint64
}

func (f *exportFlags) run(ctx context.Context, env *boot.Environment, folder string) error {
	doing := "exporting the log " + folder
	e := &exporting{log: tiles.Open(folder), from: f.from}
	if f.month != "" {
		e.month = f.month + "-"
	}
	if err := f.state(ctx, env, folder, e); err != nil {
		return err
	}
	progress := env.Progress("exporting", "entries")
	e.progress = func(done uint64) { progress.Set(int64(done), int64(e.size)) }
	err := f.write(ctx, env, e)
	progress.Done()
	switch {
	case errors.Is(err, verify.ErrChanged):
		return fault.Wrap(fault.Disagreement, doing, err, "what was written is not to be relied on; see what is wrong: auditor verify")
	case ctx.Err() != nil:
		return fault.Ended(ctx, err)
	case err != nil:
		return fault.Wrap(fault.Internal, doing, err, "see that --out can be written")
	}
	said := env.Stdout
	if f.out == "-" {
		said = env.Stderr
	}
	fmt.Fprint(said, e.summary())
	if e.unfit > 0 {
		return fault.New(fault.Disagreement, doing, fmt.Sprintf("%d entries are missing or say what no entry may, the first of them entry %d: they are left out", e.unfit, e.firstUnfit),
			"see what is wrong: auditor verify")
	}
	return nil
}

// state finds out what the log is that is to be written: by its verification, or else by
// what its checkpoint says.
func (f *exportFlags) state(ctx context.Context, env *boot.Environment, folder string, e *exporting) error {
	doing := "exporting the log " + folder
	if f.unverified {
		signed, err := e.log.Checkpoint()
		if err != nil {
			return fault.Wrap(fault.Usage, doing, err, "give the folder of a log, which holds a file named "+tiles.CheckpointFile)
		}
		c, err := checkpoint.Unverified(signed)
		if err != nil {
			return fault.Wrap(fault.Usage, doing, err, "give the folder of a log")
		}
		e.size, e.options = c.Size, fhir.Options{Origin: c.Origin, Unverified: true}
		return nil
	}
	o, err := f.options()
	if err != nil {
		return err
	}
	progress := env.Progress("verifying", "entries")
	defer progress.Done()
	o.Progress = func(done uint64) { progress.Set(int64(done), 0) }
	r, err := verify.Log(ctx, folder, o)
	if err != nil {
		return err
	}
	if !r.Whole() {
		return fault.New(fault.Disagreement, doing, "it is not what the key holder has signed, or has lost what it had", "see what is wrong: auditor verify; to export it all the same, give --unverified")
	}
	e.size, e.root, e.options = r.Size, r.Root, fhir.Options{Origin: r.Origin}
	return nil
}

// write writes to where it is to go. A file has its name only when it is complete.
func (f *exportFlags) write(ctx context.Context, env *boot.Environment, e *exporting) error {
	if f.out == "-" {
		return e.all(ctx, env.Stdout)
	}
	file, err := keys.NewFile(f.out)
	if err != nil {
		return err
	}
	defer file.Cleanup() // nothing once it has its name
	if err := e.all(ctx, file); err != nil {
		return err
	}
	return file.CloseAtomicallyReplace()
}

func (e *exporting) all(ctx context.Context, w io.Writer) error {
	e.to = bufio.NewWriterSize(w, 1<<16)
	if e.options.Unverified {
		if err := e.salvage(ctx); err != nil {
			return err
		}
		return e.to.Flush()
	}
	err := verify.InOrder(ctx, e.log, e.size, e.root, e.entry)
	if err != nil {
		return err
	}
	return e.to.Flush()
}

// salvage writes whatever can be read.
func (e *exporting) salvage(ctx context.Context) error {
	for first := uint64(0); first < e.size; first += tiles.Width {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, _ := e.log.Bundle(first/tiles.Width, e.size) // what is missing is counted
		want := min(tiles.Width, e.size-first)
		for i := range want {
			if i >= uint64(len(entries)) {
				if first+i >= e.from {
					e.leaveOut(first + i)
				}
				continue
			}
			if err := e.entry(first+i, entries[i]); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry writes one entry, where it is asked for.
func (e *exporting) entry(index uint64, entry []byte) error {
	if index%tiles.Width == 0 {
		e.progress(index)
	}
	if index < e.from {
		return nil
	}
	leaf, err := audit.Decode(entry)
	if err != nil {
		e.leaveOut(index)
		return nil
	}
	if !strings.HasPrefix(leaf.Time, e.month) {
		return nil
	}
	resource, err := fhir.Resource(leaf, index, e.options)
	if err != nil {
		e.leaveOut(index)
		return nil
	}
	e.written++
	_, err = e.to.Write(append(resource, '\n'))
	return err
}

func (e *exporting) leaveOut(index uint64) {
	if e.unfit == 0 {
		e.firstUnfit = index
	}
	e.unfit++
}

// summary says what was written, and from where to go on.
func (e *exporting) summary() string {
	checked := "verified"
	if e.options.Unverified {
		checked = "NOT VERIFIED, and tagged as that"
	}
	return fmt.Sprintf("%s: %s of %s entries written, %s; those that come after: --from %d\n", e.options.Origin, humanize.Comma(int64(e.written)), humanize.Comma(int64(e.size)), checked, e.size)
}
