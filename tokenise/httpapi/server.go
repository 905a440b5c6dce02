package httpapi

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"regexp"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
	"github.com/valyala/fasthttp"

	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/tokenise/online/wire"
	"tarn/tokenise/serving"
)

// Bounds of connections that no configuration changes.
const (
	idleTimeout = 2 * time.Minute
	maxHeader   = 16 << 10
)

// settings are what a reload changes.
type settings struct {
	projects map[string]*Project
	clientCA *x509.CertPool
}

// Server answers pipelines. It is safe for concurrent use.
type Server struct {
	options  Options
	state    atomic.Pointer[settings]
	memory   *memory
	http     *fasthttp.Server
	stopping atomic.Bool // it says that it is not ready
	stopped  atomic.Bool

	decoders chan *wire.Decoder
	buffers  chan *buffers
	answers  chan []byte
}

// New makes the service.
func New(o Options) *Server {
	if o.Meter == nil {
		o.Meter = nobody{}
	}
	s := &Server{
		options: o, memory: newMemory(o.Limits.MaxMemory), decoders: make(chan *wire.Decoder, keptDecoders), buffers: make(chan *buffers, keptDecoders),
		answers: make(chan []byte, keptAnswers),
	}
	s.Reconfigure(o.Projects, o.ClientCA)
	s.http = &fasthttp.Server{
		Handler: s.handle, ErrorHandler: s.unreadable, Logger: silent{},
		ReadTimeout: o.Limits.Timeout, WriteTimeout: o.Limits.Timeout, IdleTimeout: idleTimeout,
		ReadBufferSize: maxHeader, StreamRequestBody: true, MaxRequestBodySize: o.Limits.MaxBody,
		Concurrency: o.Limits.MaxConnections + 64, // the listener bounds them
		// A body is bytes: nothing else is made of it, above all no file.
		DisablePreParseMultipartForm: true,
		NoDefaultServerHeader:        true, NoDefaultContentType: true, CloseOnShutdown: true, SecureErrorLogMessage: true,
		// Whoever asks first is asked for the certificate first.
		ExpectHandler: s.expect,
	}
	return s
}

// silent takes what the library says: it holds addresses, and what was sent.
type silent struct{}

// Printf implements [fasthttp.Logger].
func (silent) Printf(string, ...any) {}

// Reconfigure sets who may call for what. Connections that are open are looked at again.
func (s *Server) Reconfigure(projects []Project, clientCA *x509.CertPool) {
	state := &settings{projects: map[string]*Project{}, clientCA: clientCA}
	for i := range projects {
		state.projects[projects[i].Project.Name()] = &projects[i]
	}
	s.state.Store(state)
}

// Serve answers on a socket until it is stopped. The error says why it ended otherwise.
func (s *Server) Serve(socket net.Listener, config TLS) error {
	err := s.http.Serve(secured(socket, config.config(), s.options.Limits.MaxConnections))
	if s.stopped.Load() {
		return nil
	}
	return fault.Wrap(fault.Internal, "serving", err, "look at the network of this machine, then start again")
}

// Drain has the service say that it is not ready, while it still answers.
func (s *Server) Drain() { s.stopping.Store(true) }

// Stop takes no more requests and finishes those that were begun, until the context ends.
func (s *Server) Stop(ctx context.Context) error {
	s.stopping.Store(true)
	s.stopped.Store(true)
	if err := s.http.ShutdownWithContext(ctx); err != nil {
		return fault.New(fault.Internal, "stopping", "requests were still being answered when the time was over", "")
	}
	return nil
}

// route is what a request asks for.
type route struct {
	name   string // a label
	verb   string
	answer func(*Server, *exchange) error
	public bool // for callers that show no certificate
}

// Paths.
const (
	pathLive     = "/livez"
	pathReady    = "/readyz"
	pathOpenAPI  = "/v1/openapi.json"
	pathProjects = "/v1/projects/"
	pathTokenise = "/tokenise"
)

var (
	routeLive     = &route{"/livez", fasthttp.MethodGet, (*Server).live, true}
	routeReady    = &route{"/readyz", fasthttp.MethodGet, (*Server).ready, true}
	routeOpenAPI  = &route{"/v1/openapi.json", fasthttp.MethodGet, (*Server).openAPI, true}
	routeProject  = &route{"/v1/projects/{project}", fasthttp.MethodGet, (*Server).project, false}
	routeTokenise = &route{"/v1/projects/{project}/tokenise", fasthttp.MethodPost, (*Server).tokenise, false}
	routeNone     = &route{"none", "", nil, true}
)

