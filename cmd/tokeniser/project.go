package main

import (
	"bytes"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/outfile"
)

func projectCommand(env *boot.Environment) *cobra.Command {
	var as connection.Flags
	out := ""
	c := &cobra.Command{
		Use:   "project NAME",
		Short: "Get a project's record from the key holder",
		Long: `Get project.json as the key holder has it: the epochs of its keys, their check values,
its parties and what it is for. run and column are given it with --project; a linker
is, too, to refuse cohorts of an epoch that has ended.`,
		Example: "  tokeniser project study --as credentials --out project.json",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "getting a project's record", "one project is to be named", "see: tokeniser project --help")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			const doing = "getting a project's record"
			earlier := func(start []byte) bool { return bytes.Contains(start, []byte(`"`+keys.ProjectSchema+`"`)) }
			if err := outfile.Check(doing, nil, []outfile.Output{{Flag: "--out", Path: out, Kind: "a project file", Earlier: earlier}}); err != nil {
				return err
			}
			return as.With(env, func(to *client.Client) error {
				project, err := to.Project(c.Context(), args[0])
				if err != nil {
					return err
				}
				if out == "" {
					return env.PrintJSON(project.Record)
				}
				record, err := keys.Encode(project.Record)
				if err != nil {
					return fault.New(fault.Internal, doing, "the record could not be written as JSON", "")
				}
				if err := keys.WriteFile(out, record); err != nil {
					return fault.Wrap(fault.Internal, doing, err, "name a file that can be written with --out")
				}
				return nil
			})
		},
	}
	as.Add(c.Flags())
	c.Flags().StringVar(&out, "out", "", "the file to write (standard output if not given)")
	return c
}
