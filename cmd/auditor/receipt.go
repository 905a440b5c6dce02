package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"golang.org/x/mod/sumdb/note"

	"tarn/cmd/internal/boot"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/receipt"
	"tarn/keys/fault"
)

func receiptCommand(env *boot.Environment) *cobra.Command {
	var f keyFlags
	c := &cobra.Command{
		Use:   "receipt FILE --log-key FILE",
		Short: "Check the proof that one entry is in a log",
		Long: `Check a receipt, which keyholder events receipt gives: that its entry is in the log, at
its place, under a checkpoint that the key holder has signed, and the witnesses whose keys
are given. No log is needed. - is standard input.`,
		Example: "  auditor receipt receipt.json --log-key keyholder.vkey --witness-key witness.vkey",
		Args: func(c *cobra.Command, args []string) error {
			if len(args) != 1 || f.log == "" {
				return fault.New(fault.Usage, c.CommandPath(), "one receipt and --log-key are needed", "see: "+c.CommandPath()+" --help")
			}
			return nil
		},
		RunE: func(_ *cobra.Command, args []string) error {
			doing := "checking the receipt " + args[0]
			var b []byte
			var err error
			if args[0] == "-" {
				b, err = io.ReadAll(io.LimitReader(env.Stdin, receipt.MaxSize+1))
			} else {
				b, err = os.ReadFile(args[0])
			}
			if err != nil {
				return fault.Wrap(fault.Usage, doing, err, "")
			}
			r, err := receipt.Parse(b)
			if err != nil {
				return fault.Wrap(fault.Usage, doing, err, "get it anew: keyholder events receipt")
			}
			key, witnesses, err := f.verifiers()
			if err != nil {
				return err
			}
			v, err := r.Verify(key, witnesses...)
			if err != nil {
				return fault.Wrap(fault.Disagreement, doing, err, "keep it as it is, and ask the key holder's operators")
			}
			_, err = fmt.Fprintf(env.Stdout, "entry %s of %s is proven: it was in the log, at this place, when the log had %s entries\n%s\n",
				humanize.Comma(int64(r.Index)), v.Checkpoint.Origin, humanize.Comma(int64(v.Checkpoint.Size)), r.Leaf)
			for name, at := range v.Checkpoint.Cosigned {
				fmt.Fprintf(env.Stdout, "witness %s signed on %s\n", name, at.UTC().Format(time.RFC3339))
			}
			return err
		},
	}
	f.add(c.Flags())
	return c
}

// verifiers reads the keys that are given.
func (f *keyFlags) verifiers() (key note.Verifier, witnesses []note.Verifier, err error) {
	text, err := keyFile(f.log)
	if err != nil {
		return nil, nil, err
	}
	if key, err = checkpoint.Verifier(text); err != nil {
		return nil, nil, fault.Wrap(fault.Usage, "reading the log's key "+f.log, err, "give the key holder's log.vkey")
	}
	for _, path := range f.witnesses {
		if text, err = keyFile(path); err != nil {
			return nil, nil, err
		}
		w, err := checkpoint.WitnessVerifier(text)
		if err != nil {
			return nil, nil, fault.Wrap(fault.Usage, "reading the witness's key "+path, err, "give its witness.vkey")
		}
		witnesses = append(witnesses, w)
	}
	return key, witnesses, nil
}
