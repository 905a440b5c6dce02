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
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/column"
	"tarn/tokenise/source"
)

// seedSuffix ends the name of the file from which a rotation's or conversion's blinds follow, beside the
// table that it writes.
const seedSuffix = ".transfer"

func rotateCommand(env *boot.Environment) *cobra.Command {
	t := transfer{to: "project"}
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
		RunE: func(c *cobra.Command, _ []string) error {
			return t.run(c, env, func(to *client.Client, seed secret.Key) (*client.Transfer, error) {
				return client.NewRotation(to, t.o.From, t.o.Project, seed)
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
		Long: `Make the tokens in one column of a table those of another domain, within one controller
and under a grant that the key holder's operators gave (keyholder grant add --kind
convert), without the numbers: as with tokeniser rotate, every proof is verified, and
all else in the table stays as it is. Whoever has both tables can join the domains: the
grant says so, and counts the rows.

--grant is the grant's name, or a file with its record (keyholder grant list --json);
--from is the record of a project of the domain of the tokens, --to that of one of the
domain that they become tokens of.`,
		Example: `  tokeniser convert --grant registry --from lake.project.json --to registry.project.json --as credentials \
    --in visits.tokens.csv --column nhs_number --out visits.registry.csv`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			name, err := grantName(grant)
			if err != nil {
				return err
			}
			return t.run(c, env, func(to *client.Client, seed secret.Key) (*client.Transfer, error) {
				return client.NewConversion(to, name, t.o.From, t.o.Project, seed)
			})
		},
	}
	c.Flags().StringVar(&grant, "grant", "", "the grant's name, or a file with its record")
	t.add(c, "project.json of a project of the domain of the tokens", "project.json of one of the domain that they become tokens of")
	return c
}

// grantName returns the name of a grant that is named, or whose record a file holds.
func grantName(given string) (string, error) {
	const doing, next = "reading the grant", "give its name, or a file with its record: keyholder grant list --json"
	if keys.ValidName(given) {
		return given, nil
	}
	if given == "" {
		return "", fault.New(fault.Usage, "tokeniser convert", "--grant is missing", next)
	}
	b, err := os.ReadFile(given)
	if err != nil {
		return "", fault.Wrap(fault.Usage, doing, err, next)
	}
	var g api.Grant
	if err := keys.DecodeStrict(b, &g); err != nil || g.Kind != api.GrantConvert || !keys.ValidName(g.Name) {
		return "", fault.New(fault.Usage, doing, given+" holds no grant to convert", next)
	}
	return g.Name, nil
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
	flags.StringVar(&t.table.in, "in", "", "the table: CSV, NDJSON or Parquet, plain or compressed with gzip or zstd")
	flags.StringVar(&t.table.delimiter, "delimiter", "", `what divides CSV fields; "tab" for a tab (found if not given)`)
	flags.StringVar(&t.table.encoding, "encoding", source.EncodingAuto, "character encoding: auto, utf-8, utf-16le, utf-16be, windows-1252 or iso-8859-1")
	flags.BoolVar(&t.table.noHeader, "no-header", false, "the CSV has no header; columns are column_1, column_2, ..")
	flags.StringVar(&t.o.Column, "column", "", "the column of tokens")
	flags.StringVar(&t.o.Out, "out", "", "the table to write")
	flags.StringVar(&t.o.Invalid, "invalid", column.InvalidError, "what becomes of cells that hold no token of the epoch: null (they are emptied) or error (no table is written)")
	flags.StringVar(&t.o.Quarantine, "quarantine", "", "leave out rows that cannot be read, and write them and emptied cells here as row,unique_id,field,code")
	flags.IntVar(&t.o.Threads, "threads", runtime.NumCPU(), "cores to use")
	flags.BoolVar(&t.asJSON, "json", false, "print the summary as JSON")
}

// run brings a table's tokens to where begin says.
func (t *transfer) run(c *cobra.Command, env *boot.Environment, begin func(*client.Client, secret.Key) (*client.Transfer, error)) (err error) {
	o := &t.o
	for _, flag := range []struct {
		name    string
		missing bool
	}{{"--from", t.from == ""}, {"--" + t.to, t.at == ""}, {"--in", t.table.in == ""}, {"--column", o.Column == ""}, {"--out", o.Out == "" || o.Out == "-"}} {
		if flag.missing {
			return fault.New(fault.Usage, c.CommandPath(), flag.name+" is missing", "see: "+c.CommandPath()+" --help")
		}
	}
	if o.Source, err = t.table.options(env.Stdin); err != nil {
		return err
	}
	if o.From, err = keys.ReadProject(t.from); err != nil {
		return err
	}
	if o.Project, err = keys.ReadProject(t.at); err != nil {
		return err
	}
	o.In, o.Stdout, o.Wall = t.table.in, env.Stdout, env.Wall
	// The project's other keys are not used.
	o.Keys = &keys.KeyFile{Project: o.Project.Name, Domain: o.Project.Domain, Scheme: o.Project.Scheme}
	return t.as.With(env, func(to *client.Client) error {
		seed, err := transferSeed(env, o.Out+seedSuffix)
		if err != nil {
			return err
		}
		defer seed.Destroy()
		moving, err := begin(to, seed)
		if err != nil {
			return errors.Join(err, os.Remove(o.Out+seedSuffix))
		}
		o.Rotate = moving.Tokens
		if err := replaceColumn(c.Context(), env, o, t.asJSON); err != nil {
			return err
		}
		return os.Remove(o.Out + seedSuffix)
	})
}

// transferSeed returns the seed of a run that was interrupted, or a new one.
func transferSeed(env *boot.Environment, path string) (seed secret.Key, err error) {
	const doing = "reading what an interrupted run has left"
	b, err := keys.ReadSecret(path)
	if err == nil {
		defer clear(b)
		if seed, err = keys.ParseKey(string(b)); err != nil {
			return seed, fault.New(fault.Usage, doing, path+" is damaged", "remove it: the run then begins anew, and is charged again")
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
