package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/holder"
	"tarn/keys/servercert"
)

func initCommand(env *boot.Environment) *cobra.Command {
	var o holder.InitOptions
	var handout, passphraseFile string
	c := &cobra.Command{
		Use:   "init --dir DIR --anchor FILE --handout DIR2",
		Short: "Make a new key holder",
		Long: `Make a new key holder: its folder, sealed store, anchor, certificate authority and
server certificate, and one-time codes for its first operators.

What unseals it is written into the handout folder and is nowhere else: with custody
shares a file for each keeper, with identity the identity file. Give each to its
keeper, and keep none here. With custody passphrase it is what you type, or the first
line of --passphrase-file. Operators enrol with their codes within 24 hours, once the
service runs and is unsealed.

The anchor must lie on another disk than the folder, and in its backups: it tells an
older copy of the store from the newest.`,
		Example: `  keyholder init --dir /srv/keyholder --anchor /mnt/other/anchor.json --handout /media/usb/handout \
    --custody shares --shares 5 --threshold 3 --operator ann --operator bob --organisation X26 --host keyholder.example.nhs.uk`,
		Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			for _, flag := range []struct{ name, value string }{{"--dir", o.Dir}, {"--anchor", o.Anchor}, {"--handout", handout}, {"--organisation", o.Organisation}} {
				if flag.value == "" {
					return fault.New(fault.Usage, "making a key holder", flag.name+" is missing", "see: keyholder init --help")
				}
			}
			if o.Custody.Method == "passphrase" {
				text, err := env.SecretText(passphraseFile, "passphrase for the new key holder: ")
				if err != nil {
					return err
				}
				o.Custody.Passphrase = []byte(text)
				defer clear(o.Custody.Passphrase)
			}
			o.Software, o.Clock, o.Rand = boot.Software(), env.Wall, env.Rand
			if err := os.Mkdir(handout, 0o700); err != nil {
				return fault.Wrap(fault.Usage, "making the handout folder", err, "name a folder that does not exist with --handout")
			}
			made, err := holder.Init(c.Context(), o)
			if err != nil {
				return errors.Join(described("making a key holder", err), os.Remove(handout))
			}
			defer clear(made.Identity)
			return writeHandout(env, &o, handout, made)
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Dir, "dir", "", "the key holder's folder, which must be missing or empty")
	flags.StringVar(&o.Anchor, "anchor", "", "the anchor's path, on another disk")
	flags.StringVar(&handout, "handout", "", "a folder to make, for what must be handed out")
	flags.StringVar(&o.Custody.Method, "custody", "shares", "what unseals it: shares, passphrase or identity")
	flags.IntVar(&o.Custody.Shares, "shares", 5, "how many shares there are")
	flags.IntVar(&o.Custody.Threshold, "threshold", 3, "how many shares unseal")
	flags.StringVar(&passphraseFile, "passphrase-file", "", "a file whose first line is the passphrase (asked for if not given)")
	flags.StringVar(&o.Name, "name", "keyholder", "the key holder's name")
	flags.StringVar(&o.Organisation, "organisation", "", "the operators' organisation, as its ODS code")
	flags.StringArrayVar(&o.Operators, "operator", nil, "a first operator; give at least two, each with a flag of its own")
	flags.StringArrayVar(&o.Hosts, "host", nil, "a DNS name or address that clients call it by; may be given several times")
	return c
}

