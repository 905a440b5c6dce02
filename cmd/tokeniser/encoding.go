package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/tokenise/encode"
)

func encodingCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{Use: "encoding", Short: "Encoding profiles: presets and files of your own"}
	c.AddCommand(encodingCheckCommand(env), encodingShowCommand(env))
	return c
}

func encodingCheckCommand(env *boot.Environment) *cobra.Command {
	return &cobra.Command{
		Use:     "check FILE",
		Short:   "Check a profile file and print its digest, which is its identity",
		Example: "  tokeniser encoding check hospital.profile.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			doing := "checking the encoding profile " + args[0]
			b, err := os.ReadFile(args[0])
			if err != nil {
				return fault.Wrap(fault.Usage, doing, err, "give the path of a profile file")
			}
			p, err := encode.ParseProfile(b)
			if err != nil {
				return fault.Wrap(fault.Usage, doing, err, "correct it; tokeniser encoding show "+encode.DefaultPreset+" prints an example")
			}
			fmt.Fprintf(env.Stdout, "%s is a profile that this version can use\n  digest  %s\n  inputs  %s\n", p.Name, p.DigestText(), strings.Join(p.Inputs(), ", "))
			for _, f := range p.Encoding.Fields {
				kind := "tag, compared as equal or not"
				if !f.Tag() {
					kind = fmt.Sprintf("%d-bit filter, %d hashes, of %s", f.Bits, f.Hashes, f.Tokens)
				}
				fmt.Fprintf(env.Stdout, "  %-7s %s: %s\n", "field", f.Name, kind)
			}
			if p.Encoding.RecordKey == encode.KeyedByProject {
				fmt.Fprintln(env.Stdout, "note: records are keyed by project only, so from enough rows the encoding can be recovered; key by date_of_birth where dates are good")
			}
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
		ValidArgs: encode.PresetNames(),
		RunE: func(_ *cobra.Command, args []string) error {
			b, ok := encode.PresetDocument(args[0])
			if !ok {
				return fault.New(fault.Usage, "showing a preset", "there is no preset of this name", "the presets are "+strings.Join(encode.PresetNames(), ", "))
			}
			_, err := env.Stdout.Write(b)
			return err
		},
	}
}
