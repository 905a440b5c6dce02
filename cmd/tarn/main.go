// Command tarn is the workbench: it makes synthetic people, translates truth,
// and runs everything end to end. It sees every side, so it is shipped apart
// from the binaries of the parties and has no place in a deployment.
package main

import (
	"os"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
)

func main() { os.Exit(boot.Main(command)) }

func command(env *boot.Environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "tarn",
		Short: "The workbench: synthetic people, truth, and the run from end to end",
		Long: `tarn is the workbench for those who try Tarn, test it or measure it. It makes
synthetic people with the truth about them and runs the parties' commands one after
another. It sees every side, so it has no place in a deployment.`,
		Example: `  tarn demo --out demo
  tarn synth --people 20000 --parties 2 --seed 7 --errors nhs --encode --out people`,
	}
	root.AddCommand(demoCommand(env), synthCommand(env), truthCommand(env), benchCommand(env), benchPeerCommand(env), tokenCommand(env), attackCommand(env), faultsCommand(env), soakCommand(env))
	return root
}
