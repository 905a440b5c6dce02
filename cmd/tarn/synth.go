package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"

	"tarn/bench/synth"
	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort/outdir"
	"tarn/tokenise/encode"
)

func synthCommand(env *boot.Environment) *cobra.Command {
	config := synth.Config{Threads: runtime.NumCPU()}
	var out, preset, scheme string
	var record, makeKeys, encoded bool
	c := &cobra.Command{
		Use:   "synth",
		Short: "Make synthetic people as several regions' tables, with the truth",
		Long: `Make people of whom none exists, with the frequencies of UK names, postcodes and dates
of birth, in households, with twins, and their records in several regions, with the
errors that real ones have: more for some groups of people than for others.

DIR gets NAME.csv for each party (north, south, east, west, party5, ..), groups.csv,
truth.csv and synth.json. --project adds project.json, for a key holder; --keys adds
project.json and keys.json; --encode also encodes every party, and truth.csv and
groups.csv then speak of the minted ids. The keys follow from the seed and are marked as
keys for tests. The same seed gives the same bytes.

Error models, on each side: nhs has the NHS number missing in 10% of records and wrong
in .1%, and the error rates of an NHS trust (CRATE) elsewhere; hard has 30%, 1%, wrong
dates of birth in 2% and three times the errors in names; none has no errors. Errors in
names and dates and missing numbers are two or three times as frequent in some groups.
crate has the rates of the trust on every side but the first, which has no errors but
missing and wrong numbers, and the same for all groups.`,
		Example: `  tarn synth --people 20000 --parties 2 --seed 7 --errors nhs --encode --out demo
  linker link demo/north.parquet demo/south.parquet --out run1`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if out == "" {
				return fault.New(fault.Usage, "tarn synth", "--out is missing", "name the folder to write")
			}
			if config.Threads < 1 {
				return fault.New(fault.Usage, "tarn synth", "--threads is below 1", "give the number of cores to use")
			}
			folder, err := outdir.Begin(out, synth.IsOutput)
			if err != nil {
				return err
			}
			defer folder.Abort()
			summary, err := makePeople(c, env, config, folder.Path(), preset, scheme, record, makeKeys, encoded)
			if err != nil {
				return err
			}
			if err := folder.Commit(); err != nil {
				return err
			}
			return writeSynthText(env, out, summary, encoded)
		},
	}
	flags := c.Flags()
	flags.IntVar(&config.People, "people", 20000, "records of each party")
	flags.IntVar(&config.Parties, "parties", 2, "number of parties")
	flags.Uint64Var(&config.Seed, "seed", 1, "what everything follows from")
	flags.StringVar(&config.Errors, "errors", synth.ErrorsNHS, "error model: nhs, crate, hard or none")
	flags.Float64Var(&config.Overlap, "overlap", .5, "share of each party's people whom all parties have")
	flags.BoolVar(&config.NoNumbers, "no-numbers", false, "leave NHS numbers out, of the same people")
	flags.StringVar(&config.NamesDir, "tables", "", "folder with larger frequency tables: firstname_uk.csv, lastname_uk.csv, address_uk.csv")
	flags.StringVar(&out, "out", "", "the folder to write")
	flags.BoolVar(&record, "project", false, "also write project.json without keys, for a key holder")
	flags.StringVar(&scheme, "scheme", keys.SchemeKeyedHash, "how the project's tokens are made: "+strings.Join(keys.Schemes(), ", "))
	flags.BoolVar(&makeKeys, "keys", false, "also write project.json and keys.json")
	flags.BoolVar(&encoded, "encode", false, "also encode every party (implies --keys)")
	flags.StringVar(&preset, "profile", encode.DefaultPreset, "preset of the project: "+strings.Join(encode.PresetNames(), " or "))
	flags.IntVar(&config.Threads, "threads", config.Threads, "cores to use")
	return c
}

func makePeople(c *cobra.Command, env *boot.Environment, config synth.Config, folder, preset, scheme string, record, makeKeys, encoded bool) (*synth.Summary, error) {
	if err := config.Check(); err != nil {
		return nil, err
	}
	switch {
	case !slices.Contains(keys.Schemes(), scheme):
		return nil, fault.New(fault.Usage, "tarn synth", "--scheme is none", "give one of: "+strings.Join(keys.Schemes(), ", "))
	case keys.Evaluated(scheme) && (makeKeys || encoded):
		return nil, fault.New(fault.Usage, "tarn synth", "with scheme "+scheme+" a key holder makes the tokens, and there is no key file", "give --project alone, or --scheme "+keys.SchemeKeyedHash)
	}
	switch {
	case makeKeys || encoded:
		project, err := synth.NewProject(&config, preset)
		if err != nil {
			return nil, err
		}
		if err := project.Write(folder); err != nil {
			return nil, err
		}
		if encoded {
			config.Mint = project.Mint
		}
	case record:
		p := synth.NewRecord(&config, preset)
		p.Scheme = scheme
		if err := synth.WriteRecord(p, folder); err != nil {
			return nil, err
		}
	}
	progress := env.Progress("making people", "rows")
	summary, err := synth.Generate(c.Context(), config, folder, progress.Set)
	progress.Done()
	if err != nil || !encoded {
		return summary, err
	}
	var party string
	err = synth.Encode(c.Context(), folder, summary.Parties, config.Threads, boot.Software(), func(name string, done, total int64) {
		if name != party {
			progress.Done()
			party, progress = name, env.Progress("encoding "+name, "B")
		}
		progress.Set(done, total)
	})
	progress.Done()
	return summary, err
}

func writeSynthText(env *boot.Environment, out string, s *synth.Summary, encoded bool) error {
	what := "records"
	if encoded {
		what = "records, encoded,"
	}
	_, err := fmt.Fprintf(env.Stdout, "%s %s of each of %s in %s; every party has the same %s people, the rest are its own\ntruth: %s\n",
		humanize.Comma(int64(s.Rows)), what, strings.Join(s.Parties, ", "), out, humanize.Comma(int64(s.Shared)), filepath.Join(out, synth.TruthFile))
	if err != nil || !encoded || len(s.Parties) < 2 {
		return err
	}
	var cohorts []string
	for _, party := range s.Parties {
		cohorts = append(cohorts, filepath.Join(out, party+".parquet"))
	}
	_, err = fmt.Fprintf(env.Stdout, "next: linker link %s --out run1\n", strings.Join(cohorts, " "))
	return err
}
