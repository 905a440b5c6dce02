package demo

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/csv"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-json-experiment/json"

	"tarn/bench/idp"
	"tarn/bench/process"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/fault"
	"tarn/keys/trialcert"
)

// What re-identification has in the demonstration's folder.
const (
	signInTLS      = "sign-in-tls"
	regionTLS      = "region-tls"
	regionKey      = "relationships.key"
	regionTables   = "relationships"
	regionConfig   = "region.toml"
	careStore      = "care-store"
	careProject    = "care"
	careRecord     = "care.json"
	careClient     = "care-north"
	careTokens     = "care.tokens.csv" // a table with tokens that may be opened
	careTable      = "relationships.csv"
	policyFile     = "policy.toml"
	requestFile    = signedInFolder + "/request.json"
	receiptFile    = "receipt.json"
	signedInFolder = "signed-in" // tokens of sign-ins; taken away at the end
)

// Reidentify is what became of asking who a patient is.
type Reidentify struct {
	RequestID           string `json:"request_id"`
	StateBeforeApproval string `json:"state_before_approval"`
	RefusedSelfApproval bool   `json:"refused_self_approval"`
	Opened              bool   `json:"opened"`
	MatchesTruth        bool   `json:"matches_truth"`
	SecondOpenStatus    int    `json:"second_open_status"` // from another session
	DirectCare          bool   `json:"direct_care"`        // opened without approval, by who has to do with the patient
	ReceiptVerified     bool   `json:"receipt_verified"`
	WhoAsked            int    `json:"who_asked"` // entries of the log about the patient
}

// care is what the step of re-identification needs beforehand: who signs people in, and
// where the region will answer.
type care struct {
	provider *idp.Provider
	answers  string // the region's address, host:port
	verify   string // its public key
	people   string // where the key holder answers people, host:port
}

// policy is who may ask for what in the demonstration.
const policy = `schema = "tarn.policy/1"
mode = "enforce"

[[guardian]]
roles = ["` + idp.RoleReviewer + `"]
organisations = ["` + idp.ICB + `"]

[[project]]
name = "` + careProject + `"
issuer = "%s"
controllers = ["` + idp.ICB + `"]

[[project.allow]]
roles = ["` + idp.RoleGP + `"]
purposes = ["TREAT"]
when = "relationship"

[[project.approver]]
roles = ["` + idp.RoleApprover + `"]
organisations = ["` + idp.ICB + `"]
`

// careText is what keyholder.toml says of people, and of the region that answers.
const careText = `[console]
address = "%s"
organisation = "Demonstration"
[oidc]
issuer = "%s"
client_id = "%s"
jwks_url = "%s"
ca = "` + signInTLS + `/` + trialcert.AuthorityFile + `"
[oidc.claims]
preset = "cis2"
[[relationships]]
domain = "synthetic"
url = "https://%s"
ca = "` + regionTLS + `/` + trialcert.AuthorityFile + `"
verify_key = "%s"
`

// region makes what the key holder has to know before it starts: a provider of sign-ins,
// whose users are made up, and the region's address and key.
func (d *demo) region() (string, error) {
	if _, err := d.run("tokeniser", "certificates", "--out", regionTLS, "--client", pipeline); err != nil {
		return "", err
	}
	said, err := d.run("tokeniser", "relationships", "key", "--out", regionKey)
	if err != nil {
		return "", err
	}
	if _, after, there := strings.Cut(string(said), `verify_key = "`); there {
		d.care.verify, _, _ = strings.Cut(after, `"`)
	}
	for _, address := range []*string{&d.care.answers, &d.care.people} {
		if *address, err = process.FreeAddress(); err != nil {
			return "", err
		}
	}
	if err := d.serveSignIn(); err != nil {
		return "", err
	}
	return "a provider of sign-ins answers on loopback, with made-up users; the region has a key that signs whose patients are whose", nil
}

