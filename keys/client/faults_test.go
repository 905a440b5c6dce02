package client

import (
	"context"
	"crypto/hpke"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// server is a TLS server that answers as a test says, and counts.
type server struct {
	*httptest.Server
	calls atomic.Int64
	mu    sync.Mutex
	ids   map[string]int
}

func serve(t *testing.T, config *tls.Config, answer func(call int64, w http.ResponseWriter, r *http.Request)) *server {
	t.Helper()
	s := &server{ids: map[string]int{}}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.ids[r.Header.Get("X-Request-ID")]++
		s.mu.Unlock()
		answer(s.calls.Add(1), w, r)
	}))
	s.TLS = config
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func (s *server) client(t *testing.T) *Client {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	c := New(&Credentials{URL: s.URL, roots: roots}, time.Now)
	t.Cleanup(c.Close)
	return c
}

func refuse(w http.ResponseWriter, code api.Code) {
	e := api.Refuse(code, "a detail", "what to do")
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(e.Status())
	b, _ := json.Marshal(e.Problem(""))
	_, _ = w.Write(b)
}

// TestWhatIsTriedAgain: what may pass is asked a few times with one id; a
// refusal once.
func TestWhatIsTriedAgain(t *testing.T) {
	hijack := func(w http.ResponseWriter) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		_ = connection.Close()
	}
	for name, tt := range map[string]struct {
		answer func(int64, http.ResponseWriter, *http.Request)
		calls  int64
		kind   fault.Kind // 0 where it succeeds in the end
		code   api.Code
	}{
		"busy, then not": {func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n < 3 {
				refuse(w, api.CodeBusy)
			}
		}, 3, 0, ""},
		"always busy": {func(_ int64, w http.ResponseWriter, _ *http.Request) { refuse(w, api.CodeBusy) }, maxAttempts, fault.Unavailable, api.CodeBusy},
		"sealed":      {func(_ int64, w http.ResponseWriter, _ *http.Request) { refuse(w, api.CodeSealed) }, 1, fault.Unavailable, api.CodeSealed},
		"refused":     {func(_ int64, w http.ResponseWriter, _ *http.Request) { refuse(w, api.CodeRevoked) }, 1, fault.Policy, api.CodeRevoked},
		"differs":     {func(_ int64, w http.ResponseWriter, _ *http.Request) { refuse(w, api.CodeKeyCheckDiffers) }, 1, fault.Disagreement, api.CodeKeyCheckDiffers},
		"internal":    {func(_ int64, w http.ResponseWriter, _ *http.Request) { refuse(w, api.CodeInternal) }, 1, fault.Internal, api.CodeInternal},
		"cut off":     {func(_ int64, w http.ResponseWriter, _ *http.Request) { hijack(w) }, maxAttempts, fault.Unavailable, ""},
		"not JSON":    {func(_ int64, w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }, 1, fault.Internal, ""},
		"sent elsewhere": {func(_ int64, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://127.0.0.1:1/", http.StatusFound)
		}, 1, fault.Internal, ""},
		"too long": {func(_ int64, w http.ResponseWriter, _ *http.Request) {
			_, _ = w.Write([]byte(`{"a":"` + strings.Repeat("x", maxAnswer) + `"}`))
		}, 1, fault.Internal, ""},
		"cut off in the middle": {func(n int64, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.Header().Set("Content-Length", "100")
				_, _ = w.Write([]byte(`{"client":`))
				panic(http.ErrAbortHandler)
			}
		}, 2, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := serve(t, nil, tt.answer)
			s.Config.ErrorLog = nil
			_, err := s.client(t).Self(t.Context())
			if (err == nil) != (tt.kind == 0) || err != nil && fault.KindOf(err) != tt.kind || Code(err) != tt.code {
				t.Errorf("%v (kind %d, code %s)", err, fault.KindOf(err), Code(err))
			}
			if got := s.calls.Load(); got != tt.calls {
				t.Errorf("asked %d times, want %d", got, tt.calls)
			}
			if len(s.ids) != 1 {
				t.Errorf("a retry has another id: %v", s.ids)
			}
		})
	}
}

// TestNoStorm: many callers of a key holder that is away ask little more often,
// all together, than if it were there.
func TestNoStorm(t *testing.T) {
	s := serve(t, nil, func(_ int64, w http.ResponseWriter, _ *http.Request) { refuse(w, api.CodeBusy) })
	c := s.client(t)
	fixed := time.Now()
	c.budget = newBudget(func() time.Time { return fixed }) // time earns nothing here
	const callers = 60
	var group sync.WaitGroup
	for range callers {
		group.Go(func() {
			if _, err := c.Self(context.Background()); fault.KindOf(err) != fault.Unavailable {
				t.Errorf("%v", err)
			}
		})
	}
	group.Wait()
	if got, most := s.calls.Load(), int64(callers+budgetMost+callers*budgetEarned); got > most || got < callers {
		t.Errorf("%d callers asked %d times, at most %d", callers, got, most)
	}
}

