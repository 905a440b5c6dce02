package main

import (
	"fmt"
	"slices"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/linkage/cohort/outdir"
	"tarn/linkage/purge"
	"tarn/linkage/release"
	"tarn/linkage/result"
)

func releaseCommand(env *boot.Environment) *cobra.Command {
	out := ""
	c := &cobra.Command{
		Use:   "release DIR --out DIR2",
		Short: "Copy a result under new cluster ids, to hand it over",
		Long: `Write a copy of a result that may be handed over: clusters.parquet and a crosswalk
for each party under new cluster ids, which nobody can join with those of the result
or of another release (their key is thrown away); to each party the unique_ids of its
own records that are in a conflict; the report, without any record. Links, tokens and
the linker's state stay behind.`,
		Example: "  linker release run1 --out release-2026-11",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 1 {
				return fault.New(fault.Usage, "linker release", "one result folder is needed", "name the folder that linker link wrote")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				return fault.New(fault.Usage, "linker release", "--out is missing", "name the folder to write")
			}
			folder, err := outdir.Begin(out, isRelease)
			if err != nil {
				return err
			}
			defer folder.Abort()
			if err := release.Make(c.Context(), release.Options{From: args[0], To: folder.Path(), Software: boot.Software(), Clock: env.Clock, Random: env.Rand}); err != nil {
				return err
			}
			if err := folder.Commit(); err != nil {
				return err
			}
			_, err = fmt.Fprintf(env.Stdout, "release in %s, under cluster ids of its own\n", out)
			return err
		},
	}
	c.Flags().StringVar(&out, "out", "", "the folder to write")
	return c
}

// isRelease reports whether a folder is an earlier release: a result without
// its links. A result itself is never written over by one.
func isRelease(folder string) bool {
	summary, err := result.ReadSummary(folder)
	return err == nil && !hasLinks(summary)
}

// withoutPairs says of a release that it has no pairs of records.
func withoutPairs(doing string) error {
	return fault.New(fault.Usage, doing, "it is a release, which holds no pairs of records", "name the result that it was made from, where that still is")
}

func hasLinks(summary *result.Summary) bool {
	return slices.ContainsFunc(summary.Outputs, func(o result.Output) bool { return o.Path == result.LinksFile })
}

func purgeCommand(env *boot.Environment) *cobra.Command {
	var o purge.Options
	asJSON := false
	c := &cobra.Command{
		Use:   "purge DIR [COHORT...]",
		Short: "Delete the encodings behind a result, and record it",
		Long: `Delete the Parquet files of the cohorts that were linked, once the links are
accepted, and record it in DIR/purge.json. Manifests stay: they say what was there and
hold no encoding. The result stays as it is. Where the cohorts were moved since, name
them. Whether the storage keeps anything of deleted files is for its operator to say.`,
		Example: `  linker purge run1 --dry-run
  linker purge run1
  linker purge run1 archive/north.parquet archive/south.parquet`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return fault.New(fault.Usage, "linker purge", "no result folder is named", "name the folder that linker link wrote")
			}
			return nil
		},
		RunE: func(c *cobra.Command, args []string) error {
			o.Result, o.Cohorts, o.Software, o.Clock = args[0], args[1:], boot.Software(), env.Clock
			record, err := purge.Run(c.Context(), o)
			if err != nil {
				return err
			}
			if asJSON {
				return env.PrintJSON(record)
			}
			for _, p := range record.Purged {
				for _, f := range p.Files {
					switch {
					case f.Now:
						fmt.Fprintf(env.Stdout, "%-16s %s deleted (%s)\n", p.SourceDataset, f.Name, humanize.IBytes(uint64(*f.Bytes)))
					case f.Deleted:
						fmt.Fprintf(env.Stdout, "%-16s %s was deleted at %s (%s)\n", p.SourceDataset, f.Name, *f.DeletedAt, humanize.IBytes(uint64(*f.Bytes)))
					case f.Bytes != nil:
						fmt.Fprintf(env.Stdout, "%-16s %s would be deleted (%s)\n", p.SourceDataset, f.Name, humanize.IBytes(uint64(*f.Bytes)))
					default:
						fmt.Fprintf(env.Stdout, "%-16s %s was gone already\n", p.SourceDataset, f.Name)
					}
				}
			}
			return nil
		},
	}
	c.Flags().BoolVar(&o.DryRun, "dry-run", false, "say what would be deleted, and delete nothing")
	c.Flags().BoolVar(&asJSON, "json", false, "print the record as JSON")
	return c
}
