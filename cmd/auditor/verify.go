package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/audit/tiles"
	"tarn/keys/audit/verify"
	"tarn/keys/fault"
)

// keyFlags say with which keys a log is verified.
type keyFlags struct {
	log       string
	witnesses []string
	seen      string
}

func (f *keyFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.log, "log-key", "", "a file with the log's verifier key, from the key holder by another way than the log (else log.vkey in its folder)")
	flags.StringArrayVar(&f.witnesses, "witness-key", nil, "a file with a witness's verifier key; may be given several times (else witness.vkey in the folder)")
}

func (f *keyFlags) options() (o verify.Options, err error) {
	if f.log != "" {
		if o.Key, err = keyFile(f.log); err != nil {
			return o, err
		}
	}
	for _, path := range f.witnesses {
		key, err := keyFile(path)
		if err != nil {
			return o, err
		}
		o.Witnesses = append(o.Witnesses, key)
	}
	if f.seen == "" {
		return o, nil
	}
	if o.Seen, err = os.ReadFile(f.seen); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return o, fault.Wrap(fault.Usage, "reading what was seen before", err, "name a file that an earlier verify wrote, or one to write, with --seen")
	}
	return o, nil
}

func keyFile(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fault.Wrap(fault.Usage, "reading a verifier key", err, "give a file of one line, NAME+HASH+KEY")
	}
	return strings.TrimSpace(string(b)), nil
}

// verified is the document of auditor verify.
type verified struct {
	Schema    string            `json:"schema"`
	Software  string            `json:"software"`
	Created   string            `json:"created"`
	Log       string            `json:"log"` // its origin
	Whole     bool              `json:"whole"`
	Entries   uint64            `json:"entries"`
	Root      string            `json:"root"`
	From      string            `json:"from"`
	To        string            `json:"to"`
	OwnKeys   bool              `json:"own_keys"` // the keys were taken from the log's folder
	Witnesses []string          `json:"witnesses"`
	Cosigned  map[string]string `json:"cosigned"` // witness -> time
	FirstBad  *badEntry         `json:"first_bad"`
	// RolledBack says what the log has lost since it was seen; empty where nothing.
	RolledBack string  `json:"rolled_back"`
	Unreadable uint64  `json:"unreadable"`
	Previous   *string `json:"previous"` // the origin of the log that this one goes on from
}

type badEntry struct {
	Index uint64 `json:"index"`
	Last  uint64 `json:"last"`
	What  string `json:"what"`
}

func verifyCommand(env *boot.Environment) *cobra.Command {
	var f keyFlags
	asJSON := false
	c := &cobra.Command{
		Use:   "verify LOG",
		Short: "Check that nothing in a log was changed, removed, put in or moved",
		Long: `Check a log, offline: LOG is its folder, or a copy of it. Every entry is hashed again
and the whole held to the checkpoint that the key holder, and witnesses, have signed.
The first entry that is not what was recorded is named, and the exit code is 6.

The keys should come from the key holder and the witness by another way than the log:
without --log-key those in the log's folder are used, and that is said. With --seen
FILE the log is also held to what it was when it was last verified, and the file is
written anew when all is well: a log that was rolled back to an older state, however
consistently, is found out.`,
		Example: "  auditor verify /srv/keyholder/log/1 --log-key keyholder.vkey --witness-key witness.vkey --seen seen.checkpoint",
		Args:    oneLog,
		RunE: func(c *cobra.Command, args []string) error {
			o, err := f.options()
			if err != nil {
				return err
			}
			progress := env.Progress("verifying", "entries")
			o.Progress = func(done uint64) { progress.Set(int64(done), 0) }
			r, err := verify.Log(c.Context(), args[0], o)
			progress.Done()
			if err != nil {
				return err
			}
			if asJSON {
				err = env.PrintJSON(document(env, r))
			} else {
				err = writeResult(env.Stdout, r)
			}
			if err != nil {
				return err
			}
			if !r.Whole() {
				return fault.New(fault.Disagreement, "verifying the log "+args[0], "it is not what the key holder has signed, or has lost what it had", "keep this copy as it is; tell the key holder's operators and who runs its witness")
			}
			return f.remember(args[0])
		},
	}
	f.add(c.Flags())
	c.Flags().StringVar(&f.seen, "seen", "", "a file that remembers what the log was, from one verify to the next")
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// remember keeps the checkpoint of a log that is whole.
func (f *keyFlags) remember(folder string) error {
	if f.seen == "" {
		return nil
	}
	signed, err := tiles.Open(folder).Checkpoint()
	if err == nil {
		err = keys.WriteFile(f.seen, signed)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "remembering what the log is", err, "name a file that can be written with --seen")
	}
	return nil
}

