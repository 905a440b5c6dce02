package holder

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/holder/internal/journal"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/holder/internal/store"
	"tarn/keys/reidentify"
)

// Bounds of what a caller may take.
const (
	maxBody       = 1 << 20 // bytes; a project's record is the largest document but for policies
	maxPolicyBody = 8 << 20 // bytes; of methods that take a policy, which is a JSON text there
	answerTimeout = 10 * time.Second
	retryAfter    = 2 // seconds, for callers that come too early
)

// call is one request on its way through.
type call struct {
	holder  *Holder
	method  *api.Method
	request *http.Request
	id      string
	caller  keyring.Caller
	ring    *keyring.Keyring   // nil while sealed
	desk    *requests.Requests // nil while sealed
	person  reidentify.Person  // of methods for people who have signed in
	arrived time.Time
	// after is done when the answer has been given; nil is nothing.
	after func()
	at    *places
}

// handler answers one method: with a document, or with an error that becomes a
// problem.
type handler func(context.Context, *call) (status int, document any, err error)

// Handler returns the service's routes for programs, which show a certificate.
func (h *Holder) Handler() (http.Handler, error) {
	return h.routes(h.programs, func(m *api.Method) bool { return !m.SignedIn })
}

// PeopleHandler returns the service's routes for people, who have signed in, and the
// console's pages where there are any.
func (h *Holder) PeopleHandler() (http.Handler, error) {
	methods, err := h.routes(h.people, func(m *api.Method) bool {
		return m.SignedIn || m.Name == "livez" || m.Name == "readyz" || m.Name == "openapi"
	})
	if err != nil || h.console == nil {
		return methods, err
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := r.URL.Path; strings.HasPrefix(path, "/v1/") || path == "/livez" || path == "/readyz" {
			methods.ServeHTTP(w, r)
			return
		}
		h.console.ServeHTTP(w, r)
	}), nil
}

// routes returns some of the routes of api.Methods, which are worked on in some places:
// together they are exactly those.
func (h *Holder) routes(at *places, wanted func(*api.Method) bool) (http.Handler, error) {
	mux := http.NewServeMux()
	all := handlers()
	verbs := map[string][]string{}
	for _, method := range api.Methods() {
		answer, there := all[method.Name]
		if !there {
			return nil, fmt.Errorf("method %s is in the allow-list and has no handler", method.Name)
		}
		delete(all, method.Name)
		if !wanted(&method) {
			continue
		}
		verbs[method.Path] = append(verbs[method.Path], method.Verb)
		mux.HandleFunc(method.Pattern(), func(w http.ResponseWriter, r *http.Request) { h.serve(w, r, at, &method, answer) })
	}
	for name := range all {
		return nil, fmt.Errorf("method %s has a handler and is not in the allow-list", name)
	}
	// What no method takes is answered here, and not by the mux in its own words.
	for path, allowed := range verbs {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			h.problem(w, headers(w, r), api.Refuse(api.CodeVerb, "", "see /v1/openapi.json"))
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.problem(w, headers(w, r), api.Refuse(api.CodeNotFound, "", "see /v1/openapi.json"))
	})
	return mux, nil
}

var requestID = regexp.MustCompile(`^[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}$`)

// correlation is what may be mirrored of X-Correlation-ID.
var correlation = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// headers sets what every answer carries, and returns the request's id where it
// has one.
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

// serve takes a request through the allow-list: whoever it does not name is
// refused before the request's body is looked at.
func (h *Holder) serve(w http.ResponseWriter, r *http.Request, at *places, method *api.Method, answer handler) {
	c := &call{holder: h, method: method, request: r, id: headers(w, r), arrived: h.options.Clock(), at: at}
	status := http.StatusInternalServerError
	defer func() { c.ended(status) }()
	defer func() {
		if value := recover(); value != nil {
			// The value may hold anything: only where it happened is said.
			h.options.Logger.Error("a request ended in a panic", "route", method.Path, "request", c.id, "code", place())
			status = h.problem(w, c.id, api.Refuse(api.CodeInternal, "", "report it with the request's id"))
		}
	}()
	code, document, err := c.work(w, answer)
	if method.Floor && c.person.Subject != "" { // who has not signed in learns nothing of tokens
		c.wait() // it is no work: it keeps nobody's place
	}
	if err != nil {
		refused := h.refusal(err)
		h.noteRefusal(c, refused)
		setRetryAfter(w, err, refused)
		status = h.problem(w, c.id, refused)
		return
	}
	status = h.answer(w, code, document)
}

