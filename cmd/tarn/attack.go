package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tarn/bench/attack"
	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/tokenise/encode"
)

func attackCommand(env *boot.Environment) *cobra.Command {
	o := attack.Options{}
	var profile, scale string
	var asJSON bool
	c := &cobra.Command{
		Use:   "attack",
		Short: "Attack encodings of a profile, as somebody would who has no key",
		Long: `Encode synthetic people with a profile, and try to find out who they are: with a key that
leaked; by recovering the diffusion table; by learning from known pairs; inside one date
of birth, with the register of everybody born on it; by aligning frequencies of names.
Each attack is also run against an encoding that must fall to it. The exit code is 0 when
every limit holds and every attack breaks what it must break, else 4; the figures are
printed in any case. docs/privacy-audit.md explains them.

--profile takes a preset or the path of a profile file. small takes two minutes of
processor time and registers of half a date; full several times that, whole registers and
more dates. The same seed gives the same figures.`,
		Example: `  tarn attack --profile nhs-field-dob-1
  tarn attack --profile my.profile.json --scale full --json > audit.json`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if scale != attack.ScaleSmall && scale != attack.ScaleFull {
				return fault.New(fault.Usage, "tarn attack", "--scale is neither small nor full", "small ends within two minutes")
			}
			p, err := encode.LoadProfile(profile, ".")
			if err != nil {
				return err
			}
			o.Profile, o.Full, o.Software, o.Clock = p, scale == attack.ScaleFull, boot.Software(), env.Wall
			o.Progress = func(what string) { fmt.Fprintf(env.Stderr, "attack/%s\n", what) }
			d, err := attack.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				err = env.PrintJSON(d)
			} else {
				err = d.WriteText(env.Stdout)
			}
			if err != nil {
				return fault.Wrap(fault.Internal, "writing what was found", err, "")
			}
			return d.Verdict()
		},
	}
	flags := c.Flags()
	flags.StringVar(&profile, "profile", encode.DefaultPreset, "a preset, or the path of a profile file")
	flags.StringVar(&scale, "scale", attack.ScaleSmall, "small or full")
	flags.Uint64Var(&o.Seed, "seed", attack.DefaultSeed, "what people and keys follow from")
	flags.StringVar(&o.NamesDir, "tables", "", "folder with larger frequency tables: firstname_uk.csv, lastname_uk.csv, address_uk.csv")
	flags.BoolVar(&asJSON, "json", false, "print a document of "+attack.Schema)
	return c
}