func (d *demo) serveSignIn() error {
	const doing = "serving the provider of sign-ins"
	folder := filepath.Join(d.Folder, signInTLS)
	if err := trialcert.Make(folder, []string{"localhost", "127.0.0.1"}, nil, d.Wall()); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(filepath.Join(folder, trialcert.ServerCert), filepath.Join(folder, trialcert.ServerKey))
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	pem, err := os.ReadFile(filepath.Join(folder, trialcert.AuthorityFile))
	roots := x509.NewCertPool()
	if err != nil || !roots.AppendCertsFromPEM(pem) {
		return fault.New(fault.Internal, doing, "its authority cannot be read", "")
	}
	d.care.provider, err = idp.Serve(d.ctx, idp.Options{Certificate: pair, Roots: roots, RedirectURIs: []string{"https://localhost/signed-in"}})
	return err
}

// holderPeople is what keyholder.toml says of people.
func (d *demo) holderPeople() string {
	p := d.care.provider
	return fmt.Sprintf(careText, d.care.people, p.URL, p.ClientID, p.JWKSURL, d.care.answers, d.care.verify)
}

// signIn has somebody sign in, and returns the path of their token.
func (d *demo) signIn(user, session string) (string, error) {
	token, err := d.care.provider.SignIn(d.ctx, user, "")
	if err != nil {
		return "", err
	}
	name := filepath.Join(signedInFolder, user+"-"+session+".jwt")
	return name, d.write(name, token)
}

// reid runs a command of keyholder reid as somebody.
func (d *demo) reid(into any, token string, args ...string) error {
	args = append(append([]string{"reid"}, args...), "--keyholder", "https://"+d.care.people, "--ca", filepath.Join(holderFolder, "ca.pem"), "--token-file", token)
	return d.runInto(into, "keyholder", args...)
}

// lake makes a project whose tokens may be opened, and a table with tokens of it.
func (d *demo) lake() error {
	record, err := os.ReadFile(filepath.Join(d.Folder, rotatedRecord))
	if err != nil {
		return fault.Wrap(fault.Internal, "reading the project's record", err, "")
	}
	var document map[string]any
	if err := json.Unmarshal(record, &document); err != nil {
		return fault.New(fault.Internal, "reading the project's record", "it is no JSON", "")
	}
	document["name"], document["purpose"], document["controllers"] = careProject, "direct care", []string{idp.ICB}
	document["reidentify"] = map[string]any{"mode": "direct", "purposes": []string{"TREAT"}, "approvals": 1}
	if record, err = json.Marshal(document, json.Deterministic(true)); err != nil {
		return fault.New(fault.Internal, "writing the project's record", "it cannot be written", "")
	}
	if err := d.write(careRecord, string(record)); err != nil {
		return err
	}
	if err := d.write(policyFile, fmt.Sprintf(policy, d.care.provider.URL)); err != nil {
		return err
	}
	asAnn := []string{"--as", d.credentials(operator)}
	for _, args := range [][]string{{"project", "add", careRecord}, {"policy", "check", policyFile}, {"policy", "set", policyFile}} {
		if args[1] != "check" {
			args = append(args, asAnn...)
		}
		if _, err := d.run("keyholder", args...); err != nil {
			return err
		}
	}
	code, err := d.run("keyholder", append([]string{"client", "add", careClient, "--role", "tokeniser", "--organisation", "ZZ001", "--project", careProject, "--source", d.parties[0]}, asAnn...)...)
	if err != nil {
		return err
	}
	if err := d.write(careClient+".code", string(code)); err != nil {
		return err
	}
	as := d.credentials(careClient)
	if err := os.Remove(filepath.Join(d.Folder, careRecord)); err != nil {
		return fault.Wrap(fault.Internal, "replacing the project's record", err, "")
	}
	for _, args := range [][]string{
		{"enrol", "--keyholder", d.url, "--code-file", careClient + ".code", "--out", as},
		{"project", careProject, "--as", as, "--out", careRecord},
		{"column", "--project", careRecord, "--as", as, "--in", input(d.parties[0]), "--column", "nhs_number", "--out", careTokens},
	} {
		if _, err := d.run("tokeniser", args...); err != nil {
			return err
		}
	}
	return nil
}