// ended counts a request that was answered, and does what is left to do.
func (c *call) ended(status int) {
	o := &c.holder.options
	o.Meter.Request(c.method.Name, status, o.Clock().Sub(c.arrived))
	o.Logger.Info("answered", "route", c.method.Path, "method", c.method.Verb, "status", status, "request", c.id, "client", c.caller.Name)
	if c.after != nil {
		c.after()
	}
}

// work answers in a place of its own, or says that there is none.
func (c *call) work(w http.ResponseWriter, answer handler) (int, any, error) {
	leave, there := c.at.enter()
	if !there {
		return 0, nil, busy()
	}
	defer leave()
	ctx, cancel := context.WithTimeout(c.request.Context(), answerTimeout)
	defer cancel()
	return c.answer(ctx, w, answer)
}

func busy() error { return api.Refuse(api.CodeBusy, "", "try again a little later") }

// answer checks who is calling and calls the handler.
func (c *call) answer(ctx context.Context, w http.ResponseWriter, answer handler) (int, any, error) {
	var err error
	if c.ring, err = c.holder.keyring(); err != nil && !c.method.Sealed {
		return 0, nil, err
	}
	c.desk = c.holder.requests()
	if c.method.SignedIn {
		if err := c.signIn(ctx); err != nil {
			return 0, nil, err
		}
		leave, there := c.at.enterAs(c.person.Issuer + " " + c.person.Subject)
		if !there {
			return 0, nil, busy()
		}
		defer leave()
	} else if !c.method.Public {
		if c.caller, err = c.holder.identify(c.ring, c.request); err != nil {
			return 0, nil, err
		}
		if !c.method.Allows(c.caller.Role) {
			return 0, nil, api.Refuse(api.CodeRole, "this is for: "+c.method.Who(), "use a client of that role")
		}
	}
	if c.method.Verb != http.MethodGet && c.id == "" {
		return 0, nil, api.Refuse(api.CodeRequestID, "the header X-Request-ID is missing or no UUID", "send a UUID, the same one when the request is sent again")
	}
	c.request.Body = http.MaxBytesReader(w, c.request.Body, c.most())
	return answer(ctx, c)
}

// most is how many bytes the request's body may have.
func (c *call) most() int64 {
	if c.method.Name == "operations.create" || c.method.Name == "policy.simulate" {
		return maxPolicyBody
	}
	return maxBody
}

// identify returns who the caller's certificate belongs to. TLS has proved that
// the caller holds the certificate's key; the table knows the rest.
func (h *Holder) identify(ring *keyring.Keyring, r *http.Request) (keyring.Caller, error) {
	if r.TLS == nil || len(r.TLS.PeerCertificates) == 0 {
		return keyring.Caller{}, api.Refuse(api.CodeNoCertificate, "", "call with the certificate that enrolment gave")
	}
	return ring.Identify(sha256.Sum256(r.TLS.PeerCertificates[0].Raw))
}

// body reads a request's body, which must be of a media type.
func (c *call) body(want string) ([]byte, error) {
	media, _, err := mime.ParseMediaType(c.request.Header.Get("Content-Type"))
	if err != nil || media != want {
		return nil, api.Refuse(api.CodeMediaType, "", "send "+want)
	}
	body, err := io.ReadAll(c.request.Body)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, api.Refuse(api.CodeTooLarge, fmt.Sprintf("a request may have %d bytes", c.most()), "")
	case err != nil:
		return nil, api.Refuse(api.CodeMalformed, "the request ended too early", "send it again")
	}
	return body, nil
}

