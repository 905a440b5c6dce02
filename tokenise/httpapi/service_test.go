package httpapi_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/trialcert"
	"tarn/tokenise"
	"tarn/tokenise/httpapi"
)

// TestWhoMayCall, scenario 11: nobody without a certificate of the authority, for clients,
// that has not ended and is one of the project's; and each is told which of it is amiss.
func TestWhoMayCall(t *testing.T) {
	s := newSite(t)
	must(t, trialcert.Make(s.path("foreign"), []string{"127.0.0.1"}, []string{"etl"}, began))
	for _, c := range []call{{}, {method: "GET", path: "/v1/projects/study", id: "-"}} {
		for _, x := range []struct {
			as     string
			status int
			code   api.Code
		}{
			{"nobody", 401, api.CodeNoCertificate}, {"foreign/etl", 403, api.CodeCertificate}, {"server", 403, api.CodeCertificate}, {"stranger", 403, api.CodeForbidden},
		} {
			c.as, c.body = x.as, rowsOf("a", 1)
			s.problem(s.call(c), x.status, x.code)
		}
		c.as = "etl"
		if a := s.call(c); a.status != 200 {
			t.Errorf("control: %d %s", a.status, a.body)
		}
		path := c.path
		c.path = strings.Replace("/v1/projects/other/tokenise", "/tokenise", map[bool]string{true: "/tokenise", false: ""}[path == ""], 1)
		s.problem(s.call(c), 403, api.CodeForbidden) // whether there is such a project nobody else learns
	}
	for _, path := range []string{"/livez", "/readyz", "/v1/openapi.json"} {
		if a := s.call(call{as: "nobody", method: "GET", path: path, id: "-"}); a.status != 200 {
			t.Errorf("%s: %d", path, a.status)
		}
	}
	for _, id := range []string{"-", "1", "not-a-uuid-but-as-long-as-a-uuid-is-x", "{" + uuid.NewString()[:34] + "}", strings.ReplaceAll(uuid.NewString(), "-", "")} {
		s.problem(s.call(call{id: id, body: rowsOf("a", 1)}), 400, api.CodeRequestID)
	}
	id := uuid.NewString()
	a := s.call(call{id: id, body: rowsOf("a", 1), headers: map[string]string{"X-Correlation-ID": "run-7:a.b_C"}})
	if a.header.Get("X-Request-ID") != id || a.header.Get("X-Correlation-ID") != "run-7:a.b_C" {
		t.Errorf("%v", a.header)
	}
	if a := s.call(call{body: rowsOf("a", 1), headers: map[string]string{"X-Correlation-ID": "943 476 5919"}}); a.header.Get("X-Correlation-ID") != "" {
		t.Error("a correlation id with blanks is mirrored")
	}
	p := s.problem(s.call(call{id: id, media: "text/plain"}), 415, api.CodeMediaType)
	if p.Instance != "urn:uuid:"+id {
		t.Errorf("instance %s", p.Instance)
	}
	// The certificate ends while its connection is open.
	s.late.Store(int64(trialcert.Lasts - time.Second))
	if a := s.call(call{body: rowsOf("a", 1)}); a.status != 200 {
		t.Errorf("a second before its end: %d %s", a.status, a.body)
	}
	s.late.Store(int64(trialcert.Lasts))
	s.problem(s.call(call{body: rowsOf("a", 1)}), 403, api.CodeExpired)
	s.late.Store(0)
	for _, line := range strings.Split(s.log.String(), "\n") {
		if strings.Contains(line, "999") && strings.Contains(line, number(0)) {
			t.Error("a number is in the log")
		}
	}
}

