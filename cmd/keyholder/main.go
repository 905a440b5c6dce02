// Command keyholder holds the keys that nobody else has. It is another
// organisation's service: it makes keys, leases them under rules, and records
// what was done with them. It sees no data set.
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
		Use:   "keyholder",
		Short: "Hold the keys of pseudonymisation, and lease them under rules",
		Long: `keyholder holds the keys with which regions make tokens and encodings, for all of
them and apart from all of them. It starts sealed: nothing is answered until its
operators have unsealed it. Every change needs two operators.

init, restore, fsck, recover, custody and certificate work on the key holder's folder; serve is the
service. All other commands call the running service with an operator's certificate,
which enrol gets for a one-time code: name its folder with --as. Only reid calls as a
person who has signed in; policy check and methods call nobody.`,
		Example: `  keyholder init --dir /srv/keyholder --anchor /mnt/other/anchor.json --custody shares --shares 5 --threshold 3 \
    --operator ann --operator bob --organisation X26 --host keyholder.example.nhs.uk --handout /media/usb/handout
  keyholder serve --config keyholder.toml
  keyholder unseal --keyholder https://keyholder.example.nhs.uk:8443 --ca ca.pem --share-file share-1.txt
  keyholder enrol --keyholder https://keyholder.example.nhs.uk:8443 --code-file ann.code --out ann
  keyholder domain add lake --as ann
  keyholder approvals list --as bob`,
	}
	root.AddCommand(
		initCommand(env), serveCommand(env), unsealCommand(env), statusCommand(env), healthCommand(env), restoreCommand(env), fsckCommand(env), recoverCommand(env), custodyCommand(env), certificateCommand(env), connection.EnrolCommand(env, "keyholder"),
		domainCommand(env), projectCommand(env), clientCommand(env), grantCommand(env), budgetCommand(env), keyCommand(env), backupCommand(env),
		approvalsCommand(env), eventsCommand(env), methodsCommand(env), policyCommand(env), reidCommand(env),
	)
	return root
}
