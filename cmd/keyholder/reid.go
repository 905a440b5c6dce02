package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
)

// signedIn says as whom a command calls, and where.
type signedIn struct {
	env               *boot.Environment
	url, ca, token    string
	asJSON            bool
	requestID, inFile string
}

func (s *signedIn) add(c *cobra.Command) {
	c.Flags().StringVar(&s.url, "keyholder", "", "the address at which the key holder answers people, https://host:port")
	c.Flags().StringVar(&s.ca, "ca", "", "the authority of its certificate, PEM (default the system's)")
	c.Flags().StringVar(&s.token, "token-file", "", "a file of mode 0600 with the token of your sign-in")
	c.Flags().BoolVar(&s.asJSON, "json", false, "print as JSON")
}

// with calls as the person who has signed in.
func (s *signedIn) with(call func(*client.Person) error) error {
	if s.url == "" || s.token == "" {
		return fault.New(fault.Usage, "calling the key holder", "--keyholder or --token-file is missing", "sign in, save the token in a file of mode 0600, and name it")
	}
	p, err := client.SignedIn(s.url, s.ca, s.token, s.env.Wall)
	if err != nil {
		return err
	}
	defer p.Close()
	return call(p)
}

func reidCommand(env *boot.Environment) *cobra.Command {
	c := &cobra.Command{
		Use: "reid", Short: "Ask who a pseudonymous patient is, approve, open and review",
		Long: `Ask who a patient is, by token; approve what others ask; open what is ready, once; review
what was opened in an emergency. You call as yourself: sign in with your organisation's
sign-in, and save the token that you get in a file that nobody else can read. An
operator's certificate opens nothing.

Every request is in the key holder's log before it is answered. An identity is printed on
standard output once, and kept nowhere.`,
		Example: `  keyholder reid ask --keyholder https://reid.example.nhs.uk --token-file me.jwt --in request.json
  keyholder reid list --as approver --state pending_approval --keyholder https://reid.example.nhs.uk --token-file me.jwt
  keyholder reid approve 5e0c... --hash 93ab... --keyholder https://reid.example.nhs.uk --token-file me.jwt
  keyholder reid open 5e0c... --keyholder https://reid.example.nhs.uk --token-file me.jwt`,
	}
	c.AddCommand(reidAsk(env), reidWorklist(env), reidList(env), reidShow(env), reidDecide(env, "approve"), reidDecide(env, "reject"), reidCancel(env), reidOpen(env), reidReview(env), reidWhoAsked(env), reidReceipt(env), reidMe(env))
	return c
}

// document reads a request from a file, or from standard input.
func document[T any](env *boot.Environment, path string) (*T, error) {
	const doing = "reading the request"
	if path == "" {
		return nil, fault.New(fault.Usage, doing, "--in is missing", "give a JSON file, or - for standard input; docs/reidentification.md has one to begin with")
	}
	in := env.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fault.Wrap(fault.Usage, doing, err, "")
		}
		defer func() { _ = f.Close() }()
		in = f
	}
	b, err := io.ReadAll(io.LimitReader(in, 1<<20))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "")
	}
	request := new(T)
	if err := keys.DecodeStrict(b, request); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "correct it; docs/reidentification.md has one to begin with")
	}
	return request, nil
}

// id returns the id of a request: a given one, or a new one.
func (s *signedIn) id() (string, error) {
	if s.requestID == "" {
		return uuid.NewString(), nil
	}
	if _, err := uuid.Parse(s.requestID); err != nil {
		return "", fault.New(fault.Usage, "sending the request", "--request-id is no UUID", "leave it out, or give the one of the request that is sent again")
	}
	return s.requestID, nil
}

func reidAsk(env *boot.Environment) *cobra.Command {
	s := &signedIn{env: env}
	c := &cobra.Command{
		Use: "ask --in request.json", Short: "Ask who patients are", Args: cobra.NoArgs,
		Long: `Ask who patients are. The request is a JSON file:

  {"project": "lake-care", "purpose": "TREAT", "organisation": "Y12345",
   "reason": {"code": "care", "text": "Called back about a blood result."},
   "items": [{"row": 1, "token": "tarn1..."}]}

With "break_glass": true and purpose ETREAT it is opened at once, for one patient: others
are told now, and somebody reviews it.

A request that is refused ends with exit code 4.`,
		RunE: func(c *cobra.Command, _ []string) error {
			request, err := document[api.ReidentificationRequest](env, s.inFile)
			if err != nil {
				return err
			}
			return s.send(c.Context(), func(p *client.Person, id string) (*api.Reidentification, error) {
				return p.Reidentify(c.Context(), id, request)
			})
		},
	}
	s.add(c)
	s.addSend(c)
	return c
}

