package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
)

// Person calls a key holder as somebody who has signed in. It is safe for concurrent use.
type Person struct{ client *Client }

// maxBearer is how long a token of a sign-in may be, in bytes.
const maxBearer = 16 << 10

// SignedIn makes a client for the address at which a key holder answers people. caPath is
// the PEM file of the authority of its certificate, or empty for the system's; tokenPath
// holds the token of a sign-in, and is read at once. clock is the real time.
func SignedIn(address, caPath, tokenPath string, clock func() time.Time) (*Person, error) {
	if err := checkURL(address); err != nil {
		return nil, err
	}
	var roots *x509.CertPool // the system's
	if caPath != "" {
		var err error
		if roots, err = readRoots(caPath); err != nil {
			return nil, err
		}
	}
	token, err := readToken(tokenPath)
	if err != nil {
		return nil, err
	}
	c := &Client{credentials: &Credentials{URL: address, roots: roots}, budget: newBudget(clock), http: newHTTP(&tls.Config{MinVersion: tls.VersionTLS13, RootCAs: roots})}
	// The token lies in a closure: it is printed by nothing.
	c.authorise = func(header http.Header) { header.Set("Authorization", "Bearer "+token) }
	return &Person{c}, nil
}

func readToken(path string) (string, error) {
	const doing = "reading the token of the sign-in"
	b, err := keys.ReadSecret(path)
	if err != nil {
		return "", err
	}
	defer clear(b)
	token := bytes.TrimSpace(b)
	if len(token) == 0 || len(token) > maxBearer || bytes.ContainsAny(token, " \r\n\t") {
		return "", fault.New(fault.Usage, doing, "the file holds no token", "sign in, and save the token that you got, alone, in a file of mode 0600")
	}
	return string(token), nil
}

// Close ends idle connections.
func (p *Person) Close() { p.client.Close() }

// Me returns who has signed in.
func (p *Person) Me(ctx context.Context) (*api.PersonShown, error) {
	return call[api.PersonShown](ctx, p.client, "asking the key holder who has signed in", http.MethodGet, "/v1/me", nil)
}

// Reidentify asks who patients are. The id makes the request: sent again it is the same.
func (p *Person) Reidentify(ctx context.Context, id string, request *api.ReidentificationRequest) (*api.Reidentification, error) {
	return callAs[api.Reidentification](ctx, p.client, id, "asking who patients are", http.MethodPost, "/v1/reidentifications", request)
}

// Worklist has each patient's own practice find out who they are.
func (p *Person) Worklist(ctx context.Context, id string, request *api.WorklistRequest) (*api.Reidentification, error) {
	return callAs[api.Reidentification](ctx, p.client, id, "sending a worklist", http.MethodPost, "/v1/worklists", request)
}

// Reidentifications lists requests that the person sees as what they say (requester,
// approver, recipient, reviewer or guardian), in a state, or in all where it is empty;
// oldest first.
func (p *Person) Reidentifications(ctx context.Context, as, state string) (all []api.Reidentification, err error) {
	query := url.Values{"as": {as}}
	if state != "" {
		query.Set("state", state)
	}
	for {
		page, err := call[api.List[api.Reidentification]](ctx, p.client, "listing requests", http.MethodGet, "/v1/reidentifications?"+query.Encode(), nil)
		if err != nil {
			return nil, err
		}
		if all = append(all, page.Items...); page.Next == "" {
			return all, nil
		}
		query.Set("after", page.Next)
	}
}

func requestPath(id, more string) string { return "/v1/reidentifications/" + url.PathEscape(id) + more }

// Reidentification returns one request.
func (p *Person) Reidentification(ctx context.Context, id string) (*api.Reidentification, error) {
	return call[api.Reidentification](ctx, p.client, "reading a request", http.MethodGet, requestPath(id, ""), nil)
}

// Cancel takes a request back.
func (p *Person) Cancel(ctx context.Context, id string) (*api.Reidentification, error) {
	return call[api.Reidentification](ctx, p.client, "taking a request back", http.MethodPost, requestPath(id, "/cancel"), nil)
}

// Decide approves or rejects another person's request.
func (p *Person) Decide(ctx context.Context, id string, given api.ApprovalGiven) (*api.Reidentification, error) {
	return call[api.Reidentification](ctx, p.client, "deciding on a request", http.MethodPost, requestPath(id, "/approvals"), given)
}

// Review says what was found of a break-glass.
func (p *Person) Review(ctx context.Context, id string, given api.ReviewGiven) (*api.Reidentification, error) {
	return call[api.Reidentification](ctx, p.client, "reviewing a break-glass", http.MethodPost, requestPath(id, "/review"), given)
}

// Open opens a request, or the person's own part of a worklist: once.
func (p *Person) Open(ctx context.Context, id string) (*api.OpenedItems, error) {
	return call[api.OpenedItems](ctx, p.client, "opening a request", http.MethodPost, requestPath(id, "/open"), nil)
}

// WhoAsked lists who has asked about a patient.
func (p *Person) WhoAsked(ctx context.Context, request api.WhoAskedRequest) (*api.WhoAsked, error) {
	return call[api.WhoAsked](ctx, p.client, "asking who has asked about a patient", http.MethodPost, "/v1/audit/who-asked", request)
}

// Receipt returns the proof that a request is in the log, a document tarn.receipt/1.
func (p *Person) Receipt(ctx context.Context, id string) ([]byte, error) {
	document, err := call[jsontext.Value](ctx, p.client, "asking for a receipt", http.MethodGet, requestPath(id, "/receipt"), nil)
	if err != nil {
		return nil, err
	}
	return *document, nil
}