// decode reads a request's body into a document, strictly.
func decode[T any](c *call) (*T, error) {
	body, err := c.body("application/json")
	if err != nil {
		return nil, err
	}
	defer clear(body)
	document := new(T)
	if err := keys.DecodeStrict(body, document); err != nil {
		return nil, api.Refuse(api.CodeMalformed, err.Error(), "see /v1/openapi.json")
	}
	if holdsNull(body) {
		return nil, api.Refuse(api.CodeMalformed, "a member is null", "leave out what there is nothing to say of")
	}
	return document, nil
}

// projectRecord is where a request may hold null: check values of a project.json
// that are not known yet.
const projectRecord = "/body/record"

// holdsNull reports whether a well-formed document has null where no request may
// have it: the decoder takes null for whatever is empty, the description does not.
func holdsNull(document []byte) bool {
	for d := jsontext.NewDecoder(bytes.NewReader(document)); ; {
		token, err := d.ReadToken()
		if err != nil {
			return false // the end
		}
		if token.Kind() == 'n' && !strings.HasPrefix(string(d.StackPointer()), projectRecord+"/") {
			return true
		}
	}
}

// refusal turns an error into one that may be told: what is not known to be
// harmless is internal, and is not repeated.
func (h *Holder) refusal(err error) *api.Error {
	var refused *api.Error
	if known := reidentificationRefusal(err); known != nil {
		return known
	}
	switch {
	case errors.As(err, &refused):
		return refused
	case errors.Is(err, store.ErrNoSpace):
		return api.Refuse(api.CodeNoSpace, "nothing can be written until there is more", "make space where the store lies; reading goes on meanwhile")
	case errors.Is(err, journal.ErrUnavailable):
		return api.Refuse(api.CodeLogUnavailable, "no key is used and nothing is changed until it can be written", "look at its disk; send the request again, with the same X-Request-ID, when the log can be written")
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return api.Refuse(api.CodeBusy, "it took too long", "send it again with the same X-Request-ID")
	}
	h.options.Logger.Error("a request failed", "kind", fmt.Sprintf("%T", err), "error", faultOnly(err))
	return api.Refuse(api.CodeInternal, "", "report it with the request's id")
}

// faultOnly returns an error that may be logged, or nil.
func faultOnly(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	return nil
}

func (h *Holder) problem(w http.ResponseWriter, id string, refused *api.Error) int {
	w.Header().Set("Content-Type", api.ProblemType)
	if refused.Code == api.CodeSignIn {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, 3
	}
	return h.write(w, refused.Status(), refused.Problem(id))
}

func (h *Holder) answer(w http.ResponseWriter, status int, document any) int {
	if document == nil {
		w.WriteHeader(status)
		return status
	}
	if raw, ok := document.(octets); ok {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.WriteHeader(status)
		_, _ = w.Write(raw) // the caller has gone: nothing to tell it
		return status
	}
	if raw, ok := document.([]byte); ok {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = w.Write(raw) // the caller has gone: nothing to tell it
		return status
	}
	w.Header().Set("Content-Type", "application/json")
	return h.write(w, status, document)
}

func (h *Holder) write(w http.ResponseWriter, status int, document any) int {
	b, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		status, b = http.StatusInternalServerError, []byte(`{"type":"about:blank","title":"Internal failure","status":500,"code":"internal"}`)
	}
	defer clear(b)
	w.WriteHeader(status)
	_, _ = w.Write(b) // the caller has gone: nothing to tell it
	return status
}

// place returns where a panic came from: a file's name and a line.
func place() string {
	var frames [16]uintptr
	n := runtime.Callers(4, frames[:])
	for found := runtime.CallersFrames(frames[:n]); ; {
		frame, more := found.Next()
		if !more || frame.Func != nil && frame.Function != "runtime.gopanic" {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
	}
}