// routeOf returns the route of a path, and the project that it names.
func routeOf(path []byte) (*route, []byte) {
	switch string(path) {
	case pathLive:
		return routeLive, nil
	case pathReady:
		return routeReady, nil
	case pathOpenAPI:
		return routeOpenAPI, nil
	}
	rest, ok := bytes.CutPrefix(path, []byte(pathProjects))
	if !ok || len(rest) == 0 {
		return routeNone, nil
	}
	if name, ok := bytes.CutSuffix(rest, []byte(pathTokenise)); ok && len(name) > 0 && bytes.IndexByte(name, '/') < 0 {
		return routeTokenise, name
	}
	if bytes.IndexByte(rest, '/') < 0 {
		return routeProject, rest
	}
	return routeNone, nil
}

// exchange is one request on its way through. Nothing in it is kept beyond its answer, and
// what is a text is a copy.
type exchange struct {
	ctx     *fasthttp.RequestCtx
	route   *route
	id      string // X-Request-ID, empty where it is none
	uuid    uuid.UUID
	begun   time.Time
	project *Project
	client  string
	rows    int
	bytes   int
	drained bool // the body was read to its end
	closing bool // the connection is of no further use
}

// correlation is what may be mirrored of X-Correlation-ID.
var correlation = regexp.MustCompile(`^[A-Za-z0-9._:-]{1,128}$`)

// handle answers a request, whatever happens.
func (s *Server) handle(ctx *fasthttp.RequestCtx) {
	e := exchange{ctx: ctx, begun: s.options.Clock(), route: routeNone}
	defer s.finish(&e)
	defer s.contain(&e)
	err := s.admit(&e)
	if err == nil {
		err = e.route.answer(s, &e)
	}
	if err != nil {
		s.problemOf(err).write(ctx, e.id)
	}
}

// contain answers a request that ended in a panic. The value may hold anything: only where
// it happened is said.
func (s *Server) contain(e *exchange) {
	if value := recover(); value != nil {
		s.options.Logger.Error("a request ended in a panic", "route", e.route.name, "request", e.id, "code", place())
		e.closing = true
		refuse(api.CodeInternal, "", "report it with the request's id").write(e.ctx, e.id)
	}
}

// expect answers who asks before sending a body: what is known to be refused is refused now.
func (s *Server) expect(ctx *fasthttp.RequestCtx) int {
	e := exchange{ctx: ctx, begun: s.options.Clock(), route: routeNone}
	err := s.admit(&e)
	if err == nil && ctx.Request.Header.ContentLength() > s.options.Limits.MaxBody {
		err = s.tooLarge()
	}
	if err == nil {
		return fasthttp.StatusContinue
	}
	s.problemOf(err).write(ctx, e.id)
	s.finish(&e)
	return ctx.Response.StatusCode()
}

// Headers of answers, as they are sent: the library need not look at them.
var (
	headerTokenEpoch         = []byte("Tarn-Token-Epoch")
	headerEncodingEpoch      = []byte("Tarn-Encoding-Epoch")
	headerProfileDigest      = []byte("Tarn-Profile-Digest")
	headerKeyCheck           = []byte("Tarn-Key-Check")
	headerEncodingKeyCheck   = []byte("Tarn-Encoding-Key-Check")
	headerDomain             = []byte("Tarn-Domain")
	headerScheme             = []byte("Tarn-Scheme")
	headerRowsOK             = []byte("Tarn-Rows-Ok")
	headerRowsRefused        = []byte("Tarn-Rows-Refused")
	headerBudgetRemaining    = []byte("Tarn-Budget-Remaining")
	headerVary               = []byte("Vary")
	headerCacheControl       = []byte("Cache-Control")
	headerContentTypeOptions = []byte("X-Content-Type-Options")
	headerCorrelationID      = []byte("X-Correlation-ID")
	headerRequestID          = []byte("X-Request-ID")
	noStore                  = []byte("no-store")
	noSniff                  = []byte("nosniff")
)

// headers sets what every answer carries.
func (e *exchange) headers() {
	header := &e.ctx.Response.Header
	header.SetCanonical(headerCacheControl, noStore)
	header.SetCanonical(headerContentTypeOptions, noSniff)
	if id := e.ctx.Request.Header.Peek("X-Correlation-ID"); len(id) > 0 && correlation.Match(id) {
		header.SetCanonical(headerCorrelationID, id)
	}
	id := e.ctx.Request.Header.Peek("X-Request-ID")
	if len(id) != 36 {
		return
	}
	var err error
	if e.uuid, err = uuid.ParseBytes(id); err != nil {
		return
	}
	e.id = string(id)
	header.SetCanonical(headerRequestID, id)
}

