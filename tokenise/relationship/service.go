// Package relationship is a region's table of who has to do with whom, by token: loading
// it, and answering the key holder's questions from it, before it opens a token for direct
// care. The table never leaves the region.
//
// An answer is signed, is of one question and lasts a minute (see keys/relationship). It
// is refused rather than wrong: where the table cannot be read whole there is no answer.
package relationship

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/escrow"
	"tarn/keys/fault"
	"tarn/keys/relationship"
	"tarn/tokenise/relationship/table"
)

// Envelopes has the envelope that a region keeps beside a token of scheme keyed-hash,
// sealed to the key holder.
type Envelopes interface {
	// Envelope returns nil where there is none. An error is one of the store.
	Envelope(ctx context.Context, domainNo, tokenEpoch uint32, token [keys.TokenSize]byte) (*escrow.Envelope, error)
}

// Meter counts. Labels are a route, a status, a constant; never what was asked.
type Meter interface {
	Request(route string, status int, took time.Duration)
	// Routed counts patients of worklists.
	Routed(patients int)
	// Stranger counts connections that were refused: without a certificate, or with one of
	// another authority. Clients that may not ask are requests with status 403.
	Stranger()
}

// Limits bound how fast a caller may ask, so that who has stolen the key holder's
// certificate, and tokens, does not learn quickly who is registered where. They are of each
// client by itself.
type Limits struct {
	ChecksPerSecond float64
	ChecksBurst     int
	RoutedPerSecond float64 // patients of worklists
	RoutedBurst     int     // at least relationship.MaxRoute
}

// DefaultLimits are 10 checks a second, 100 at once, and 1 patient of a worklist a second,
// 2,000 at once.
func DefaultLimits() Limits {
	return Limits{ChecksPerSecond: 10, ChecksBurst: 100, RoutedPerSecond: 1, RoutedBurst: 2 * relationship.MaxRoute}
}

func (l *Limits) check() error {
	if !(l.ChecksPerSecond > 0) || l.ChecksBurst < 1 || !(l.RoutedPerSecond > 0) || l.RoutedBurst < relationship.MaxRoute {
		return fault.New(fault.Usage, "serving relationships", "a limit is no number above 0, or routed_burst is less than the 1000 patients of one worklist", "leave it out, or correct it in [relationships]")
	}
	return nil
}

// Options are what a service is made of.
type Options struct {
	Dir       string     // the folder of the tables; nothing needs to be in it yet
	Key       SigningKey // of answers
	Clients   []Client   // who may ask; at least one
	Envelopes Envelopes  // nil: there are none
	Limits    Limits     // the zero value: DefaultLimits
	Clock     func() time.Time
	Logger    *slog.Logger
	Meter     Meter // nil: nothing is counted
}

// Bounds of what a caller may take.
const (
	maxCheck      = 4 << 10   // bytes of a question
	maxRoute      = 100 << 10 // of a worklist's: 1,000 tokens of 74 characters
	maxInFlight   = 64
	answerTimeout = 5 * time.Second
	retryAfter    = 2 * time.Second
	maxSkew       = time.Minute // of the callers' clocks
)

// Service answers. It is safe for concurrent use.
type Service struct {
	options  Options
	tables   *table.Store
	inFlight chan struct{}
	clients  []*caller
}

// New makes a service. What is wrong with the options is of kind [fault.Usage].
func New(o Options) (*Service, error) {
	const doing = "serving relationships"
	if o.Limits == (Limits{}) {
		o.Limits = DefaultLimits()
	}
	if err := o.Limits.check(); err != nil {
		return nil, err
	}
	switch {
	case o.Dir == "":
		return nil, fault.New(fault.Usage, doing, "the folder of the tables is missing", "give [relationships] dir")
	case !o.Key.Valid():
		return nil, fault.New(fault.Usage, doing, "there is no signing key", "make one with tokeniser relationships key, and give [relationships] signing_key_file")
	case len(o.Clients) == 0:
		return nil, fault.New(fault.Usage, doing, "no client may ask", "give the name or the fingerprint of the key holder's certificate in [relationships] clients: its authority certifies others, too")
	}
	s := &Service{options: o, tables: table.NewStore(o.Dir, o.Clock), inFlight: make(chan struct{}, maxInFlight)}
	for _, c := range o.Clients {
		s.clients = append(s.clients, newCaller(c, &o.Limits))
	}
	return s, nil
}

