package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
	"tarn/keys/holder"
)

const replacing = "replacing the custody"

func custodyCommand(env *boot.Environment) *cobra.Command {
	var o holder.Options
	var to holder.Custody
	var old custodyFlags
	var handout, passphraseFile string
	c := &cobra.Command{
		Use: "custody --dir DIR --anchor FILE --to METHOD --handout DIR2", Short: "Replace what unseals: for a share that was lost, or a keeper who left",
		Long: `Give a key holder that is not running new shares, a new passphrase or a new identity,
from any custody to any. It takes what unseals it now, on the terminal or from the files
that --share-file, --passphrase-file and --identity-file name, and is recorded as an
event. What unseals it from now on is written into the handout folder first, and is
nowhere else; with passphrase it is what you type, or the first line of
--new-passphrase-file.

The store is written anew under a new root key, which only the new custody opens.
root.json is replaced in one step: killed at any time, either the old custody opens the
key holder or the new one. Keep the old one until keyholder fsck has taken the new, and
a backup was made: it still opens the backups from before. The keys of domains and
projects stay as they are. Where enough of the old custody may be in wrong hands
together with an old backup, rotate those keys, too (--compromised).`,
		Example: `  keyholder custody --dir /srv/keyholder --anchor /mnt/other/anchor.json --to shares --shares 5 --threshold 3 --handout /media/usb/shares`,
		Args:    cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if o.Dir == "" || o.Anchor == "" || to.Method == "" || handout == "" && to.Method != "passphrase" {
				return fault.New(fault.Usage, replacing, "--dir, --anchor, --to or --handout is missing", "see: keyholder custody --help")
			}
			if to.Method == "passphrase" {
				text, err := newPassphrase(env, passphraseFile)
				if err != nil {
					return err
				}
				to.Passphrase = []byte(text)
				defer clear(to.Passphrase)
				handout = ""
			} else if err := os.Mkdir(handout, 0o700); err != nil {
				return fault.Wrap(fault.Usage, "making the handout folder", err, "name a folder that does not exist with --handout")
			}
			o.Clock, o.Rand, o.Logger, o.Software = env.Wall, env.Rand, env.Logger, boot.Software()
			keep := func(made holder.Handout) error { return keepCustody(handout, made) }
			deployment, err := holder.ReplaceCustody(c.Context(), o, to, old.next(env), keep)
			if err != nil {
				if handout != "" {
					_ = os.Remove(handout) // only where nothing was handed out
				}
				return described(replacing, err)
			}
			where := "the new passphrase"
			if handout != "" {
				where = "what lies in " + handout
			}
			_, err = fmt.Fprintf(env.Stdout, `%s unseals %s from now on; it is custody %s
next: keyholder fsck with it, serve, unseal, and a backup; then what unsealed before, and the backups from before, can go
`, where, o.Dir, deployment)
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&o.Dir, "dir", "", "the key holder's folder")
	flags.StringVar(&o.Anchor, "anchor", "", "the key holder's anchor")
	flags.StringVar(&to.Method, "to", "", "what is to unseal it: shares, passphrase or identity")
	flags.IntVar(&to.Shares, "shares", 5, "how many new shares there are")
	flags.IntVar(&to.Threshold, "threshold", 3, "how many new shares unseal")
	flags.StringVar(&passphraseFile, "new-passphrase-file", "", "a file whose first line is the new passphrase (asked for, twice, if not given)")
	flags.StringVar(&handout, "handout", "", "a folder to make, for the new shares or the new identity")
	old.add(c)
	return c
}

// newPassphrase reads a new passphrase: on a terminal twice, since one that was
// mistyped opens nothing.
func newPassphrase(env *boot.Environment, path string) (string, error) {
	text, err := env.SecretText(path, "new passphrase: ")
	if err != nil || !env.AsksForSecret(path) {
		return text, err
	}
	again, err := env.SecretText(path, "new passphrase, again: ")
	if err == nil && again != text {
		err = fault.New(fault.Usage, "reading the new passphrase", "it was typed differently the second time", "run it again")
	}
	return text, err
}

// keepCustody writes what is handed out such that a power cut does not take it:
// after it nothing else unseals.
func keepCustody(folder string, made holder.Handout) error {
	if folder == "" {
		return nil
	}
	if err := writeCustody(folder, made, "name another folder with --handout"); err != nil {
		return err
	}
	for _, path := range []string{folder, filepath.Dir(filepath.Clean(folder))} {
		opened, err := os.Open(path)
		if err == nil {
			err = errors.Join(opened.Sync(), opened.Close())
		}
		if err != nil {
			return fault.Wrap(fault.Internal, "writing what must be handed out", err, "name another folder with --handout")
		}
	}
	return nil
}
