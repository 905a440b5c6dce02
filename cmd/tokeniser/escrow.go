package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/tokenise/escrow"
	"tarn/tokenise/escrow/escrowfile"
	"tarn/tokenise/regionstore"
)

func escrowCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "escrow",
		Short: "Whose tokens of scheme keyed-hash are, sealed to the key holder",
		Long: `A token of scheme keyed-hash is a hash. So that the key holder can open one for a
clinician, the region keeps beside it, in its store, whose it is, sealed to the key
holder. tokeniser run leaves what it made in NAME.escrow; import takes it into the store.`,
		Example: `  tokeniser escrow import north.escrow --store region/store`,
	}
	c.AddCommand(escrowImportCommand(env))
	return c
}

// importSummary is what escrow import prints with --json.
type importSummary struct {
	Schema   string         `json:"schema"`
	Software string         `json:"software"`
	Created  string         `json:"created"`
	Store    string         `json:"store"`
	DryRun   bool           `json:"dry_run"`
	Files    []importedFile `json:"files"`
	Tokens   uint64         `json:"tokens_kept"` // in the store, of all projects
}

// importedFile is a file, and what became of it.
type importedFile struct {
	File       string `json:"file"`
	Project    string `json:"project"`
	Domain     string `json:"domain"`
	TokenEpoch uint32 `json:"token_epoch"`
	HolderKey  string `json:"holder_key"`
	Sealed     string `json:"sealed"`
	Tokens     uint64 `json:"tokens"`
	New        uint64 `json:"new"`
	Replaced   uint64 `json:"replaced"`
	Known      uint64 `json:"known"`
}

func escrowImportCommand(env *boot.Environment) *cobra.Command {
	i := escrowImport{Environment: env}
	asJSON := false
	c := &cobra.Command{
		Use:   "import FILE...",
		Short: "Take what run left in NAME.escrow into the region's store",
		Long: `Take what tokeniser run left in NAME.escrow into the region's store, so that the region
can answer with it. Files of any project go into one store. All of them are read once
before anything is taken: one that is damaged or cut off is refused.

A token that is in the store already stays as it is, unless the file has it sealed to
another key of the key holder, and later. A file can be imported again, and an import that
was interrupted goes on: what it had taken is known then.

The store has one owner: while a tokeniser serves with it, stop that first. Its folder is
made where it is missing, and its key beside it (DIR.key.json), which belongs into a
backup of its own.`,
		Example: `  tokeniser escrow import north.escrow --store region/store --dry-run
  tokeniser escrow import north.escrow south.escrow --store region/store`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Usage, importing, "no file is named", "see: tokeniser escrow import --help")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if i.store == "" {
				return fault.New(fault.Usage, importing, "--store is missing", "name the folder of the region's store")
			}
			s, err := i.run(c.Context(), args)
			if err != nil {
				return err
			}
			if asJSON {
				return writeJSON(env.Stdout, s)
			}
			return s.write(env.Stdout)
		},
	}
	c.Flags().StringVar(&i.store, "store", "", "the folder of the region's store")
	c.Flags().BoolVar(&i.dryRun, "dry-run", false, "count, and take nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print the summary as JSON")
	return c
}

const importing = "importing an escrow"

type escrowImport struct {
	*boot.Environment
	store  string
	dryRun bool
}