func writeHandout(env *boot.Environment, o *holder.InitOptions, handout string, made *holder.Initialised) error {
	const next = "remove the key holder's folder and the anchor, and begin again: what unseals this key holder is lost"
	if err := writeCustody(handout, made.Handout, next); err != nil {
		return err
	}
	for name, code := range made.Codes {
		if err := handedOutFile(handout, name+".code", code+"\n", next); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(env.Stdout, `key holder %s made in %s; its anchor is %s
%s lies in %s: hand it out, and keep no copy here
next: keyholder serve, keyholder unseal, and each operator: keyholder enrol
`, made.Deployment, o.Dir, o.Anchor, handedOut(made), handout)
	return err
}

func handedOutFile(folder, name, content, next string) error {
	if err := keys.WriteFile(filepath.Join(folder, name), []byte(content)); err != nil {
		return fault.Wrap(fault.Internal, "writing what must be handed out", err, next)
	}
	return nil
}

// writeCustody writes what unseals into the handout folder; next is what to do
// where that fails.
func writeCustody(folder string, made holder.Handout, next string) error {
	if len(made.Identity) > 0 {
		if err := handedOutFile(folder, "identity.txt", string(made.Identity), next); err != nil {
			return err
		}
	}
	for i, share := range made.Shares {
		if err := handedOutFile(folder, fmt.Sprintf("share-%d.txt", i+1), share+"\n", next); err != nil {
			return err
		}
	}
	return nil
}

func handedOut(made *holder.Initialised) string {
	what := "a code for each operator"
	switch {
	case len(made.Shares) > 0:
		return fmt.Sprintf("a share for each of %d keepers, and %s,", len(made.Shares), what)
	case len(made.Identity) > 0:
		return "the identity, and " + what + ","
	}
	return what
}

// custodyFlags are where a command gets what unseals.
type custodyFlags struct {
	shares                 []string
	passphraseFile, idFile string
	given                  int
}

func (f *custodyFlags) add(c *cobra.Command) {
	flags := c.Flags()
	flags.StringArrayVar(&f.shares, "share-file", nil, "a file that holds a share; may be given several times (asked for if not given)")
	flags.StringVar(&f.passphraseFile, "passphrase-file", "", "a file whose first line is the passphrase (asked for if not given)")
	flags.StringVar(&f.idFile, "identity-file", "", "the identity file")
}

// next gives what is asked for next: from a file, or from the terminal.
func (f *custodyFlags) next(env *boot.Environment) holder.Collect {
	return func(status api.SealStatus) (given api.Unseal, err error) {
		switch status.Method {
		case "shares":
			if f.given < len(f.shares) {
				given.Share, err = env.SecretText(f.shares[f.given], "")
			} else if len(f.shares) > 0 {
				return given, fault.New(fault.Usage, "unsealing", fmt.Sprintf("%d shares are needed, and %d were given", status.Threshold, status.Given), "give the others, too: --share-file")
			} else {
				given.Share, err = env.SecretText("", fmt.Sprintf("share %d of the %d needed: ", status.Given+1, status.Threshold))
			}
			f.given++
		case "passphrase":
			given.Passphrase, err = env.SecretText(f.passphraseFile, "passphrase: ")
		default:
			var content []byte
			if f.idFile == "" {
				return given, fault.New(fault.Usage, "unsealing", "--identity-file is missing", "give the identity file that keyholder init wrote")
			}
			content, err = keys.ReadSecret(f.idFile)
			given.Identity = string(content)
			clear(content)
		}
		return given, err
	}
}

func restoreCommand(env *boot.Environment) *cobra.Command {
	var o holder.RestoreOptions
	var custody custodyFlags
	c := &cobra.Command{
		Use:   "restore BACKUP --dir DIR --anchor FILE",
		Short: "Bring a key holder back from a backup",
		Long: `Make a key holder's folder of a backup: BACKUP names NAME.age and NAME.manifest.json.
All of it is verified before anything is written, into a folder that is missing or
empty. The backup is compared with the anchor: an older one is refused unless
--accept-loss says how many changes may be lost.

Keys that were destroyed since stay destroyed, clients that were revoked since stay
revoked. Leases and grants come back as used up, operations that waited as void.`,
		Example: "  keyholder restore backups/keyholder-20261126T090000Z-812 --dir /srv/standby --anchor /mnt/other/anchor.json --host keyholder.example.nhs.uk",
		Args:    oneArgument("backup"),
		RunE: func(c *cobra.Command, args []string) error {
			if o.Dir == "" || o.Anchor == "" {
				return fault.New(fault.Usage, "restoring", "--dir or --anchor is missing", "see: keyholder restore --help")
			}
			info, err := holder.CheckBackup(args[0], o.Anchor)
			if err != nil {
				return err
			}
			fmt.Fprintf(env.Stderr, "backup of %s, %d records, %d changes older than the anchor\n", info.Created, info.Count, info.Behind)
			o.Software, o.Clock, o.Rand = boot.Software(), env.Wall, env.Rand
			restored, err := holder.Restore(c.Context(), info, o, custody.next(env))
			if err != nil {
				return described("restoring", err)
			}
			_, err = fmt.Fprintf(env.Stdout, "restored %d records into %s as generation %d; %d changes lost; %d left out (destroyed keys, and events, which the log of before has)\nnext: keyholder serve, keyholder unseal; it begins a new log, which its witness and auditors must be told: docs/operations.md\n",
				restored.Records, o.Dir, restored.Generation, restored.Lost, restored.LeftOut)
			return err
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "", "the folder to make, which must be missing or empty")
	c.Flags().StringVar(&o.Anchor, "anchor", "", "the key holder's anchor, which is replaced")
	c.Flags().Uint64Var(&o.AcceptLoss, "accept-loss", 0, "so many changes after the backup may be lost")
	c.Flags().StringArrayVar(&o.Hosts, "host", nil, "a DNS name or address that clients call it by; may be given several times")
	custody.add(c)
	return c
}

func fsckCommand(env *boot.Environment) *cobra.Command {
	var o holder.Options
	var custody custodyFlags
	asJSON := false
	c := &cobra.Command{
		Use:   "fsck --dir DIR --anchor FILE",
		Short: "Check a key holder's folder that is not in use",
		Long: `Read every record of a key holder's store, which must not be running, and hold it to
its envelope, its count, the anchor and the other records. Nothing is mended: a store
that is not whole is restored from a backup.`,
		Example: "  keyholder fsck --dir /srv/keyholder --anchor /mnt/other/anchor.json --identity-file identity.txt",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Dir == "" || o.Anchor == "" {
				return fault.New(fault.Usage, "checking a key holder", "--dir or --anchor is missing", "see: keyholder fsck --help")
			}
			o.Clock, o.Rand, o.Logger = env.Wall, env.Rand, env.Logger
			checked, err := holder.Check(c.Context(), o, custody.next(env))
			if err != nil {
				return described("checking a key holder", err)
			}
			if asJSON {
				return env.PrintJSON(checked)
			}
			fmt.Fprintf(env.Stdout, "whole: %d records, generation %d, after %d transactions\n", checked.Records, checked.Generation, checked.Sequence)
			kinds := make([]string, 0, len(checked.Kinds))
			for kind := range checked.Kinds {
				kinds = append(kinds, kind)
			}
			slices.Sort(kinds)
			for _, kind := range kinds {
				if _, err := fmt.Fprintf(env.Stdout, "%8d %s\n", checked.Kinds[kind], kind); err != nil {
					return err
				}
			}
			return nil
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "", "the key holder's folder")
	c.Flags().StringVar(&o.Anchor, "anchor", "", "the key holder's anchor")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	custody.add(c)
	return c
}

func recoverCommand(env *boot.Environment) *cobra.Command {
	var o holder.Options
	var custody custodyFlags
	handout := ""
	c := &cobra.Command{
		Use: "recover --dir DIR --anchor FILE --handout DIR2", Short: "Give all operators new codes when their certificates have ended",
		Long: `Write a new one-time code for every operator that was not revoked, for when no two
operators have a certificate that is good and so nobody can approve anything. It works
on the key holder's folder while it is not running, takes what unseals it, and is
recorded as an event. The codes are good for 24 hours, once the service runs again.`,
		Example: "  keyholder recover --dir /srv/keyholder --anchor /mnt/other/anchor.json --handout /media/usb/codes",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Dir == "" || o.Anchor == "" || handout == "" {
				return fault.New(fault.Usage, "recovering the operators", "--dir, --anchor or --handout is missing", "see: keyholder recover --help")
			}
			if err := os.Mkdir(handout, 0o700); err != nil {
				return fault.Wrap(fault.Usage, "making the handout folder", err, "name a folder that does not exist with --handout")
			}
			o.Clock, o.Rand, o.Logger, o.Software = env.Wall, env.Rand, env.Logger, boot.Software()
			codes, err := holder.Recover(c.Context(), o, custody.next(env))
			if err != nil {
				return errors.Join(described("recovering the operators", err), os.Remove(handout))
			}
			for name, code := range codes {
				if err := keys.WriteFile(filepath.Join(handout, name+".code"), []byte(code+"\n")); err != nil {
					return fault.Wrap(fault.Internal, "writing the codes", err, "run it again with another --handout")
				}
			}
			_, err = fmt.Fprintf(env.Stdout, "codes for %d operators in %s, good for 24 hours; start the service, and each enrols: keyholder enrol\n", len(codes), handout)
			return err
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "", "the key holder's folder")
	c.Flags().StringVar(&o.Anchor, "anchor", "", "the key holder's anchor")
	c.Flags().StringVar(&handout, "handout", "", "a folder to make, for the codes")
	custody.add(c)
	return c
}

func certificateCommand(env *boot.Environment) *cobra.Command {
	var o holder.Options
	var custody custodyFlags
	var hosts []string
	c := &cobra.Command{
		Use: "certificate --dir DIR --anchor FILE --host NAME", Short: "Make a new certificate for the server",
		Long: `Make a new key and certificate for the server, server.key and server.pem in the key
holder's folder, for a year. It works while the service is not running, and takes what
unseals. Clients notice nothing: they trust the authority.`,
		Example: "  keyholder certificate --dir /srv/keyholder --anchor /mnt/other/anchor.json --host keyholder.example.nhs.uk",
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Dir == "" || o.Anchor == "" || len(hosts) == 0 {
				return fault.New(fault.Usage, "making the server's certificate", "--dir, --anchor or --host is missing", "see: keyholder certificate --help")
			}
			o.Clock, o.Rand, o.Logger, o.Software = env.Wall, env.Rand, env.Logger, boot.Software()
			if err := holder.RenewServer(c.Context(), o, hosts, custody.next(env)); err != nil {
				return described("making the server's certificate", err)
			}
			path := filepath.Join(o.Dir, holder.ServerCertFile)
			_, err := fmt.Fprintf(env.Stdout, "new certificate %s, until %s\n", path, servercert.End(path).Format(time.DateOnly))
			return err
		},
	}
	c.Flags().StringVar(&o.Dir, "dir", "", "the key holder's folder")
	c.Flags().StringVar(&o.Anchor, "anchor", "", "the key holder's anchor")
	c.Flags().StringArrayVar(&hosts, "host", nil, "a DNS name or address that clients call it by; may be given several times")
	custody.add(c)
	return c
}
