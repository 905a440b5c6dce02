// Package keyholder makes key holders and runs them as processes of their own, for
// benchmarks, for fault scenarios and for tests: one operator is enough, and what
// unseals lies beside what is sealed.
package keyholder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"tarn/bench/process"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/holder"
)

// Operator is the name of the one operator.
const Operator = "ann"

// startWithin is when a start has failed, on a slow machine and traced.
const startWithin = time.Minute

// Options are what a key holder is made of.
type Options struct {
	Binary string // the key holder's program
	Folder string // an existing one: of its configuration, and of its clients' credentials
	// Store, Anchors and Logs are the folders that its store, its anchor and its log
	// are made in; those that are empty lie in Folder, the log in the store's.
	Store, Anchors, Logs string
	Custody              holder.Custody // by an identity where it is empty
	FreeFloor            string         // as keyholder.toml has it; empty is 64MiB
	LeaseTTL             time.Duration  // 0 is the service's default
	CertificateTTL       time.Duration  // of clients that enrol; 0 is the service's default
	Second               string         // the name of a second operator: changes need two then; empty is none
	BudgetRows           int64          // of a client whose project states none; 0 is the service's default
	AlertsURL            string         // where alarms are sent; empty is nowhere
	Metrics              bool           // whether it answers Prometheus
	More                 string         // further tables of its configuration
	LogLevel             string         // of its log; empty is the service's default
	Software             string
	Clock                func() time.Time
}

// operators are the names of those that are needed for a change.
func (o *Options) operators() []string {
	if o.Second == "" {
		return []string{Operator}
	}
	return []string{Operator, o.Second}
}

// KeyHolder is a key holder that was made, whether it runs or not.
type KeyHolder struct {
	Options
	Dir     string // its store's
	Anchor  string
	Config  string              // the path of its keyholder.toml
	Made    *holder.Initialised // what would be handed out
	URL     string              // since its last start
	People  string              // where it answers people since its last start, https://host:port; empty where it does not
	Process *process.Process    // of its last start

	// Witness, if it is not empty, is the witness that it is configured with.
	WitnessURL, WitnessKey string

	identity, metrics string
}

// New makes a key holder, which does not run yet.
func New(ctx context.Context, o Options) (*KeyHolder, error) {
	if o.Store == "" {
		o.Store = o.Folder
	}
	if o.Anchors == "" {
		o.Anchors = filepath.Join(o.Folder, "anchor")
	}
	if o.Custody.Method == "" {
		o.Custody.Method = "identity"
	}
	if o.FreeFloor == "" {
		o.FreeFloor = "64MiB"
	}
	k := &KeyHolder{Options: o, Dir: filepath.Join(o.Store, "holder"), Anchor: filepath.Join(o.Anchors, "anchor.json"), Config: filepath.Join(o.Folder, "keyholder.toml"),
		identity: filepath.Join(o.Folder, "identity.txt")}
	if err := os.MkdirAll(o.Anchors, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, "making a key holder", err, "")
	}
	var err error
	k.Made, err = holder.Init(ctx, holder.InitOptions{
		Dir: k.Dir, Anchor: k.Anchor, Custody: o.Custody, Name: "keyholder", Organisation: "X26", Operators: o.operators(),
		Hosts: []string{"127.0.0.1"}, Software: o.Software, Clock: o.Clock,
	})
	if err != nil {
		return nil, err
	}
	if len(k.Made.Identity) > 0 {
		if err := os.WriteFile(k.identity, k.Made.Identity, 0o600); err != nil {
			return nil, fault.Wrap(fault.Internal, "making a key holder", err, "")
		}
	}
	return k, k.Configure()
}

// Begin makes a key holder, starts it and enrols its operator.
func Begin(ctx context.Context, o Options) (*KeyHolder, error) {
	k, err := New(ctx, o)
	if err == nil {
		err = k.Start(ctx)
	}
	if err == nil {
		err = k.Enrol(ctx, Operator, k.Made.Codes[Operator])
	}
	if err != nil && k != nil {
		err = errors.Join(err, k.Kill())
	}
	return k, err
}

