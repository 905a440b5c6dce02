package holder

import (
	"context"
	"crypto/x509"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"tarn/keys/api"
	"tarn/keys/enrol"
	"tarn/keys/holder/internal/keyring"
)

// handlers returns what answers each method of the allow-list, by its name.
func handlers() map[string]handler {
	return map[string]handler{
		"livez":              livez,
		"readyz":             readyz,
		"openapi":            openapi,
		"seal.status":        sealStatus,
		"seal.unseal":        unseal,
		"enrol":              enrolClient,
		"self":               self,
		"domains.get":        getDomain,
		"domains.list":       listDomains,
		"projects.get":       getProject,
		"projects.list":      listProjects,
		"leases.create":      createLease,
		"leases.renew":       renewLease,
		"leases.usage":       useLease,
		"leases.end":         endLease,
		"leases.list":        listLeases,
		"points.evaluate":    evaluatePoints,
		"tokens.rotate":      rotateTokens,
		"tokens.convert":     convertTokens,
		"escrow.list":        listEscrowKeys,
		"clients.list":       listClients,
		"budgets.list":       listBudgets,
		"grants.list":        listGrants,
		"operations.create":  createOperation,
		"operations.list":    listOperations,
		"operations.get":     getOperation,
		"operations.approve": approveOperation,
		"operations.collect": collectOperation,
		"events.list":        listEvents,
		"events.receipt":     eventReceipt,
		"policy.get":         getPolicy,
		"policy.simulate":    simulatePolicy,

		"me":                        me,
		"reidentifications.create":  createReidentification,
		"reidentifications.list":    listReidentifications,
		"reidentifications.get":     getReidentification,
		"reidentifications.cancel":  cancelReidentification,
		"reidentifications.approve": approveReidentification,
		"reidentifications.open":    openReidentification,
		"reidentifications.review":  reviewReidentification,
		"reidentifications.receipt": reidentificationReceipt,
		"worklists.create":          createWorklist,
		"worklists.open":            openReidentification,
		"who-asked":                 whoAsked,
	}
}

func livez(context.Context, *call) (int, any, error) {
	return http.StatusOK, map[string]string{"status": "alive"}, nil
}

func readyz(_ context.Context, c *call) (int, any, error) {
	if _, err := c.holder.keyring(); err != nil {
		return 0, nil, err
	}
	if err := c.holder.room(); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"status": "ready"}, nil
}

func openapi(context.Context, *call) (int, any, error) {
	return http.StatusOK, api.OpenAPI(), nil
}

func sealStatus(_ context.Context, c *call) (int, any, error) {
	return http.StatusOK, c.holder.sealStatus(), nil
}

func unseal(ctx context.Context, c *call) (int, any, error) {
	given, err := decode[api.Unseal](c)
	if err != nil {
		return 0, nil, err
	}
	if err := given.Check(); err != nil {
		return 0, nil, err
	}
	status, err := c.counted(&c.holder.unsealTries, api.CodeUnsealRefused, func() (any, error) { return c.holder.Unseal(ctx, *given) })
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, status, nil
}

func enrolClient(ctx context.Context, c *call) (int, any, error) {
	request, err := decode[api.EnrolRequest](c)
	if err != nil {
		return 0, nil, err
	}
	enrolled, err := c.counted(&c.holder.enrolTries, api.CodeEnrolCode, func() (any, error) {
		code, err := enrol.ParseCode(request.Code)
		if err != nil {
			return nil, api.Refuse(api.CodeEnrolCode, "it is not well formed", "copy the whole of it again")
		}
		enrolled, err := c.ring.Enrol(ctx, code.Digest(), request.SealingKey, c.signer(request))
		enrolled.Authority = c.holder.authorityCertificate()
		return enrolled, err
	})
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, enrolled, nil
}