func oneLog(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fault.New(fault.Usage, c.CommandPath(), "one log is to be named", "see: "+c.CommandPath()+" --help")
	}
	return nil
}

func document(env *boot.Environment, r *verify.Result) *verified {
	d := &verified{
		Schema: "tarn.log-verification/1", Software: boot.Software(), Created: env.Clock().Format(time.RFC3339), Log: r.Origin, Whole: r.Whole(), Entries: r.Size,
		Root: fmt.Sprintf("%x", r.Root), From: timeText(r.From), To: timeText(r.To), OwnKeys: r.OwnKeys, Witnesses: slices.Clone(r.Witnesses), Cosigned: map[string]string{},
		RolledBack: r.RolledBack, Unreadable: r.Unreadable,
	}
	if d.Witnesses == nil {
		d.Witnesses = []string{}
	}
	for name, at := range r.Cosigned {
		d.Cosigned[name] = timeText(at)
	}
	if r.First != nil {
		d.FirstBad = &badEntry{Index: r.First.First, Last: r.First.Last, What: r.First.What}
	}
	if r.Previous != nil {
		d.Previous = &r.Previous.Origin
	}
	return d
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// meaning is what a finding says, in words for everybody.
var meaning = map[string]string{
	verify.Changed:    "it does not say what was recorded",
	verify.Removed:    "it was removed: the entries after it have moved up",
	verify.Inserted:   "it was put in: the entries after it have moved down",
	verify.OutOfOrder: "it stands where another entry was recorded",
	verify.Missing:    "it is missing, and perhaps all after it",
}

// writeResult says what was found, for people who know nothing of Merkle trees.
func writeResult(w io.Writer, r *verify.Result) error {
	var b strings.Builder
	line := func(name, text string, values ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(text, values...))
	}
	line("log", "%s", r.Origin)
	span := ""
	if !r.From.IsZero() {
		span = fmt.Sprintf(", from %s to %s", timeText(r.From), timeText(r.To))
	}
	line("entries", "%s%s", humanize.Comma(int64(r.Size)), span)
	if r.Previous != nil {
		line("goes on", "from the log %s, which had %s entries: verify that one, too", r.Previous.Origin, humanize.Comma(int64(r.Previous.Size)))
	}
	signed := "by the key holder"
	if r.OwnKeys {
		signed += ", if " + tiles.KeyFile + " in the log's folder is its key: compare it with what the key holder publishes (--log-key)"
	}
	line("signed", "%s", signed)
	for _, name := range r.Witnesses {
		if at, ok := r.Cosigned[name]; ok {
			line("witness", "%s has signed all of it, on %s", name, timeText(at))
		} else {
			line("witness", "%s HAS NOT SIGNED this state of the log", name)
		}
	}
	if len(r.Witnesses) == 0 {
		line("witness", "none: the key holder could replace the whole log, and this check would not show it")
	}
	b.WriteString("\n")
	switch {
	case r.First != nil && r.First.What == verify.Hidden:
		fmt.Fprintf(&b, "THE LOG WAS TAMPERED WITH. At least one of the entries %d to %d is not what was recorded.\nWhich one cannot be said, because the hashes that would tell were damaged, too.\n", r.First.First, r.First.Last)
	case r.First != nil:
		fmt.Fprintf(&b, "THE LOG WAS TAMPERED WITH, or its disk is failing. Entry %d is the first that is wrong:\n%s.\n", r.First.First, meaning[r.First.What])
	}
	if r.RolledBack != "" {
		fmt.Fprintf(&b, "THE LOG WAS ROLLED BACK: %s.\n", r.RolledBack)
	}
	if r.Unreadable > 0 && r.First == nil {
		fmt.Fprintf(&b, "%d entries were recorded as they are and yet cannot be read; the first is entry %d.\n", r.Unreadable, r.FirstUnreadable)
	}
	if r.Whole() {
		b.WriteString("Every entry is what was recorded. Nothing was changed, removed, put in or moved.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