// patient is somebody of the first region's table, by token and by number.
func (d *demo) patient() (token, number string, err error) {
	column := func(path string) ([]string, error) {
		b, err := os.ReadFile(filepath.Join(d.Folder, path))
		if err != nil {
			return nil, err
		}
		rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		if err != nil || len(rows) == 0 {
			return nil, errors.New("it is no table")
		}
		for at, name := range rows[0] {
			if name != "nhs_number" {
				continue
			}
			values := make([]string, len(rows)-1)
			for i, row := range rows[1:] {
				values[i] = row[at]
			}
			return values, nil
		}
		return nil, errors.New("it has no numbers")
	}
	tokens, err := column(careTokens)
	if err != nil {
		return "", "", fault.New(fault.Internal, "reading the table of tokens", err.Error(), "")
	}
	numbers, err := column(input(d.parties[0]))
	if err != nil {
		return "", "", fault.New(fault.Internal, "reading the first region's table", err.Error(), "")
	}
	for i := range tokens {
		if strings.HasPrefix(tokens[i], "tarn1") && i < len(numbers) {
			return tokens[i], strings.NewReplacer(" ", "", "-", "").Replace(numbers[i]), nil
		}
	}
	return "", "", fault.New(fault.Internal, "choosing a patient", "nobody has a token", "")
}

// answering starts the region's service, which says whose patients are whose.
func (d *demo) regionAnswers(token string) (stop func() error, err error) {
	if err := d.write(careTable, "token,organisation,from,to,relationship\n"+token+","+idp.PracticeA+",2020-01-01,,registered\n"); err != nil {
		return nil, err
	}
	if _, err := d.run("tokeniser", "relationships", "load", "--in", careTable, "--dir", regionTables); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`# The region answers the key holder whose patients are whose: this is a demonstration.
production = false
[listen]
address = "127.0.0.1:0"
tls_cert = "`+regionTLS+`/server.pem"
tls_key = "`+regionTLS+`/server.key"
client_ca = "`+regionTLS+`/ca.pem"
[keyholder]
as = "%s"
[[project]]
file = "`+careRecord+`"
clients = ["`+pipeline+`"]
[store]
dir = "`+careStore+`"
free_floor = "64MiB"
[relationships]
address = "%s"
tls_cert = "`+regionTLS+`/server.pem"
tls_key = "`+regionTLS+`/server.key"
client_ca = "`+holderFolder+`/ca.pem"
clients = ["keyholder"]
signing_key_file = "`+regionKey+`"
dir = "`+regionTables+`"
`, d.credentials(careClient), d.care.answers)
	if err := d.write(regionConfig, text); err != nil {
		return nil, err
	}
	_, stop, err = d.start(answering, "tokeniser", "serve", "--config", regionConfig)
	return stop, err
}

// reidentify asks who a patient is: as their own practice, which is told at once, and as
// another one, which needs approval, and not its own.
func (d *demo) reidentify() (detail string, err error) {
	if err := d.folder(signedInFolder); err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(filepath.Join(d.Folder, signedInFolder))) }()
	if err := d.lake(); err != nil {
		return "", err
	}
	token, number, err := d.patient()
	if err != nil {
		return "", err
	}
	stop, err := d.regionAnswers(token)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, stop()) }()
	r := &Reidentify{}
	if err := d.directCare(r, token, number); err != nil {
		return "", err
	}
	if err := d.approved(r, token, number); err != nil {
		return "", err
	}
	if !r.DirectCare || !r.RefusedSelfApproval || !r.MatchesTruth || r.SecondOpenStatus != 410 || !r.ReceiptVerified || r.WhoAsked == 0 {
		return "", fault.New(fault.Internal, "re-identifying a patient", "something was not as it must be: see reidentify in the summary", "")
	}
	d.document.Reidentify = r
	return "a patient's own practice was told at once who it is; another needed approval, its own was refused; what was opened matches the truth, is not shown to another session, and its receipt verifies", nil
}