// TestNameThatIsAHash: a certificate that is listed by its hash is not another that has the
// hash for a name.
func TestNameThatIsAHash(t *testing.T) {
	s := newSite(t)
	text, err := os.ReadFile(s.path("tls/etl.pem"))
	must(t, err)
	block, _ := pem.Decode(text)
	hash := fmt.Sprintf("sha256:%x", sha256.Sum256(block.Bytes))
	must(t, trialcert.Make(s.path("names"), []string{"127.0.0.1"}, []string{hash}, began))
	both := s.authority("tls")
	authority, err := os.ReadFile(s.path("names/ca.pem"))
	must(t, err)
	both.AppendCertsFromPEM(authority)
	s.server.Reconfigure([]httpapi.Project{s.served(hash)}, both)
	if a := s.call(call{body: rowsOf("a", 1)}); a.status != 200 {
		t.Errorf("control: %d %s", a.status, a.body)
	}
	s.problem(s.call(call{as: "names/" + hash, body: rowsOf("a", 1)}), 403, api.CodeForbidden)
}

// TestReloadChangesClients of connections that are open: who is no client any more is
// refused at the next request, and who becomes one is answered; so it is with the authority.
func TestReloadChangesClients(t *testing.T) {
	s := newSite(t)
	must(t, trialcert.Make(s.path("foreign"), []string{"127.0.0.1"}, []string{"etl"}, began))
	ask := func(as string, status int) {
		t.Helper()
		if a := s.call(call{as: as, body: rowsOf("a", 1)}); a.status != status {
			t.Errorf("%s: %d %s", as, a.status, a.body)
		}
	}
	ask("etl", 200)
	ask("stranger", 403)
	ask("foreign/etl", 403)
	s.server.Reconfigure([]httpapi.Project{s.served("stranger")}, s.authority("tls"))
	ask("etl", 403)
	ask("stranger", 200)
	s.server.Reconfigure([]httpapi.Project{s.served("etl")}, s.authority("foreign"))
	ask("foreign/etl", 200)
	ask("etl", 403)
	s.server.Reconfigure([]httpapi.Project{s.served("etl")}, s.authority("tls"))
	ask("etl", 200)
	s.server.Reconfigure(nil, s.authority("tls"))
	ask("etl", 403)
}

// TestSentAgain: a request with its id is answered the same and charged once, whatever comes
// between; with the id and anything else it is refused. After 24 hours the id is new.
func TestSentAgain(t *testing.T) {
	s := newSite(t, func(s *site) { s.rows = 10_000 })
	id, body := uuid.NewString(), rowsOf("a", 7)
	first := s.call(call{id: id, body: body})
	s.document(first)
	same := func(when string) {
		t.Helper()
		before := s.left("etl")
		again := s.call(call{id: id, body: body})
		if again.status != 200 || !bytes.Equal(again.body, first.body) {
			t.Errorf("%s: %d %.300s", when, again.status, again.body)
		}
		if s.left("etl") != before {
			t.Errorf("%s: it is charged again", when)
		}
	}
	if s.left("etl") != 9993 {
		t.Errorf("%d rows left", s.left("etl"))
	}
	same("at once")
	if a := s.call(call{id: strings.ToUpper(id), body: body}); !bytes.Equal(a.body, first.body) || s.left("etl") != 9993 {
		t.Error("the id in capitals is another")
	}
	if a := s.call(call{id: id, body: body, accept: "text/csv"}); a.status != 200 || s.left("etl") != 9993 {
		t.Error("the same answer in another form is another request")
	}
	for name, c := range map[string]call{
		"another body": {body: rowsOf("b", 7)}, "a blank more": {body: append(bytes.Clone(body), ' ')}, "another question": {body: bytes.Replace(body, []byte(`"token"`), []byte(`"encodings"`), 1)},
		"another form": {body: body, media: "application/x-ndjson"},
	} {
		c.id = id
		if name == "another form" {
			c.body = []byte(`{"unique_id":"a"}`)
		}
		s.problem(s.call(c), 409, "request_id_reused")
	}
	// What the address asks for counts as well.
	other := uuid.NewString()
	plain := []byte(`{"rows":[{"unique_id":"a","nhs_number":"` + number(1) + `"}]}`)
	s.document(s.call(call{id: other, body: plain, query: "?return=token"}))
	s.problem(s.call(call{id: other, body: plain}), 409, "request_id_reused")
	if a := s.call(call{as: "nightly", id: id, body: rowsOf("c", 2)}); a.status != 200 || s.left("nightly") != 9998 {
		t.Error("another client's id is the same")
	}
	same("after others")
	s.restart(false)
	same("after a restart")
	s.restart(true)
	before := s.left("etl")
	same("after a crash")
	if before > 9992 {
		t.Errorf("a crash gave back rows: %d are left", before)
	}
	s.late.Store(int64(24*time.Hour - time.Second))
	same("after a day but a second")
	s.late.Store(int64(24*time.Hour + time.Second))
	before = s.left("etl")
	if a := s.call(call{id: id, body: rowsOf("new", 3)}); a.status != 200 || s.left("etl") != before-3 {
		t.Errorf("after a day: %d %s, %d and %d left", a.status, a.body, before, s.left("etl"))
	}
}

