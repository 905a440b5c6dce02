package main

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/encode"
)

func keysCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{Use: "keys", Short: "Keys for work without a key holder"}
	c.AddCommand(keysNewCommand(env))
	return c
}

func keysNewCommand(env *boot.Environment) *cobra.Command {
	var project, out string
	c := &cobra.Command{
		Use:   "new",
		Short: "Make the keys of a project, from the operating system's random numbers",
		Long: `Make keys.json for a project that has no key holder. Every party must get the same
file, by a channel that nobody else can read; whoever holds it can open the
project's tokens and encodings.

The key check values are printed. Put them into project.json (keys.token_kcv and
keys.encoding_kcv), so that a party with other keys is told before it encodes.

A project that names key check values already has its keys, and new ones would not
be those: it is refused. Get the key file from a party that has it, or from its
backup. To give the project new keys on purpose, agree it with every party, set both
check values to null, raise the epochs, and run this again.`,
		Example: "  tokeniser keys new --project project.json --out keys.json",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			if project == "" {
				return fault.New(fault.Usage, "making keys", "--project is missing", "give the project.json that the keys are for")
			}
			p, err := keys.ReadProject(project)
			if err != nil {
				return err
			}
			if err := p.CheckCurrent(env.Wall()); err != nil {
				return err
			}
			if p.Keys.TokenKCV != nil || p.Keys.EncodingKCV != nil {
				return fault.New(fault.Usage, "making keys for project "+p.Name, "the project file names key check values already, so its keys exist and new ones would not be those",
					"get the key file from a party that has it, or from its backup; to replace the keys on purpose, agree it with every party, "+
						"set keys.token_kcv and keys.encoding_kcv to null, raise the epochs, and run this again")
			}
			profile, err := encode.LoadProfile(p.Profile, filepath.Dir(project))
			if err != nil {
				return err
			}
			k, err := keys.GenerateKeyFile(p, env.Rand)
			if err != nil {
				return fault.Wrap(fault.Internal, "making keys", err, "")
			}
			if out == "" {
				out = filepath.Join(filepath.Dir(project), "keys.json")
			}
			encoder, err := encode.NewEncoder(profile, k.EncodingKey, p.Name, p.Keys.EncodingEpoch)
			if err != nil {
				return fault.Wrap(fault.Internal, "computing the key check value", err, "")
			}
			encodingKCV, err := encoder.KeyCheckValue()
			if err != nil {
				return fault.Wrap(fault.Internal, "computing the key check value", err, "")
			}
			if err := k.Write(out, boot.Software(), env.Clock().Format(time.RFC3339), false); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "keys of project %s: %s (only its owner can read it; keep a backup that nobody else can read)\n"+
				"put into %s:\n  \"token_kcv\": %q,\n  \"encoding_kcv\": %q\n", p.Name, out, project, keys.TokenKCV(k.TokenDeriver(p.Keys.TokenEpoch)), encodingKCV)
			return err
		},
	}
	c.Flags().StringVar(&project, "project", "", "project.json")
	c.Flags().StringVar(&out, "out", "", "the key file to make (keys.json beside the project file)")
	return c
}
