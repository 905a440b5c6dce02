package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/linkage/equity"
)

func equityCommand(env *boot.Environment) *cobra.Command {
	var groups []string
	c := &cobra.Command{
		Use:   "equity DIR",
		Short: "Add link rates by group of people to a result",
		Long: `Measure how evenly records were linked: link rates by group and party, with
intervals and the widest gap, into DIR/summary.json and DIR/report.html. It reads
links and groups, never encodings. Small groups are not shown.`,
		Example: "  linker equity run1 --groups north.groups.parquet south.groups.parquet",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Usage, "linker equity", "no result folder is named", "name the folder that linker link wrote")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			// A shell expands --groups *.parquet into further arguments.
			files := append(append([]string{}, groups...), args[1:]...)
			if len(files) == 0 {
				return fault.New(fault.Usage, "linker equity", "--groups is missing", "name the groups.parquet of every party")
			}
			e, err := equity.Measure(c.Context(), args[0], files)
			if err != nil {
				return err
			}
			if err := equity.Apply(args[0], e); err != nil {
				return err
			}
			for _, d := range e.Dimensions {
				gap := "too few groups can be shown"
				if d.MaxGap != nil {
					gap = fmt.Sprintf("widest gap in link rate %.1f points", 100**d.MaxGap)
				}
				fmt.Fprintf(env.Stdout, "%-24s %s\n", d.Name, gap)
			}
			return nil
		},
	}
	c.Flags().StringSliceVar(&groups, "groups", nil, "groups.parquet of each party")
	return c
}
