// Package requests takes requests for re-identification through the rules of
// keys/reidentify: it asks regions, writes each step down before the next, opens what may
// be opened, and gives it to who may see it. It keeps no identity.
//
// Requests lie in memory and in the keyring's store. A change is decided under the
// keyring's lock and written together with its entries of the log, so that of two that
// open one request the second finds it open.
package requests

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/time/rate"

	"tarn/keys"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/regions"
	"tarn/keys/holder/internal/store"
	"tarn/keys/reidentify"
)

// kindRequest is the kind of the store's records: one of each request.
const kindRequest = "reidentification"

// Regions answers for the patients of domains; see package regions.
type Regions interface {
	Ask(ctx context.Context, domain string, token keys.Token, organisation, requestHash string) (*regions.Answer, error)
	Route(ctx context.Context, domain string, tokens []string, requestHash string) (*regions.Routes, error)
}

// Log is where entries are proved, and searched.
type Log interface {
	// Witnessed returns when a checkpoint that the witness has signed covers so many
	// entries; where there is no witness, when one covers them.
	Witnessed(ctx context.Context, size uint64) error
	// Receipt proves an entry, as a document.
	Receipt(ctx context.Context, index uint64) ([]byte, error)
	// Search gives every entry that holds a text.
	Search(ctx context.Context, text string, found func(index uint64, leaf []byte)) (searched uint64, err error)
}

// Meter takes what is counted. No label says who or about whom.
type Meter interface {
	Reidentified(purpose, outcome, rule string)
}

// Options are what requests are taken with.
type Options struct {
	Regions Regions // nil: no region answers, and what needs one is refused
	Log     Log
	Meter   Meter
	Clock   func() time.Time
	Rand    io.Reader
	Logger  *slog.Logger
	// Keep is how long requests are kept, with their reasons and comments; then they are
	// erased, and the log's entries are what is left of them.
	Keep time.Duration
	// Alerts says that somebody is told of alarms at once: break-glass needs it.
	Alerts bool
	// Reached is called at each step of an opening, for tests that end the process there;
	// nil does nothing.
	Reached func(Step)
}

// Step is a step of an opening.
type Step string

// The steps, in their order.
const (
	StepAsked     Step = "asked"     // the region has answered; nothing is written
	StepConsumed  Step = "consumed"  // what allows it is used up, and the intent is in the log
	StepWitnessed Step = "witnessed" // the witness has signed the intent
	StepOpened    Step = "opened"    // the identity is in memory
	StepWritten   Step = "written"   // what came of it is in the log
)

// Requests is the key holder's requests for re-identification. It is safe for concurrent
// use.
type Requests struct {
	options Options
	ring    *keyring.Keyring

	mu      sync.RWMutex // taken within the keyring's lock, where both are
	all     map[string]*reidentify.Request
	history *reidentify.History
	// opening are openings that this process is at: what it is not at and has no outcome is
	// finished as unknown.
	opening map[openingKey]bool
	// unopened are openings that this process has begun and given up before it opened
	// anything, because something could not be written: they are given back.
	unopened map[openingKey]bool

	emergencies sync.Mutex          // never taken within the others
	ahead       map[openingKey]bool // that are opened now, unwitnessed

	erased time.Time // when requests were erased last, by this process

	limiting sync.Mutex
	limits   map[string]*allowance // by person
}

// allowance is what one person may ask.
type allowance struct{ requests, patients *rate.Limiter }

type openingKey struct{ id, organisation string }

// How many requests one person may make, and of how many patients, whether or not they are
// refused: each is kept, and in the log. Beyond it they are told to wait.
const (
	requestEvery   = time.Second
	requestBurst   = 60
	patientEvery   = time.Second
	patientBurst   = 10 * reidentify.MaxItems
	keptLimiters   = 10_000
	historyWindow  = 31 * 24 * time.Hour
	regionsAtOnce  = 8
	witnessTime    = 2 * time.Second
	finishingTime  = 8 * time.Second
	receiptTime    = time.Second
	outstandingAsk = 50 * time.Millisecond
)

