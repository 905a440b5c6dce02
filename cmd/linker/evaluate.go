package main

import (
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/linkage/evaluate"
	"tarn/linkage/result"
)

func evaluateCommand(env *boot.Environment) *cobra.Command {
	var o evaluate.Options
	asJSON := false
	met := &meetings{}
	groups, cohorts := &fileList{met: met}, &fileList{met: met}
	c := &cobra.Command{
		Use:   "evaluate",
		Short: "Compare links with known truth",
		Long: `Compare links with truth: a CSV of pairs (source_dataset_l, unique_id_l,
source_dataset_r, unique_id_r) or of clusters (source_dataset, unique_id, cluster), on
the minted unique_ids.`,
		Example: `  linker evaluate --links run1/links.parquet --truth truth.csv
  linker evaluate --links run1/links.parquet --truth truth.csv --groups groups.csv --cohorts north.parquet south.parquet`,
		Args: cobra.ArbitraryArgs,
		RunE: func(c *cobra.Command, args []string) error {
			if err := met.takeArguments("linker evaluate", args); err != nil {
				return err
			}
			o.Groups, o.Cohorts = groups.paths, cohorts.paths
			if o.Links == "" || o.Truth == "" {
				return fault.New(fault.Usage, "linker evaluate", "--links or --truth is missing", "see: linker evaluate --help")
			}
			if folder := filepath.Dir(o.Links); filepath.Base(o.Links) == result.LinksFile && isRelease(folder) {
				return withoutPairs("comparing the links of " + folder)
			}
			o.Software, o.Now = boot.Software(), env.Clock()
			e, err := evaluate.Evaluate(c.Context(), o)
			if err != nil {
				return err
			}
			if !asJSON {
				return evaluate.WriteText(env.Stdout, e)
			}
			for _, warning := range e.Warnings {
				fmt.Fprintf(env.Stderr, "warning: %s\n", warning)
			}
			return env.PrintJSON(e)
		},
	}
	c.Flags().StringVar(&o.Links, "links", "", "DIR/links.parquet of a result")
	c.Flags().StringVar(&o.Truth, "truth", "", "truth as CSV")
	met.arguments = c.Flags().NArg
	c.Flags().Var(groups, "groups", "group columns, CSV or Parquet, for recall by group")
	c.Flags().Var(cohorts, "cohorts", "the cohorts that were linked, to count matches that blocking missed")
	c.Flags().BoolVar(&asJSON, "json", false, "print the evaluation as JSON")
	return c
}
