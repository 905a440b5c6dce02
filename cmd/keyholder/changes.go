package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tarn/cmd/internal/boot"
	"tarn/cmd/internal/connection"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/parcel"
)

func domainCommand(env *boot.Environment) *cobra.Command {
	scheme := ""
	add := asking(env, "add NAME", "Make a domain: a set of data in which a person has one token", "", "  keyholder domain add lake --as ann",
		func(c *cobra.Command) {
			c.Flags().StringVar(&scheme, "scheme", keys.SchemeOblivious, "how its tokens are made: oblivious and rfc9497 (here, of numbers that are not seen), keyed-hash (by the tokeniser, with a leased key)")
		},
		api.OpDomainAdd, func(name string) (any, error) { return api.DomainAdd{Name: name, Scheme: scheme}, nil })
	list := listing(env, "list", "List domains and the states of their token keys",
		func(ctx context.Context, c *client.Client) ([]api.Domain, error) { return c.Domains(ctx) },
		func(d api.Domain) string {
			return fmt.Sprintf("%-32s no %-4d %-11s token epochs %s", d.Name, d.DomainNo, d.Scheme, states(d.Epochs))
		})
	return group("domain", "Domains, within which a person has one token", add, list)
}

func states(epochs []api.Epoch) string {
	texts := make([]string, len(epochs))
	for i, e := range epochs {
		texts[i] = fmt.Sprintf("%d %s", e.Epoch, e.State)
	}
	return strings.Join(texts, ", ")
}

// projectRecord reads a project.json whose key numbers the key holder fills in.
func projectRecord(path string) (any, error) {
	document, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the project record", err, "give the path of a project.json")
	}
	canonical, err := keys.Canonical(document)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the project record "+path, err, "correct the file; docs/formats.md describes project.json")
	}
	return api.ProjectAdd{Record: canonical}, nil
}

func projectCommand(env *boot.Environment) *cobra.Command {
	add := asking(env, "add FILE", "Register a project of a project.json, and make its keys",
		`Register a project. FILE is a project.json; what it says in keys is not looked at,
since the key holder makes the keys, but for keys.escrow_public_key, which must be the
key holder's own if it is there. keyholder project show NAME then prints the record
that its parties use.

A project of several controllers under scheme keyed-hash needs their written acceptance
in the record: "keyed_hash": {"accepted_by": [...], "date": "2026-11-26"}.`,
		"  keyholder project add project.json --as ann", nil, api.OpProjectAdd, projectRecord)
	renew := asking(env, "renew FILE", "Give a project a new record: other parties, another end", "", "  keyholder project renew project.json --as ann", nil, api.OpProjectRenew, projectRecord)
	list := listing(env, "list", "List projects and the states of their encoding keys",
		func(ctx context.Context, c *client.Client) ([]api.Project, error) { return c.Projects(ctx) },
		func(p api.Project) string { return fmt.Sprintf("%-32s encoding epochs %s", p.Name, states(p.Encoding)) })
	var as connection.Flags
	show := &cobra.Command{
		Use: "show NAME", Short: "Print a project's record as it is now: project.json for its parties", Example: "  keyholder project show study --as ann > project.json", Args: oneArgument("project"),
		RunE: func(c *cobra.Command, args []string) error {
			return as.With(env, func(to *client.Client) error {
				p, err := to.Project(c.Context(), args[0])
				if err != nil {
					return err
				}
				return env.PrintJSON(p.Record)
			})
		},
	}
	as.Add(show.Flags())
	return group("project", "Projects, and the records that their parties use", add, renew, list, show)
}