// TestSentAgainUnderOtherKeys is refused, since the answer cannot be given again; with a new
// id it is answered under the new keys, and charged.
func TestSentAgainUnderOtherKeys(t *testing.T) {
	s := newSite(t)
	id, body := uuid.NewString(), rowsOf("a", 2)
	first := s.document(s.call(call{id: id, body: body}))
	s.epoch(2)
	s.project.Reload()
	for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if d := s.document(s.call(call{body: body})); d.Epoch == 2 {
			if *d.Rows[0].Token == *first.Rows[0].Token {
				t.Error("the token is that of the other epoch")
			}
			break
		}
		if time.Now().After(until) {
			t.Fatal("the project is not read again")
		}
	}
	before := s.left("etl")
	s.problem(s.call(call{id: id, body: body}), 409, "keys_changed")
	if s.left("etl") != before {
		t.Error("what is refused is charged")
	}
}

// TestSentFiftyTimesAtOnce: one of them is charged, and all get its answer.
func TestSentFiftyTimesAtOnce(t *testing.T) {
	s := newSite(t, func(s *site) { s.rows = 1000 })
	for round := range 5 {
		id, body := uuid.NewString(), rowsOf(fmt.Sprint("round-", round), 20)
		answers := make([]answer, 50)
		var wait sync.WaitGroup
		for i := range answers {
			wait.Go(func() {
				var err error
				if answers[i], err = s.try(call{id: id, body: body}); err != nil {
					t.Error(err)
				}
			})
		}
		wait.Wait()
		for i := range answers {
			if answers[i].status != 200 || !bytes.Equal(answers[i].body, answers[0].body) {
				t.Errorf("%d %.200s", answers[i].status, answers[i].body)
			}
		}
		if left := s.left("etl"); left != int64(1000-20*(round+1)) {
			t.Fatalf("%d rows are left after %d requests of 20", left, round+1)
		}
	}
	// Control: with an id each they are charged one by one.
	for range 3 {
		s.call(call{body: rowsOf("x", 20)})
	}
	if left := s.left("etl"); left != 1000-5*20-3*20 {
		t.Errorf("control: %d left", left)
	}
}