// Close closes the tables, and overwrites the signing key.
func (s *Service) Close() {
	s.tables.Close()
	s.options.Key.Destroy()
}

// Ready reports why questions cannot be answered, or nil.
func (s *Service) Ready() error {
	v, err := s.tables.View()
	if err != nil {
		return err
	}
	defer v.Release()
	if v.Failed() > 0 {
		return table.ErrDamaged
	}
	return nil
}

// call is one request on its way through.
type call struct {
	*Service
	request *http.Request
	writer  http.ResponseWriter
	caller  *caller
	now     time.Time
}

// route is one thing that can be asked.
type route struct {
	verb, path string
	answer     func(context.Context, *call) (any, error)
}

func routes() []route {
	return []route{
		{http.MethodGet, "/livez", func(context.Context, *call) (any, error) { return map[string]string{"status": "alive"}, nil }},
		{http.MethodGet, "/readyz", readyz},
		{http.MethodGet, "/v1/openapi.json", func(context.Context, *call) (any, error) { return jsontext.Value(openAPI), nil }},
		{http.MethodPost, "/v1/relationships/check", check},
		{http.MethodPost, "/v1/relationships/route", routeWorklist},
	}
}

// Handler returns the service's routes. Every one needs a connection whose client
// certificate was verified and belongs to a client that may ask.
func (s *Service) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range routes() {
		mux.HandleFunc(r.verb+" "+r.path, func(w http.ResponseWriter, request *http.Request) { s.serve(w, request, r.path, r.answer) })
		mux.HandleFunc(r.path, func(w http.ResponseWriter, request *http.Request) {
			w.Header().Set("Allow", r.verb)
			s.serve(w, request, r.path, func(context.Context, *call) (any, error) {
				return nil, refuse(api.CodeVerb, "", "see /v1/openapi.json")
			})
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, request *http.Request) {
		s.serve(w, request, "other", func(context.Context, *call) (any, error) {
			return nil, refuse(api.CodeNotFound, "", "see /v1/openapi.json")
		})
	})
	return mux
}

var (
	requestID   = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)
	correlation = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)
)

// headers sets what every answer carries, and returns the request's id where it has one.
func headers(w http.ResponseWriter, r *http.Request) string {
	header := w.Header()
	header.Set("Cache-Control", "no-store")
	header.Set("X-Content-Type-Options", "nosniff")
	if id := r.Header.Get("X-Correlation-ID"); correlation.MatchString(id) {
		header.Set("X-Correlation-ID", id)
	}
	id := r.Header.Get("X-Request-ID")
	if !requestID.MatchString(id) {
		return ""
	}
	header.Set("X-Request-ID", id)
	return id
}

// serve takes a request through: who is not known is refused before its body is looked at.
func (s *Service) serve(w http.ResponseWriter, r *http.Request, path string, answer func(context.Context, *call) (any, error)) {
	begun := s.options.Clock()
	id := headers(w, r)
	c := &call{Service: s, request: r, writer: w, now: begun}
	status := http.StatusOK
	defer func() {
		if value := recover(); value != nil {
			// The value may hold anything: only where it happened is said.
			s.options.Logger.Error("a request ended in a panic", "route", path, "request", id, "code", place())
			status = http.StatusInternalServerError
			refuse(api.CodeInternal, "", "report it with the request's id").answer(w, id)
		}
		name := ""
		if c.caller != nil {
			name = c.caller.label
		}
		if m := s.options.Meter; m != nil {
			m.Request(path, status, s.options.Clock().Sub(begun))
		}
		s.options.Logger.Info("answered", "route", path, "method", verb(r.Method), "status", status, "request", id, "client", name)
	}()
	ctx, cancel := context.WithTimeout(r.Context(), answerTimeout)
	defer cancel()
	document, err := c.answer(ctx, id, answer)
	if err != nil {
		refused := s.refusal(err)
		status = refused.status
		refused.answer(w, id)
		return
	}
	write(w, status, "application/json", document)
}