func (s *signedIn) addSend(c *cobra.Command) {
	c.Flags().StringVar(&s.inFile, "in", "", "the request, JSON; - for standard input")
	c.Flags().StringVar(&s.requestID, "request-id", "", "the id of a request that is sent again (a UUID; default a new one)")
}

// send sends a request and says what was decided.
func (s *signedIn) send(_ context.Context, send func(*client.Person, string) (*api.Reidentification, error)) error {
	id, err := s.id()
	if err != nil {
		return err
	}
	return s.with(func(p *client.Person) error {
		made, err := send(p, id)
		if err != nil {
			return err
		}
		if err := s.say(made); err != nil {
			return err
		}
		if made.State == "refused" {
			return fault.New(fault.Policy, "asking who patients are", made.Decision.Why, made.Decision.Next)
		}
		return nil
	})
}

func reidWorklist(env *boot.Environment) *cobra.Command {
	s := &signedIn{env: env}
	c := &cobra.Command{
		Use: "worklist --in worklist.json", Short: "Send patients to their own practices, who find out who they are", Args: cobra.NoArgs,
		Long: `Send a list of patients to their own practices. You see none of them; each practice
opens its own. The request is as that of reid ask, with "route": "registered_practice",
or "source_organisation" for patients without a token, by reference:

  {"project": "lake-care", "purpose": "CAREMGT", "organisation": "QMJ", "route": "registered_practice",
   "reason": {"code": "invitation", "text": "Frail and not reviewed for a year."},
   "items": [{"row": 1, "token": "tarn1..."}]}`,
		RunE: func(c *cobra.Command, _ []string) error {
			request, err := document[api.WorklistRequest](env, s.inFile)
			if err != nil {
				return err
			}
			return s.send(c.Context(), func(p *client.Person, id string) (*api.Reidentification, error) {
				return p.Worklist(c.Context(), id, request)
			})
		},
	}
	s.add(c)
	s.addSend(c)
	return c
}

// say prints a request.
func (s *signedIn) say(r *api.Reidentification) error {
	if s.asJSON {
		return s.env.PrintJSON(r)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "request %s\nstate   %s\nwhy     %s\n", r.ID, r.State, r.Decision.Why)
	if r.Decision.Who != "" && r.State != "ready" {
		fmt.Fprintf(&b, "who can allow it: %s\n", r.Decision.Who)
	}
	fmt.Fprintf(&b, "next    %s\n", r.Decision.Next)
	for _, w := range r.Decision.Warnings {
		note := ""
		if w.Simulated {
			note = " (simulated)"
		}
		fmt.Fprintf(&b, "limit   %s: %s%s\n", w.Action, w.Text, note)
	}
	if len(r.Decision.Rows) > 0 {
		fmt.Fprintf(&b, "rows without a relationship: %s\n", numbers(r.Decision.Rows))
	}
	fmt.Fprintf(&b, "from    %s, %s, for %s, purpose %s\n", r.Requester.Subject, r.Requester.Role, r.Organisation, r.Purpose)
	if r.Reason != nil {
		fmt.Fprintf(&b, "reason  %s: %s\n", r.Reason.Code, strings.Join(strings.Fields(r.Reason.Text), " "))
	}
	if r.Approvals.Needed > 0 {
		fmt.Fprintf(&b, "approved by %d of %d\n", r.Approvals.Have, r.Approvals.Needed)
	}
	if !r.ReviewDue.IsZero() {
		fmt.Fprintf(&b, "to be reviewed by %s\n", r.ReviewDue.Format(time.RFC3339))
	}
	fmt.Fprintf(&b, "patients %d\nhash    %s\nends    %s\nlog     entry %d\n", len(r.Rows), r.RequestHash, r.Expires.Format(time.RFC3339), r.Receipt.Index)
	_, err := io.WriteString(s.env.Stdout, b.String())
	return err
}

// numbers are rows in words, the first few of them.
func numbers(rows []int) string {
	const most = 20
	texts := []string{}
	for i, row := range rows {
		if i == most {
			texts = append(texts, fmt.Sprintf("and %d more", len(rows)-most))
			break
		}
		texts = append(texts, fmt.Sprint(row))
	}
	return strings.Join(texts, ", ")
}

