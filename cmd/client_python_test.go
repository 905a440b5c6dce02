package cmd_test

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"crypto/tls"
)

// TestPythonClient has the client in deploy/clients/python call the service as it is
// shipped, over a network that fails.
func TestPythonClient(t *testing.T) {
	python := clientPython(t)
	r := newRegion(t)
	c := &pythonClient{region: r, python: python}
	rows := len(r.table("people/north.csv")) - 1
	code, said := c.file("https://"+r.address, "people/north.csv", "expected.csv", "--batch", "100")
	if code != 0 || strings.Contains(said, "trying again") {
		t.Fatalf("without harm: exit %d: %s", code, said)
	}
	t.Run("every row has its answer in its place, by whatever way it went", func(t *testing.T) { c.answers(t) })
	t.Run("charged once, whatever the network does", func(t *testing.T) { c.harms(t, rows) })
	t.Run("killed, it goes on and is charged once", func(t *testing.T) { c.killed(t, rows) })
	t.Run("stopped, it keeps what was answered", func(t *testing.T) { c.stopped(t, rows) })
	t.Run("the service is started again meanwhile", func(t *testing.T) { c.restarted(t, rows) })
	t.Run("what is asked again, and when", func(t *testing.T) { c.statuses(t) })
	t.Run("rows are read as answers are taken", func(t *testing.T) { c.bounded(t) })
	t.Run("columns", func(t *testing.T) { c.columns(t) })
	t.Run("lines", func(t *testing.T) { c.lines(t) })
	t.Run("what is wrong, and nothing of anybody", func(t *testing.T) { c.wrong(t) })
}

// TestPythonClientStandsAlone holds the client to the standard library, and to the grammar
// of Python 3.9.
func TestPythonClientStandsAlone(t *testing.T) {
	python := clientPython(t)
	const look = `import ast, sys
def foreign(text):
    tree = ast.parse(text, feature_version=(3, 9))
    names = [a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names] + [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)]
    assert len(names) > 0
    return sorted(n for n in names if n.split(".")[0] not in sys.stdlib_module_names)
assert foreign("import requests.adapters\nimport os") == ["requests.adapters"]
try: foreign("match x:\n  case 1: pass")
except SyntaxError: pass
else: raise SystemExit("the grammar is not looked at")
print(foreign(open(sys.argv[1]).read()))`
	code, said := output(t, python, "-c", look, filepath.Join(repository(t), "deploy/clients/python/tarn_tokenise.py"))
	if code != 0 || said != "[]\n" {
		t.Errorf("exit %d: %s", code, said)
	}
}

func clientPython(t *testing.T) string {
	t.Helper()
	for _, name := range []string{os.Getenv("TARN_PYTHON"), "python3"} {
		if path, err := exec.LookPath(name); name != "" && err == nil {
			return path
		}
	}
	t.Skip("there is no Python (TARN_PYTHON is not set, and python3 is not installed), so its client is not run")
	return ""
}

type pythonClient struct {
	*region
	python string
}

func (c *pythonClient) command(args ...string) *exec.Cmd {
	command := exec.Command(c.python, args...)
	command.Dir = c.folder
	command.Env = append(os.Environ(), "PYTHONDONTWRITEBYTECODE=1", "PYTHONPATH="+filepath.Join(repository(c.t), "deploy/clients/python"))
	return command
}

func (c *pythonClient) arguments(url, in, out string, more ...string) []string {
	return append([]string{filepath.Join(repository(c.t), "deploy/clients/python/tarn_tokenise.py"), "--url", url, "--project", regionProject,
		"--ca", "tls/ca.pem", "--cert", "tls/etl.pem", "--key", "tls/etl.key", "--in", in, "--out", out}, more...)
}

// file has a file answered by the command.
func (c *pythonClient) file(url, in, out string, more ...string) (code int, said string) {
	c.t.Helper()
	command := c.command(c.arguments(url, in, out, more...)...)
	b, err := command.CombinedOutput()
	if err != nil && command.ProcessState == nil {
		c.t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(b)
}

// run runs a text that uses the client, and returns what it prints.
func (c *pythonClient) run(t *testing.T, text string, args ...string) string {
	t.Helper()
	command := c.command(append([]string{"-c", text}, args...)...)
	b, err := command.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, b)
	}
	return string(b)
}

func (r *region) table(name string) [][]string {
	r.t.Helper()
	all, err := csv.NewReader(strings.NewReader(r.read(name))).ReadAll()
	must(r.t, err)
	return all
}

