package holder

import (
	"context"
	"crypto/rand"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit/receipt"
	"tarn/keys/holder/console"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/reidentify"
	"tarn/keys/reidentify/oversight"
)

// pages is the key holder as the console's pages ask it: each method does what the method
// of the interface does, by the same functions, in places for people, no earlier than its
// floor, counted, and written down where it is refused.
type pages struct {
	h    *Holder
	last *registerRead
}

func (h *Holder) newConsole(o *Pages) *console.Console {
	p := pages{h, &registerRead{}}
	random := h.options.Rand
	if random == nil {
		random = rand.Reader
	}
	return console.New(console.Options{
		SignIn: o.SignIn, Asker: p, Reader: p, Decider: p, Auditor: p, Overseer: p, Operators: p, Registrar: p,
		Organisation: o.Organisation, PublicURL: o.PublicURL, Idle: o.Idle, Longest: o.Longest,
		Clock: h.options.Clock, Rand: random, Logger: h.options.Logger, Meter: h.options.Meter,
	})
}

// as does something for a person whose sign-in the console has verified.
func as[T any](ctx context.Context, p pages, method string, who console.Caller, do func(context.Context, *call) (T, error)) (result T, err error) {
	h := p.h
	c := &call{
		holder: h, method: methodOf(method), id: who.RequestID, arrived: who.Arrived, at: h.people, person: who.Person,
		caller: callerOf(&who.Person),
	}
	status := http.StatusInternalServerError
	defer func() { c.ended(status) }()
	defer func() {
		if value := recover(); value != nil {
			h.options.Logger.Error("a request ended in a panic", "route", c.method.Path, "request", c.id, "code", place())
			err = api.Refuse(api.CodeInternal, "", "report it with the request's id")
		}
	}()
	result, failed := inPlace(ctx, c, do)
	if c.method.Floor {
		c.wait()
	}
	if failed != nil {
		refused := h.refusal(failed)
		h.noteRefusal(c, refused)
		status = refused.Status()
		return result, refused
	}
	status = http.StatusOK
	return result, nil
}