// TestWhoAnswersIsHeldToTheAuthority: another authority's server and TLS 1.2 are
// refused, and nothing is asked of them.
func TestWhoAnswersIsHeldToTheAuthority(t *testing.T) {
	s := serve(t, nil, func(int64, http.ResponseWriter, *http.Request) {})
	c := New(&Credentials{URL: s.URL, roots: x509.NewCertPool()}, time.Now)
	t.Cleanup(c.Close)
	if _, err := c.Self(t.Context()); fault.KindOf(err) != fault.Policy {
		t.Errorf("another authority: %v", err)
	}
	old := serve(t, &tls.Config{MaxVersion: tls.VersionTLS12}, func(int64, http.ResponseWriter, *http.Request) {}) //nolint:gosec // what is refused
	if _, err := old.client(t).Self(t.Context()); err == nil {
		t.Error("TLS 1.2 is spoken")
	}
	if s.calls.Load()+old.calls.Load() != 0 {
		t.Error("a stranger was asked")
	}
	for _, address := range []string{"", "http://127.0.0.1", "https://u:p@host", "https://host/path", "127.0.0.1:1"} {
		if err := checkURL(address); err == nil {
			t.Errorf("%q is taken for an address", address)
		}
	}
}

// leasing is a key holder of one project, as far as a session needs it.
type leasing struct {
	t       *testing.T
	private hpke.PrivateKey
	now     atomic.Int64
	renewed atomic.Int64
	ended   atomic.Int64
	refusal atomic.Value // api.Code with which renewals are refused
	budget  atomic.Int64 // of rows, of each lease
	usages  atomic.Int64
	test    atomic.Int64 // rows of the test range that were reported
}

const ttl = time.Hour

func (l *leasing) clock() time.Time { return time.Unix(l.now.Load(), 0).UTC() }

func (l *leasing) answer(n int64, w http.ResponseWriter, r *http.Request) {
	send := func(document any) {
		b, err := json.Marshal(document)
		if err != nil {
			panic(err)
		}
		_, _ = w.Write(b)
	}
	now := l.clock()
	switch {
	case r.Method == http.MethodGet:
		record := `{"schema":"tarn.project/1","name":"study","domain":"lake","scheme":"keyed-hash","profile":"nhs-field-dob-1","purpose":"p","legal_basis":{},"controllers":[],
			"parties":[{"source_dataset":"north"}],"opt_outs":{"ndoo":false,"type1":false,"local":false},"groups":[],
			"keys":{"domain_no":1,"token_epoch":1,"token_public_key":null,"token_kcv":null,"encoding_epoch":1,"encoding_kcv":null},"reidentify":{"mode":"none"},"expires":"2999-12-31"}`
		send(api.Project{Name: "study", Record: []byte(record)})
	case strings.HasSuffix(r.URL.Path, "/renewals"):
		if code, ok := l.refusal.Load().(api.Code); ok && code != "" {
			refuse(w, code)
			return
		}
		l.renewed.Add(1)
		send(api.LeaseRenewal{Expires: now.Add(ttl), Renew: now.Add(ttl / 2)})
	case r.Method == http.MethodDelete:
		l.ended.Add(1)
	case strings.HasSuffix(r.URL.Path, "/usage"):
		var usage api.Usage
		if err := json.UnmarshalRead(r.Body, &usage); err != nil {
			panic(err)
		}
		l.usages.Add(1)
		l.test.Add(usage.TestRange)
		if usage.RowsWanted > l.budget.Load() {
			refuse(w, api.CodeBudget)
			return
		}
		send(api.LeaseUse{RowsGranted: max(usage.RowsWanted, min(l.budget.Load(), usage.RowsWanted+10))})
	default:
		var request api.LeaseRequest
		if err := json.UnmarshalRead(r.Body, &request); err != nil {
			panic(err)
		}
		key := secret.New([32]byte{byte(n)})
		lease := api.Lease{ID: fmt.Sprint(n), Use: request.Use, Project: "study", Domain: "lake", DomainNo: 1, Epoch: 1,
			KeyCheck: api.KeyCheck(request.Use, key, "lake", 1), RowsGranted: max(request.RowsExpected, 5), Created: now, Expires: now.Add(ttl), Renew: now.Add(ttl / 2)}
		if err := lease.Seal(key, l.private.PublicKey().Bytes(), [sha256.Size]byte{}); err != nil {
			panic(err)
		}
		send(lease)
	}
}