// answers compares answers of files, of an iterator and of a request by itself, in CSV and
// NDJSON, with few and with many rows in a request.
func (c *pythonClient) answers(t *testing.T) {
	people, expected := c.table("people/north.csv"), c.table("expected.csv")
	if len(people) != len(expected) || len(people) < 1000 {
		t.Fatalf("%d rows were sent and %d answered", len(people), len(expected))
	}
	tokens := 0
	for i := range people {
		if i > 0 && people[i][0] != expected[i][0] {
			t.Fatalf("row %d: the answer is another row's", i)
		}
		if strings.HasPrefix(expected[i][2], "tarn1") {
			tokens++
		}
	}
	if tokens < 1000 {
		t.Errorf("only %d rows have a token", tokens)
	}
	for _, more := range [][]string{{"--batch", "7", "--connections", "5"}, {"--batch", "10000", "--connections", "1"}} {
		if code, said := c.file("https://"+c.address, "people/north.csv", "again.csv", more...); code != 0 || c.read("again.csv") != c.read("expected.csv") {
			t.Errorf("%q: exit %d, or other answers: %s", more, code, said)
		}
	}
	info, err := os.Stat(c.path("again.csv"))
	must(t, err)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("the output has mode %v", info.Mode())
	}
	if code, said := c.file("https://"+c.address, "people/north.csv", "again.ndjson", "--return", "token", "--max-refused", "20%"); code != 0 {
		t.Errorf("to NDJSON: exit %d: %s", code, said)
	}
	lines := strings.Split(strings.TrimSpace(c.read("again.ndjson")), "\n")
	if len(lines) != len(people)-1 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		var answer map[string]any
		must(t, json.Unmarshal([]byte(line), &answer))
		token, _ := answer["nhs_token"].(string)
		if _, ok := answer["encodings"]; ok || answer["unique_id"] != expected[i+1][0] || token != expected[i+1][2] {
			t.Fatalf("line %d has not what row %d of the CSV has", i, i)
		}
	}
	// The iterator gives what the file has, and a request by itself, too; one that is sent
	// again with its id is charged once.
	c.run(t, `import csv, sys, tarn_tokenise as t
client = t.Client(sys.argv[1], sys.argv[2], "tls/ca.pem", "tls/etl.pem", "tls/etl.key", connections=3)
people = [{k: v for k, v in r.items() if k in t.FIELDS} for r in csv.DictReader(open("people/north.csv"))]
expected = list(csv.DictReader(open("expected.csv")))
answers = list(client.tokenise(iter(people), batch=90))
assert len(answers) == len(people) > 1000
for a, e in zip(answers, expected):
    assert (a["unique_id"], a["status"], a["nhs_token"] or "") == (e["unique_id"], e["status"], e["nhs_token"])
    for k, v in {**a["encodings"], **a["tags"]}.items(): assert (v or "") == e[k], k
id = "0e7b7f0e-7a5c-4c5e-9d53-3f6a3f1a9b01"
first, h1 = client.send(people[:5], request_id=id)
again, h2 = client.send(people[:5], request_id=id)
assert first == again == answers[:5] and h1["Tarn-Budget-Remaining"] == h2["Tarn-Budget-Remaining"]
other, h3 = client.send(people[:5])
assert int(h3["Tarn-Budget-Remaining"]) == int(h2["Tarn-Budget-Remaining"]) - 5
try: client.send(people[:6], request_id=id)
except t.TarnError as e: assert (e.code, e.exit_code, e.status) == ("request_id_reused", 2, 409), e
else: raise SystemExit("another request with the id was answered")
import datetime, decimal
class NA:
    def __ne__(self, other): return self
    __eq__ = __ne__
    def __bool__(self): raise TypeError
plain, _ = client.send([{"unique_id": "7", "nhs_number": "9434765919", "date_of_birth": "1973-10-22", "sex": "2"}])
typed, _ = client.send([{"unique_id": 7, "nhs_number": 9434765919.0, "date_of_birth": datetime.datetime(1973, 10, 22, 0, 0), "sex": 2, "given_name": float("nan"), "family_name": NA(), "postcode": None}])
assert plain == typed and plain[0]["nhs_token"] and not plain[0]["encodings"]["bf_given_name"], typed
for wrong in ({"unique_id": "7", "sex": True}, {"unique_id": "7", "sex": [9434765919]}, {"9434765919": "7"}):
    try: client.send([wrong])
    except t.TarnError as e: assert e.exit_code == 2 and "9434765919" not in str(e), e
    else: raise SystemExit("a row of another form was sent")
client.close()
try: client.send(people[:5])
except t.TarnError as e: assert e.code == "closed", e
else: raise SystemExit("a closed client sends")
`, "https://"+c.address, regionProject)
}

