package console

import (
	"context"
	"time"

	"tarn/keys/api"
	"tarn/keys/reidentify"
	"tarn/keys/reidentify/oversight"
)

// Caller is who asks by a page: a person whose sign-in was verified.
type Caller struct {
	Person reidentify.Person
	// RequestID makes a request, as X-Request-ID does: sent twice it is one.
	RequestID string
	Arrived   time.Time
}

// What pages ask of the key holder. Each method does what the method of the interface does
// that has its name, under the same rules, with the same entries of the log and no earlier:
// pages have no rule of their own. Errors are of type [*api.Error].

// Asker takes requests, and opens them.
type Asker interface {
	Reidentify(context.Context, Caller, *api.ReidentificationRequest) (*api.Reidentification, error)
	Worklist(context.Context, Caller, *api.WorklistRequest) (*api.Reidentification, error)
	Cancel(ctx context.Context, c Caller, id string) (*api.Reidentification, error)
	Open(ctx context.Context, c Caller, id string) (*api.OpenedItems, error)
}

// Reader shows a person what they have to do with.
type Reader interface {
	May(context.Context, Caller) (*reidentify.Abilities, error)
	List(ctx context.Context, c Caller, as reidentify.View, state reidentify.State, after string) (*api.List[*api.Reidentification], error)
	Get(ctx context.Context, c Caller, id string) (*api.Reidentification, error)
	Receipt(ctx context.Context, c Caller, id string) ([]byte, error)
}

// Decider takes what approvers and reviewers find.
type Decider interface {
	Decide(ctx context.Context, c Caller, id string, given *api.ApprovalGiven) (*api.Reidentification, error)
	Review(ctx context.Context, c Caller, id string, given *api.ReviewGiven) (*api.Reidentification, error)
}

// Auditor shows a guardian the log.
type Auditor interface {
	WhoAsked(context.Context, Caller, *api.WhoAskedRequest) (*api.WhoAsked, error)
	Events(context.Context, Caller, *api.EventFilter) (*api.EventsFound, error)
	EventReceipt(ctx context.Context, c Caller, index uint64) ([]byte, error)
}

// Overseer shows how much is asked: a person where they stand, a guardian where everybody
// does.
type Overseer interface {
	Standings(context.Context, Caller) (own, organisation []oversight.Standing, err error)
	Overview(context.Context, Caller) (*oversight.Overview, error)
	Report(ctx context.Context, c Caller, organisation string, month oversight.CalendarMonth) (*oversight.Report, error)
	Organisations(context.Context, Caller) ([]string, error)
}

// Operators changes projects and clients, two by two.
type Operators interface {
	See(context.Context, Caller) (*api.OperatorsSee, error)
	AskChange(context.Context, Caller, *api.OperationRequest) (*api.Operation, error)
	DecideChange(ctx context.Context, c Caller, id string, given *api.ApprovalRequest) (*api.Operation, error)
	CollectChange(ctx context.Context, c Caller, id string) (*api.Collected, error)
}

// Registrar shows anybody what is linked, and why.
type Registrar interface {
	Register(context.Context) (*api.Register, error)
	// Counts are how often somebody was named.
	Counts(context.Context) ([]oversight.ProjectCount, error)
}
