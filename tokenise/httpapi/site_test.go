package httpapi_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/budget"
	"tarn/keys/secret"
	"tarn/keys/servercert"
	"tarn/keys/trialcert"
	"tarn/tokenise/httpapi"
	"tarn/tokenise/regionstore"
	"tarn/tokenise/serving"
)

const projectDocument = `{"schema": "tarn.project/1", "name": "study", "domain": "lake", "scheme": "keyed-hash", "profile": "nhs-field-dob-1", "purpose": "a test",
 "legal_basis": {}, "controllers": ["nobody"], "parties": [{"source_dataset": "north"}], "opt_outs": {"ndoo": true, "type1": false, "local": false}, "groups": [],
 "keys": {"domain_no": 1, "token_epoch": %d, "token_public_key": null, "token_kcv": null, "encoding_epoch": 1, "encoding_kcv": null}, "reidentify": {"mode": "direct"}, "expires": "2099-12-31"}`

// began is when the clocks of all tests begin.
var began = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// site is a service with one project, whose clients are etl and nightly. Stranger has a
// certificate of the same authority and is no client.
type site struct {
	t       *testing.T
	folder  string
	options httpapi.Options
	rows    int64                         // each client's budget in a period
	ceiling int64                         // of all together; 0 is none
	late    atomic.Int64                  // how far the wall clock is ahead, in nanoseconds
	free    atomic.Uint64                 // bytes on the store's disk
	stalled atomic.Pointer[chan struct{}] // the disk answers when it is closed
	log     *lockedBuffer

	project *serving.Project
	store   *regionstore.Store
	ledger  *serving.Ledger
	server  *httpapi.Server
	address string
	end     func(crash bool)
	clients sync.Map // by name
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

const plenty = 1 << 40

// newSite starts a service; edit changes what it is made of.
func newSite(t *testing.T, edit ...func(*site)) *site {
	t.Helper()
	s := &site{t: t, folder: t.TempDir(), log: new(lockedBuffer), rows: plenty}
	s.free.Store(plenty)
	s.options = httpapi.Options{
		Limits: httpapi.Limits{MaxRows: 1000, MaxBody: 1 << 20, Timeout: 20 * time.Second, MaxConnections: 2000, MaxMemory: 256 << 20},
		Wall:   func() time.Time { return began.Add(time.Duration(s.late.Load())) },
		Clock:  time.Now, Logger: slog.New(slog.NewTextHandler(s.log, nil)),
	}
	must(t, trialcert.Make(s.path("tls"), []string{"127.0.0.1"}, []string{"etl", "nightly", "stranger"}, began))
	s.epoch(1)
	for _, e := range edit {
		e(s)
	}
	s.start()
	t.Cleanup(func() {
		s.clients.Range(func(_, c any) bool {
			c.(*http.Client).CloseIdleConnections()
			return true
		})
		s.end(false)
	})
	return s
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (s *site) path(name string) string { return filepath.Join(s.folder, name) }

// keys are the keys of an epoch: of a test, so that numbers of the test range get tokens.
func keysOf(epoch int) *keys.KeyFile {
	key := func(n byte) secret.Key { return secret.New([secret.Size]byte{byte(epoch), n}) }
	return &keys.KeyFile{Test: true, Project: "study", Domain: "lake", Scheme: "keyed-hash", TokenKey: key(1), EncodingKey: key(2), ReleaseKey: key(3), RowKeys: map[string]secret.Key{"north": key(4)}}
}

// epoch writes the project's file and keys.
func (s *site) epoch(n int) {
	s.t.Helper()
	must(s.t, keysOf(n).Write(s.path("keys.json"), "test", "2026-11-26T12:00:00Z", true))
	must(s.t, os.WriteFile(s.path("project.json"), fmt.Appendf(nil, projectDocument, n), 0o600))
}

// start begins what end ended, on the same store.
func (s *site) start() {
	s.t.Helper()
	key, err := regionstore.OpenKey(regionstore.KeyPath(s.path("store")), nil)
	must(s.t, err)
	s.store, err = regionstore.Open(regionstore.Options{
		Dir: s.path("store"), Key: key, FreeFloor: 1 << 30, FreeSpace: s.disk, Logger: s.options.Logger, Clock: s.options.Wall,
	})
	must(s.t, err)
	s.ledger, err = serving.NewLedger(serving.LedgerOptions{Store: s.store, Key: key, Now: s.options.Wall, Ceiling: serving.Allowance{Rows: s.ceiling, Period: budget.Period(24 * time.Hour)}})
	must(s.t, err)
	s.project, err = serving.NewProject(serving.ProjectOptions{
		File: s.path("project.json"), KeyFile: s.path("keys.json"), CachedDates: 32, Wall: s.options.Wall, Logger: s.options.Logger,
	})
	must(s.t, err)
	s.options.Ledger, s.options.ClientCA = s.ledger, s.authority("tls")
	s.options.Projects = []httpapi.Project{s.served("etl", "nightly")}
	s.server = httpapi.New(s.options)
	certificate, err := servercert.Open(servercert.Files{Cert: s.path("tls/server.pem"), Key: s.path("tls/server.key")}, s.options.Wall)
	must(s.t, err)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(s.t, err)
	s.address = socket.Addr().String()
	working, stop := context.WithCancel(context.Background())
	var work sync.WaitGroup
	work.Go(func() { s.project.Work(working) })
	work.Go(func() { s.store.Work(working) })
	served := make(chan error, 1)
	go func() { served <- s.server.Serve(socket, httpapi.TLS{Certificate: certificate.Get}) }()
	ended := false
	s.end = func(crash bool) {
		if ended {
			return
		}
		ended = true
		stopping, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.server.Stop(stopping); err != nil && !crash {
			s.t.Errorf("stopping: %v", err)
		}
		if err := <-served; err != nil {
			s.t.Errorf("serving ended with %v", err)
		}
		stop()
		work.Wait()
		if !crash {
			must(s.t, s.ledger.Close(stopping))
		}
		must(s.t, s.store.Close())
	}
	for until := time.Now().Add(30 * time.Second); s.project.Ready() != nil; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			s.t.Fatalf("the project is not served: %v", s.project.Ready())
		}
	}
}