// signer returns what makes a client's certificate: the key holder's authority
// from a CSR, or a given authority, whose certificate the caller has shown.
func (c *call) signer(request *api.EnrolRequest) keyring.Sign {
	if len(request.CSR) > 0 {
		return c.holder.sign(request.CSR)
	}
	return func(string) ([]byte, time.Time, error) {
		given := c.holder.options.ClientCA
		state := c.request.TLS
		if given == nil || state == nil || len(state.PeerCertificates) == 0 {
			return nil, time.Time{}, api.Refuse(api.CodeMalformed, "there is no CSR, and no certificate of a given authority was shown", "send a CSR")
		}
		leaf, others := state.PeerCertificates[0], x509.NewCertPool()
		for _, other := range state.PeerCertificates[1:] {
			others.AddCert(other)
		}
		_, err := leaf.Verify(x509.VerifyOptions{
			Roots: given, Intermediates: others, CurrentTime: c.holder.options.Clock(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
		})
		if err != nil {
			return nil, time.Time{}, api.Refuse(api.CodeCertificate, "the certificate is not of the authority that the key holder was given", "use a certificate of that authority, or send a CSR")
		}
		return leaf.Raw, leaf.NotAfter, nil
	}
}

func self(_ context.Context, c *call) (int, any, error) {
	return http.StatusOK, c.ring.Self(c.caller), nil
}

func getDomain(_ context.Context, c *call) (int, any, error) {
	return found(c.ring.Domain(c.request.PathValue("domain")))
}

// found answers with a document, or with why there is none.
func found[T any](document T, err error) (int, any, error) {
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, document, nil
}

func list[T any](items []T) (int, any, error) {
	if items == nil {
		items = []T{}
	}
	return http.StatusOK, api.List[T]{Items: items}, nil
}

func listDomains(_ context.Context, c *call) (int, any, error) { return list(c.ring.Domains()) }

func getProject(_ context.Context, c *call) (int, any, error) {
	return found(c.ring.Project(c.caller, c.request.PathValue("project")))
}

func listProjects(_ context.Context, c *call) (int, any, error) { return list(c.ring.Projects()) }

func createLease(ctx context.Context, c *call) (int, any, error) {
	request, err := decode[api.LeaseRequest](c)
	if err != nil {
		return 0, nil, err
	}
	lease, err := c.ring.Lease(ctx, c.caller, c.id, c.request.PathValue("project"), *request)
	if err != nil {
		return 0, nil, err
	}
	c.holder.options.Meter.Leased(string(lease.Use))
	return http.StatusCreated, lease, nil
}

func renewLease(ctx context.Context, c *call) (int, any, error) {
	return found(c.ring.Renew(ctx, c.caller, c.request.PathValue("project"), c.request.PathValue("lease")))
}

func useLease(ctx context.Context, c *call) (int, any, error) {
	usage, err := decode[api.Usage](c)
	if err != nil {
		return 0, nil, err
	}
	return found(c.ring.Use(ctx, c.caller, c.id, c.request.PathValue("project"), c.request.PathValue("lease"), *usage))
}

func endLease(ctx context.Context, c *call) (int, any, error) {
	return http.StatusNoContent, nil, c.ring.End(ctx, c.caller, c.request.PathValue("project"), c.request.PathValue("lease"))
}

func listLeases(_ context.Context, c *call) (int, any, error) {
	leases, err := c.ring.Leases(c.request.PathValue("project"))
	if err != nil {
		return 0, nil, err
	}
	return list(leases)
}

// evaluations bounds how many batches are evaluated at once, each on every core: more
// would only share the cores.
const evaluations = 2

// octets is an answer that is no document.
type octets []byte

func evaluatePoints(ctx context.Context, c *call) (int, any, error) {
	return c.batch(ctx, func(project string, body []byte) (*keyring.Evaluation, error) {
		return c.ring.Evaluate(ctx, c.caller, c.id, project, body)
	})
}

func rotateTokens(ctx context.Context, c *call) (int, any, error) {
	return c.batch(ctx, func(project string, body []byte) (*keyring.Evaluation, error) {
		return c.ring.Rotate(ctx, c.caller, c.id, project, c.request.PathValue("domain"), body)
	})
}

func convertTokens(ctx context.Context, c *call) (int, any, error) {
	coming := int64(0)
	text, there, err := c.query("rows")
	if err != nil {
		return 0, nil, err
	}
	if there {
		if coming, err = strconv.ParseInt(text, 10, 64); err != nil || coming < 1 {
			return 0, nil, api.Refuse(api.CodeMalformed, "rows is no number of rows", "give how many rows are still to be converted, those of this batch included, or leave it out")
		}
	}
	return c.batch(ctx, func(project string, body []byte) (*keyring.Evaluation, error) {
		return c.ring.Convert(ctx, c.caller, c.id, project, c.request.PathValue("grant"), coming, body)
	})
}

// batch answers a batch of a project once it is charged and recorded.
func (c *call) batch(ctx context.Context, charge func(project string, body []byte) (*keyring.Evaluation, error)) (int, any, error) {
	project, there, err := c.query("project")
	if err != nil {
		return 0, nil, err
	}
	if !there {
		return 0, nil, api.Refuse(api.CodeMalformed, "the project is missing", "name it at the end of the address: ?project=NAME")
	}
	body, err := c.body("application/octet-stream")
	if err != nil {
		return 0, nil, err
	}
	evaluation, err := charge(project, body)
	if err != nil {
		return 0, nil, err
	}
	select {
	case c.holder.evaluating <- struct{}{}:
		defer func() { <-c.holder.evaluating }()
	case <-ctx.Done():
		return 0, nil, ctx.Err()
	}
	answer, err := evaluation.Answer(runtime.GOMAXPROCS(0))
	if err != nil {
		return 0, nil, err
	}
	c.holder.options.Meter.Evaluated(evaluation.Rows())
	return http.StatusOK, octets(answer), nil
}

func listEscrowKeys(_ context.Context, c *call) (int, any, error) { return list(c.ring.EscrowKeys()) }

func listClients(_ context.Context, c *call) (int, any, error) { return list(c.ring.Clients()) }

func listBudgets(_ context.Context, c *call) (int, any, error) { return list(c.ring.Budgets()) }

func listGrants(_ context.Context, c *call) (int, any, error) { return list(c.ring.Grants()) }

func createOperation(ctx context.Context, c *call) (int, any, error) {
	request, err := decode[api.OperationRequest](c)
	if err != nil {
		return 0, nil, err
	}
	operation, err := c.ring.Ask(ctx, c.caller, c.id, *request)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, operation, nil
}

func listOperations(_ context.Context, c *call) (int, any, error) {
	state, there, err := c.query("state")
	if err != nil {
		return 0, nil, err
	}
	if there && !slices.Contains(api.OperationStates(), api.OperationState(state)) {
		return 0, nil, api.Refuse(api.CodeMalformed, "state is not one that an operation can have", "see /v1/openapi.json, or leave it out for all")
	}
	return list(c.ring.Operations(api.OperationState(state)))
}

func getOperation(_ context.Context, c *call) (int, any, error) {
	return found(c.ring.Operation(c.request.PathValue("operation")))
}

func approveOperation(ctx context.Context, c *call) (int, any, error) {
	request, err := decode[api.ApprovalRequest](c)
	if err != nil {
		return 0, nil, err
	}
	return found(c.ring.Decide(ctx, c.caller, c.request.PathValue("operation"), *request))
}

func collectOperation(ctx context.Context, c *call) (int, any, error) {
	collected, err := c.ring.Collect(ctx, c.caller, c.request.PathValue("operation"))
	if err != nil {
		return 0, nil, err
	}
	switch {
	case collected.Export != nil:
		if collected.Sealed, err = api.SealExport(collected.Export, collected.SealTo, collected.Certificate); err != nil {
			return 0, nil, err
		}
	case collected.Backup:
		if collected.Path, err = c.holder.Backup(ctx); err != nil {
			return 0, nil, err
		}
	}
	return http.StatusOK, collected.Collected, nil
}

// query returns a parameter of the address, which may be there once.
func (c *call) query(name string) (value string, there bool, err error) {
	values, there := c.request.URL.Query()[name]
	switch {
	case !there:
		return "", false, nil
	case len(values) > 1:
		return "", false, api.Refuse(api.CodeMalformed, name+" is there twice", "give it once")
	}
	return values[0], true, nil
}

// eventPage is how many events one answer holds.
const eventPage = 500

func listEvents(ctx context.Context, c *call) (int, any, error) {
	from := uint64(0)
	text, there, err := c.query("after")
	if err != nil {
		return 0, nil, err
	}
	if there {
		after, err := strconv.ParseUint(text, 10, 62)
		if err != nil {
			return 0, nil, api.Refuse(api.CodeMalformed, "after is not the number of an event", "")
		}
		from = after + 1
	}
	events, err := c.holder.events(from, eventPage)
	if err != nil {
		return 0, nil, err
	}
	page := api.List[api.Event]{Items: events}
	if len(events) == eventPage {
		page.Next = strconv.FormatUint(events[len(events)-1].Index, 10)
	}
	return http.StatusOK, page, nil
}

// receiptTime is how long a receipt waits for a checkpoint of its entry.
const receiptTime = 2 * time.Second

func eventReceipt(ctx context.Context, c *call) (int, any, error) {
	index, err := strconv.ParseUint(c.request.PathValue("index"), 10, 62)
	if err != nil {
		return 0, nil, api.Refuse(api.CodeMalformed, "the index is not the number of an event", "")
	}
	return found(c.receipt(ctx, index))
}