// harms sends rows through a network that cuts, resets and stalls: each row is in the
// output once and charged once. A client that makes a new id for each try is the control.
func (c *pythonClient) harms(t *testing.T, rows int) {
	all := []harm{harmRefuse, harmLost, harmMiddle, harmRequest, harmRefuse, harmRefuse, harmReset, harmStall, harmLost}
	answered := 0 // requests that were answered and whose answer did not arrive
	for _, h := range all {
		if h != harmRefuse && h != harmRequest {
			answered++
		}
	}
	for _, more := range [][]string{{"--connections", "1"}, {"--connections", "2"}} {
		proxy := newCutter(t, c.address, all...)
		before := c.charged()
		out := "harm" + more[1] + ".csv"
		code, said := c.file(proxy.url(), "people/north.csv", out, append(more, "--batch", "100", "--timeout", "3")...)
		if code != 0 || c.read(out) != c.read("expected.csv") {
			t.Errorf("%q: exit %d, or the answers are others: %s", more, code, said)
		}
		if left := proxy.left(); left > 0 || strings.Count(said, "trying again") == 0 {
			t.Errorf("%q: %d harms were not done: %s", more, left, said)
		}
		if charged := c.charged() - before; charged != int64(rows) {
			t.Errorf("%q: %d rows were sent and %d charged", more, rows, charged)
		}
		if found := leaks(said); found != nil {
			t.Errorf("it said %q", found)
		}
	}
	// Control: with an id for each try those rows are charged twice.
	proxy := newCutter(t, c.address, all...)
	before := c.charged()
	c.run(t, `import sys, uuid, tarn_tokenise as t
class Control(t.Client):
    def _try(self, verb, path, body, headers, request_id):
        return super()._try(verb, path, body, {**headers, "X-Request-ID": str(uuid.uuid4())}, request_id)
Control(sys.argv[1], sys.argv[2], "tls/ca.pem", "tls/etl.pem", "tls/etl.key", timeout=3).tokenise_file("people/north.csv", "control.csv", batch=100)
`, proxy.url(), regionProject)
	if charged := c.charged() - before; charged != int64(rows+100*answered) || c.read("control.csv") != c.read("expected.csv") {
		t.Errorf("control: %d rows were charged, want %d and %d again", charged, rows, 100*answered)
	}
}

// killed kills the command while a request of it is answered, and repeats it.
func (c *pythonClient) killed(t *testing.T, rows int) {
	before := c.charged()
	interrupt := func(out string, with syscall.Signal) *exec.Cmd {
		proxy := newCutter(t, c.address, harmStall, harmStall)
		command := c.command(c.arguments(proxy.url(), "people/north.csv", out, "--batch", "100", "--connections", "2")...)
		must(t, command.Start())
		for range 2 {
			select {
			case <-proxy.stalled:
			case <-time.After(time.Minute):
				t.Error("no answer was held back")
			}
		}
		must(t, command.Process.Signal(with))
		_ = command.Wait() // it was killed
		return command
	}
	interrupt("killed.csv", syscall.SIGKILL)
	if _, err := os.Stat(c.path("killed.csv")); err == nil {
		t.Error("an output is there that is not complete")
	}
	code, said := c.file("https://"+c.address, "people/north.csv", "killed.csv", "--batch", "100")
	if code != 0 || c.read("killed.csv") != c.read("expected.csv") {
		t.Errorf("exit %d, or other answers: %s", code, said)
	}
	if charged := c.charged() - before; charged != int64(rows) {
		t.Errorf("%d rows were sent and %d charged", rows, charged)
	}
	for _, name := range []string{"killed.csv.partial", "killed.csv.partial.json", "killed.csv.partial.json.new"} {
		if _, err := os.Stat(c.path(name)); err == nil {
			t.Errorf("%s was left", name)
		}
	}
	// Control: without what was kept four batches are charged again.
	before = c.charged()
	interrupt("control.csv", syscall.SIGKILL)
	must(t, os.Remove(c.path("control.csv.partial.json")))
	if code, said := c.file("https://"+c.address, "people/north.csv", "control.csv", "--batch", "100"); code != 0 {
		t.Errorf("control: exit %d: %s", code, said)
	}
	if charged := c.charged() - before; charged != int64(rows+400) {
		t.Errorf("control: %d rows were charged, want %d and 400 again", charged, rows)
	}
	// What was kept is not used with another input, nor with other settings.
	if command := interrupt("other.csv", syscall.SIGTERM); command.ProcessState.ExitCode() != 143 {
		t.Errorf("SIGTERM: exit %d", command.ProcessState.ExitCode())
	}
	for _, more := range [][]string{{"people/south.csv"}, {"people/north.csv", "--batch", "50"}, {"people/north.csv", "--return", "token"}} {
		if code, said := c.file("https://"+c.address, more[0], "other.csv", more[1:]...); code != 6 || !strings.Contains(said, "an earlier run with this output was interrupted") {
			t.Errorf("%q: exit %d: %s", more, code, said)
		}
	}
}

