package main

import (
	"errors"
	"io/fs"
	"os"
	"runtime"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/column"
	"tarn/tokenise/source"
)

// seedSuffix ends the name of the file from which a rotation's blinds follow, beside the
// table that it writes.
const seedSuffix = ".rotation"

func rotateCommand(env *boot.Environment) *cobra.Command {
	var o column.Options
	var table tableFlags
	var as connection.Flags
	var from, project string
	asJSON := false
	c := &cobra.Command{
		Use:   "rotate",
		Short: "Bring the tokens of a table to the current epoch of their domain",
		Long: `Bring the tokens in one column of a table from an epoch whose key was replaced to the
current one, without the numbers: the key holder multiplies what it cannot see, and
proves for every batch with which keys; each proof is verified. All else in the table
stays as it is, as with tokeniser column. Only tokens of scheme oblivious can be
rotated.

--from is the project's record from before the key was rotated (keyholder key rotate),
--project the one of now. A run that was interrupted is run again: until it is done a
file beside the output, ` + seedSuffix + `, lets the same batches be sent again, which
are then charged once.`,
		Example: `  tokeniser project study --as credentials --out project.json
  tokeniser rotate --from project.old.json --project project.json --as credentials --in visits.tokens.csv --column nhs_number --out visits.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) (err error) {
			for _, flag := range []struct {
				name    string
				missing bool
			}{{"--from", from == ""}, {"--project", project == ""}, {"--in", table.in == ""}, {"--column", o.Column == ""}, {"--out", o.Out == "" || o.Out == "-"}} {
				if flag.missing {
					return fault.New(fault.Usage, "tokeniser rotate", flag.name+" is missing", "see: tokeniser rotate --help")
				}
			}
			if o.Source, err = table.options(env.Stdin); err != nil {
				return err
			}
			if o.From, err = keys.ReadProject(from); err != nil {
				return err
			}
			if o.Project, err = keys.ReadProject(project); err != nil {
				return err
			}
			o.In, o.Stdout, o.Wall = table.in, env.Stdout, env.Wall
			// The project's other keys are not used.
			o.Keys = &keys.KeyFile{Project: o.Project.Name, Domain: o.Project.Domain, Scheme: o.Project.Scheme}
			return as.With(env, func(to *client.Client) error {
				seed, err := rotationSeed(env, o.Out+seedSuffix)
				if err != nil {
					return err
				}
				defer seed.Destroy()
				rotation, err := client.NewRotation(to, o.From, o.Project, seed)
				if err != nil {
					return err
				}
				o.Rotate = rotation.Tokens
				if err := replaceColumn(c.Context(), env, &o, asJSON); err != nil {
					return err
				}
				return os.Remove(o.Out + seedSuffix)
			})
		},
	}
	flags := c.Flags()
	flags.StringVar(&from, "from", "", "project.json from before the key was rotated")
	flags.StringVar(&project, "project", "", "project.json as it is now")
	as.Add(flags)
	flags.StringVar(&table.in, "in", "", "the table: CSV, NDJSON or Parquet, plain or compressed with gzip or zstd")
	flags.StringVar(&table.delimiter, "delimiter", "", `what divides CSV fields; "tab" for a tab (found if not given)`)
	flags.StringVar(&table.encoding, "encoding", source.EncodingAuto, "character encoding: auto, utf-8, utf-16le, utf-16be, windows-1252 or iso-8859-1")
	flags.BoolVar(&table.noHeader, "no-header", false, "the CSV has no header; columns are column_1, column_2, ..")
	flags.StringVar(&o.Column, "column", "", "the column of tokens")
	flags.StringVar(&o.Out, "out", "", "the table to write")
	flags.StringVar(&o.Invalid, "invalid", column.InvalidError, "what becomes of cells that hold no token of the epoch: null (they are emptied) or error (no table is written)")
	flags.StringVar(&o.Quarantine, "quarantine", "", "leave out rows that cannot be read, and write them and emptied cells here as row,unique_id,field,code")
	flags.IntVar(&o.Threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&asJSON, "json", false, "print the summary as JSON")
	return c
}

// rotationSeed returns the seed of a rotation that was interrupted, or a new one.
func rotationSeed(env *boot.Environment, path string) (seed secret.Key, err error) {
	const doing = "reading what an interrupted rotation has left"
	b, err := keys.ReadSecret(path)
	if err == nil {
		defer clear(b)
		if seed, err = keys.ParseKey(string(b)); err != nil {
			return seed, fault.New(fault.Usage, doing, path+" is damaged", "remove it: the rotation then begins anew, and is charged again")
		}
		return seed, nil
	}
	if _, there := os.Lstat(path); !errors.Is(there, fs.ErrNotExist) {
		return seed, err
	}
	if seed, err = secret.Generate(env.Rand); err != nil {
		return seed, err
	}
	if err := keys.WriteFile(path, []byte(keys.HexKey(seed))); err != nil {
		return seed, fault.Wrap(fault.Internal, "writing "+path, err, "give --out a folder that can be written")
	}
	return seed, nil
}