// admit takes a request through the checks that all have, before its body is looked at.
func (s *Server) admit(e *exchange) error {
	e.headers()
	header := &e.ctx.Request.Header
	var name []byte
	e.route, name = routeOf(e.ctx.Path())
	if p := framing(header); p != nil {
		return p
	}
	switch {
	case e.route == routeNone:
		return refuse(api.CodeNotFound, "", "see /v1/openapi.json")
	case string(e.ctx.Method()) != e.route.verb:
		e.ctx.Response.Header.Set("Allow", e.route.verb)
		return refuse(api.CodeVerb, "", "see /v1/openapi.json")
	}
	if !e.route.public {
		who, p := s.who(e.ctx.Conn())
		if p != nil {
			return p
		}
		project := s.state.Load().projects[string(name)]
		if project != nil {
			e.client, _ = who.client(project)
		}
		if e.client == "" {
			return refuse(api.CodeForbidden, "there is no such project, or this client is none of its clients", "ask whoever runs the tokeniser: [[project]] clients names them")
		}
		e.project = project
	}
	if e.route.verb != fasthttp.MethodGet && e.id == "" {
		return refuse(api.CodeRequestID, "the header X-Request-ID is missing or no UUID", "send a UUID, the same one when the request is sent again")
	}
	return nil
}

// framing refuses a request that can be read as two: one that says twice where it ends
// (RFC 9112 section 6.1), or has lines that are folded, or names with blanks, which others
// take for other headers (section 5). It looks at the headers as they came: of what is there
// twice the library keeps what it goes by.
func framing(header *fasthttp.RequestHeader) *problem {
	lengths := 0
	for line := range bytes.Lines(header.RawHeaders()) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.EqualFold(name, transferEncoding) && !bytes.EqualFold(bytes.TrimSpace(value), []byte("chunked")):
			// The library takes identity for no body; others take what follows for one.
			return refuse(api.CodeMalformed, "its Transfer-Encoding is not chunked", "send Content-Length, or chunks").closing()
		case bytes.ContainsAny(name, " \t"):
			return refuse(api.CodeMalformed, "a header is folded, or its name has a blank", "send each header on a line of its own").closing()
		case bytes.EqualFold(name, contentLength), bytes.EqualFold(name, transferEncoding):
			lengths++
		}
	}
	if lengths > 1 {
		return refuse(api.CodeMalformed, "it says twice how long it is", "send Content-Length or Transfer-Encoding, once").closing()
	}
	return nil
}

var contentLength, transferEncoding = []byte(fasthttp.HeaderContentLength), []byte(fasthttp.HeaderTransferEncoding)

// finish closes what cannot go on, counts, and writes the line of the access log.
func (s *Server) finish(e *exchange) {
	if e.closing || !s.drain(e) {
		e.ctx.SetConnectionClose() // what follows would be taken for a request
	}
	status := e.ctx.Response.StatusCode()
	took := s.options.Clock().Sub(e.begun)
	s.options.Meter.Request(e.route.name, status, took)
	if s.options.Logger.Enabled(context.Background(), slog.LevelInfo) {
		s.options.Logger.Info("answered", "route", e.route.name, "status", status, "request", e.id, "client", e.client, "rows", e.rows, "bytes", e.bytes, "duration", took)
	}
}

// drained is how much is read of a body that nobody wants, as a multiple of what one may
// have.
const drained = 4

// drain reads what is left of a body that nobody wants, and reports whether that was all: a
// caller that is still sending when the connection is closed would not see why.
func (s *Server) drain(e *exchange) bool {
	length := e.ctx.Request.Header.ContentLength()
	if e.drained || length <= 0 && length != chunked {
		return true
	}
	stream := e.ctx.RequestBodyStream()
	if stream == nil || e.ctx.Response.ConnectionClose() {
		return false
	}
	most := drained * int64(s.options.Limits.MaxBody)
	n, err := io.Copy(io.Discard, io.LimitReader(stream, most+1))
	return err == nil && n <= most
}

// chunked is the length that the library gives where it comes with the chunks.
const chunked = -1

