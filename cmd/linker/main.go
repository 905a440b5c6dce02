// Command linker links encoded cohorts. It sees tokens and encodings, never an
// identifier, and holds no key but that of its cluster ids.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
)

func main() { os.Exit(boot.Main(command)) }

func command(env *boot.Environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "linker",
		Short: "Link encoded cohorts and say how sure the links are",
		Long: `linker finds the records of several encoded cohorts that belong to one person:
by equal tokens, and by encoded demographics weighed with a Fellegi-Sunter model
that is fitted without truth. It writes links, clusters, a crosswalk for each party
and a report.`,
		Example: `  linker link north.parquet south.parquet --out run1
  linker evaluate --links run1/links.parquet --truth truth.csv
  linker equity run1 --groups north.groups.parquet south.groups.parquet`,
	}
	root.AddCommand(linkCommand(env), dedupeCommand(env), evaluateCommand(env), equityCommand(env), reportCommand(env), releaseCommand(env), purgeCommand(env), modelCommand(env))
	return root
}