func clientCommand(env *boot.Environment) *cobra.Command {
	var body api.ClientAdd
	var role, reason string
	add := asking(env, "add NAME", "Invite a client: gives a one-time code, with which it enrols",
		`Invite a client. Once another operator has approved it, approvals collect prints a
code that is good once and for 24 hours. The client makes its own keys and enrols with
it: tokeniser enrol, or keyholder enrol for operators and auditors.`,
		"  keyholder client add north --role tokeniser --organisation RX1 --project study --source north --as ann",
		func(c *cobra.Command) {
			c.Flags().StringVar(&role, "role", "", "tokeniser, operator or auditor")
			c.Flags().StringVar(&body.Organisation, "organisation", "", "its organisation, as its ODS code")
			c.Flags().StringArrayVar(&body.Projects, "project", nil, "a tokeniser's project; may be given several times, all of one domain")
			c.Flags().StringArrayVar(&body.SourceDatasets, "source", nil, "a source data set whose rows it encodes; may be given several times")
		},
		api.OpClientAdd, func(name string) (any, error) {
			body.Name, body.Role = name, api.Role(role)
			return body, nil
		})
	renew := asking(env, "renew NAME", "Give a client a new one-time code, for a new certificate", "", "  keyholder client renew north --as ann", nil,
		api.OpClientRenew, func(name string) (any, error) { return api.ClientNamed{Name: name}, nil })
	revoke := asking(env, "revoke NAME", "Refuse a client from now on, and end its leases", "", `  keyholder client revoke north --reason "contract ended" --as ann`,
		func(c *cobra.Command) { c.Flags().StringVar(&reason, "reason", "", "why, in a few words") },
		api.OpClientRevoke, func(name string) (any, error) { return api.ClientNamed{Name: name, Reason: reason}, nil })
	list := listing(env, "list", "List clients, their roles and the ends of their certificates",
		func(ctx context.Context, c *client.Client) ([]api.Client, error) { return c.Clients(ctx) },
		func(c api.Client) string {
			end := ""
			if c.CertificateEnd != nil {
				end = " until " + c.CertificateEnd.Format(time.DateOnly)
			}
			return fmt.Sprintf("%-32s %-10s %-12s %s%s %s", c.Name, c.Role, c.Organisation, c.State, end, strings.Join(c.Projects, ","))
		})
	return group("client", "Clients: who may call", add, renew, revoke, list)
}

func budgetCommand(env *boot.Environment) *cobra.Command {
	var body api.BudgetReset
	list := listing(env, "list", "List how many rows clients may use keys for, and how many are left",
		func(ctx context.Context, c *client.Client) ([]api.Budget, error) { return c.Budgets(ctx) },
		func(b api.Budget) string {
			until := ""
			if b.UsedUpUntil != nil {
				until = " (used up since the restore, until " + b.UsedUpUntil.Format(time.RFC3339) + ")"
			}
			return fmt.Sprintf("%-32s %-32s %-8s %12d of %12d left in %s%s", b.Project, b.Client, b.Use, b.Left, b.Rows, b.Period, until)
		})
	o := &change{env: env}
	reset := &cobra.Command{
		Use: "reset", Short: "Give clients their whole budgets back", Args: cobra.NoArgs,
		Long: `Give clients the whole of their budgets back: for a load that is larger than others, or
after a restore, when budgets count as used up for a period because what was used after
the backup is not known. To change a budget for good, give the project's parties another
budget_rows: keyholder project renew.`,
		Example: `  keyholder budget reset --project study --client north --reason "first load" --as ann`,
		RunE:    func(c *cobra.Command, _ []string) error { return o.ask(c.Context(), api.OpBudgetReset, body) },
	}
	o.add(reset)
	reset.Flags().StringVar(&body.Project, "project", "", "of this project only")
	reset.Flags().StringVar(&body.Client, "client", "", "of this client only")
	reset.Flags().StringVar(&body.Reason, "reason", "", "why, in a few words")
	return group("budget", "Budgets: how many rows clients may use keys for", list, reset)
}