// disk is asked before anything is written.
func (s *site) disk(string) (uint64, error) {
	if stalled := s.stalled.Load(); stalled != nil {
		<-*stalled
	}
	return s.free.Load(), nil
}

// served is the project as it is served to clients, whose budgets are opened.
func (s *site) served(clients ...string) httpapi.Project {
	s.t.Helper()
	p := httpapi.Project{Project: s.project, Clients: clients, Rows: s.rows, Period: budget.Period(24 * time.Hour)}
	for _, client := range clients {
		must(s.t, s.ledger.Open(serving.Account{Project: "study", Client: client}, serving.Allowance{Rows: p.Rows, Period: p.Period}))
	}
	return p
}

// restart ends the service and starts it again. Of one that crashed nothing is kept but what
// was kept before each answer.
func (s *site) restart(crash bool) {
	s.t.Helper()
	s.end(crash)
	s.start()
}

func (s *site) authority(folder string) *x509.CertPool {
	s.t.Helper()
	pem, err := os.ReadFile(s.path(filepath.Join(folder, trialcert.AuthorityFile)))
	must(s.t, err)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	return pool
}

// tls is how a caller speaks: folder/name of its certificate, or nobody.
func (s *site) tls(name string) *tls.Config {
	s.t.Helper()
	config := &tls.Config{RootCAs: s.authority("tls"), ServerName: "127.0.0.1", Time: func() time.Time { return began }}
	if name != "" {
		if filepath.Dir(name) == "." {
			name = filepath.Join("tls", name)
		}
		pair, err := tls.LoadX509KeyPair(s.path(name+".pem"), s.path(name+".key"))
		must(s.t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	return config
}

// as returns a caller's client, whose connections are kept alive.
func (s *site) as(name string) *http.Client {
	s.t.Helper()
	if known, ok := s.clients.Load(name); ok {
		return known.(*http.Client)
	}
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: s.tls(name), MaxIdleConnsPerHost: 64, DisableCompression: true}, Timeout: time.Minute}
	s.clients.Store(name, c)
	return c
}