// stopped stops the command with SIGTERM and repeats it.
func (c *pythonClient) stopped(t *testing.T, rows int) {
	before := c.charged()
	proxy := newCutter(t, c.address, harmNone, harmStall) // the first connection goes on while the second holds up the rest
	command := c.command(c.arguments(proxy.url(), "people/north.csv", "stopped.csv", "--batch", "100", "--connections", "2")...)
	said := &strings.Builder{}
	command.Stderr = said
	must(t, command.Start())
	<-proxy.stalled
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if info, err := os.Stat(c.path("stopped.csv.partial")); err == nil && info.Size() > 50_000 {
			break // two batches, of which the first is counted
		}
	}
	must(t, command.Process.Signal(syscall.SIGTERM))
	_ = command.Wait() // its code is looked at
	if code := command.ProcessState.ExitCode(); code != 143 || !strings.Contains(said.String(), "repeat the command to go on") {
		t.Errorf("exit %d: %s", code, said)
	}
	var state struct{ Rows, Bytes int }
	must(t, json.Unmarshal([]byte(c.read("stopped.csv.partial.json")), &state))
	kept := c.read("stopped.csv.partial")
	if state.Rows == 0 || state.Rows%100 != 0 || state.Bytes > len(kept) || !strings.HasPrefix(c.read("expected.csv"), kept[:state.Bytes]) {
		t.Errorf("%d rows in %d bytes are kept, and the file has %d", state.Rows, state.Bytes, len(kept))
	}
	for _, name := range []string{"stopped.csv.partial.json", "stopped.csv.partial"} {
		if info, err := os.Stat(c.path(name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, mode %v", name, err, info.Mode())
		}
	}
	code, last := c.file("https://"+c.address, "people/north.csv", "stopped.csv", "--batch", "100")
	if code != 0 || c.read("stopped.csv") != c.read("expected.csv") || !strings.Contains(last, fmt.Sprintf("; %d of them by an earlier run", state.Rows)) {
		t.Errorf("exit %d, or other answers: %s", code, last)
	}
	if charged := c.charged() - before; charged != int64(rows) {
		t.Errorf("%d rows were sent and %d charged", rows, charged)
	}
}

// restarted ends the service while rows are sent, and starts it again.
func (c *pythonClient) restarted(t *testing.T, rows int) {
	before := c.charged()
	proxy := newCutter(t, c.address, harmStall)
	command := c.command(c.arguments(proxy.url(), "people/north.csv", "restarted.csv", "--batch", "100", "--connections", "1", "--timeout", "30")...)
	said := &strings.Builder{}
	command.Stderr = said
	must(t, command.Start())
	<-proxy.stalled
	c.stop()
	c.start()
	err := command.Wait()
	if err != nil || c.read("restarted.csv") != c.read("expected.csv") || !strings.Contains(said.String(), "trying again") {
		t.Errorf("%v, or other answers: %s", err, said)
	}
	if charged := c.charged() - before; charged != int64(rows) {
		t.Errorf("%d rows were sent and %d charged", rows, charged)
	}
}

// told is a server that answers what it is told, and keeps who asked.
type told struct {
	*httptest.Server
	mu    sync.Mutex
	next  []func(http.ResponseWriter, *http.Request)
	ids   []string
	peers map[string]bool
}

func newTold(t *testing.T, c *region) *told {
	s := &told{peers: map[string]bool{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	certificate, err := tls.LoadX509KeyPair(c.path("tls/server.pem"), c.path("tls/server.key"))
	must(t, err)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.RequireAnyClientCert, NextProtos: []string{"http/1.1"}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// tell says what is answered next, and forgets who asked.
func (s *told) tell(next ...func(http.ResponseWriter, *http.Request)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next, s.ids, s.peers = next, nil, map[string]bool{}
}

// asked returns the ids of the requests since, and from how many connections they came.
func (s *told) asked() (ids []string, connections int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ids), len(s.peers)
}

func (s *told) answer(w http.ResponseWriter, request *http.Request) {
	s.mu.Lock()
	s.peers[request.RemoteAddr] = true
	if request.Method == http.MethodGet {
		s.mu.Unlock()
		fmt.Fprint(w, `{"limits":{"max_rows":10000,"max_body":1000000}}`)
		return
	}
	s.ids = append(s.ids, request.Header.Get("X-Request-ID"))
	next := status(http.StatusGone, "more_than_expected")
	if len(s.next) > 0 {
		next, s.next = s.next[0], s.next[1:]
	}
	s.mu.Unlock()
	next(w, request)
}

// status answers a problem, with what the service would say.
func status(code int, name string, headers ...string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprintf(w, `{"type":"about:blank","title":"Title","status":%d,"detail":"detail","code":%q,"next":"what next"}`, code, name)
	}
}

func answerLine(epoch, id string) func(http.ResponseWriter, *http.Request) {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Tarn-Token-Epoch", epoch)
		fmt.Fprintf(w, `{"unique_id":%q,"status":"ok","nhs_token":null}`+"\n", id)
	}
}