// asked writes a request of a practice's.
func (d *demo) asked(token, organisation string) error {
	request, err := json.Marshal(api.ReidentificationRequest{
		Project: careProject, Purpose: "TREAT", Organisation: organisation, Reason: api.Reason{Code: "care", Text: "Called back about a blood result."},
		Items: []api.ReidentificationItem{{Row: 1, Token: token}},
	}, json.Deterministic(true))
	if err != nil {
		return fault.New(fault.Internal, "writing a request", "it cannot be written", "")
	}
	return d.write(requestFile, string(request))
}

// opens reports whether an opening names the patient.
func opens(o *api.OpenedItems, number string) bool {
	return len(o.Items) == 1 && o.Items[0].Identity != nil && o.Items[0].Identity.NHSNumber == number
}

func (d *demo) directCare(r *Reidentify, token, number string) error {
	gp, err := d.signIn(idp.GPOfA, "morning")
	if err != nil {
		return err
	}
	if err := d.asked(token, idp.PracticeA); err != nil {
		return err
	}
	var made api.Reidentification
	if err := d.reid(&made, gp, "ask", "--in", requestFile); err != nil {
		return err
	}
	var opened api.OpenedItems
	if err := d.reid(&opened, gp, "open", made.ID); err != nil {
		return err
	}
	r.DirectCare = made.State == "ready" && opens(&opened, number)
	return nil
}

func (d *demo) approved(r *Reidentify, token, number string) error {
	gp, err := d.signIn(idp.GPOfB, "morning")
	if err != nil {
		return err
	}
	approver, err := d.signIn(idp.Approver, "morning")
	if err != nil {
		return err
	}
	if err := d.asked(token, idp.PracticeB); err != nil {
		return err
	}
	var made, decided api.Reidentification
	if err := d.reid(&made, gp, "ask", "--in", requestFile); err != nil {
		return err
	}
	r.RequestID, r.StateBeforeApproval = made.ID, made.State
	own := d.reid(&decided, gp, "approve", made.ID, "--hash", made.RequestHash)
	r.RefusedSelfApproval = own != nil && strings.Contains(own.Error(), "Who asks may not approve")
	if err := d.reid(&decided, approver, "approve", made.ID, "--hash", made.RequestHash); err != nil {
		return err
	}
	var opened api.OpenedItems
	if err := d.reid(&opened, gp, "open", made.ID, "--receipt", receiptFile); err != nil {
		return err
	}
	r.Opened = opened.Items[0].State == api.ItemOpened
	r.MatchesTruth = opens(&opened, number)
	if r.SecondOpenStatus, err = d.openAgain(idp.GPOfB, made.ID); err != nil {
		return err
	}
	_, err = d.run("auditor", "receipt", receiptFile, "--log-key", filepath.Join(holderFolder, "log", "1", "log.vkey"))
	r.ReceiptVerified = err == nil
	return d.whoAsked(r, token)
}

// openAgain opens a request from another session, and returns the status of the answer.
func (d *demo) openAgain(user, id string) (int, error) {
	token, err := d.signIn(user, "evening")
	if err != nil {
		return 0, err
	}
	p, err := client.SignedIn("https://"+d.care.people, filepath.Join(d.Folder, holderFolder, "ca.pem"), filepath.Join(d.Folder, token), d.Wall)
	if err != nil {
		return 0, err
	}
	defer p.Close()
	_, err = p.Open(d.ctx, id)
	return api.Codes()[client.Code(err)], nil
}

func (d *demo) whoAsked(r *Reidentify, token string) error {
	guardian, err := d.signIn(idp.Guardian, "morning")
	if err != nil {
		return err
	}
	request, err := json.Marshal(api.WhoAskedRequest{Project: careProject, Token: token})
	if err != nil {
		return fault.New(fault.Internal, "writing a request", "it cannot be written", "")
	}
	if err := d.write(requestFile, string(request)); err != nil {
		return err
	}
	var asked api.WhoAsked
	if err := d.reid(&asked, guardian, "who-asked", "--in", requestFile); err != nil {
		return err
	}
	r.WhoAsked = len(asked.Items)
	return nil
}
