package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
)

func approvalsCommand(env *boot.Environment) *cobra.Command {
	all := false
	list := listing(env, "list", "List what waits for another operator",
		func(ctx context.Context, c *client.Client) ([]api.Operation, error) {
			if all {
				return c.Operations(ctx, "")
			}
			return c.Operations(ctx, api.OpPending)
		},
		func(o api.Operation) string {
			return fmt.Sprintf("%s %-15s by %-16s %-9s %s", o.ID, o.Kind, o.Requester, o.State, o.Created.Format(time.RFC3339))
		})
	list.Flags().BoolVar(&all, "all", false, "those that were decided, too")
	return group("approvals", "Operations that operators ask for and approve", list, showCommand(env),
		decideCommand(env, "approve", "Approve what another operator asked for", api.DecisionApprove),
		decideCommand(env, "reject", "Reject what was asked for", api.DecisionReject), collectCommand(env))
}

func showCommand(env *boot.Environment) *cobra.Command {
	var as connection.Flags
	asJSON := false
	c := &cobra.Command{
		Use: "show ID", Short: "Print an operation in full, with the hash that is approved", Args: oneArgument("operation"), Example: "  keyholder approvals show 3f0c... --as bob",
		RunE: func(c *cobra.Command, args []string) error {
			return as.With(env, func(to *client.Client) error {
				o, err := checkedOperation(c.Context(), to, args[0])
				if err != nil {
					return err
				}
				if asJSON {
					return env.PrintJSON(o)
				}
				body := o.Body.Clone()
				if err := body.Indent(); err != nil {
					return fault.New(fault.Internal, "printing the operation", "its body cannot be read", "")
				}
				_, err = fmt.Fprintf(env.Stdout, "%s, asked for by %s at %s, until %s\nstate %s, %d of %d approvals\n%s\nhash %s\n", o.Kind, o.Requester,
					o.Created.Format(time.RFC3339), o.Expires.Format(time.RFC3339), o.State, len(o.Approvals), o.Needed, body, o.Hash)
				return err
			})
		},
	}
	as.Add(c.Flags())
	c.Flags().BoolVar(&asJSON, "json", false, "print as JSON")
	return c
}

// checkedOperation returns an operation whose hash was computed here, of what is
// shown: a key holder that showed one thing and had another approved would be
// found out.
func checkedOperation(ctx context.Context, c *client.Client, id string) (*api.Operation, error) {
	o, err := c.Operation(ctx, id)
	if err != nil {
		return nil, err
	}
	hash, err := api.OperationHash(o)
	if err != nil || hash != o.Hash {
		return nil, fault.New(fault.Disagreement, "reading the operation", "its hash is not that of what it says", "approve nothing; tell the other operators")
	}
	return o, nil
}

func decideCommand(env *boot.Environment, name, short, decision string) *cobra.Command {
	var as connection.Flags
	hash := ""
	c := &cobra.Command{
		Use: name + " ID --hash HASH", Short: short, Args: oneArgument("operation"),
		Long:    short + ". HASH is what approvals show printed: what is decided on is exactly that.",
		Example: "  keyholder approvals " + name + " 3f0c... --hash 9a1b... --as bob",
		RunE: func(c *cobra.Command, args []string) error {
			return as.With(env, func(to *client.Client) error {
				o, err := checkedOperation(c.Context(), to, args[0])
				if err != nil {
					return err
				}
				if hash == "" || !strings.HasPrefix(o.Hash, strings.ToLower(hash)) || len(hash) < shortHash {
					return fault.New(fault.Usage, "deciding on the operation", "--hash is missing, too short or not this operation's",
						fmt.Sprintf("read it with keyholder approvals show, and give its hash, or the first %d digits of it", shortHash))
				}
				decided, err := to.Decide(c.Context(), o.ID, api.ApprovalRequest{Decision: decision, Hash: o.Hash})
				if err != nil {
					return err
				}
				text := fmt.Sprintf("%s: the operation is %s", decision, decided.State)
				switch {
				case decided.Outcome != "":
					text += "; " + decided.Outcome
				case decided.State == api.OpApproved:
					text += "; " + decided.Requester + " collects what it gives: keyholder approvals collect " + decided.ID
				}
				_, err = fmt.Fprintln(env.Stdout, text)
				return err
			})
		},
	}
	as.Add(c.Flags())
	c.Flags().StringVar(&hash, "hash", "", "the hash of what is decided on")
	return c
}

// shortHash is how many digits of a hash are enough to say which is meant.
const shortHash = 12

func collectCommand(env *boot.Environment) *cobra.Command {
	o := &change{env: env}
	c := &cobra.Command{
		Use: "collect ID", Short: "Collect what your approved operation gives: a code, a backup's name, keys; once", Args: oneArgument("operation"),
		Example: "  keyholder approvals collect 3f0c... --as ann",
		RunE: func(c *cobra.Command, args []string) error {
			return o.connection.With(env, func(to *client.Client) error {
				operation, err := to.Operation(c.Context(), args[0])
				if err != nil {
					return err
				}
				if err := o.checkOut(operation.Kind); err != nil {
					return err
				}
				return o.collect(c.Context(), to, args[0])
			})
		},
	}
	o.connection.Add(c.Flags())
	c.Flags().BoolVar(&o.asJSON, "json", false, "print as JSON")
	c.Flags().StringVar(&o.out, "out", "keys.json", "the key file to write, of an export")
	return c
}

func eventsCommand(env *boot.Environment) *cobra.Command {
	var as connection.Flags
	c := &cobra.Command{
		Use: "events", Short: "Print what was done and refused, a line of JSON each, oldest first", Args: cobra.NoArgs, Example: "  keyholder events --as eve",
		RunE: func(c *cobra.Command, _ []string) error {
			return as.With(env, func(to *client.Client) error {
				for after := ""; ; {
					events, next, err := to.Events(c.Context(), after)
					if err != nil {
						return err
					}
					for _, e := range events {
						if _, err := fmt.Fprintf(env.Stdout, "%s\n", e.Leaf); err != nil {
							return err
						}
					}
					if after = next; next == "" {
						return nil
					}
				}
			})
		},
	}
	as.Add(c.Flags())
	c.AddCommand(receiptCommand(env))
	return c
}

func receiptCommand(env *boot.Environment) *cobra.Command {
	var as connection.Flags
	c := &cobra.Command{
		Use: "receipt INDEX", Short: "Print the proof that an event is in the log",
		Long: `Print a receipt: the event, the proof that it is in the log, and the signed checkpoint
that the proof leads to. Whoever has it can show it to anybody: auditor receipt. INDEX is
the event's place in the log, from 0, which is its line in keyholder events, less one.`,
		Example: "  keyholder events receipt 17 --as eve > receipt.json", Args: oneArgument("event"),
		RunE: func(c *cobra.Command, args []string) error {
			return as.With(env, func(to *client.Client) error {
				document, err := to.Receipt(c.Context(), args[0])
				if err != nil {
					return err
				}
				return env.PrintJSON(document)
			})
		},
	}
	as.Add(c.Flags())
	return c
}
