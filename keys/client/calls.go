package client

import (
	"context"
	"net/http"
	"net/url"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/api"
	"tarn/keys/fault"
)

// page is how a list is asked for.
func list[T any](ctx context.Context, c *Client, doing, path string) ([]T, error) {
	all, err := call[api.List[T]](ctx, c, doing, http.MethodGet, path, nil)
	if err != nil {
		return nil, err
	}
	return all.Items, nil
}

// Self returns who the key holder says that this client is.
func (c *Client) Self(ctx context.Context) (*api.Self, error) {
	return call[api.Self](ctx, c, "asking the key holder who this client is", http.MethodGet, "/v1/self", nil)
}

// Domain returns a domain.
func (c *Client) Domain(ctx context.Context, name string) (*api.Domain, error) {
	return call[api.Domain](ctx, c, "asking the key holder for a domain", http.MethodGet, "/v1/domains/"+url.PathEscape(name), nil)
}

// Domains returns every domain.
func (c *Client) Domains(ctx context.Context) ([]api.Domain, error) {
	return list[api.Domain](ctx, c, "asking the key holder for its domains", "/v1/domains")
}

// Project returns a project's record as it is now.
func (c *Client) Project(ctx context.Context, name string) (*api.Project, error) {
	return call[api.Project](ctx, c, "asking the key holder for the project", http.MethodGet, "/v1/projects/"+url.PathEscape(name), nil)
}

// Projects returns every project.
func (c *Client) Projects(ctx context.Context) ([]api.Project, error) {
	return list[api.Project](ctx, c, "asking the key holder for its projects", "/v1/projects")
}

// EscrowKeys returns the key holder's escrow keys, oldest first.
func (c *Client) EscrowKeys(ctx context.Context) ([]api.Epoch, error) {
	return list[api.Epoch](ctx, c, "asking the key holder for its escrow keys", "/v1/escrow-keys")
}

// Clients returns every client.
func (c *Client) Clients(ctx context.Context) ([]api.Client, error) {
	return list[api.Client](ctx, c, "asking the key holder for its clients", "/v1/clients")
}

// Budgets returns what clients may use keys for, and what is left.
func (c *Client) Budgets(ctx context.Context) ([]api.Budget, error) {
	return list[api.Budget](ctx, c, "asking the key holder for budgets", "/v1/budgets")
}

// Grants returns every grant.
func (c *Client) Grants(ctx context.Context) ([]api.Grant, error) {
	return list[api.Grant](ctx, c, "asking the key holder for its grants", "/v1/grants")
}

// Leases returns a project's leases.
func (c *Client) Leases(ctx context.Context, project string) ([]api.LeaseRecord, error) {
	return list[api.LeaseRecord](ctx, c, "asking the key holder for leases", "/v1/projects/"+url.PathEscape(project)+"/leases")
}

// Operations returns the operations in a state; all where it is empty.
func (c *Client) Operations(ctx context.Context, state api.OperationState) ([]api.Operation, error) {
	path := "/v1/operations"
	if state != "" {
		path += "?state=" + url.QueryEscape(string(state))
	}
	return list[api.Operation](ctx, c, "asking the key holder for operations", path)
}

// Operation returns one operation.
func (c *Client) Operation(ctx context.Context, id string) (*api.Operation, error) {
	return call[api.Operation](ctx, c, "asking the key holder for the operation", http.MethodGet, "/v1/operations/"+url.PathEscape(id), nil)
}

// Ask asks for a change.
func (c *Client) Ask(ctx context.Context, kind api.OperationKind, body any) (*api.Operation, error) {
	const doing = "asking the key holder for a change"
	raw, err := json.Marshal(body)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "the request could not be made", "")
	}
	return call[api.Operation](ctx, c, doing, http.MethodPost, "/v1/operations", api.OperationRequest{Kind: kind, Body: raw})
}

// Decide approves or rejects what another operator asked for.
func (c *Client) Decide(ctx context.Context, id string, request api.ApprovalRequest) (*api.Operation, error) {
	return call[api.Operation](ctx, c, "deciding on the operation", http.MethodPost, "/v1/operations/"+url.PathEscape(id)+"/approvals", request)
}