func reidList(env *boot.Environment) *cobra.Command {
	s := &signedIn{env: env}
	as, state := "", ""
	c := &cobra.Command{
		Use: "list", Short: "List the requests that you have to do with", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return s.with(func(p *client.Person) error {
				all, err := p.Reidentifications(c.Context(), as, state)
				if err != nil {
					return err
				}
				if s.asJSON {
					return env.PrintJSON(all)
				}
				if len(all) == 0 {
					_, err := fmt.Fprintln(env.Stdout, "no request")
					return err
				}
				w := tabwriter.NewWriter(env.Stdout, 0, 4, 2, ' ', 0)
				fmt.Fprintln(w, "REQUEST\tSTATE\tPURPOSE\tPATIENTS\tFROM\tORGANISATION\tAPPROVED\tENDS")
				for _, r := range all {
					fmt.Fprintf(w, "%s\t%s\t%s\t%d\t%s\t%s\t%d of %d\t%s\n", r.ID, r.State, r.Purpose, len(r.Rows), r.Requester.Subject, r.Organisation, r.Approvals.Have, r.Approvals.Needed, r.Expires.Format(time.RFC3339))
				}
				return w.Flush()
			})
		},
	}
	s.add(c)
	c.Flags().StringVar(&as, "as", "requester", "requester, approver, recipient, reviewer or guardian")
	c.Flags().StringVar(&state, "state", "", "ready, pending_approval, refused, opened, expired or void (default all)")
	return c
}

// about makes a command that is about one request.
func about(env *boot.Environment, use, short string, do func(context.Context, *signedIn, *client.Person, string) error) (*cobra.Command, *signedIn) {
	s := &signedIn{env: env}
	c := &cobra.Command{
		Use: use + " REQUEST", Short: short, Args: oneArgument("request"),
		RunE: func(c *cobra.Command, arguments []string) error {
			return s.with(func(p *client.Person) error { return do(c.Context(), s, p, arguments[0]) })
		},
	}
	s.add(c)
	return c, s
}

// said prints a request that something was done with.
func (s *signedIn) said(r *api.Reidentification, err error) error {
	if err != nil {
		return err
	}
	return s.say(r)
}

func reidShow(env *boot.Environment) *cobra.Command {
	c, _ := about(env, "show", "Show a request", func(ctx context.Context, s *signedIn, p *client.Person, id string) error {
		return s.said(p.Reidentification(ctx, id))
	})
	return c
}

func reidCancel(env *boot.Environment) *cobra.Command {
	c, _ := about(env, "cancel", "Take a request of yours back", func(ctx context.Context, s *signedIn, p *client.Person, id string) error {
		return s.said(p.Cancel(ctx, id))
	})
	return c
}

func reidDecide(env *boot.Environment, verdict string) *cobra.Command {
	hash, comment := "", ""
	short := map[string]string{"approve": "Approve another person's request", "reject": "Reject another person's request"}[verdict]
	c, _ := about(env, verdict, short, func(ctx context.Context, s *signedIn, p *client.Person, id string) error {
		if hash == "" {
			return fault.New(fault.Usage, "deciding on a request", "--hash is missing", "read the request, and give the hash that it shows: keyholder reid show")
		}
		return s.said(p.Decide(ctx, id, api.ApprovalGiven{Decision: verdict, RequestHash: hash, Comment: comment}))
	})
	c.Flags().StringVar(&hash, "hash", "", "the request's hash, as keyholder reid show prints it")
	c.Flags().StringVar(&comment, "comment", "", "for who asked; never a patient's number or name")
	return c
}

func reidReview(env *boot.Environment) *cobra.Command {
	outcome, comment := "", ""
	c, _ := about(env, "review", "Say what you found of a break-glass", func(ctx context.Context, s *signedIn, p *client.Person, id string) error {
		return s.said(p.Review(ctx, id, api.ReviewGiven{Outcome: outcome, Comment: comment}))
	})
	c.Flags().StringVar(&outcome, "outcome", "", "justified, not-justified or inconclusive")
	c.Flags().StringVar(&comment, "comment", "", "for the record; never a patient's number or name")
	return c
}