// unreadable answers what could not be read as a request: the library's error repeats it.
func (s *Server) unreadable(ctx *fasthttp.RequestCtx, err error) {
	p := refuse(api.CodeMalformed, "it is no HTTP/1.1 request", "see /v1/openapi.json")
	var small *fasthttp.ErrSmallBuffer
	var network net.Error
	switch {
	case errors.As(err, &small):
		p = newProblem(fasthttp.StatusRequestHeaderFieldsTooLarge, api.CodeTooLarge, "The request's headers are too large", fmt.Sprintf("they may have %d bytes", maxHeader), "send fewer headers")
	case errors.As(err, &network) && network.Timeout():
		p = newProblem(fasthttp.StatusRequestTimeout, codeTimeout, "The request came too slowly", "it was not there within its time", "send it again, faster or in several requests")
	}
	p.write(ctx, "")
	s.options.Meter.Request(routeNone.name, p.status, 0)
}

func (s *Server) live(e *exchange) error { return e.json(fasthttp.StatusOK, status{"live"}) }

type status struct {
	Status string `json:"status"`
}

// ready says whether requests can be answered: those of the project that is asked for, or
// of any.
func (s *Server) ready(e *exchange) error {
	name := string(e.ctx.QueryArgs().Peek("project"))
	if s.stopping.Load() {
		return newProblem(503, api.CodeStopping, "The service is stopping", "it takes no more requests", "send requests to another, or wait").after(again)
	}
	if err := s.options.Ledger.Room(); err != nil {
		return err
	}
	why := newProblem(503, codeNotServed, "Nothing can be answered now", "no project's keys are here", "whoever runs the tokeniser finds the reason in its log").after(again)
	if name != "" {
		project := s.state.Load().projects[name]
		if project == nil || project.Project.Ready() != nil {
			return why
		}
		return e.json(fasthttp.StatusOK, status{"ready"})
	}
	for _, p := range s.state.Load().projects {
		if p.Project.Ready() == nil {
			return e.json(fasthttp.StatusOK, status{"ready"})
		}
	}
	return why
}

func (s *Server) openAPI(e *exchange) error {
	e.ctx.SetContentType("application/json")
	e.ctx.SetBody(OpenAPI())
	return nil
}

// projectDocument is what a client may know of its project.
type projectDocument struct {
	Project       string         `json:"project"`
	Domain        string         `json:"domain"`
	Scheme        string         `json:"scheme"`
	Epoch         uint32         `json:"epoch"`
	TokenKCV      string         `json:"token_kcv"`
	EncodingEpoch uint32         `json:"encoding_epoch"`
	EncodingKCV   string         `json:"encoding_kcv"`
	Profile       string         `json:"profile"`
	ProfileDigest string         `json:"profile_digest"`
	Expires       string         `json:"expires"`
	Budget        budgetDocument `json:"budget"`
	Limits        limitsDocument `json:"limits"`
}

type budgetDocument struct {
	Rows      int64 `json:"rows"`
	PeriodS   int64 `json:"period_s"`
	Remaining int64 `json:"remaining"`
}

type limitsDocument struct {
	MaxRows  int     `json:"max_rows"`
	MaxBody  int     `json:"max_body"`
	TimeoutS float64 `json:"timeout_s"`
}

func (s *Server) project(e *exchange) error {
	keys, err := e.project.Project.Use()
	if err != nil {
		return err
	}
	defer keys.Release()
	c := keys.Engine.Context()
	return e.json(fasthttp.StatusOK, projectDocument{
		Project: c.Project, Domain: c.Domain, Scheme: c.Scheme, Epoch: c.TokenEpoch, TokenKCV: c.TokenKCV, EncodingEpoch: c.EncodingEpoch, EncodingKCV: c.EncodingKCV,
		Profile: c.Profile, ProfileDigest: c.ProfileDigest, Expires: keys.Engine.Project().Expires,
		Budget: budgetDocument{Rows: e.project.Rows, PeriodS: int64(time.Duration(e.project.Period) / time.Second), Remaining: s.options.Ledger.Remaining(e.account())},
		Limits: limitsDocument{MaxRows: s.options.Limits.MaxRows, MaxBody: s.options.Limits.MaxBody, TimeoutS: s.options.Limits.Timeout.Seconds()},
	})
}

func (e *exchange) account() serving.Account {
	return serving.Account{Project: e.project.Project.Name(), Client: e.client}
}

func (e *exchange) json(status int, document any) error {
	b, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		return refuse(api.CodeInternal, "", "report it with the request's id")
	}
	e.ctx.SetStatusCode(status)
	e.ctx.SetContentType("application/json")
	e.ctx.SetBody(b)
	return nil
}

// place returns where a panic came from: a function's name and a line.
func place() string {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if frame.Function != "" && !strings.HasPrefix(frame.Function, "runtime.") || !more {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
	}
}
