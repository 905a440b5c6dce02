package main

import (
	"fmt"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/bench/truth"
	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
)

func truthCommand(env *boot.Environment) *cobra.Command {
	var in, out string
	var crosswalks []string
	c := &cobra.Command{
		Use:   "truth",
		Short: "Turn truth on source ids into truth on minted ids",
		Long: `Turn truth on source ids (pairs or clusters, as linker evaluate reads them) into truth
on the minted unique_ids of encoded cohorts. Rows with a record that is in no crosswalk
are dropped and counted: the record was refused, or not encoded.

Crosswalks never leave their region: this is for tests, where one hand holds all sides.`,
		Example: "  tarn truth --truth truth.csv --crosswalk north.crosswalk.parquet south.crosswalk.parquet --out minted.csv",
		RunE: func(c *cobra.Command, args []string) error {
			// A shell expands --crosswalk *.parquet into further arguments.
			files := append(append([]string{}, crosswalks...), args...)
			for _, flag := range []struct {
				name    string
				missing bool
			}{{"--truth", in == ""}, {"--crosswalk", len(files) == 0}, {"--out", out == ""}} {
				if flag.missing {
					return fault.New(fault.Usage, "tarn truth", flag.name+" is missing", "see: tarn truth --help")
				}
			}
			counts, err := truth.Mint(c.Context(), in, files, out)
			if err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "%s rows of truth on minted ids in %s; %s dropped, because a record is in no crosswalk\n",
				humanize.Comma(counts.Rows), out, humanize.Comma(counts.Dropped))
			return err
		},
	}
	c.Flags().StringVar(&in, "truth", "", "truth on source ids, CSV")
	c.Flags().StringSliceVar(&crosswalks, "crosswalk", nil, "crosswalk.parquet of every party")
	c.Flags().StringVar(&out, "out", "", "the file to write")
	return c
}
