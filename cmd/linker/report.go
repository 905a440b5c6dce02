package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/linkage/report"
	"tarn/linkage/result"
)

func reportCommand(env *boot.Environment) *cobra.Command {
	var options report.Options
	var pairs []string
	c := &cobra.Command{
		Use:   "report DIR",
		Short: "Draw the report of a result anew",
		Long: `Draw DIR/report.html anew from the files of the result: after an update of linker,
or to see single pairs. Without --row-level the report holds no record, and small
counts are hidden; with it, it shows pairs of records with their ids, and is
row-level data.`,
		Example: `  linker report run1
  linker report run1 --row-level
  linker report run1 --row-level --pair 3f2c9a,77b0d1`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "linker report", "one result folder is needed", "name the folder that linker link wrote")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			for _, pair := range pairs {
				left, right, ok := strings.Cut(pair, ",")
				if !ok || left == "" || right == "" {
					return fault.New(fault.Usage, "reading --pair", "it is not two ids with a comma between them", "give unique_id_l,unique_id_r of a row of links.parquet")
				}
				options.Pairs = append(options.Pairs, [2]string{left, right})
			}
			if options.RowLevel && isRelease(args[0]) {
				return withoutPairs("drawing the report of " + args[0])
			}
			if err := report.Redraw(c.Context(), args[0], options); err != nil {
				return err
			}
			fmt.Fprintf(env.Stdout, "drawn: %s\n", filepath.Join(args[0], result.ReportFile))
			return nil
		},
	}
	c.Flags().BoolVar(&options.RowLevel, "row-level", false, "show single pairs of records; the report is then row-level data")
	c.Flags().StringArrayVar(&pairs, "pair", nil, "unique_id_l,unique_id_r of a pair to show, with --row-level (repeatable; default: a choice)")
	return c
}