// Configure writes keyholder.toml of what k says now, for its next start.
func (k *KeyHolder) Configure() error {
	var b strings.Builder
	fmt.Fprintf(&b, "production = false\n[listen]\naddress = \"127.0.0.1:0\"\n")
	if k.Metrics {
		address, err := process.FreeAddress()
		if err != nil {
			return err
		}
		k.metrics = address
		fmt.Fprintf(&b, "metrics_address = %q\n", address)
	}
	fmt.Fprintf(&b, "[store]\ndir = %q\nanchor = %q\nfree_floor = %q\n", k.Dir, k.Anchor, k.FreeFloor)
	if k.Custody.Method == "identity" {
		fmt.Fprintf(&b, "[custody]\nidentity_file = %q\n", k.identity)
	}
	fmt.Fprintf(&b, "[operators]\nrequired = %d\n", len(k.operators()))
	if k.LeaseTTL > 0 || k.CertificateTTL > 0 {
		fmt.Fprintf(&b, "[leases]\n")
	}
	if k.LeaseTTL > 0 {
		fmt.Fprintf(&b, "ttl = %q\n", k.LeaseTTL)
	}
	if k.CertificateTTL > 0 {
		fmt.Fprintf(&b, "certificate_ttl = %q\n", k.CertificateTTL)
	}
	if k.LogLevel != "" {
		fmt.Fprintf(&b, "[log]\nlevel = %q\n", k.LogLevel)
	}
	if k.BudgetRows > 0 {
		fmt.Fprintf(&b, "[budgets]\nunstated_rows = %d\n", k.BudgetRows)
	}
	if k.AlertsURL != "" {
		fmt.Fprintf(&b, "[alerts]\nurl = %q\n", k.AlertsURL)
	}
	if k.Logs != "" || k.WitnessURL != "" {
		fmt.Fprintf(&b, "[audit]\n")
	}
	if k.Logs != "" {
		fmt.Fprintf(&b, "dir = %q\n", k.Logs)
	}
	if k.WitnessURL != "" {
		fmt.Fprintf(&b, "witness_url = %q\nwitness_key = %q\n", k.WitnessURL, k.WitnessKey)
	}
	b.WriteString(k.More)
	if err := os.WriteFile(k.Config, []byte(b.String()), 0o600); err != nil {
		return fault.Wrap(fault.Internal, "configuring the key holder", err, "")
	}
	return nil
}

// Log returns the folder of its log of a number.
func (k *KeyHolder) Log(number uint32) string {
	logs := k.Logs
	if logs == "" {
		logs = filepath.Join(k.Dir, "log")
	}
	return holder.LogFolder(logs, number)
}

// CA is the path of its authority's certificate.
func (k *KeyHolder) CA() string { return filepath.Join(k.Dir, holder.AuthorityFile) }

// Identity is the path of the file that unseals it, with custody by identity.
func (k *KeyHolder) Identity() string { return k.identity }

// Start starts its program, behind another one where one is given, and returns when
// it says where it answers. Where it ended before, that is the error, and Process
// says how.
func (k *KeyHolder) Start(ctx context.Context, before ...string) error {
	const answering = "answering on "
	command := append(before, k.Binary, "serve", "--config", k.Config)
	p, answer, err := process.Start(ctx, process.Options{Until: answering, Within: startWithin}, command[0], command[1:]...)
	k.Process = p
	if err != nil {
		return err
	}
	_, after, _ := strings.Cut(answer, answering)
	address, _, _ := strings.Cut(after, ",")
	k.URL, k.People = "https://"+address, ""
	if _, people, said := strings.Cut(p.Said(), "answering people on "); said {
		people, _, _ = strings.Cut(people, "\n")
		k.People = "https://" + people
	}
	return nil
}

// Kill ends it at once, if it runs.
func (k *KeyHolder) Kill() error {
	if k.Process == nil {
		return nil
	}
	return k.Process.Kill()
}