func grantCommand(env *boot.Environment) *cobra.Command {
	var body api.GrantAdd
	var to api.GrantRecipient
	var kind, expires, reason, recipient string
	add := asking(env, "add NAME", "Allow one thing that nobody may do otherwise",
		`Allow the export of one key file of a project, or the conversion of tokens of one domain
into another's. A conversion is for whoever has the tokens, who then has both and can join
the domains; or, with --recipient, for another party: neither side sees both tokens of a
row. Its rows count against the budgets of both sides.`,
		`  keyholder grant add pilot --kind export --project study --purpose "pilot without a network" --legal-basis "data sharing agreement 12" --expires 2026-12-31 --as ann
  keyholder grant add follow-up --kind convert --from lake --to registry --row-cap 100000 --opt-outs 2026-11 --purpose "cancer follow-up" --legal-basis "section 251, 26/CAG/0001" \
    --expires 2026-12-31 --recipient registry.recipient.json --recipient-project register --recipient-client registrar --as ann`,
		func(c *cobra.Command) {
			flags := c.Flags()
			flags.StringVar(&kind, "kind", "", "export (one key file of a project) or convert (tokens of one domain into another's)")
			flags.StringVar(&body.Project, "project", "", "export: the project")
			flags.StringVar(&body.From, "from", "", "convert: the domain of the tokens")
			flags.StringVar(&body.To, "to", "", "convert: the domain they become tokens of")
			flags.StringVar(&body.Purpose, "purpose", "", "what for")
			flags.StringVar(&body.LegalBasis, "legal-basis", "", "on what legal basis")
			flags.StringVar(&body.OptOuts, "opt-outs", "", "convert: the version of the opt-out list that was applied")
			flags.Int64Var(&body.RowCap, "row-cap", 0, "convert: how many rows")
			flags.StringVar(&recipient, "recipient", "", "convert: for another party, whose public keys this file has (tokeniser recipient)")
			flags.StringVar(&to.Project, "recipient-project", "", "convert: the recipient's project, of the domain that tokens go to")
			flags.StringVar(&to.Client, "recipient-client", "", "convert: the recipient's tokeniser")
			flags.StringVar(&expires, "expires", "", "the last day, as 2026-12-31")
		},
		api.OpGrantAdd, func(name string) (any, error) {
			if recipient != "" {
				if err := readRecipient(recipient, &to.Keys); err != nil {
					return nil, err
				}
				body.Recipient = &to
			} else if to.Project != "" || to.Client != "" {
				return nil, fault.New(fault.Usage, "adding a grant", "--recipient is missing", "give the file that the recipient's tokeniser recipient wrote")
			}
			day, err := time.Parse(time.DateOnly, expires)
			if err != nil {
				return nil, fault.New(fault.Usage, "adding a grant", "--expires is not a day as 2026-12-31", "give the last day")
			}
			body.Name, body.Kind, body.Expires = name, api.GrantKind(kind), day.AddDate(0, 0, 1)
			return body, nil
		})
	revoke := asking(env, "revoke NAME", "Take a grant back", "", `  keyholder grant revoke pilot --reason "pilot is over" --as ann`,
		func(c *cobra.Command) { c.Flags().StringVar(&reason, "reason", "", "why, in a few words") },
		api.OpGrantRevoke, func(name string) (any, error) { return api.GrantRevoke{Name: name, Reason: reason}, nil })
	list := listing(env, "list", "List grants",
		func(ctx context.Context, c *client.Client) ([]api.Grant, error) { return c.Grants(ctx) },
		grantLine)
	var as connection.Flags
	show := &cobra.Command{
		Use: "show NAME", Short: "Print a grant's record, for who is to use it", Example: "  keyholder grant show follow-up --as ann > follow-up.json", Args: oneArgument("grant"),
		RunE: func(c *cobra.Command, args []string) error {
			return as.With(env, func(to *client.Client) error {
				grants, err := to.Grants(c.Context())
				if err != nil {
					return err
				}
				at := slices.IndexFunc(grants, func(g api.Grant) bool { return g.Name == args[0] })
				if at < 0 {
					return fault.New(fault.Usage, "showing a grant", "there is none of this name", "list them with: keyholder grant list")
				}
				return env.PrintJSON(api.GrantRecord{Schema: api.GrantSchema, Software: boot.Software(), Grant: grants[at]})
			})
		},
	}
	as.Add(show.Flags())
	return group("grant", "Grants: what is allowed by way of exception", add, revoke, list, show)
}