// Open reads the requests that a store has.
func Open(each func(func(store.Key, []byte) error) error, ring *keyring.Keyring, o Options) (*Requests, error) {
	if o.Rand == nil {
		o.Rand = rand.Reader
	}
	if o.Reached == nil {
		o.Reached = func(Step) {}
	}
	r := &Requests{options: o, ring: ring, all: map[string]*reidentify.Request{}, history: reidentify.NewHistory(), opening: map[openingKey]bool{}, unopened: map[openingKey]bool{}, ahead: map[openingKey]bool{}, limits: map[string]*allowance{}}
	err := each(func(key store.Key, value []byte) error {
		if key.Kind != kindRequest {
			return nil
		}
		request := new(reidentify.Request)
		if err := json.Unmarshal(value, request); err != nil {
			return fmt.Errorf("a record of kind %s in the store cannot be read by this version", key.Kind)
		}
		r.all[request.ID] = request
		return nil
	})
	if err != nil {
		return nil, err
	}
	counted := []*reidentify.Request{}
	for _, request := range r.all {
		if request.Counted {
			counted = append(counted, request)
		}
	}
	sortRequests(counted)
	for _, request := range counted {
		r.history.Add(request.Occasion())
	}
	return r, nil
}

func sortRequests(all []*reidentify.Request) {
	slices.SortFunc(all, func(a, b *reidentify.Request) int {
		return cmp.Or(a.Created.Compare(b.Created), cmp.Compare(a.ID, b.ID))
	})
}

// idOf makes a request's id from the id that its sender gave: sent again it is the same.
func idOf(person *reidentify.Person, requestID string) string {
	sum := sha256.Sum256(keys.LP(keys.Text("tarn/reidentification/v1"), keys.Text(person.Issuer), keys.Text(person.Subject), keys.Text(requestID)))
	return hex.EncodeToString(sum[:16])
}

// get returns a request; nil where there is none.
func (r *Requests) get(id string) *reidentify.Request {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.all[id]
}

// put writes a request. It is called within a change.
func (r *Requests) put(c *keyring.Change, request *reidentify.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all[request.ID] = request
	c.Put(kindRequest, request.ID, request)
}

// limited reports whether a person asks too often, or for too many patients.
func (r *Requests) limited(person *reidentify.Person, patients int) bool {
	r.limiting.Lock()
	defer r.limiting.Unlock()
	name := person.Issuer + " " + person.Subject
	l := r.limits[name]
	if l == nil {
		if len(r.limits) >= keptLimiters {
			clear(r.limits) // those who waited get a new allowance: it is bounded all the same
		}
		l = &allowance{rate.NewLimiter(rate.Every(requestEvery), requestBurst), rate.NewLimiter(rate.Every(patientEvery), patientBurst)}
		r.limits[name] = l
	}
	now := r.options.Clock()
	// A list that is longer than any may be is refused as what it is.
	return !l.requests.AllowN(now, 1) || !l.patients.AllowN(now, min(patients, reidentify.MaxItems))
}

// now is the time, to the millisecond that documents carry.
func (r *Requests) now() time.Time { return r.options.Clock().UTC().Truncate(time.Millisecond) }

// Pending is how many requests wait for approval.
func (r *Requests) Pending() (n int) {
	now := r.now()
	r.each(func(request *reidentify.Request) {
		if request.StateAt(now) == reidentify.Pending {
			n++
		}
	})
	return n
}

// Unreviewed is how many times break-glass was used and nobody has reviewed it.
func (r *Requests) Unreviewed() (n int) {
	policy, _, _ := r.ring.Policy()
	if policy == nil {
		return 0
	}
	r.each(func(request *reidentify.Request) {
		if _, wanted := request.ReviewDue(policy); wanted {
			n++
		}
	})
	return n
}

// each gives every request, in no order.
func (r *Requests) each(f func(*reidentify.Request)) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, request := range r.all {
		f(request)
	}
}