// verb returns a method that is known: others are text of the caller's.
func verb(method string) string {
	if slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions}, method) {
		return method
	}
	return "other"
}

func (c *call) answer(ctx context.Context, id string, answer func(context.Context, *call) (any, error)) (any, error) {
	var err error
	if c.caller, err = c.identify(c.request.TLS, c.now); err != nil {
		return nil, err
	}
	select {
	case c.inFlight <- struct{}{}:
		defer func() { <-c.inFlight }()
	default:
		return nil, refuse(api.CodeBusy, "", "try again a little later")
	}
	if len(c.request.TransferEncoding) > 0 {
		// A length beside chunks, which the library leaves out, is how requests are smuggled.
		c.writer.Header().Set("Connection", "close")
		return nil, refuse(api.CodeMalformed, "the request has a Transfer-Encoding", "send Content-Length")
	}
	if c.request.Method == http.MethodPost && id == "" {
		return nil, refuse(api.CodeRequestID, "the header X-Request-ID is missing or no UUID", "send a UUID, the same one when the request is sent again")
	}
	return answer(ctx, c)
}

// refusal turns an error into one that may be told: what is not known to be harmless is
// internal, and is not repeated.
func (s *Service) refusal(err error) *refusal {
	var refused *refusal
	var known *fault.Error
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return refuse(api.CodeBusy, "it took too long", "send it again")
	case errors.As(err, &known):
		s.options.Logger.Error("a request failed", "error", known)
	default:
		s.options.Logger.Error("a request failed", "kind", fmt.Sprintf("%T", err))
	}
	return refuse(api.CodeInternal, "", "report it with the request's id")
}

// place returns where a panic came from.
func place() string {
	var frames [16]uintptr
	n := runtime.Callers(4, frames[:])
	for found := runtime.CallersFrames(frames[:n]); ; {
		frame, more := found.Next()
		if !more || !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
	}
}

func readyz(_ context.Context, c *call) (any, error) {
	if err := c.Ready(); err != nil {
		return nil, c.unreadable(err)
	}
	return map[string]string{"status": "ready"}, nil
}

// unreadable says in the log why there is no answer, and returns the refusal.
func (s *Service) unreadable(err error) error {
	reason := "a file cannot be read"
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return err
	case errors.Is(err, table.ErrNone):
		reason = "nothing was loaded yet"
	case errors.Is(err, table.ErrDamaged):
		reason = "a file is damaged"
	}
	s.options.Logger.Error("the table of relationships cannot be read", "reason", reason)
	return noTable()
}

// decode reads a request's body into a document, strictly.
func decode[T any](c *call, limit int64) (*T, error) {
	media, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || media != "application/json" {
		return nil, refuse(api.CodeMediaType, "", "send application/json")
	}
	body, err := io.ReadAll(http.MaxBytesReader(c.writer, c.request.Body, limit))
	defer clear(body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, refuse(api.CodeTooLarge, fmt.Sprintf("this may have %d bytes", limit), "")
	case err != nil:
		return nil, refuse(api.CodeMalformed, "the request ended too early", "send it again")
	}
	document, err := parse[T](body)
	if err != nil {
		return nil, refuse(api.CodeMalformed, err.Error(), "see /v1/openapi.json")
	}
	return document, nil
}

// parse reads a document. The error repeats nothing of it. A member that is missing, or
// null, is empty, and refused by the question's Check.
func parse[T any](body []byte) (*T, error) {
	document := new(T)
	if err := keys.DecodeStrict(body, document); err != nil {
		return nil, err
	}
	return document, nil
}

// current refuses a question that is not of now.
func (c *call) current(at time.Time) error {
	if away := c.now.Sub(at); away > maxSkew || away < -maxSkew {
		return wrongTime()
	}
	return nil
}

// from returns when the minute of an answer begins: with the question, or now by this clock,
// whichever is earlier. By neither clock the answer lasts longer than a minute, and an asker
// whose clock is behind does not take it for one that does.
func (c *call) from(at time.Time) time.Time {
	if at.Before(c.now) {
		return at
	}
	return c.now
}

