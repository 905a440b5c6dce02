package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/tokenise/encode"
)

// legacyPreset is the name under which people look for the encodings of
// clkhash.
const legacyPreset = "clkhash-3"

const legacyText = `clkhash-3 is not a profile. It makes the encodings of clkhash, bit for bit, from a
linkage schema (version 3) of your own, for those who link with anonlink today:

  tokeniser run --schema schema.json --secret-file secret.txt --in people.csv --format clks.json --out people.clks.json

The columns of the table are the features of the schema; no map and no project are
needed. It is legacy: one filter for a whole record, no key by date of birth, no
diffusion and no pad, so whoever knows some thousands of the people can find the
others. For new linkages use ` + encode.DefaultPreset + `.
`

func encodingCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{
		Use:   "encoding",
		Short: "Encoding profiles: presets and files of your own",
		Long: `A profile says how demographics become encodings: which fields, how they are
normalised and cut into tokens, filter sizes, keys and hardening. A project names a
preset, or a profile file, whose path is relative to the project file. Its digest is
its identity: only cohorts of the same digest can be linked. All about it:
docs/encoding.md; for editors that know JSON Schema: docs/schemas.`,
		Example: `  tokeniser encoding list
  tokeniser encoding show nhs-field-1 > hospital.profile.json
  tokeniser encoding check hospital.profile.json`,
	}
	c.AddCommand(encodingListCommand(env), encodingShowCommand(env), encodingCheckCommand(env))
	return c
}

func encodingListCommand(env *boot.Environment) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the presets",
		Args:  cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			for i, name := range encode.PresetNames() {
				p, err := encode.LoadProfile(name, "")
				if err != nil {
					return err
				}
				if i == 0 {
					name += " (the default)"
				}
				fmt.Fprintf(env.Stdout, "%s\n  %s\n  digest %s\n", name, p.Title, p.DigestText())
			}
			fmt.Fprintf(env.Stdout, "%s (legacy; no profile)\n  a linkage schema of clkhash, bit for bit; see tokeniser encoding show %s\n", legacyPreset, legacyPreset)
			return nil
		},
	}
}

func encodingShowCommand(env *boot.Environment) *cobra.Command {
	return &cobra.Command{
		Use:       "show PRESET",
		Short:     "Print a preset, to read or to begin a profile file of your own",
		Example:   "  tokeniser encoding show nhs-field-1 > hospital.profile.json",
		Args:      cobra.ExactArgs(1),
		ValidArgs: append(encode.PresetNames(), legacyPreset),
		RunE: func(_ *cobra.Command, args []string) error {
			b, ok := encode.PresetDocument(args[0])
			if args[0] == legacyPreset {
				b, ok = []byte(legacyText), true
			}
			if !ok {
				return fault.New(fault.Usage, "showing a preset", "there is no preset of this name", "the presets are "+presetNames()+", and "+legacyPreset+" is explained")
			}
			_, err := env.Stdout.Write(b)
			return err
		},
	}
}

func presetNames() string { return strings.Join(encode.PresetNames(), " and ") }

func encodingCheckCommand(env *boot.Environment) *cobra.Command {
	asJSON := false
	c := &cobra.Command{
		Use:   "check FILE|PRESET",
		Short: "Check a profile; say what it encodes, what it protects and what is weak",
		Long: `Check a profile file, or a preset, and print its digest, its keys, fields and blocks,
what hides them, and warnings with advice. The first mistake is named, and the exit
code is then 2; warnings leave it 0.`,
		Example: `  tokeniser encoding check hospital.profile.json
  tokeniser encoding check nhs-field-dob-1 --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			p, err := readProfile(args[0])
			if err != nil {
				return err
			}
			d, err := describeProfile(p)
			if err != nil {
				return err
			}
			if !asJSON {
				_, err = env.Stdout.Write(d.text())
				return err
			}
			d.Schema, d.Software, d.Created = "tarn.encoding-check/1", boot.Software(), env.Clock().Format(time.RFC3339)
			return writeJSON(env.Stdout, d)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print it as JSON")
	return c
}

// readProfile reads a preset, or a profile file.
func readProfile(name string) (*encode.Profile, error) {
	doing := "checking the encoding profile " + name
	document, ok := encode.PresetDocument(name)
	if !ok {
		var err error
		document, err = os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && name == legacyPreset {
			return nil, fault.New(fault.Usage, doing, "it is no profile but a linkage schema of your own", "tokeniser encoding show "+legacyPreset+" explains it")
		}
		if err != nil {
			return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a profile file, or a preset: "+presetNames())
		}
	}
	p, err := encode.ParseProfile(document)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "correct it; tokeniser encoding show "+encode.DefaultPreset+" prints an example, docs/encoding.md says what each member means")
	}
	return p, nil
}