func newLeasing(t *testing.T) (*leasing, *Client) {
	t.Helper()
	private, err := api.LeaseKEM().GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	l := &leasing{t: t, private: private}
	l.now.Store(1_800_000_000)
	c := serve(t, nil, l.answer).client(t)
	c.credentials.sealing = private
	return l, c
}

// TestSessionHoldsWhatARunNeeds: three keys for a project that releases nothing
// raw, opened and held to their check values; all end when it closes.
func TestSessionHoldsWhatARunNeeds(t *testing.T) {
	l, c := newLeasing(t)
	ctx, s, err := Open(t.Context(), c, l.clock, "study", 10, api.UseToken, api.UseEncoding)
	if err != nil {
		t.Fatal(err)
	}
	project, file := s.Keys()
	if file.TokenKey.Equal(file.EncodingKey) || file.EncodingKey.Equal(file.ReleaseKey) || file.Project != "study" || project.Domain != "lake" {
		t.Error("the keys are not three of this project")
	}
	if err := s.Take(ctx, 5); err != nil {
		t.Fatal(err)
	}
	if ctx.Err() != nil {
		t.Error("the run has ended before it began")
	}
	if err := s.Close(t.Context()); err != nil || l.ended.Load() != 3 {
		t.Errorf("%d leases ended, %v", l.ended.Load(), err)
	}
	if file.TokenKey.Equal(secret.New([32]byte{})) == false {
		t.Error("a key outlives its session")
	}
	if err := s.Close(t.Context()); err != nil || l.ended.Load() != 3 {
		t.Errorf("closed twice: %d leases ended, %v", l.ended.Load(), err)
	}
}

// TestSessionRenewsAndEndsRuns: in the middle of a lease it is renewed; a key
// holder that is away is waited for until the lease is nearly over, and one that
// refuses ends the run at once.
func TestSessionRenewsAndEndsRuns(t *testing.T) {
	for name, tt := range map[string]struct {
		refusal api.Code
		later   time.Duration
		lost    bool
		kind    fault.Kind
	}{
		"renewed":              {"", ttl / 2, false, 0},
		"away, and time left":  {api.CodeSealed, ttl / 2, false, 0},
		"away until the end":   {api.CodeSealed, ttl - margin, true, fault.Unavailable},
		"refused":              {api.CodeRevoked, ttl / 2, true, fault.Policy},
		"its key was replaced": {api.CodeLeaseEnded, ttl / 2, true, fault.Policy},
	} {
		t.Run(name, func(t *testing.T) {
			l, c := newLeasing(t)
			ctx, s, err := Open(t.Context(), c, l.clock, "study", 10, api.UseToken, api.UseEncoding)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close(context.Background()) }() // it cannot fail
			l.refusal.Store(tt.refusal)
			l.now.Add(int64(tt.later / time.Second))
			at, use := s.due()
			if at.After(l.clock()) {
				t.Fatalf("nothing is due at %v", l.clock())
			}
			if err := s.renew(ctx, use); err != nil {
				s.lose(err)
			}
			if lost := ctx.Err() != nil; lost != tt.lost {
				t.Fatalf("lost %v", lost)
			}
			if tt.lost && fault.KindOf(context.Cause(ctx)) != tt.kind {
				t.Errorf("cause %v", context.Cause(ctx))
			}
			if next, _ := s.due(); !tt.lost && tt.refusal != "" && !next.Before(l.clock().Add(ttl/2)) {
				t.Errorf("it tries again at %v", next)
			}
		})
	}
}

// TestSessionTakesNoMoreThanItIsGranted: within its grant it asks nobody, then for
// more, and what is refused it has not taken.
func TestSessionTakesNoMoreThanItIsGranted(t *testing.T) {
	l, c := newLeasing(t)
	l.budget.Store(40)
	ctx, s, err := Open(t.Context(), c, l.clock, "study", 0, api.UseToken, api.UseEncoding)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		rows, usages int64
		refused      bool
	}{{4, 0, false}, {1, 0, false}, {1, 3, false}, {10, 3, false}, {20, 6, false}, {4, 6, false}, {1, 7, true}, {0, 7, false}} {
		err := s.Take(ctx, step.rows)
		if (err != nil) != step.refused || step.refused && (fault.KindOf(err) != fault.Policy || Code(err) != api.CodeBudget) || l.usages.Load() != step.usages {
			t.Fatalf("%+v: %d usages, %v", step, l.usages.Load(), err)
		}
	}
	s.Canaries(2)
	if err := s.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for use, h := range s.leases {
		if h.reported != 40 {
			t.Errorf("%s: %d rows were reported", use, h.reported)
		}
	}
	if l.test.Load() != 2 {
		t.Errorf("%d canaries were reported", l.test.Load())
	}
}