// Collect collects what an approved operation gives, once.
func (c *Client) Collect(ctx context.Context, id string) (*api.Collected, error) {
	return call[api.Collected](ctx, c, "collecting what the operation gives", http.MethodPost, "/v1/operations/"+url.PathEscape(id)+"/collections", nil)
}

// Events returns a page of events after an index; "" is the beginning. next is
// "" where nothing follows.
func (c *Client) Events(ctx context.Context, after string) (events []api.Event, next string, err error) {
	path := "/v1/events"
	if after != "" {
		path += "?after=" + url.QueryEscape(after)
	}
	all, err := call[api.List[api.Event]](ctx, c, "asking the key holder for events", http.MethodGet, path, nil)
	if err != nil {
		return nil, "", err
	}
	return all.Items, all.Next, nil
}

// Receipt returns the proof that an event is in the log, as a document for
// auditor receipt.
func (c *Client) Receipt(ctx context.Context, index string) (jsontext.Value, error) {
	document, err := call[jsontext.Value](ctx, c, "asking the key holder for a receipt", http.MethodGet, "/v1/events/"+url.PathEscape(index)+"/receipt", nil)
	if err != nil {
		return nil, err
	}
	return *document, nil
}

func leasePath(project, lease, what string) string {
	return "/v1/projects/" + url.PathEscape(project) + "/leases/" + url.PathEscape(lease) + what
}

// Lease leases a key of a project. Most callers want a [Session].
func (c *Client) Lease(ctx context.Context, project string, request api.LeaseRequest) (*api.Lease, error) {
	return call[api.Lease](ctx, c, "leasing the "+string(request.Use)+" key of project "+project, http.MethodPost, "/v1/projects/"+url.PathEscape(project)+"/leases", request)
}

func (c *Client) renew(ctx context.Context, project, lease string) (*api.LeaseRenewal, error) {
	return call[api.LeaseRenewal](ctx, c, "renewing a lease of project "+project, http.MethodPost, leasePath(project, lease, "/renewals"), struct{}{})
}

// use reports under an id of the caller's: a report that is sent again with it
// counts once.
func (c *Client) use(ctx context.Context, requestID, project, lease string, usage api.Usage) (*api.LeaseUse, error) {
	doing := "reporting what a key of project " + project + " was used for"
	if usage.RowsWanted > 0 {
		doing = "asking to use a key of project " + project + " for more rows"
	}
	return callAs[api.LeaseUse](ctx, c, requestID, doing, http.MethodPost, leasePath(project, lease, "/usage"), usage)
}

func (c *Client) end(ctx context.Context, project, lease string) error {
	_, err := call[struct{}](ctx, c, "ending a lease of project "+project, http.MethodDelete, leasePath(project, lease, ""), nil)
	return err
}

// SealStatus says whether the key holder is sealed.
func (c *Client) SealStatus(ctx context.Context) (*api.SealStatus, error) {
	return call[api.SealStatus](ctx, c, "asking whether the key holder is sealed", http.MethodGet, "/v1/seal-status", nil)
}

// Unseal gives a share, the passphrase or the identity.
func (c *Client) Unseal(ctx context.Context, given api.Unseal) (*api.SealStatus, error) {
	return call[api.SealStatus](ctx, c, "unsealing the key holder", http.MethodPost, "/v1/unseal", given)
}

// Ready returns without an error when the key holder can answer.
func (c *Client) Ready(ctx context.Context) error {
	_, err := call[struct{}](ctx, c, "asking whether the key holder is ready", http.MethodGet, "/readyz", nil)
	return err
}

// Policy returns the policy of re-identification as it is set.
func (c *Client) Policy(ctx context.Context) (*api.Policy, error) {
	return call[api.Policy](ctx, c, "asking the key holder for its policy", http.MethodGet, "/v1/policy", nil)
}

// Simulate says which limits of a policy past requests would have been beyond, as a document
// tarn.policy-simulation/1.
func (c *Client) Simulate(ctx context.Context, policy api.PolicySet) (jsontext.Value, error) {
	document, err := call[jsontext.Value](ctx, c, "simulating a policy", http.MethodPost, "/v1/policy/simulations", policy)
	if err != nil {
		return nil, err
	}
	return *document, nil
}