// grantLine says on one line what a grant allows, to whom, how much of it was used, and its
// last day, as it was given.
func grantLine(g api.Grant) string {
	of := g.Project
	if g.Kind == api.GrantConvert {
		of = fmt.Sprintf("%s to %s, %d of %d rows used", g.From, g.To, g.RowsUsed, g.RowCap)
	}
	if to := g.Recipient; to != nil {
		of += fmt.Sprintf(", for %s of %s", to.Client, to.Project)
	}
	return fmt.Sprintf("%-32s %-8s %-8s %s, until %s", g.Name, g.Kind, g.State, of, g.Expires.Add(-time.Nanosecond).Format(time.DateOnly))
}

// readRecipient reads the public half of a recipient's keys.
func readRecipient(path string, into *parcel.Recipient) error {
	doing, next := "reading the recipient's keys "+path, "give the file that the recipient's tokeniser recipient wrote with --public"
	b, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, next)
	}
	if err := keys.DecodeStrict(b, into); err != nil {
		return fault.New(fault.Usage, doing, "it is no document of them", next)
	}
	if err := into.Check(); err != nil {
		return fault.Wrap(fault.Usage, doing, err, next)
	}
	return nil
}

func keyCommand(env *boot.Environment) *cobra.Command {
	changing := func(use, short, long, example string, kind api.OperationKind, flags func(*cobra.Command, *api.KeyChange)) *cobra.Command {
		o, body := &change{env: env}, new(api.KeyChange)
		c := &cobra.Command{
			Use: use, Short: short, Long: long, Example: example, Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error { return o.ask(c.Context(), kind, body) },
		}
		o.add(c)
		c.Flags().StringVar(&body.Domain, "domain", "", "the domain whose token key it is")
		c.Flags().StringVar(&body.Project, "project", "", "the project whose encoding and release keys they are")
		c.Flags().BoolVar(&body.Escrow, "escrow", false, "the key holder's escrow key, to which regions seal whose token it is")
		c.Flags().StringVar(&body.Reason, "reason", "", "why, in a few words")
		if flags != nil {
			flags(c, body)
		}
		return c
	}
	epoch := func(c *cobra.Command, body *api.KeyChange) {
		c.Flags().Uint32Var(&body.Epoch, "epoch", 0, "the epoch's number")
	}
	rotate := changing("rotate", "Begin a new epoch with a new key",
		`Begin a new epoch of a domain's token key, of a project's encoding and release keys, or
of the key holder's own escrow key. What the key before has made may still be read; its
leases run out and are not renewed. The escrow key's public half stands in the records of
all projects of scheme keyed-hash whose tokens may be opened: they change with it.

--compromised is for a key that somebody may have: its epoch becomes compromised, its
leases end at once, and the linker refuses its cohorts (docs/operations.md).`,
		`  keyholder key rotate --project study --reason yearly --as ann
  keyholder key rotate --escrow --reason yearly --as ann
  keyholder key rotate --project study --compromised --reason "laptop lost" --as ann`, api.OpKeyRotate,
		func(c *cobra.Command, body *api.KeyChange) {
			c.Flags().BoolVar(&body.Compromised, "compromised", false, "somebody may have the key")
		})
	retire := changing("retire", "Read nothing of an epoch any more", "", `  keyholder key retire --project study --epoch 1 --reason "nothing of it is kept" --as ann`, api.OpKeyRetire, epoch)
	destroy := changing("destroy", "Destroy the key of a retired or compromised epoch",
		`Destroy a key: every other key is sealed again under a new root key, and the store it
lay in is removed. No restore brings it back. Copies of the store and backups from
before, together with what unseals them, still hold it: delete those (docs/operations.md).
Envelopes that regions sealed to an escrow key are opened by nobody once it is destroyed.`,
		`  keyholder key destroy --project study --epoch 1 --reason "as agreed" --as ann`, api.OpKeyDestroy, epoch)
	export := &change{env: env}
	var body api.KeyExport
	exporting := &cobra.Command{
		Use: "export PROJECT --grant NAME", Short: "Export a project's keys under a grant, for work without the key holder",
		Long:    "Export the current keys of a project as keys.json, once, under a grant. They cannot be\ntaken back: a new epoch is the only way to end their use.",
		Example: "  keyholder key export study --grant pilot --as ann\n  keyholder approvals collect ID --out keys.json --as ann", Args: oneArgument("project"),
		RunE: func(c *cobra.Command, args []string) error {
			body.Project = args[0]
			return export.ask(c.Context(), api.OpKeyExport, body)
		},
	}
	export.add(exporting)
	exporting.Flags().StringVar(&body.Grant, "grant", "", "the grant that allows it")
	exporting.Flags().StringVar(&export.out, "out", "keys.json", "with --wait: the key file to write")
	list := listing(env, "list", "List every key and its state: of domains, of projects, and the escrow keys with their names", listKeys,
		func(o ownedKeys) string {
			switch {
			case o.Domain != "":
				return fmt.Sprintf("domain  %-32s token epochs %s", o.Domain, states(o.Epochs))
			case o.Project != "":
				return fmt.Sprintf("project %-32s encoding epochs %s", o.Project, states(o.Epochs))
			}
			return "escrow keys " + named(o.Epochs)
		})
	list.Example = "  keyholder key list --as ann"
	return group("key", "Keys: new epochs, their states, their end", rotate, retire, destroy, exporting, list)
}

