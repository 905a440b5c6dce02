package httpapi

import (
	"context"
	"errors"
	"math"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/valyala/fasthttp"

	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/tokenise/lease"
	"tarn/tokenise/online/wire"
	"tarn/tokenise/regionstore"
	"tarn/tokenise/serving"
)

// Codes that only this endpoint answers with.
const (
	codeUnknownColumn api.Code = "column_unknown"
	codeTooManyRows   api.Code = "too_many_rows"
	codeNotAcceptable api.Code = "not_acceptable"
	codeOtherBody     api.Code = "request_id_reused"
	codeOtherKeys     api.Code = "keys_changed"
	codeKeyHolder     api.Code = "keyholder_unavailable"
	codeNotServed     api.Code = "project_not_served"
	codeTimeout       api.Code = "timeout"
	codeNumbersAsIDs  api.Code = "unique_id_looks_like_nhs_number"
	codeEncoding      api.Code = "content_encoding_unknown"
	codeNeverFits     api.Code = "budget_smaller_than_request"
)

// problem is a refusal on its way out.
type problem struct {
	status       int
	title        string
	code         api.Code
	detail, next string
	errors       []api.ProblemError
	retryAfter   time.Duration
	close        bool // the connection is of no further use
}

// Error returns the title: a problem is an error that may be told.
func (p *problem) Error() string { return p.title }

// refuse makes a problem of a code that the key holder's interface has, too.
func refuse(code api.Code, detail, next string) *problem {
	e := api.Refuse(code, detail, next)
	return &problem{status: e.Status(), title: e.Title(), code: code, detail: detail, next: next}
}

func newProblem(status int, code api.Code, title, detail, next string) *problem {
	return &problem{status: status, title: title, code: code, detail: detail, next: next}
}

func (p *problem) after(d time.Duration) *problem {
	p.retryAfter = d
	return p
}

func (p *problem) closing() *problem {
	p.close = true
	return p
}

// again is when a caller who comes too early may try again.
const again = 2 * time.Second

// problemOf turns an error into one that may be told: what is not known to be harmless is
// internal, and is not repeated.
func (s *Server) problemOf(err error) *problem {
	var known *problem
	var wrong *wire.Error
	var spent *serving.BudgetError
	switch {
	case errors.As(err, &known):
		return known
	case errors.As(err, &wrong):
		return ofWire(wrong)
	case errors.As(err, &spent):
		detail := "the client's rows of this period are used up"
		if spent.All {
			detail = "the rows of all clients of this period are used up"
		}
		return refuse(api.CodeBudget, detail, "wait, or ask whoever runs the tokeniser for a larger budget_rows").after(spent.Again)
	case errors.Is(err, serving.ErrNeverFits):
		return newProblem(429, codeNeverFits, "The budget of rows is smaller than the request", "the request has more rows than the client's budget of a whole period", "send fewer rows in a request, or ask whoever runs the tokeniser for a larger budget_rows").after(time.Hour)
	case errors.Is(err, serving.ErrOtherBody):
		return newProblem(409, codeOtherBody, "The request id was used before", "another request with this X-Request-ID was answered in the last 24 hours", "send a new UUID with every new request")
	case errors.Is(err, serving.ErrOtherKeys):
		return newProblem(409, codeOtherKeys, "The keys have changed", "the request was answered before, under the keys of another epoch, and the same answer cannot be given again", "send it with a new X-Request-ID: it is charged again")
	case errors.Is(err, regionstore.ErrNoSpace):
		return refuse(api.CodeNoSpace, "requests are answered when there is more", "make space where [store] dir lies").after(10 * again)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return newProblem(503, codeTimeout, "It took too long", "the request was not answered within its time", "send it again with the same X-Request-ID; large requests in several").after(again)
	}
	return s.ofFault(err)
}

func ofWire(e *wire.Error) *problem {
	var p *problem
	switch e.Kind {
	case wire.TooManyRows:
		p = newProblem(413, codeTooManyRows, "The request has too many rows", e.Detail, e.Next)
	case wire.UnknownColumn:
		p = newProblem(422, codeUnknownColumn, "The columns are not those of a row", e.Detail, e.Next)
	default:
		p = refuse(api.CodeMalformed, e.Detail, e.Next)
	}
	if e.Pointer != "" {
		p.errors = []api.ProblemError{{Pointer: e.Pointer, Code: p.code}}
	}
	return p
}

// ofFault tells what the key holder, or what the service itself, lacks.
func (s *Server) ofFault(err error) *problem {
	const wait = "send it again with the same X-Request-ID, a little later"
	switch lease.RefusedAs(err) {
	case api.CodeBudget:
		return refuse(api.CodeBudget, "the key holder allows no more rows in this period", "wait; or ask the key holder's operators for a larger budget").after(time.Minute)
	case api.CodeSealed:
		return refuse(api.CodeSealed, "it answers when its operators have unsealed it", wait).after(10 * again)
	case api.CodeKeyState:
		return newProblem(503, codeNotServed, "The project cannot be served now", "its keys were replaced by those of another epoch", "whoever runs the tokeniser gets the project's record and reloads; then "+wait).after(10 * again)
	}
	var known *fault.Error
	switch {
	case errors.As(err, &known) && known.Kind == fault.Unavailable:
		return newProblem(503, codeKeyHolder, "The key holder, or the project's keys, cannot be had now", known.Wrong, wait).after(again)
	case errors.As(err, &known) && (known.Kind == fault.Policy || known.Kind == fault.Disagreement || known.Kind == fault.Usage):
		return newProblem(503, codeNotServed, "The project cannot be served now", known.Wrong, "whoever runs the tokeniser finds the reason in its log; then "+wait).after(10 * again)
	}
	s.options.Logger.Error("a request failed", "error", errorOnly(err))
	return refuse(api.CodeInternal, "", "report it with the request's id")
}

// errorOnly returns an error that may be logged, or nil.
func errorOnly(err error) error {
	var known *fault.Error
	if errors.As(err, &known) {
		return known
	}
	return nil
}

// write writes the problem as the answer.
func (p *problem) write(ctx *fasthttp.RequestCtx, request string) {
	document := api.Problem{Type: "about:blank", Title: p.title, Status: p.status, Detail: p.detail, Code: p.code, Next: p.next, Errors: p.errors}
	if request != "" {
		document.Instance = "urn:uuid:" + request
	}
	b, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		b = []byte(`{"type":"about:blank","title":"Internal failure","status":500,"code":"internal"}`)
	}
	header := &ctx.Response.Header
	ctx.Response.ResetBody()
	ctx.SetStatusCode(p.status)
	header.SetContentType(api.ProblemType)
	if p.retryAfter > 0 {
		header.Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	if p.close {
		ctx.SetConnectionClose()
	}
	ctx.Response.SetBody(b)
}
