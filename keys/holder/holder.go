// Package holder is the key holder's service: it opens a sealed deployment,
// answers the methods of keys/api over mutual TLS, and hands what is asked to
// the keyring, whose rules decide.
//
// It holds every master key, and never sees a data set, a population or, while
// tokenising, an identifier.
package holder

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"tarn/keys/api"
	"tarn/keys/badgerdb"
	"tarn/keys/enrol"
	"tarn/keys/fault"
	"tarn/keys/holder/console"
	"tarn/keys/holder/internal/authority"
	"tarn/keys/holder/internal/custody"
	"tarn/keys/holder/internal/journal"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/regions"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/reidentify"
)

// Meter takes what the service counts. It must be safe for concurrent use.
type Meter interface {
	// Request counts an answered request.
	Request(method string, status int, took time.Duration)
	// Evaluated counts elements that were evaluated.
	Evaluated(elements int)
	// Leased counts a lease.
	Leased(use string)
	// Refused counts a refusal by its code.
	Refused(method, code string)
	// Appended measures how long entries took to be in the log.
	Appended(entries int, took time.Duration)
	// LogFailing says whether the log cannot be written.
	LogFailing(failing bool)
	// Alarmed counts an alarm by its rule.
	Alarmed(rule string)
	// AlertDelivered and AlertFailed count alerts that were heard, and tries of sending
	// that failed.
	AlertDelivered()
	AlertFailed()
	// Reidentified counts what became of requests for re-identification.
	Reidentified(purpose, outcome, rule string)
}

// Budgets are how many rows clients may use keys for.
type Budgets = keyring.Budgets

// The budgets of a key holder that says nothing else.
const (
	DefaultBudgetPeriod  = keyring.DefaultBudgetPeriod
	DefaultUnstatedRows  = keyring.DefaultUnstatedRows
	DefaultCeilingRows   = keyring.DefaultCeilingRows
	DefaultReservedShare = keyring.DefaultReservedShare
	DefaultRateFactor    = keyring.DefaultRateFactor

	DefaultLeaseTTL       = keyring.DefaultLeaseTTL
	DefaultCertificateTTL = authority.DefaultLifetime
	DefaultFreeFloor      = badgerdb.DefaultFreeFloor
	DefaultKeepRequests   = 400 * 24 * time.Hour
)

// Options are what the service is given.
type Options struct {
	Dir     string // the deployment's folder: root.json, the store, backups
	Anchor  string // the anchor file's path, on another filesystem
	Backups string // where backups are written; empty is Dir/backups
	Logs    string // the folder of the logs, in folders of their numbers; empty is Dir/log

	// WitnessURL and WitnessKey are the address and the verifier key of the log's
	// witness; empty is none.
	WitnessURL, WitnessKey string
	WitnessHTTP            *http.Client // nil is the standard library's

	// AlertsURL is where alarms are sent; empty is nowhere. They wait in the folder
	// AlertsSpool, of which empty is Dir/alerts.
	AlertsURL, AlertsSpool string
	AlertsCA               *x509.CertPool // of whoever answers there; nil is the system's

	Budgets           Budgets // what is not set has its default
	Name              string  // the key holder's name, for events
	Software          string
	Production        bool
	OperatorsRequired int
	LeaseTTL          time.Duration
	CertificateTTL    time.Duration
	FreeFloor         uint64        // bytes; 0 is the store's default
	SignIn            SignIn        // of people; nil: nobody signs in, and nobody re-identifies
	Regions           []Region      // that answer for domains
	KeepRequests      time.Duration // for re-identification; 0 is for ever
	Pages             *Pages        // the console's; nil: people are answered by the interface only
	// PolicyDigest and PolicyMode, where they are not empty, are those that the policy of
	// re-identification must have: else the service does not open.
	PolicyDigest string
	PolicyMode   reidentify.Mode
	ClientCA     *x509.CertPool // a given authority for clients, besides the key holder's own; may be nil

	Clock  func() time.Time
	Rand   io.Reader
	Logger *slog.Logger
	Meter  Meter

	// Reached is called at each step of an opening, for tests that end the process there; nil
	// does nothing.
	Reached func(requests.Step)
}

// Pages are the settings of the console.
type Pages struct {
	SignIn        console.SignIn
	Organisation  string        // who runs the key holder, for people to read
	PublicURL     string        // https://host[:port], by which people come
	Idle, Longest time.Duration // of sessions; 0 is the console's default
}

// Holder is a key holder's service, sealed or open. It is safe for concurrent
// use.
type Holder struct {
	options Options
	// programs and people are the places of their listeners.
	programs, people *places
	// evaluating bounds the batches that are evaluated at once.
	evaluating chan struct{}
	refusals   refusals
	failed     chan struct{}

	regions   *regions.Regions // nil where none answers
	console   *console.Console // nil where there are no pages
	ourselves ourselves

	unsealTries, enrolTries tries
	alerts                  *alerting

	unsealing sync.Mutex // one at a time
	unsealer  *custody.Unsealer
	tries     int64 // refused since the start

	mu        sync.RWMutex
	document  custody.Document
	vault     *vault
	ring      *keyring.Keyring
	authority *authority.Authority
	log       *transparency
	desk      *requests.Requests
	stopping  bool
}

