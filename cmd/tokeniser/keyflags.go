package main

import (
	"context"
	"path/filepath"

	"github.com/spf13/pflag"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/tokenise/lease"
)

const keysHelp = `The project's keys come from --key-file, or from a key holder: enrol once with the code
that its operators give you, then name the credentials with --as (or each file, with
--keyholder, --ca, --cert and --key). The keys are leased for as long as the run takes
and are in memory only. The key holder's record of the project is the one that is used;
where the project file disagrees with it in keys, profile or parties the exit code is 6.
If the key holder stops answering or refuses, the run ends before its leases do, with
exit code 5 or 4.`

// keyFlags say where the keys of a run come from: a key file or a key holder.
type keyFlags struct {
	file string
	as   connection.Flags
}

func (f *keyFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.file, "key-file", "", "keys.json, readable by its owner only")
	f.as.Add(flags)
}

// check refuses flags that name no keys, or two places.
func (f *keyFlags) check(doing, command string) error {
	switch {
	case f.file == "" && !f.as.Given():
		return fault.New(fault.Usage, doing, "neither --key-file nor a key holder is named", "give --key-file, or --as with the folder that tokeniser enrol wrote; see: tokeniser "+command+" --help")
	case f.file != "" && f.as.Given():
		return fault.New(fault.Usage, doing, "both --key-file and a key holder are named", "give one of them")
	}
	return nil
}

// with calls run with what leases keys; with nil where they are in a file.
func (f *keyFlags) with(env *boot.Environment, run func(lease.Open) error) error {
	if !f.as.Given() {
		return run(nil)
	}
	return f.as.With(env, func(c *client.Client) error {
		return run(func(ctx context.Context, project string, rows int64, uses ...api.Use) (context.Context, lease.Session, error) {
			running, session, err := client.Open(ctx, c, env.Wall, project, rows, uses...)
			if err != nil {
				return nil, nil, err // session is nil, and an interface that holds it would not be
			}
			return running, session, nil
		})
	})
}

// stateFolder is where the keys of minted ids are kept if --state does not say.
func stateFolder(project string) string {
	return filepath.Join(filepath.Dir(project), "tokeniser-state")
}