func (i *escrowImport) run(ctx context.Context, paths []string) (_ *importSummary, err error) {
	s := &importSummary{Schema: "tarn.escrow-import/1", Software: boot.Software(), Created: i.Clock().Format(time.RFC3339), Store: i.store, DryRun: i.dryRun}
	total := uint64(0)
	for _, path := range paths {
		f, err := checkEscrow(path)
		if err != nil {
			return nil, err
		}
		s.Files = append(s.Files, *f)
		total += f.Tokens
	}
	if _, missing := os.Stat(i.store); i.dryRun && errors.Is(missing, os.ErrNotExist) {
		for at := range s.Files {
			s.Files[at].New = s.Files[at].Tokens
		}
		return s, nil
	}
	key, err := regionstore.OpenKey(regionstore.KeyPath(i.store), i.Rand)
	if err != nil {
		return nil, err
	}
	defer key.Destroy()
	store, err := regionstore.Open(regionstore.Options{Dir: i.store, Key: key, Clock: i.Wall, Rand: i.Rand})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	keeper, err := escrow.NewKeeper(store, escrow.Options{Clock: i.Wall, Rand: i.Rand})
	if err != nil {
		return nil, fault.Wrap(fault.Internal, importing, err, "")
	}
	boundMemory()
	progress := i.Progress("importing", "tokens")
	defer progress.Done()
	before := uint64(0)
	for at := range s.Files {
		f := &s.Files[at]
		if err := i.file(ctx, keeper, f, func(items uint64) { progress.Set(int64(before+items), int64(total)) }); err != nil {
			return nil, err
		}
		before += f.Tokens
	}
	s.Tokens, err = keeper.Tokens(ctx)
	return s, err
}

// file takes one file, which was checked.
func (i *escrowImport) file(ctx context.Context, keeper *escrow.Keeper, f *importedFile, progress func(uint64)) error {
	in, err := os.Open(f.File)
	if err != nil {
		return fault.Wrap(fault.Usage, "reading "+f.File, err, "give a file that this user can read")
	}
	defer func() { _ = in.Close() }() // opened for reading
	r, err := escrowfile.NewReader(in)
	if err != nil {
		return escrowFault(f.File, err)
	}
	c, err := keeper.Import(ctx, r, !i.dryRun, progress)
	f.New, f.Replaced, f.Known = c.New, c.Replaced, c.Known
	return escrowFault(f.File, err)
}

// checkEscrow reads a file, and returns what it says of itself.
func checkEscrow(path string) (*importedFile, error) {
	in, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading "+path, err, "give a file that this user can read")
	}
	defer func() { _ = in.Close() }() // opened for reading
	h, n, err := escrowfile.Check(in)
	if err != nil {
		return nil, escrowFault(path, err)
	}
	return &importedFile{File: path, Project: h.Project, Domain: h.Domain, TokenEpoch: h.TokenEpoch, HolderKey: h.HolderKeyID, Sealed: h.At.Format(time.RFC3339), Tokens: n}, nil
}

// escrowFault says what an error of a file means, and what to do.
func escrowFault(path string, err error) error {
	doing := "importing " + path
	switch {
	case errors.Is(err, escrowfile.ErrOther):
		return fault.New(fault.Usage, doing, "it is no escrow file, or a later version wrote it", "give a NAME.escrow that tokeniser run left")
	case errors.Is(err, escrowfile.ErrDamaged):
		return fault.New(fault.Usage, doing, "it is damaged, or was cut off", "copy it again from where tokeniser run left it; if it is damaged there, run again with --resume, which writes it anew")
	case errors.Is(err, escrow.ErrBatch):
		return fault.New(fault.Disagreement, doing, "it has a batch by the id of another that is in the store: no run wrote both", "find out where the file is from")
	case errors.Is(err, regionstore.ErrNoSpace):
		return fault.New(fault.Internal, doing, "there is less free space than the store's floor; what was taken stays", "make space where the store lies, then import it again")
	}
	return err
}

func (s *importSummary) write(w io.Writer) error {
	var b strings.Builder
	for i := range s.Files {
		f := &s.Files[i]
		fmt.Fprintf(&b, "%s: project %s, domain %s, token epoch %d, sealed to key %s\n", f.File, f.Project, f.Domain, f.TokenEpoch, f.HolderKey)
		fmt.Fprintf(&b, "  %s tokens: %s new, %s sealed to a newer key, %s known\n", humanize.Comma(int64(f.Tokens)), humanize.Comma(int64(f.New)), humanize.Comma(int64(f.Replaced)), humanize.Comma(int64(f.Known)))
	}
	if s.DryRun {
		b.WriteString("nothing was taken\n")
	}
	fmt.Fprintf(&b, "%s has an envelope of %s tokens\n", s.Store, humanize.Comma(int64(s.Tokens)))
	_, err := io.WriteString(w, b.String())
	return err
}