// New reads what lies open of a deployment. Everything else stays sealed until
// Unseal.
func New(o Options) (*Holder, error) {
	if o.WitnessHTTP == nil {
		o.WitnessHTTP = http.DefaultClient
	}
	document, err := custody.Read(o.Dir)
	if err != nil {
		return nil, err
	}
	h := &Holder{options: o, programs: newPlaces(maxInFlight), people: newPlaces(maxOfAllPeople), evaluating: make(chan struct{}, evaluations), failed: make(chan struct{}), document: document}
	h.unsealer = custody.NewUnsealer(document)
	h.refusals.counts = map[refusalKey]int64{}
	if h.alerts, err = newAlerting(h); err != nil {
		return nil, err
	}
	if len(o.Regions) > 0 {
		if h.regions, err = regions.New(o.Regions, regions.Options{Certificate: h.clientCertificate, Clock: o.Clock}); err != nil {
			return nil, err
		}
	}
	if o.Pages != nil {
		h.console = h.newConsole(o.Pages)
	}
	return h, nil
}

// Failed is closed when the store could not be written: what is in memory may
// be ahead of it, and the process must end.
func (h *Holder) Failed() <-chan struct{} { return h.failed }

// keyring returns the keyring, or why there is none.
func (h *Holder) keyring() (*keyring.Keyring, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	switch {
	case h.stopping:
		return nil, api.Refuse(api.CodeStopping, "", "try again a little later")
	case h.ring == nil:
		return nil, api.Refuse(api.CodeSealed, "", "its operators unseal it: keyholder unseal")
	}
	return h.ring, nil
}

// TreeSize is the number of entries of the log; 0 while sealed.
func (h *Holder) TreeSize() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.log == nil {
		return 0
	}
	return h.log.journal.Size()
}

func (h *Holder) room() error {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.vault == nil {
		return nil
	}
	return h.vault.Room()
}

// sealStatus says how far unsealing has got.
func (h *Holder) sealStatus() api.SealStatus {
	h.mu.RLock()
	sealed := h.ring == nil
	h.mu.RUnlock()
	return statusOf(h.unsealer.Status(), sealed)
}

func statusOf(given custody.Status, sealed bool) api.SealStatus {
	return api.SealStatus{
		Sealed: sealed, Method: string(given.Method), Threshold: given.Needed, Shares: given.Shares, Given: given.Given, Deployment: given.Deployment,
	}
}

// Unseal takes a share, a passphrase or an identity, and opens the deployment
// once there is enough. What is refused is counted, logged without what was
// given, and recorded at the next opening.
func (h *Holder) Unseal(ctx context.Context, given api.Unseal) (api.SealStatus, error) {
	h.unsealing.Lock()
	defer h.unsealing.Unlock()
	if _, err := h.keyring(); err == nil {
		return h.sealStatus(), nil
	}
	root, complete, err := h.unsealer.Give(custody.Given{Share: given.Share, Passphrase: given.Passphrase, Identity: given.Identity})
	if err != nil {
		h.tries++
		h.options.Logger.Warn("unsealing was refused", "count", h.tries, "error", faultOnly(err))
		var known *fault.Error
		if errors.As(err, &known) {
			return api.SealStatus{}, api.Refuse(api.CodeUnsealRefused, known.Wrong, known.Next)
		}
		return api.SealStatus{}, err
	}
	if !complete {
		return h.sealStatus(), nil
	}
	defer root.Destroy()
	if err := h.open(ctx, root); err != nil {
		return api.SealStatus{}, err
	}
	return h.sealStatus(), nil
}

// Close stops answering, and closes the store when what was begun is done.
func (h *Holder) Close(ctx context.Context) error {
	h.mu.Lock()
	h.stopping = true
	ring, v, l := h.ring, h.vault, h.log
	h.mu.Unlock()
	if ring == nil {
		return nil
	}
	flushing := h.flushRefusals(ctx)
	l.close(ctx)
	return errors.Join(flushing, v.Close())
}

// sign returns what signs a client's certificate for a CSR.
func (h *Holder) sign(csr []byte) keyring.Sign {
	return func(client string) ([]byte, time.Time, error) {
		issued, err := h.authority.SignClient(csr, authority.ClientName(client), h.options.CertificateTTL, h.options.Clock())
		if err != nil {
			var known *fault.Error
			if errors.As(err, &known) && known.Kind == fault.Usage {
				return nil, time.Time{}, api.Refuse(api.CodeMalformed, "the CSR: "+known.Wrong, known.Next)
			}
			return nil, time.Time{}, err
		}
		return issued.DER, issued.End, nil
	}
}

func (h *Holder) authorityCertificate() []byte {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.authority.Certificate()
}

