package relationship

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
)

// The codes that this service answers with besides those of keys/api.
const (
	CodeRate  api.Code = "rate_exceeded"
	CodeTable api.Code = "table_unavailable"
	CodeTime  api.Code = "time_differs"
)

// refusal is an error that says which problem document it answers with. Nothing in it is
// what the caller sent.
type refusal struct {
	code         api.Code
	status       int
	title        string
	detail, next string
	retry        time.Duration // where coming again helps
}

func (r *refusal) Error() string { return r.title }

// refuse makes a refusal of a code of keys/api.
func refuse(code api.Code, detail, next string) *refusal {
	e := api.Refuse(code, detail, next)
	r := &refusal{code: code, status: e.Status(), title: e.Title(), detail: detail, next: next}
	if r.status == http.StatusServiceUnavailable {
		r.retry = retryAfter
	}
	return r
}

func tooFast(wait time.Duration) *refusal {
	return &refusal{code: CodeRate, status: http.StatusTooManyRequests, title: "Too many questions", detail: "the caller's share for now is used up", next: "come again later; [relationships] sets the rate", retry: wait}
}

func noTable() *refusal {
	return &refusal{code: CodeTable, status: http.StatusServiceUnavailable, title: "The table of relationships cannot be read", detail: "no answer is given from what cannot be read whole",
		next: "its region looks at: tokeniser relationships list --check", retry: retryAfter}
}

func wrongTime() *refusal {
	return &refusal{code: CodeTime, status: http.StatusBadRequest, title: "The question is not of now", detail: "member at is more than 60 s away from this service's clock", next: "set both clocks by a time server, and ask again with the time of now"}
}

// answer writes the problem document.
func (r *refusal) answer(w http.ResponseWriter, request string) {
	p := api.Problem{Type: "about:blank", Title: r.title, Status: r.status, Detail: r.detail, Code: r.code, Next: r.next}
	if request != "" {
		p.Instance = "urn:uuid:" + request
	}
	if r.retry > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(r.retry.Seconds()))))
	}
	write(w, r.status, api.ProblemType, p)
}

func write(w http.ResponseWriter, status int, media string, document any) {
	b, err := json.Marshal(document, json.Deterministic(true))
	if err != nil {
		status, media, b = http.StatusInternalServerError, api.ProblemType, []byte(`{"type":"about:blank","title":"Internal failure","status":500,"detail":"","code":"internal"}`)
	}
	w.Header().Set("Content-Type", media)
	w.WriteHeader(status)
	_, _ = w.Write(b) // the caller has gone: nothing to tell it
}
