package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// change is a command that asks for a change.
type change struct {
	connection connection.Flags
	env        *boot.Environment
	asJSON     bool
	wait       bool
	out        string // for what is collected as a file
}

func (o *change) add(c *cobra.Command) {
	o.connection.Add(c.Flags())
	c.Flags().BoolVar(&o.asJSON, "json", false, "print as JSON")
	c.Flags().BoolVar(&o.wait, "wait", false, "wait until another operator has decided, and collect what it gives")
}

// pollEvery is how often a waiting command asks.
const pollEvery = 2 * time.Second

// ask asks for a change, and says what is to be done next.
func (o *change) ask(ctx context.Context, kind api.OperationKind, body any) error {
	if o.wait {
		if err := o.checkOut(kind); err != nil {
			return err
		}
	}
	return o.connection.With(o.env, func(c *client.Client) error {
		operation, err := c.Ask(ctx, kind, body)
		if err != nil {
			return err
		}
		for o.wait && operation.State == api.OpPending {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(pollEvery):
			}
			if operation, err = c.Operation(ctx, operation.ID); err != nil {
				return err
			}
		}
		if operation.State == api.OpApproved && (o.wait || operation.Needed == 0) {
			return o.collect(ctx, c, operation.ID)
		}
		if o.asJSON {
			return o.env.PrintJSON(operation)
		}
		return o.say(operation)
	})
}

func (o *change) say(operation *api.Operation) error {
	text := ""
	switch operation.State {
	case api.OpPending:
		text = fmt.Sprintf(`asked for %s: operation %s
hash %s
another operator reads and approves it by %s:
  keyholder approvals show %s
  keyholder approvals approve %s --hash %s
`, operation.Kind, operation.ID, operation.Hash, operation.Expires.Format(time.RFC3339), operation.ID, operation.ID, operation.Hash)
		if operation.Collect {
			text += fmt.Sprintf("then you collect what it gives:\n  keyholder approvals collect %s\n", operation.ID)
		}
	case api.OpApproved:
		text = fmt.Sprintf("approved; collect what it gives:\n  keyholder approvals collect %s\n", operation.ID)
	case api.OpExecuted:
		text = operation.Outcome + "\n"
	default:
		text = fmt.Sprintf("the operation is %s\n", operation.State)
	}
	_, err := fmt.Fprint(o.env.Stdout, text)
	return err
}

// checkOut refuses to collect an export for which there is no place: it is given
// once.
func (o *change) checkOut(kind api.OperationKind) error {
	if kind != api.OpKeyExport {
		return nil
	}
	if _, err := os.Lstat(o.out); err == nil {
		return fault.New(fault.Usage, "collecting what the operation gives", "there is something at "+o.out+" already", "name another file with --out: what is collected is given once")
	}
	return nil
}

// collect collects what an approved operation gives, and prints or writes it.
func (o *change) collect(ctx context.Context, c *client.Client, id string) error {
	collected, err := c.Collect(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case len(collected.Sealed) > 0:
		return o.export(ctx, c, collected)
	case o.asJSON:
		return o.env.PrintJSON(collected)
	case collected.Code != "":
		_, err = fmt.Fprintf(o.env.Stdout, "%s\n", collected.Code)
		fmt.Fprintf(o.env.Stderr, "the code above is good once, until %s; give it to the client by a channel that nobody else reads\n", collected.CodeEnd.Format(time.RFC3339))
	case collected.Path != "":
		_, err = fmt.Fprintf(o.env.Stdout, "backup %s, in the key holder's backup folder: copy NAME.age and NAME.manifest.json to where its disk cannot take them along\n", collected.Path)
	}
	return err
}

// export writes a key file. Row keys are made here: the key holder has none.
func (o *change) export(ctx context.Context, c *client.Client, collected *api.Collected) error {
	const doing = "opening the exported keys"
	file, err := c.Credentials().OpenExport(collected.Sealed)
	if err != nil {
		return fault.Wrap(fault.Disagreement, doing, err, "ask for another export, under another grant")
	}
	answer, err := c.Project(ctx, file.Project)
	if err != nil {
		return err
	}
	project, err := keys.ParseProject(answer.Record)
	if err != nil {
		return fault.Wrap(fault.Disagreement, doing, err, "see that both are of versions that fit")
	}
	for _, name := range project.SourceDatasets() {
		if file.RowKeys[name], err = secret.Generate(o.env.Rand); err != nil {
			return fault.Wrap(fault.Internal, doing, err, "")
		}
	}
	if err := file.Write(o.out, boot.Software(), o.env.Clock().Format(time.RFC3339), false); err != nil {
		return err
	}
	_, err = fmt.Fprintf(o.env.Stdout, "keys of project %s: %s (only its owner can read it); every party uses this same file\n", file.Project, o.out)
	return err
}

// group is a command that only groups others.
func group(name, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: name, Short: short}
	c.AddCommand(commands...)
	return c
}

// asking makes a command that asks for a change of a thing that is named by its
// argument.
func asking(env *boot.Environment, use, short, long, example string, flags func(*cobra.Command), kind api.OperationKind, body func(name string) (any, error)) *cobra.Command {
	o := &change{env: env}
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example, Args: oneArgument("name"),
		RunE: func(c *cobra.Command, args []string) error {
			document, err := body(args[0])
			if err != nil {
				return err
			}
			return o.ask(c.Context(), kind, document)
		},
	}
	o.add(c)
	if flags != nil {
		flags(c)
	}
	return c
}

// listing makes a command that lists things.
func listing[T any](env *boot.Environment, use, short string, get func(context.Context, *client.Client) ([]T, error), line func(T) string) *cobra.Command {
	var as connection.Flags
	asJSON := false
	c := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return as.With(env, func(to *client.Client) error {
				items, err := get(c.Context(), to)
				if err != nil {
					return err
				}
				if asJSON {
					return env.PrintJSON(items)
				}
				for _, item := range items {
					if _, err := fmt.Fprintln(env.Stdout, line(item)); err != nil {
						return err
					}
				}
				if len(items) == 0 {
					fmt.Fprintln(env.Stderr, "there are none")
				}
				return nil
			})
		},
	}
	as.Add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}