// TestBudgets: rows beyond a client's budget are refused until its period is over, whatever
// restarts, crashes or clocks do in between; and so are those beyond the ceiling of all.
func TestBudgets(t *testing.T) {
	s := newSite(t, func(s *site) { s.rows, s.ceiling = 5000, 8000 })
	ask := func(as string, n int) answer { return s.call(call{as: as, body: rowsOf("a", n)}) }
	spent := func(when string) {
		t.Helper()
		before := s.left("etl")
		a := ask("etl", 1000)
		p := s.problem(a, 429, api.CodeBudget)
		if after := a.header.Get("Retry-After"); after == "" || after == "0" || strings.HasPrefix(after, "-") {
			t.Errorf("%s: Retry-After %q", when, after)
		}
		if s.left("etl") != before || p.Next == "" {
			t.Errorf("%s: what is refused is charged", when)
		}
	}
	never := s.call(call{body: []byte(`{"return":["token"],"rows":[]}`)})
	if never.status != 200 {
		t.Errorf("no rows: %d", never.status)
	}
	for range 4 {
		if a := ask("etl", 1000); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	if a := ask("etl", 500); a.status != 200 || a.header.Get("Tarn-Budget-Remaining") != "500" {
		t.Errorf("%d, %s left", a.status, a.header.Get("Tarn-Budget-Remaining"))
	}
	spent("at once")
	if a := ask("etl", 500); a.status != 200 || s.left("etl") != 0 {
		t.Errorf("what is left fits: %d, %d", a.status, s.left("etl"))
	}
	if a := ask("nightly", 1000); a.status != 200 {
		t.Errorf("another client has its own: %d", a.status)
	}
	s.restart(false)
	spent("after a restart")
	if s.left("nightly") != 4000 {
		t.Errorf("a restart takes rows: %d", s.left("nightly"))
	}
	s.restart(true)
	spent("after a crash")
	s.late.Store(-int64(30 * time.Minute))
	spent("after the clock was set back")
	s.restart(false)
	spent("after the clock was set back, and a restart")
	s.late.Store(int64(12 * time.Hour))
	spent("after half a period")
	// The ceiling: nightly has rows left, and all together have none. Certificates of the
	// trial last for 30 days.
	for {
		a := ask("nightly", 1000)
		if a.status == 200 {
			continue
		}
		if p := s.problem(a, 429, api.CodeBudget); !strings.Contains(p.Detail, "all clients") || s.left("nightly") < 1000 {
			t.Errorf("the ceiling: %s, %d left", p.Detail, s.left("nightly"))
		}
		break
	}
	s.late.Store(int64(12*time.Hour + 26*time.Hour))
	if a := ask("etl", 1000); a.status != 200 {
		t.Errorf("after the period: %d %s", a.status, a.body)
	}
	s.server.Reconfigure([]httpapi.Project{s.served("etl")}, s.authority("tls"))
}

// TestCrashGivesNothingBack of what was answered, and takes no more than what an account is
// kept ahead of it.
func TestCrashGivesNothingBack(t *testing.T) {
	s := newSite(t, func(s *site) { s.rows, s.ceiling = 100_000, 200_000 })
	used, crashes := int64(0), int64(0)
	for _, requests := range []int{30, 1, 2, 30} {
		for range requests {
			if a := s.call(call{body: rowsOf("a", 90)}); a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
			used += 90
		}
		s.restart(true)
		crashes++
		if charged := s.rows - s.left("etl"); charged < used || charged > used+crashes*1000 {
			t.Fatalf("after %d crashes %d rows are charged, and %d were answered", crashes, charged, used)
		}
	}
}

// TestBudgetThatNeverFits is told from one that is used up.
func TestBudgetThatNeverFits(t *testing.T) {
	s := newSite(t, func(s *site) { s.rows = 10 })
	s.problem(s.call(call{body: rowsOf("a", 11)}), 429, "budget_smaller_than_request")
	if a := s.call(call{body: rowsOf("a", 10)}); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

// TestStoreWithoutSpace: nothing is answered that could not be remembered, what is remembered
// is answered again, and all goes on by itself when there is space.
func TestStoreWithoutSpace(t *testing.T) {
	s := newSite(t)
	known := uuid.NewString()
	first := s.call(call{id: known, body: rowsOf("a", 3)})
	s.free.Store(1 << 20)
	before := s.left("etl")
	a := s.call(call{body: rowsOf("b", 3)})
	s.problem(a, 507, api.CodeNoSpace)
	if a.header.Get("Retry-After") == "" || s.left("etl") != before {
		t.Errorf("%v, %d of %d rows left", a.header, s.left("etl"), before)
	}
	if again := s.call(call{id: known, body: rowsOf("a", 3)}); again.status != 200 || !bytes.Equal(again.body, first.body) {
		t.Errorf("what is known: %d %s", again.status, again.body)
	}
	for _, path := range []string{"/livez", "/v1/projects/study"} {
		if a := s.call(call{method: "GET", path: path, id: "-"}); a.status != 200 {
			t.Errorf("%s: %d %s", path, a.status, a.body)
		}
	}
	s.problem(s.call(call{method: "GET", path: "/readyz", id: "-"}), 507, api.CodeNoSpace)
	s.free.Store(plenty)
	if a := s.call(call{body: rowsOf("b", 3)}); a.status != 200 {
		t.Errorf("with space again: %d %s", a.status, a.body)
	}
	if a := s.call(call{method: "GET", path: "/readyz", id: "-"}); a.status != 200 {
		t.Errorf("%d", a.status)
	}
}

// TestStoreThatIsSlow: a request whose record is not on the disk within its time is not
// answered; the record may come there yet, so that its rows stay charged, once, and it is
// answered when it comes again.
func TestStoreThatIsSlow(t *testing.T) {
	goOn := make(chan struct{})
	s := newSite(t, func(s *site) {
		s.options.Limits.Timeout = time.Second
		s.options.Trace = func(_, stage string, _ time.Time) {
			if stage == "answered" {
				s.stalled.Store(&goOn)
			}
		}
	})
	id, body := uuid.NewString(), rowsOf("a", 5)
	a := s.call(call{id: id, body: body})
	s.problem(a, 503, "timeout")
	if bytes.Contains(a.body, []byte("tarn1")) || s.left("etl") != plenty-5 {
		t.Errorf("%s, %d rows are charged", a.body, plenty-s.left("etl"))
	}
	s.problem(s.call(call{id: id, body: body}), 503, "timeout") // it waits until that is known
	close(goOn)
	if again := s.call(call{id: id, body: body}); again.status != 200 || len(s.document(again).Rows) != 5 || s.left("etl") != plenty-5 {
		t.Errorf("sent again: %d, %d rows are charged", again.status, plenty-s.left("etl"))
	}
}

// TestReadiness follows the projects' keys and the service's end.
func TestReadiness(t *testing.T) {
	s := newSite(t)
	ready := func(query string) answer {
		return s.call(call{as: "nobody", method: "GET", path: "/readyz", query: query, id: "-"})
	}
	for query, status := range map[string]int{"": 200, "?project=study": 200, "?project=other": 503} {
		if a := ready(query); a.status != status {
			t.Errorf("%q: %d %s", query, a.status, a.body)
		}
	}
	s.server.Drain()
	s.problem(ready(""), 503, api.CodeStopping)
	if a := s.call(call{body: rowsOf("a", 1)}); a.status != 200 {
		t.Errorf("while it says that it is not ready: %d", a.status)
	}
}

// TestPanicIsContained: the caller gets a problem, the log where it happened, neither what
// was in it; nothing is charged, the id is free, and the service goes on.
func TestPanicIsContained(t *testing.T) {
	const planted = "943 476 5919 of a panic"
	var stage atomic.Pointer[string]
	s := newSite(t, func(s *site) {
		s.options.Trace = func(_, at string, _ time.Time) {
			if p := stage.Load(); p != nil && *p == at {
				panic(errors.New(planted))
			}
		}
	})
	for _, at := range []string{"begun", "read", "charged", "answered", "kept"} {
		id := uuid.NewString()
		before := s.left("etl")
		stage.Store(&at)
		a := s.call(call{id: id, body: rowsOf(at, 3)})
		stage.Store(nil)
		s.problem(a, 500, api.CodeInternal)
		if bytes.Contains(a.body, []byte(planted[:5])) {
			t.Errorf("%s: the answer has the panic's text: %s", at, a.body)
		}
		if charged := before - s.left("etl"); charged != map[bool]int64{true: 3, false: 0}[at == "kept"] {
			t.Errorf("%s: %d rows are charged", at, charged)
		}
		if a := s.call(call{id: id, body: rowsOf(at, 3)}); a.status != 200 {
			t.Errorf("%s: sent again: %d %s", at, a.status, a.body)
		}
		if charged := before - s.left("etl"); charged != 3 {
			t.Errorf("%s: sent again, %d rows are charged in all", at, charged)
		}
	}
	log := s.log.String()
	if n := strings.Count(log, "a request ended in a panic"); n != 5 || strings.Contains(log, planted[:12]) {
		t.Errorf("%d panics in the log: %s", n, log)
	}
}

// TestEachGetsItsOwnAnswer: many requests over connections that are kept alive, at once, each
// with rows of its own and of another number: every answer belongs to its request, whole.
func TestEachGetsItsOwnAnswer(t *testing.T) {
	requests := 10_000
	if testing.Short() || raced {
		requests = 1_000
	}
	const callers = 16
	s := newSite(t)
	material := keysOf(1)
	project, err := keys.ReadProject(s.path("project.json"))
	must(t, err)
	kTok, err := tokenise.NewTokenKeys(project, material)
	must(t, err)
	var next atomic.Int64
	var wait sync.WaitGroup
	var rows atomic.Int64
	for range callers {
		wait.Go(func() {
			tokens := kTok.NewTokens()
			client := &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls("etl"), MaxConnsPerHost: 1}}
			defer client.CloseIdleConnections()
			for {
				n := int(next.Add(1)) - 1
				if n >= requests || t.Failed() {
					return
				}
				if err := own(s, client, tokens, n); err != nil {
					t.Error(err)
				}
				rows.Add(int64(1 + n%9))
			}
		})
	}
	wait.Wait()
	if charged := plenty - s.left("etl"); charged != rows.Load() {
		t.Errorf("%d rows were sent and %d charged", rows.Load(), charged)
	}
}

