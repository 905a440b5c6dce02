// Command auditor verifies the key holder's log, reports what is in it, and
// witnesses it. It holds no key but a witness's own, and reads no data set.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
)

func main() { os.Exit(boot.Main(command)) }

func command(env *boot.Environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "auditor",
		Short: "Verify the log of who used which key, report on it, and witness it",
		Long: `auditor is for those who check the key holder: information governance, auditors, and
the organisation that runs a witness. The key holder's log is a Merkle tree, signed:
nothing in it can be changed, removed, put in or moved without that showing. auditor
needs no connection to the key holder: a copy of the log's folder is enough.`,
		Example: `  auditor verify /srv/keyholder/log/1
  auditor report /srv/keyholder/log/1 --month 2026-11
  auditor export /srv/keyholder/log/1 --format fhir --out log.ndjson
  auditor witness --config witness.toml`,
	}
	root.AddCommand(verifyCommand(env), reportCommand(env), exportCommand(env), receiptCommand(env), witnessCommand(env))
	return root
}