// page is what something between client and service may answer: it repeats what was sent.
func page(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	w.WriteHeader(http.StatusTeapot)
	fmt.Fprint(w, "<html>Quetzalina</html>")
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	connection, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

// statuses has a server answer each status: what is sent again has its id and waits as
// long as it was told to, and what is refused is sent once.
func (c *pythonClient) statuses(t *testing.T) {
	const prelude = `import json, sys, tarn_tokenise as t
class Waits:
    def __init__(self): self.all = []
    def wait(self, s):
        self.all.append(s)
        if len(self.all) > 50: raise SystemExit("it does not end")
        return False
    def is_set(self): return False
    def set(self): pass
def client(**more):
    c = t.Client(sys.argv[1], sys.argv[2], "tls/ca.pem", "tls/etl.pem", "tls/etl.key", **more)
    c._closing, c.drawn = Waits(), []
    c._random = lambda a, b: (c.drawn.append([a, b]), b)[1]
    return c
row = {"unique_id": "r1", "given_name": "Quetzalina"}
`
	s := newTold(t, c.region)
	ok := answerLine("1", "r1")
	s.tell(status(503, "busy"), status(503, "sealed", "Retry-After", "2"), status(429, "budget_exhausted", "Retry-After", "1"), status(408, "timeout"),
		status(500, "internal"), status(507, "no_space"), status(502, "x"), status(504, "x", "Retry-After", "nonsense"), status(503, "x", "Retry-After", "-5"), status(503, "x"), hangUp, ok, ok)
	said := c.run(t, prelude+`c = client()
assert [a["unique_id"] for a in c.tokenise([row, row], batch=1)] == ["r1", "r1"]
assert all(a == 0 for a, _ in c.drawn)
print(json.dumps([c._closing.all, [b for _, b in c.drawn]]))`, s.URL, "p")
	// A kept connection that was closed is tried again at once, and says nothing.
	if want := "[[0.25, 2.5, 2.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0, 0.0], [0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]]\n"; said != want {
		t.Errorf("waits %s, want %s", said, want)
	}
	ids, connections := s.asked()
	if len(ids) != 13 || len(slices.Compact(slices.Clone(ids[:12]))) != 1 || ids[12] == ids[11] {
		t.Errorf("ids %q", ids)
	}
	if connections != 2 { // the second after hangUp
		t.Errorf("%d connections for 14 requests", connections)
	}
	for code, want := range map[int]int{400: 2, 401: 4, 403: 4, 404: 2, 405: 2, 409: 2, 413: 2, 415: 2, 422: 2} {
		s.tell(status(code, "a_code"))
		said := c.run(t, prelude+`
try: list(client().tokenise([row]))
except t.TarnError as e: print(e.status, e.code, e.exit_code, e.detail, e.next, sep="|")`, s.URL, "p")
		if ids, _ := s.asked(); said != fmt.Sprintf("%d|a_code|%d|Title: detail|what next\n", code, want) || len(ids) != 1 {
			t.Errorf("status %d: %q after %d tries", code, said, len(ids))
		}
	}
	for name, x := range map[string]struct {
		next []func(http.ResponseWriter, *http.Request)
		want string
	}{
		"longer than patience":    {[]func(http.ResponseWriter, *http.Request){status(429, "budget_exhausted", "Retry-After", "3600")}, "budget_exhausted 4 Title: detail; what next (budget_exhausted, again in 3600 s, request ID) []\n"},
		"never":                   {[]func(http.ResponseWriter, *http.Request){status(429, "budget_smaller_than_request", "Retry-After", "1")}, "budget_smaller_than_request 4 Title: detail; what next (budget_smaller_than_request, again in 1 s, request ID) []\n"},
		"keys changed":            {[]func(http.ResponseWriter, *http.Request){status(409, "keys_changed")}, "keys_changed 6 Title: detail; begin again with the first row (of a file: remove what ends in .partial and .partial.json) (keys_changed, request ID) []\n"},
		"somebody else's page":    {[]func(http.ResponseWriter, *http.Request){page}, "http_418 2 status 418, and nothing of the service's; look at what stands between here and the service (http_418, request ID) []\n"},
		"another row's answer":    {[]func(http.ResponseWriter, *http.Request){answerLine("1", "r2")}, "answer_differs 1 the answers are not those of the rows that were sent; report it with the request's id (request ID) []\n"},
		"no answer at all":        {[]func(http.ResponseWriter, *http.Request){func(http.ResponseWriter, *http.Request) {}}, "answer_differs 1 the answers are not those of the rows that were sent; report it with the request's id (request ID) []\n"},
		"keys that change midway": {[]func(http.ResponseWriter, *http.Request){answerLine("1", "r1"), answerLine("2", "r1")}, "keys_changed 6 the keys were replaced by those of another epoch, and answers of both would not fit together; begin again with the first row (of a file: remove what ends in .partial and .partial.json) []\n"},
	} {
		s.tell(x.next...)
		said := c.run(t, prelude+`
c = client()
try: list(c.tokenise([row, row][:int(sys.argv[3])], batch=1))
except t.TarnError as e: print(e.code, e.exit_code, str(e).replace(e.request_id or "-", "ID"), c._closing.all)`, s.URL, "p", strconv.Itoa(len(x.next)))
		if ids, _ := s.asked(); said != x.want || len(ids) != len(x.next) {
			t.Errorf("%s: %q after %d tries, want %q", name, said, len(ids), x.want)
		}
	}
}

// bounded counts how far rows are read ahead.
func (c *pythonClient) bounded(t *testing.T) {
	for _, connections := range []string{"1", "3"} {
		c.run(t, `import sys, tarn_tokenise as t
n = int(sys.argv[3])
read = 0
def rows():
    global read
    for i in range(2000):
        read += 1
        yield {"unique_id": str(i), "given_name": "Ada"}
most = 0
with t.Client(sys.argv[1], sys.argv[2], "tls/ca.pem", "tls/etl.pem", "tls/etl.key", connections=n) as client:
    for i, a in enumerate(client.tokenise(rows(), batch=50)):
        assert a["unique_id"] == str(i)
        most = max(most, read - i)
assert i == 1999 and 50 < most <= (2 * n if n > 1 else 1) * 50 + 1, most
`, "https://"+c.address, regionProject, connections)
	}
}

// strange are rows of a table with columns of another name, and one that may not be sent.
const strange = "\ufeffLOCAL_ID,NHS,FORENAME,family_name,DOB,remarks\r\n" +
	"a1,9434765919,Quetzalina,Xylander,1973-10-22,HOSP-77113\r\n" +
	"a2,943 476 5918,Quetzalina,Xylander,22/10/1973,\r\n" +
	"\r\n" +
	"a3,,,,,HOSP-77113\r\n" +
	"a4,9434765919,Quetzalina\r\n" +
	"\"a,\"\"5\"\"\",9434765919,\"Quetza\nlina\",Xylander,1973-10-22,\r\n"

func (c *pythonClient) columns(t *testing.T) {
	maps := []string{"--map", "unique_id=LOCAL_ID", "--map", "nhs_number=NHS", "--map", "given_name=FORENAME", "--map", "date_of_birth=DOB"}
	c.write("strange.csv", strange)
	code, said := c.file("https://"+c.address, "strange.csv", "strange.out.csv", maps...)
	if code != 3 || !strings.Contains(said, "5 rows answered, 3 ok, 2 refused (row_malformed 1, row_nothing_linkable 1)") || leaks(said) != nil {
		t.Fatalf("exit %d: %s", code, said)
	}
	answers := c.table("strange.out.csv")
	var got []string
	for _, row := range answers[1:] {
		got = append(got, fmt.Sprintf("%s %s %t %s", row[0], row[1], row[2] != "", row[len(row)-1]))
	}
	want := []string{"a1 ok true ", "a2 ok false nhs_number:nhs_number_check_digit", "a3 refused false row_nothing_linkable", " refused false row_malformed", `a,"5" ok true `}
	if !slices.Equal(got, want) || answers[1][2] != answers[5][2] {
		t.Errorf("got %q, want %q", got, want)
	}
	if code, said := c.file("https://"+c.address, "strange.csv", "strange.out.csv", append(maps, "--max-refused", "40%")...); code != 0 {
		t.Errorf("exit %d: %s", code, said)
	}
	// Another delimiter and encoding, and rows that are numbered.
	c.write("other.csv", "given_name;family_name;date_of_birth\nZo\xeb;Xylander;1973-10-22\nAda;Lovelace;1973-10-22\n")
	if code, said := c.file("https://"+c.address, "other.csv", "other.out.csv", "--number-rows", "--delimiter", ";", "--encoding", "latin-1"); code != 0 {
		t.Errorf("exit %d: %s", code, said)
	}
	c.write("tab.csv", strings.ReplaceAll(c.read("other.csv"), ";", "\t"))
	if code, said := c.file("https://"+c.address, "tab.csv", "tab.out.csv", "--number-rows", "--delimiter", `\t`, "--encoding", "latin-1"); code != 0 || c.read("tab.out.csv") != c.read("other.out.csv") {
		t.Errorf("tabs: exit %d: %s", code, said)
	}
	if all := c.table("other.out.csv"); len(all) != 3 || all[1][0] != "1" || all[2][0] != "2" || all[1][1] != "ok" {
		t.Errorf("rows that are numbered: %q", all)
	}
	// A table without rows has an answer without rows.
	c.write("empty.csv", "unique_id,nhs_number\n")
	if code, said := c.file("https://"+c.address, "empty.csv", "empty.out.csv"); code != 0 || c.read("empty.out.csv") != strings.SplitAfter(c.read("expected.csv"), "\n")[0] {
		t.Errorf("exit %d: %s", code, said)
	}
	// Standard input and output.
	command := c.command(c.arguments("https://"+c.address, "-", "-", maps...)...)
	command.Stdin = strings.NewReader(strange)
	b, _ := command.Output() // it ends with 3
	if command.ProcessState.ExitCode() != 3 || string(b) != c.read("strange.out.csv") {
		t.Errorf("standard output: exit %d, %d bytes", command.ProcessState.ExitCode(), len(b))
	}
}

func (c *pythonClient) lines(t *testing.T) {
	c.write("people.ndjson", strings.Join([]string{
		`{"LOCAL_ID": 17, "nhs_number": 9434765919, "remarks": {"a": 1}, "sex": null}`,
		``,
		`{"LOCAL_ID": "b", "nhs_number": "9434765919"}`,
		`{"LOCAL_ID": "c", "nhs_number": "9434765919", "nhs_number": "9434765919"}`,
		`{"LOCAL_ID": "d", "nhs_number": ["9434765919"]}`,
		`{"LOCAL_ID": "e", "nhs_number": "9434765919"`,
		`["9434765919"]`,
		`{"LOCAL_ID": "\ud800", "nhs_number": "9434765919"}`,
		`{"LOCAL_ID": "g\u0000", "nhs_number": "9434765919"}`,
		`{"LOCAL_ID": "h", "nhs_number": 9434765919.0}`,
		strings.Repeat("[", 100_000),
		``}, "\n"))
	code, said := c.file("https://"+c.address, "people.ndjson", "lines.csv", "--map", "unique_id=LOCAL_ID", "--return", "token", "--max-refused", "1")
	if code != 0 || leaks(said) != nil {
		t.Fatalf("exit %d: %s", code, said)
	}
	var got []string
	for _, row := range c.table("lines.csv")[1:] {
		got = append(got, fmt.Sprintf("%s %s %t", row[0], row[1], row[2] != ""))
	}
	want := []string{"17 ok true", "b ok true", " refused false", " refused false", " refused false", " refused false", " refused false", " refused false", "h ok true", " refused false"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// wrong uses the command wrongly in every way: each is told what to do, and the values of
// rows, which the inputs have throughout, are not in what is said.
func (c *pythonClient) wrong(t *testing.T) {
	c.write("good.csv", "unique_id,nhs_number,given_name\nr1,9434765919,Quetzalina\n")
	c.write("no-id.csv", "nhs_number,given_name\n9434765919,Quetzalina\n")
	c.write("headless.csv", "r1,9434765919,Quetzalina\nr2,9434765919,Quetzalina\n")
	c.write("only-id.csv", "unique_id,remarks\nr1,Quetzalina\n")
	c.write("twice.csv", "unique_id,NHS_NUMBER,nhs_number\nr1,9434765919,9434765919\n")
	c.write("latin.csv", "unique_id,given_name\nr1,Quetzalina\xeb9434765919\n")
	c.write("later.csv", "unique_id,given_name\n"+strings.Repeat("r1,Quetzalina\n", 2000)+"r1,Quetzalina\xeb9434765919\n")
	c.write("quote.csv", "unique_id,given_name\nr1,\"Quetzalina\"9434765919\n")
	c.write("large.csv", "unique_id,given_name\nr1,"+strings.Repeat("Quetzalina", 20_000)+"\n")
	c.write("nothing.csv", "")
	numbers := "unique_id,given_name\n"
	for range 200 {
		numbers += "9434765919,Quetzalina\n"
	}
	c.write("numbers.csv", numbers)
	c.write("there.csv", "what somebody keeps: Quetzalina\n")
	url := "https://" + c.address
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	nobody := "https://" + socket.Addr().String()
	must(t, socket.Close())
	for _, x := range []struct {
		name string
		args []string
		code int
		want string
	}{
		{"no column is an id", c.arguments(url, "no-id.csv", "w.csv"), 2, "no column of the input is unique_id; map the column"},
		{"no header", c.arguments(url, "headless.csv", "w.csv"), 2, "no column of the input is unique_id"},
		{"nothing to encode", c.arguments(url, "only-id.csv", "w.csv"), 2, "no column of the input is one of a row"},
		{"a field twice", c.arguments(url, "twice.csv", "w.csv"), 2, "two columns of the input are the same field"},
		{"an empty file", c.arguments(url, "nothing.csv", "w.csv"), 2, "the input has no header row"},
		{"another encoding", c.arguments(url, "latin.csv", "w.csv"), 2, "the input is not of the encoding; give the file's encoding"},
		{"another encoding further down", c.arguments(url, "later.csv", "w.csv"), 2, "of the input, or one near it, is not of the encoding; give the file's encoding"},
		{"a quote too many", c.arguments(url, "quote.csv", "w.csv"), 2, "row 1 of the input cannot be read"},
		{"a field that is too long", c.arguments(url, "large.csv", "w.csv"), 2, "row 1 of the input cannot be read"},
		{"no input", c.arguments(url, "absent.csv", "w.csv"), 2, "the input cannot be opened: No such file or directory"},
		{"ids are NHS numbers", c.arguments(url, "numbers.csv", "w.csv"), 2, "unique_id_looks_like_nhs_number"},
		{"a map of no column", c.arguments(url, "good.csv", "w.csv", "--map", "sex=Quetzalina"), 2, "the column that is mapped to sex is not in the input's first row"},
		{"a map of no field", c.arguments(url, "good.csv", "w.csv", "--map", "Quetzalina=sex"), 2, "a --map is not of the form FIELD=COLUMN"},
		{"a folder that is not there", c.arguments(url, "good.csv", "no/w.csv"), 1, "the output cannot be written: No such file or directory"},
		{"the output is another's", c.arguments(url, "good.csv", "there.csv"), 2, "the output is there and is none of this command's"},
		{"the output is the input", c.arguments(url, "good.csv", "good.csv"), 2, "the output is there and is none of this command's"},
		{"no argument", c.arguments(url, "good.csv", "w.csv")[:3], 2, "the following arguments are required: --project, --ca, --cert, --key, --in, --out"},
		{"no such argument", c.arguments(url, "good.csv", "w.csv", "--9434765919"), 2, "the command line is not well formed"},
		{"no batch", c.arguments(url, "good.csv", "w.csv", "--batch", "0"), 2, "a batch has no row"},
		{"nothing is asked", c.arguments(url, "good.csv", "w.csv", "--return", "nothing"), 2, "neither token nor encodings"},
		{"no share", c.arguments(url, "good.csv", "w.csv", "--max-refused", "lots"), 2, "--max-refused is no share"},
		{"http", c.arguments("http://"+c.address, "good.csv", "w.csv"), 2, "the url is not of the form"},
		{"no certificate", slices.Concat(c.arguments(url, "good.csv", "w.csv"), []string{"--cert", "absent.pem"}), 2, "the certificates cannot be used: No such file or directory"},
		{"another's key", slices.Concat(c.arguments(url, "good.csv", "w.csv"), []string{"--key", "tls/other.key"}), 2, "the certificates cannot be used: not PEM, or the key is another's"},
		{"another client", slices.Concat(c.arguments(url, "good.csv", "w.csv"), []string{"--cert", "tls/other.pem", "--key", "tls/other.key"}), 4, "there is no such project, or this client is none of its clients"},
		{"another project", slices.Concat(c.arguments(url, "good.csv", "w.csv"), []string{"--project", "Quetzalina"}), 4, "there is no such project, or this client is none of its clients"},
		{"another authority", slices.Concat(c.arguments(url, "good.csv", "w.csv"), []string{"--ca", "tls/etl.pem"}), 5, "the service's certificate is not the authority's"},
		{"nobody answers", c.arguments(nobody, "good.csv", "w.csv", "--patience", "0"), 5, "the service did not answer: Connection refused"},
	} {
		command := c.command(x.args...)
		b, err := command.CombinedOutput()
		if err != nil && command.ProcessState == nil {
			t.Fatal(err)
		}
		said := string(b)
		if code := command.ProcessState.ExitCode(); code != x.code || !strings.Contains(said, x.want) {
			t.Errorf("%s: exit %d, said %q; want %d and %q", x.name, code, said, x.code, x.want)
		}
		if found := leaks(said); found != nil || strings.Contains(said, "Traceback") {
			t.Errorf("%s: it said %q", x.name, said)
		}
		if _, err := os.Stat(c.path("w.csv")); err == nil {
			t.Errorf("%s: there is an output", x.name)
		}
		must(t, os.RemoveAll(c.path("w.csv.partial")))
		must(t, os.RemoveAll(c.path("w.csv.partial.json")))
	}
	if c.read("there.csv") != "what somebody keeps: Quetzalina\n" {
		t.Error("a file that was there is another now")
	}
	said := c.run(t, `import sys, tarn_tokenise as t
def fails(args): raise ValueError("Quetzalina 9434765919")
t._work = fails
assert t.main(sys.argv[2:]) == 1`, c.arguments(url, "good.csv", "w.csv")...)
	if said != "error: internal failure of type ValueError (its text is withheld, because it could hold data)\n" {
		t.Errorf("a failure that nobody thought of: %q", said)
	}
	code, help := output(t, c.python, filepath.Join(repository(t), "deploy/clients/python/tarn_tokenise.py"), "--help")
	if code != 0 || !strings.Contains(help, "example:\n  python3 tarn_tokenise.py --url") {
		t.Errorf("--help: exit %d: %s", code, help)
	}
}