// own sends the n-th request and holds its answer to it.
func own(s *site, client *http.Client, tokens *tokenise.Tokens, n int) error {
	body := []byte(`{"rows":[`)
	for i := range 1 + n%9 {
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"unique_id":"request-%d-row-%d","nhs_number":"%s"}`, n, i, number(n*9+i))
	}
	id := uuid.NewString()
	request, err := http.NewRequest("POST", "https://"+s.address+"/v1/projects/study/tokenise?return=token", bytes.NewReader(append(body, "]}"...)))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", id)
	request.Header.Set("X-Correlation-ID", fmt.Sprint("n", n))
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	b, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	var d document
	if err := json.Unmarshal(b, &d); err != nil || response.StatusCode != 200 {
		return fmt.Errorf("request %d: %d %s", n, response.StatusCode, b)
	}
	if response.Header.Get("X-Request-ID") != id || response.Header.Get("X-Correlation-ID") != fmt.Sprint("n", n) || len(d.Rows) != 1+n%9 || d.Counts.Rows != len(d.Rows) {
		return fmt.Errorf("request %d has another's headers, or %d rows: %v", n, len(d.Rows), response.Header)
	}
	for i, r := range d.Rows {
		want := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 1, Value: tokens.Of([10]byte([]byte(number(n*9 + i))))}
		if r.ID != fmt.Sprintf("request-%d-row-%d", n, i) || r.Token == nil || *r.Token != want.String() {
			return fmt.Errorf("request %d, row %d: %+v, and not %s", n, i, r, want)
		}
	}
	return nil
}

// TestStopFinishesWhatBegan: what is being answered when the service is stopped is answered.
func TestStopFinishesWhatBegan(t *testing.T) {
	begun, goOn := make(chan struct{}), make(chan struct{})
	s := newSite(t, func(s *site) {
		s.options.Trace = func(_, stage string, _ time.Time) {
			if stage == "charged" {
				close(begun)
				<-goOn
			}
		}
	})
	got := make(chan answer, 1)
	go func() {
		a, err := s.try(call{body: rowsOf("a", 5)})
		if err != nil {
			t.Error(err)
		}
		got <- a
	}()
	<-begun
	ended := make(chan struct{})
	go func() {
		s.end(false)
		close(ended)
	}()
	for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		if _, err := os.Stat(s.path("store")); err == nil && s.stopping() {
			break
		}
	}
	close(goOn)
	if a := <-got; a.status != 200 || len(s.document(a).Rows) != 5 {
		t.Errorf("%d %s", a.status, a.body)
	}
	<-ended
}

// stopping reports whether the service takes no more connections.
func (s *site) stopping() bool {
	_, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: s.tls("")}, Timeout: time.Second}).Get("https://" + s.address + "/livez")
	return err != nil
}