// Stop ends it with SIGTERM, if it runs.
func (k *KeyHolder) Stop() error {
	if k.Process == nil || k.Process.HasEnded() {
		return nil
	}
	return k.Process.Stop()
}

// Anonymous is a client without a certificate.
func (k *KeyHolder) Anonymous() (*client.Client, error) {
	return client.Anonymous(k.URL, k.CA(), k.Clock)
}

// Ready returns when it says that it is ready.
func (k *KeyHolder) Ready(ctx context.Context) error {
	anyone, err := k.Anonymous()
	if err != nil {
		return err
	}
	defer anyone.Close()
	return anyone.Ready(ctx)
}

// Credentials is the folder of a client's credentials.
func (k *KeyHolder) Credentials(name string) string { return filepath.Join(k.Folder, name) }

// Enrol enrols a client.
func (k *KeyHolder) Enrol(ctx context.Context, name, code string) error {
	_, err := client.Enrol(ctx, client.Enrolment{URL: k.URL, Code: code, Folder: k.Credentials(name)}, k.Clock)
	return err
}

// As is a client of credentials that Enrol wrote, at the address of now.
func (k *KeyHolder) As(name string) (*client.Client, error) {
	credentials, err := client.Load(client.Files{Folder: k.Credentials(name), URL: k.URL})
	if err != nil {
		return nil, err
	}
	return client.New(credentials, k.Clock), nil
}

// Record is the record of a project of one party, north, that may be encoded and
// released and re-identifies nobody.
func Record(project, domain, scheme string) []byte {
	return fmt.Appendf(nil, `{"schema":"tarn.project/1","name":%q,"domain":%q,"scheme":%q,"profile":"nhs-field-dob-1","purpose":"bench","legal_basis":{},
		"controllers":["X26"],"parties":[{"source_dataset":"north"}],"opt_outs":{"ndoo":true,"type1":true,"local":false},"groups":[],
		"keys":{"domain_no":0,"token_epoch":0,"token_public_key":null,"token_kcv":null,"encoding_epoch":0,"encoding_kcv":null},"reidentify":{"mode":"none"},"expires":"2999-12-31"}`, project, domain, scheme)
}

// AddDomain, AddProject and AddTokeniser have the operator make what keys are leased
// for: a domain, a project of its and a client of that project, which enrols into
// the folder of its name.
func (k *KeyHolder) AddDomain(ctx context.Context, name, scheme string) error {
	return k.ask(ctx, api.OpDomainAdd, api.DomainAdd{Name: name, Scheme: scheme})
}

// AddProject adds a project of which this is the record.
func (k *KeyHolder) AddProject(ctx context.Context, record []byte) error {
	return k.ask(ctx, api.OpProjectAdd, api.ProjectAdd{Record: record})
}

// SetPolicy sets the policy of re-identification.
func (k *KeyHolder) SetPolicy(ctx context.Context, document string) error {
	return k.ask(ctx, api.OpPolicySet, api.PolicySet{Document: document})
}

// AddGrant allows one thing that nobody may do otherwise.
func (k *KeyHolder) AddGrant(ctx context.Context, grant api.GrantAdd) error {
	return k.ask(ctx, api.OpGrantAdd, grant)
}

func (k *KeyHolder) ask(ctx context.Context, kind api.OperationKind, body any) error {
	operator, err := k.As(Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	_, err = operator.Ask(ctx, kind, body)
	return err
}

// AddTokeniser adds a tokeniser of a project, and enrols it.
func (k *KeyHolder) AddTokeniser(ctx context.Context, name, project string) error {
	return k.AddClient(ctx, api.ClientAdd{Name: name, Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{project}})
}

// AddClient adds a client, and enrols it into the folder of its name.
func (k *KeyHolder) AddClient(ctx context.Context, added api.ClientAdd) error {
	operator, err := k.As(Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	invited, err := operator.Ask(ctx, api.OpClientAdd, added)
	if err != nil {
		return err
	}
	collected, err := operator.Collect(ctx, invited.ID)
	if err != nil {
		return err
	}
	return k.Enrol(ctx, added.Name, collected.Code)
}