// ownedKeys are the keys of a domain or project, or the escrow keys: whose they are is
// said as in the body of an operation.
type ownedKeys struct {
	Domain  string      `json:"domain,omitzero"`
	Project string      `json:"project,omitzero"`
	Escrow  bool        `json:"escrow,omitzero"`
	Epochs  []api.Epoch `json:"epochs"`
}

func listKeys(ctx context.Context, c *client.Client) (all []ownedKeys, err error) {
	domains, err := c.Domains(ctx)
	if err != nil {
		return nil, err
	}
	projects, err := c.Projects(ctx)
	if err != nil {
		return nil, err
	}
	escrow, err := c.EscrowKeys(ctx)
	if err != nil {
		return nil, err
	}
	for _, d := range domains {
		all = append(all, ownedKeys{Domain: d.Name, Epochs: d.Epochs})
	}
	for _, p := range projects {
		all = append(all, ownedKeys{Project: p.Name, Epochs: p.Encoding})
	}
	if len(escrow) > 0 {
		all = append(all, ownedKeys{Escrow: true, Epochs: escrow})
	}
	return all, nil
}

// named says the states of escrow keys, each with the name that envelopes carry.
func named(epochs []api.Epoch) string {
	texts := make([]string, len(epochs))
	for i, e := range epochs {
		texts[i] = fmt.Sprintf("%d %s (%s)", e.Epoch, e.State, e.KeyCheck)
	}
	return strings.Join(texts, ", ")
}

func backupCommand(env *boot.Environment) *cobra.Command {
	o := &change{env: env}
	c := &cobra.Command{
		Use: "backup", Short: "Make a sealed backup in the key holder's backup folder",
		Long: `Make a backup of everything, encrypted so that only what unseals the key holder opens
it, with a signed manifest. The service goes on meanwhile. Copy both files to another
place; keyholder restore brings them back.`,
		Example: "  keyholder backup --as ann", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error { return o.ask(c.Context(), api.OpBackup, api.Backup{}) },
	}
	o.add(c)
	return c
}