// call is a request to tokenise; what is not said is the usual.
type call struct {
	as      string // etl
	path    string // /v1/projects/study/tokenise
	query   string
	id      string // a new one; "-" is none
	media   string // application/json
	accept  string
	body    []byte
	headers map[string]string
	method  string // POST
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (s *site) call(c call) answer {
	s.t.Helper()
	a, err := s.try(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return a
}

func (s *site) try(c call) (a answer, err error) {
	or := func(text, usual string) string {
		if text == "" {
			return usual
		}
		return text
	}
	request, err := http.NewRequest(or(c.method, "POST"), "https://"+s.address+or(c.path, "/v1/projects/study/tokenise")+c.query, bytes.NewReader(c.body))
	if err != nil {
		return a, err
	}
	if request.Method == "POST" {
		request.Header.Set("Content-Type", or(c.media, "application/json"))
	}
	if id := or(c.id, uuid.NewString()); id != "-" {
		request.Header.Set("X-Request-ID", id)
	}
	if c.accept != "" {
		request.Header.Set("Accept", c.accept)
	}
	for name, value := range c.headers {
		request.Header.Set(name, value)
	}
	caller := or(c.as, "etl")
	if caller == "nobody" {
		caller = ""
	}
	response, err := s.as(caller).Do(request)
	if err != nil {
		return a, err
	}
	defer func() { _ = response.Body.Close() }()
	a.status, a.header = response.StatusCode, response.Header
	a.body, err = io.ReadAll(response.Body)
	return a, err
}

// problem holds an answer to be a problem of a status and a code, and returns it.
func (s *site) problem(a answer, status int, code api.Code) (p api.Problem) {
	s.t.Helper()
	if err := json.Unmarshal(a.body, &p); err != nil || a.status != status || p.Status != status || p.Code != code || a.header.Get("Content-Type") != api.ProblemType {
		s.t.Errorf("%d %s: %s, and not %d %s", a.status, a.header.Get("Content-Type"), a.body, status, code)
	}
	if a.header.Get("Cache-Control") != "no-store" {
		s.t.Errorf("%s may be kept", code)
	}
	if p.Title == "" || p.Type != "about:blank" {
		s.t.Errorf("%s has no title", code)
	}
	return p
}

// document is the answer in JSON.
type document struct {
	Project       string     `json:"project"`
	Domain        string     `json:"domain"`
	Scheme        string     `json:"scheme"`
	Epoch         int        `json:"epoch"`
	EncodingEpoch int        `json:"encoding_epoch"`
	Profile       string     `json:"profile"`
	ProfileDigest string     `json:"profile_digest"`
	TokenKCV      string     `json:"token_kcv"`
	EncodingKCV   string     `json:"encoding_kcv"`
	Counts        counts     `json:"counts"`
	Rows          []rowGiven `json:"rows"`
}

type counts struct{ Rows, OK, Refused, Warnings int }

type rowGiven struct {
	ID        string             `json:"unique_id"`
	Status    string             `json:"status"`
	Token     *string            `json:"nhs_token"`
	Encodings map[string]*string `json:"encodings"`
	Tags      map[string]*string `json:"tags"`
	Errors    []problemGiven     `json:"errors"`
	Warnings  []problemGiven     `json:"warnings"`
}

type problemGiven struct {
	Field *string `json:"field"`
	Code  string  `json:"code"`
}

// document reads an answer in JSON that has to be one.
func (s *site) document(a answer) (d document) {
	s.t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil || a.status != 200 || a.header.Get("Content-Type") != "application/json" {
		s.t.Fatalf("%d %v: %.300s", a.status, err, a.body)
	}
	return d
}

// left is what a client may still have answered.
func (s *site) left(client string) int64 {
	return s.ledger.Remaining(serving.Account{Project: "study", Client: client})
}

// rowsOf returns a document of so many rows that get tokens, whose references begin with a
// name.
func rowsOf(name string, n int) []byte {
	b := []byte(`{"return":["token"],"rows":[`)
	for i := range n {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"unique_id":"%s-%d","nhs_number":"%s"}`, name, i, number(i))
	}
	return append(b, "]}"...)
}