func reidOpen(env *boot.Environment) *cobra.Command {
	receipt := ""
	c, _ := about(env, "open", "Open a request, or your own part of a worklist: once", func(ctx context.Context, s *signedIn, p *client.Person, id string) error {
		opened, err := p.Open(ctx, id)
		if err != nil {
			return err
		}
		if receipt != "" && opened.Receipt != nil {
			if err := keys.WriteFile(receipt, opened.Receipt); err != nil {
				fmt.Fprintf(env.Stderr, "the receipt could not be written: %v\n", err) // what was opened is shown once
			}
		}
		if s.asJSON {
			return env.PrintJSON(opened)
		}
		return s.sayOpened(opened)
	})
	c.Long = `Open a request that is ready. It is opened once: for five minutes the same sign-in can
show it again, twice at most. --receipt keeps the proof that it is in the log, which
auditor receipt verifies; it names nobody.`
	c.Flags().StringVar(&receipt, "receipt", "", "a file for the receipt")
	return c
}

func (s *signedIn) sayOpened(opened *api.OpenedItems) error {
	var b strings.Builder
	for _, item := range opened.Items {
		switch {
		case item.Identity != nil:
			n := item.Identity.NHSNumber
			fmt.Fprintf(&b, "row %d\t%s %s %s\n", item.Row, n[:3], n[3:6], n[6:])
		case item.Reference != nil:
			fmt.Fprintf(&b, "row %d\trecord %s of %s\n", item.Row, item.Reference.UniqueID, item.Reference.SourceDataset)
		default:
			fmt.Fprintf(&b, "row %d\tnot available\n", item.Row)
		}
	}
	fmt.Fprintln(&b, opened.Advice)
	_, err := io.WriteString(s.env.Stdout, b.String())
	return err
}

func reidReceipt(env *boot.Environment) *cobra.Command {
	c, _ := about(env, "receipt", "Print the proof that a request is in the log, for auditor receipt", func(ctx context.Context, _ *signedIn, p *client.Person, id string) error {
		receipt, err := p.Receipt(ctx, id)
		if err != nil {
			return err
		}
		return env.PrintJSON(json.RawMessage(receipt))
	})
	return c
}

func reidMe(env *boot.Environment) *cobra.Command {
	s := &signedIn{env: env}
	c := &cobra.Command{
		Use: "me", Short: "Say who has signed in, and in which role", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			return s.with(func(p *client.Person) error {
				me, err := p.Me(c.Context())
				if err != nil {
					return err
				}
				if s.asJSON {
					return env.PrintJSON(me)
				}
				_, err = fmt.Fprintf(env.Stdout, "%s, in role %s at %s\n", me.Subject, me.Role, me.Organisation)
				return err
			})
		},
	}
	s.add(c)
	return c
}

func reidWhoAsked(env *boot.Environment) *cobra.Command {
	s := &signedIn{env: env}
	c := &cobra.Command{
		Use: "who-asked --in patient.json", Short: "List who has asked about a patient, by token: for guardians", Args: cobra.NoArgs,
		Long: `List every entry of the log that is about a patient, whichever token they were asked for
by. The patient is named by a token in a JSON file, and never by a number:

  {"project": "lake-care", "token": "tarn1..."}

That it was asked is an entry, too.`,
		RunE: func(c *cobra.Command, _ []string) error {
			request, err := document[api.WhoAskedRequest](env, s.inFile)
			if err != nil {
				return err
			}
			return s.with(func(p *client.Person) error {
				asked, err := p.WhoAsked(c.Context(), *request)
				if err != nil {
					return err
				}
				if s.asJSON {
					return env.PrintJSON(asked)
				}
				return sayWhoAsked(env, asked)
			})
		},
	}
	s.add(c)
	c.Flags().StringVar(&s.inFile, "in", "", "the patient, JSON; - for standard input")
	return c
}

func sayWhoAsked(env *boot.Environment, asked *api.WhoAsked) error {
	w := tabwriter.NewWriter(env.Stdout, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "ENTRY\tTIME\tWHAT\tWHO\tORGANISATION\tPURPOSE\tDECISION\tRULE\tOUTCOME")
	for _, e := range asked.Items {
		var leaf struct {
			Time, Kind, Purpose, Decision, Rule, Outcome string
			Actor                                        struct{ Sub, Org string }
		}
		if err := json.Unmarshal(e.Leaf, &leaf); err != nil {
			return fault.New(fault.Internal, "reading the log", "an entry cannot be read by this version", "use --json")
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Index, leaf.Time, leaf.Kind, leaf.Actor.Sub, leaf.Actor.Org, leaf.Purpose, leaf.Decision, leaf.Rule, leaf.Outcome)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(env.Stdout, "%d entries of %d\n", len(asked.Items), asked.Searched)
	return err
}