// newCode makes enrolment codes of an authority.
func newCode(a *authority.Authority, r io.Reader) func() (string, [sha256.Size]byte, error) {
	return func() (string, [sha256.Size]byte, error) {
		code, err := enrol.NewCode(a.Certificate(), r)
		if err != nil {
			return "", [sha256.Size]byte{}, err
		}
		return code.Text(), code.Digest(), nil
	}
}

// events returns a page of events, as the log has them.
func (h *Holder) events(from uint64, most int) ([]api.Event, error) {
	h.mu.RLock()
	l := h.log
	h.mu.RUnlock()
	page, err := l.leaves(from, most)
	if page == nil {
		page = []api.Event{}
	}
	return page, err
}

// refusals gathers refusals until they are recorded: one entry for many alike,
// so that nobody fills the disk by being refused.
type refusals struct {
	mu     sync.Mutex
	counts map[refusalKey]int64
}

type refusalKey struct {
	caller keyring.Caller
	method string
	code   api.Code
}

// maxRefusalKinds bounds what is gathered; beyond it the caller's name is lost.
const maxRefusalKinds = 1000

// recorded are the refusals that are worth an entry: by policy, not by mistake.
func recorded(code api.Code) bool {
	switch code {
	case api.CodeMalformed, api.CodeTooLarge, api.CodeMediaType, api.CodeRequestID, api.CodeNotFound, api.CodeVerb, api.CodeSealed, api.CodeNoSpace,
		api.CodeLogUnavailable, api.CodeBusy, api.CodeStopping, api.CodeInternal, api.CodeApprovalRequired:
		return false
	}
	return true
}

func (h *Holder) noteRefusal(c *call, refused *api.Error) {
	h.options.Meter.Refused(c.method.Name, string(refused.Code))
	// Of people it is worth an entry that they ask for what they have nothing to do with.
	if !recorded(refused.Code) && !(c.method.SignedIn && refused.Code == api.CodeNotFound) || c.ring == nil {
		return
	}
	h.refusals.mu.Lock()
	defer h.refusals.mu.Unlock()
	key := refusalKey{c.caller, c.method.Name, refused.Code}
	if refused.Rule != "" {
		key.code += api.Code("/" + refused.Rule)
	}
	if len(h.refusals.counts) >= maxRefusalKinds {
		key.caller = keyring.Caller{}
	}
	h.refusals.counts[key]++
}

// flushRefusals records what was gathered.
func (h *Holder) flushRefusals(ctx context.Context) error {
	h.mu.RLock()
	ring := h.ring
	h.mu.RUnlock()
	h.refusals.mu.Lock()
	counts := h.refusals.counts
	h.refusals.counts = map[refusalKey]int64{}
	h.refusals.mu.Unlock()
	if ring == nil {
		return nil
	}
	for _, key := range sortedRefusals(counts) {
		if err := ring.Refused(ctx, key.caller, key.method, key.code, counts[key]); err != nil {
			if errors.Is(err, journal.ErrPending) {
				delete(counts, key) // it will be
			}
			h.refusals.keep(counts) // until they can be recorded
			return fmt.Errorf("recording refusals: %w", err)
		}
		delete(counts, key)
	}
	return nil
}

// keep puts refusals back that could not be recorded.
func (r *refusals) keep(counts map[refusalKey]int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for key, n := range counts {
		r.counts[key] += n
	}
}

// refusalInterval is how often refusals are recorded.
const refusalInterval = 5 * time.Second

// Work does what is to be done beside answering, until the context ends.
func (h *Holder) Work(ctx context.Context) {
	tick, seldom := time.NewTicker(refusalInterval), time.NewTicker(requests.WorkEvery)
	defer tick.Stop()
	defer seldom.Stop()
	var sending sync.WaitGroup
	defer sending.Wait()
	sending.Go(func() { h.alerts.work(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-h.alerts.given:
			h.takeAlerts(ctx)
		case <-seldom.C:
			if err := h.LookAfterRequests(ctx); err != nil {
				h.options.Logger.Error("requests for re-identification could not be looked after", "error", faultOnly(err))
			}
		case <-tick.C:
			if err := h.flushRefusals(ctx); err != nil {
				h.options.Logger.Error("refusals could not be recorded", "error", faultOnly(err))
			}
			h.takeAlerts(ctx) // what could not be taken before
		}
	}
}

// Sessions is how many people have signed in to the console.
func (h *Holder) Sessions() int {
	if h.console == nil {
		return 0
	}
	return h.console.Sessions()
}

// Sealed reports whether the service is sealed.
func (h *Holder) Sealed() bool {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.ring == nil
}

// FreeBytes returns the free bytes where the deployment lies, 0 where the system
// does not say.
func (h *Holder) FreeBytes() uint64 {
	free, err := badgerdb.FreeSpace(h.options.Dir)
	if err != nil {
		return 0
	}
	return free
}

// Records returns how many records the store has; 0 while sealed.
func (h *Holder) Records() uint64 {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.vault == nil {
		return 0
	}
	return h.vault.records()
}