// inPlace does something in a place of the person's.
func inPlace[T any](ctx context.Context, c *call, do func(context.Context, *call) (T, error)) (result T, err error) {
	leave, there := c.at.enter()
	if !there {
		return result, busy()
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if c.ring, err = c.holder.keyring(); err != nil {
		return result, err
	}
	c.desk = c.holder.requests()
	leaveAs, there := c.at.enterAs(c.person.Issuer + " " + c.person.Subject)
	if !there {
		return result, busy()
	}
	defer leaveAs()
	return do(ctx, c)
}

// methodOf returns a method of the interface, or one that only pages have.
func methodOf(name string) *api.Method {
	methods := api.Methods()
	if at := slices.IndexFunc(methods, func(m api.Method) bool { return m.Name == name }); at >= 0 {
		return &methods[at]
	}
	return &api.Method{Name: name, Path: name, SignedIn: true}
}

// Reidentify implements [console.Asker].
func (p pages) Reidentify(ctx context.Context, who console.Caller, body *api.ReidentificationRequest) (*api.Reidentification, error) {
	return as(ctx, p, "reidentifications.create", who, func(ctx context.Context, c *call) (*api.Reidentification, error) { return c.reidentify(ctx, body) })
}

// Worklist implements [console.Asker].
func (p pages) Worklist(ctx context.Context, who console.Caller, body *api.WorklistRequest) (*api.Reidentification, error) {
	return as(ctx, p, "worklists.create", who, func(ctx context.Context, c *call) (*api.Reidentification, error) { return c.worklist(ctx, body) })
}

// Cancel implements [console.Asker].
func (p pages) Cancel(ctx context.Context, who console.Caller, id string) (*api.Reidentification, error) {
	return as(ctx, p, "reidentifications.cancel", who, func(ctx context.Context, c *call) (*api.Reidentification, error) { return c.cancel(ctx, id) })
}

// Open implements [console.Asker].
func (p pages) Open(ctx context.Context, who console.Caller, id string) (*api.OpenedItems, error) {
	return as(ctx, p, "reidentifications.open", who, func(ctx context.Context, c *call) (*api.OpenedItems, error) { return c.open(ctx, id) })
}

// May implements [console.Reader]. Every page asks it, so that it is not counted.
func (p pages) May(_ context.Context, who console.Caller) (*reidentify.Abilities, error) {
	if _, err := p.h.keyring(); err != nil {
		return nil, p.h.refusal(err)
	}
	may := p.h.requests().May(&who.Person)
	return &may, nil
}

// List implements [console.Reader].
func (p pages) List(ctx context.Context, who console.Caller, view reidentify.View, state reidentify.State, after string) (*api.List[*api.Reidentification], error) {
	return as(ctx, p, "reidentifications.list", who, func(_ context.Context, c *call) (*api.List[*api.Reidentification], error) {
		return c.list(view, state, after)
	})
}

// Get implements [console.Reader].
func (p pages) Get(ctx context.Context, who console.Caller, id string) (*api.Reidentification, error) {
	return as(ctx, p, "reidentifications.get", who, func(_ context.Context, c *call) (*api.Reidentification, error) {
		return c.seen(c.desk.Get(&c.person, id))
	})
}

// Receipt implements [console.Reader].
func (p pages) Receipt(ctx context.Context, who console.Caller, id string) ([]byte, error) {
	return as(ctx, p, "reidentifications.receipt", who, func(ctx context.Context, c *call) ([]byte, error) { return written(c.receiptOf(ctx, id)) })
}

// written is a receipt as a document.
func written(r *receipt.Receipt, err error) ([]byte, error) {
	if err != nil {
		return nil, err
	}
	return json.Marshal(r, json.Deterministic(true))
}

// Decide implements [console.Decider].
func (p pages) Decide(ctx context.Context, who console.Caller, id string, given *api.ApprovalGiven) (*api.Reidentification, error) {
	return as(ctx, p, "reidentifications.approve", who, func(ctx context.Context, c *call) (*api.Reidentification, error) { return c.decide(ctx, id, given) })
}

// Review implements [console.Decider].
func (p pages) Review(ctx context.Context, who console.Caller, id string, given *api.ReviewGiven) (*api.Reidentification, error) {
	return as(ctx, p, "reidentifications.review", who, func(ctx context.Context, c *call) (*api.Reidentification, error) { return c.review(ctx, id, given) })
}

// WhoAsked implements [console.Auditor].
func (p pages) WhoAsked(ctx context.Context, who console.Caller, given *api.WhoAskedRequest) (*api.WhoAsked, error) {
	return as(ctx, p, "who-asked", who, func(ctx context.Context, c *call) (*api.WhoAsked, error) { return c.whoAsked(ctx, given) })
}

// Events implements [console.Auditor].
func (p pages) Events(ctx context.Context, who console.Caller, filter *api.EventFilter) (*api.EventsFound, error) {
	return as(ctx, p, "pages.events", who, func(ctx context.Context, c *call) (*api.EventsFound, error) {
		return c.desk.Events(ctx, &c.person, filter)
	})
}

// EventReceipt implements [console.Auditor].
func (p pages) EventReceipt(ctx context.Context, who console.Caller, index uint64) ([]byte, error) {
	return as(ctx, p, "pages.receipt", who, func(ctx context.Context, c *call) ([]byte, error) {
		if err := c.desk.Guards(&c.person); err != nil {
			return nil, err
		}
		return written(c.receipt(ctx, index))
	})
}

// Standings implements [console.Overseer].
func (p pages) Standings(ctx context.Context, who console.Caller) (own, organisation []oversight.Standing, err error) {
	both, err := as(ctx, p, "pages.limits", who, func(_ context.Context, c *call) (both [2][]oversight.Standing, _ error) {
		both[0], both[1] = c.desk.Standings(&c.person)
		return both, nil
	})
	return both[0], both[1], err
}

// Overview implements [console.Overseer].
func (p pages) Overview(ctx context.Context, who console.Caller) (*oversight.Overview, error) {
	return as(ctx, p, "pages.overview", who, func(_ context.Context, c *call) (*oversight.Overview, error) { return c.desk.Overview(&c.person) })
}

// Report implements [console.Overseer].
func (p pages) Report(ctx context.Context, who console.Caller, organisation string, month oversight.CalendarMonth) (*oversight.Report, error) {
	return as(ctx, p, "pages.report", who, func(_ context.Context, c *call) (*oversight.Report, error) {
		return c.desk.Report(&c.person, organisation, month)
	})
}

// Organisations implements [console.Overseer].
func (p pages) Organisations(ctx context.Context, who console.Caller) ([]string, error) {
	return as(ctx, p, "pages.organisations", who, func(_ context.Context, c *call) ([]string, error) { return c.desk.Organisations(&c.person) })
}

// See implements [console.Operators].
func (p pages) See(ctx context.Context, who console.Caller) (*api.OperatorsSee, error) {
	return as(ctx, p, "operations.list", who, func(_ context.Context, c *call) (see *api.OperatorsSee, err error) {
		see = &api.OperatorsSee{}
		if see.Operations, err = operationsForPerson(c.ring, &c.person, ""); err != nil {
			return nil, err
		}
		if see.Projects, err = projectsForPerson(c.ring, &c.person); err != nil {
			return nil, err
		}
		see.Clients, err = clientsForPerson(c.ring, &c.person)
		return see, err
	})
}

// AskChange implements [console.Operators].
func (p pages) AskChange(ctx context.Context, who console.Caller, request *api.OperationRequest) (*api.Operation, error) {
	return as(ctx, p, "operations.create", who, func(ctx context.Context, c *call) (*api.Operation, error) {
		return pointed(askOperation(ctx, c.ring, &c.person, c.id, *request))
	})
}

// DecideChange implements [console.Operators].
func (p pages) DecideChange(ctx context.Context, who console.Caller, id string, given *api.ApprovalRequest) (*api.Operation, error) {
	return as(ctx, p, "operations.approve", who, func(ctx context.Context, c *call) (*api.Operation, error) {
		return pointed(decideOperation(ctx, c.ring, &c.person, id, *given))
	})
}

// CollectChange implements [console.Operators].
func (p pages) CollectChange(ctx context.Context, who console.Caller, id string) (*api.Collected, error) {
	return as(ctx, p, "operations.collect", who, func(ctx context.Context, c *call) (*api.Collected, error) {
		return pointed(collectForPerson(ctx, c.ring, &c.person, id))
	})
}

// pointed returns a document by its address; nil with an error.
func pointed[T any](document T, err error) (*T, error) {
	if err != nil {
		return nil, err
	}
	return &document, nil
}

// Register implements [console.Registrar]. It is not a method of people: anybody reads it.
func (p pages) Register(context.Context) (*api.Register, error) {
	read, err := p.read()
	return read.register, err
}

// Counts implements [console.Registrar].
func (p pages) Counts(context.Context) ([]oversight.ProjectCount, error) {
	read, err := p.read()
	return read.counts, err
}

// registerRead is the register as it was made last. To make it all requests are looked at,
// and whoever asks need not have signed in.
type registerRead struct {
	mu   sync.Mutex
	made time.Time
	registerMade
}

type registerMade struct {
	register *api.Register
	counts   []oversight.ProjectCount
}

// registerLasts is how long a register that was made is shown.
const registerLasts = 5 * time.Second

func (p pages) read() (registerMade, error) {
	ring, err := p.h.keyring()
	if err != nil {
		return registerMade{}, p.h.refusal(err)
	}
	p.last.mu.Lock()
	defer p.last.mu.Unlock()
	now := p.h.options.Clock()
	if age := now.Sub(p.last.made); p.last.register == nil || age < 0 || age >= registerLasts {
		p.last.registerMade, p.last.made = registerMade{p.register(ring, now), p.h.requests().Counts()}, now
	}
	return p.last.registerMade, nil
}

func (p pages) register(ring *keyring.Keyring, now time.Time) *api.Register {
	register := &api.Register{Projects: []api.RegisterProject{}, Conversions: []api.RegisterConversion{}, Entries: p.h.TreeSize()}
	for _, project := range ring.Projects() {
		record, err := keys.ParseProject(project.Record)
		if err != nil {
			continue // one of a version to come
		}
		register.Projects = append(register.Projects, registered(record))
		last := &register.Projects[len(register.Projects)-1]
		last.Ended = !now.Before(last.Ends)
	}
	for _, grant := range ring.Grants() {
		if grant.Kind == api.GrantConvert {
			register.Conversions = append(register.Conversions, conversion(&grant))
		}
	}
	return register
}

func registered(p *keys.Project) api.RegisterProject {
	r := api.RegisterProject{
		Name: p.Name, Purpose: p.Purpose, Article6: p.LegalBasis.Article6, Article9: p.LegalBasis.Article9, Confidentiality: p.LegalBasis.Confidentiality,
		References: p.LegalBasis.Refs, Controllers: p.Controllers, Parties: []api.RegisterParty{}, NationalOptOut: p.OptOuts.NDOO, Type1OptOut: p.OptOuts.Type1,
		LocalOptOut: p.OptOuts.Local, OptOutReason: p.OptOuts.Reason, Reidentify: p.Reidentify.Mode, Purposes: p.Reidentify.Purposes,
	}
	for _, party := range p.Parties {
		r.Parties = append(r.Parties, api.RegisterParty{SourceDataset: party.SourceDataset, Organisation: party.ODS})
	}
	r.Ends, _ = p.End() // a record that was taken has one
	return r
}

func conversion(g *api.Grant) api.RegisterConversion {
	return api.RegisterConversion{From: g.From, To: g.To, Purpose: g.Purpose, LegalBasis: g.LegalBasis, OptOuts: g.OptOuts, Expires: g.Expires, State: g.State}
}

// callerOf is a person as refusals and lines of the log name them.
func callerOf(p *reidentify.Person) keyring.Caller {
	return keyring.Caller{Name: p.Subject, Role: api.Role(p.Role), Organisation: p.Organisation, Issuer: p.Issuer}
}