func check(ctx context.Context, c *call) (any, error) {
	q, err := decode[relationship.Question](c, maxCheck)
	if err != nil {
		return nil, err
	}
	if err := q.Check(); err != nil {
		return nil, refuse(api.CodeMalformed, err.Error(), "see /v1/openapi.json")
	}
	if err := c.current(q.At); err != nil {
		return nil, err
	}
	if err := c.caller.take(c.caller.checks, c.now, 1); err != nil {
		return nil, err
	}
	token, err := keys.ParseToken(q.Token)
	if err != nil {
		return nil, err
	}
	related, err := c.related(ctx, &token, q)
	if err != nil {
		return nil, c.unreadable(err)
	}
	decision := relationship.Deny
	if related {
		decision = relationship.Allow
	}
	// With a refusal, too: an approval or an emergency is the key holder's to judge.
	envelope, err := c.envelope(ctx, &token)
	if err != nil {
		return nil, err
	}
	var answer *relationship.Answer
	err = c.options.Key.use(func(key ed25519.PrivateKey) error {
		answer, err = relationship.Sign(q, decision, envelope, c.from(q.At), key)
		return err
	})
	return answer, err
}

// related looks the question up. A token of a table that is not there is nobody's here.
func (c *call) related(ctx context.Context, token *keys.Token, q *relationship.Question) (bool, error) {
	v, err := c.tables.View()
	if err != nil {
		return false, err
	}
	defer v.Release()
	t, err := v.Table(table.KeyOf(token))
	if t == nil || err != nil {
		return false, err
	}
	return t.Related(ctx, token.Value, table.Organisation(q.Organisation), table.DayOf(q.At))
}

// envelope returns what is sealed beside a token, nil where there is none.
func (c *call) envelope(ctx context.Context, token *keys.Token) (*escrow.Envelope, error) {
	if c.options.Envelopes == nil || token.Scheme != keys.SchemeNoKeyedHash {
		return nil, nil
	}
	e, err := c.options.Envelopes.Envelope(ctx, token.DomainNo, uint32(token.TokenEpoch), token.Value)
	if err == nil && e != nil && e.Token != token.Value {
		err = errors.New("relationship: the envelope is another token's")
	}
	if err != nil {
		c.options.Logger.Error("an envelope could not be read", "kind", fmt.Sprintf("%T", err))
		return nil, noTable()
	}
	return e, nil
}

func routeWorklist(ctx context.Context, c *call) (any, error) {
	q, err := decode[relationship.RouteQuestion](c, maxRoute)
	if err != nil {
		return nil, err
	}
	if err := q.Check(); err != nil {
		return nil, refuse(api.CodeMalformed, err.Error(), "see /v1/openapi.json")
	}
	if err := c.current(q.At); err != nil {
		return nil, err
	}
	if err := c.caller.take(c.caller.routed, c.now, len(q.Tokens)); err != nil {
		return nil, err
	}
	organisations, err := c.practices(ctx, q)
	if err != nil {
		return nil, c.unreadable(err)
	}
	if m := c.options.Meter; m != nil {
		m.Routed(len(q.Tokens))
	}
	var answer *relationship.RouteAnswer
	err = c.options.Key.use(func(key ed25519.PrivateKey) error {
		answer, err = relationship.SignRoute(q, organisations, c.from(q.At), key)
		return err
	})
	return answer, err
}

// practices looks a worklist up, all of it in the tables that count at one time.
func (c *call) practices(ctx context.Context, q *relationship.RouteQuestion) ([]string, error) {
	v, err := c.tables.View()
	if err != nil {
		return nil, err
	}
	defer v.Release()
	organisations := make([]string, len(q.Tokens))
	day := table.DayOf(q.At)
	for i, text := range q.Tokens {
		token, err := keys.ParseToken(text)
		if err != nil {
			return nil, err
		}
		t, err := v.Table(table.KeyOf(&token))
		if err != nil {
			return nil, err
		}
		if t == nil {
			continue
		}
		if organisations[i], err = t.Practice(ctx, token.Value, day); err != nil {
			return nil, err
		}
	}
	return organisations, nil
}
