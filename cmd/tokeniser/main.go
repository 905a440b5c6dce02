// Command tokeniser runs inside the region that holds the data: it turns
// tables of people into encoded cohorts. Identifiers are in its memory and
// nowhere else.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
)

func main() { os.Exit(boot.Main(command)) }

func command(env *boot.Environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "tokeniser",
		Short: "Turn tables of people into tokens and encodings that can be linked without being read",
		Long: `tokeniser runs inside the region that already holds the data. It reads a table of
people (CSV, NDJSON or Parquet), makes a token of each NHS number and Bloom-filter
encodings of the demographics, and writes an encoded cohort that a linker can
link. Identifiers never reach a cohort, a log or an error message. For other tables,
column replaces the NHS numbers in one column by tokens and leaves all else.

serve is the same as a service: pipelines send rows over mutual TLS, and get each answered
at once (docs/tokenise-quickstart.md: first tokens in ten minutes).`,
		Example: `  tokeniser keys new --project project.json
  tokeniser enrol --keyholder https://keyholder.example.nhs.uk:8443 --code-file north.code --out credentials
  tokeniser profile --in people.csv --write-map people.map.toml
  tokeniser run --project project.json --key-file keys.json --in north.csv --out north.parquet --confirm-map
  tokeniser column --project project.json --key-file keys.json --in visits.csv --column nhs_number --out visits.tokens.csv
  tokeniser certificates --out tls --client etl
  tokeniser serve --config tokeniser.toml`,
	}
	root.AddCommand(serveCommand(env), healthCommand(env), certificatesCommand(env), runCommand(env), columnCommand(env), rotateCommand(env), convertCommand(env), recipientCommand(env), receiveCommand(env), escrowCommand(env), profileCommand(env), keysCommand(env), encodingCommand(env),
		relationshipsCommand(env), connection.EnrolCommand(env, "tokeniser"), projectCommand(env))
	return root
}
