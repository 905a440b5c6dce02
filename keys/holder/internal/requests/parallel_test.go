package requests_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/audit"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/holder/internal/store"
	"tarn/keys/nhsnumber"
	"tarn/keys/reidentify"
)

// quiet is a site at one moment, with the first policy, where all are registered with ann's
// practice.
func quiet(t testing.TB) *site {
	t.Helper()
	now := began.Add(time.Hour)
	s := newSite(t.(tb), func() time.Time { return now })
	s.setPolicy(t.(tb), policies[0].document)
	for _, number := range numbers {
		s.region.patient[number] = "Y11111"
	}
	return s
}

func (s *site) draft(by somebody, purpose reidentify.Purpose) reidentify.Draft {
	return reidentify.Draft{
		Requester: by.Person, Project: "care", Organisation: by.Organisation, Purpose: purpose, BreakGlass: purpose == reidentify.EmergencyTreatment,
		Reason: reidentify.Reason{Code: "care", Text: "Called about a result."}, Items: []reidentify.Item{{Row: 1, Token: s.of["care"][0].text}},
	}
}

// entries counts the log's of a kind.
func (s *site) entries(kind audit.Kind) (n int) {
	for _, event := range s.store.events {
		if strings.Contains(string(event), fmt.Sprintf(`"kind":%q`, kind)) {
			n++
		}
	}
	return n
}

// together runs a function so many times at once.
func together(n int, f func(i int)) {
	var work sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		work.Go(func() {
			<-start
			f(i)
		})
	}
	close(start)
	work.Wait()
}

// TestParallelOpenings: of two hundred at once, with the work of every minute beside them,
// one opens; the log has one intent and one outcome.
func TestParallelOpenings(t *testing.T) {
	s := quiet(t)
	ann := signedIn("ann", 1, s.clock())
	r, err := s.desk.Ask(t.Context(), "1", s.draft(ann, reidentify.Treatment))
	if err != nil || r.State != reidentify.Ready {
		t.Fatal(r, err)
	}
	var mu sync.Mutex
	released := 0
	together(200, func(i int) {
		if i%4 == 0 {
			_ = s.desk.Work(t.Context())
		}
		opened, err := s.desk.Open(t.Context(), &ann.Person, r.ID, s.clock())
		if err != nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		opened.Items[0].Identity.Identity.Release(func(*nhsnumber.Number) { released++ })
	})
	if intents, outcomes := s.entries(audit.KindReidIntent), s.entries(audit.KindReidOutcome); released != 1 || intents != 1 || outcomes != 1 {
		t.Errorf("%d were released, by %d intents with %d outcomes", released, intents, outcomes)
	}
}

// TestParallelEmergencies: as many go on unwitnessed at once as one after another.
func TestParallelEmergencies(t *testing.T) {
	s := quiet(t)
	s.witness.away = true
	dora := signedIn("dora", 1, s.clock())
	ids := make([]string, 12)
	for i := range ids {
		r, err := s.desk.Ask(t.Context(), fmt.Sprint(i), s.draft(dora, reidentify.EmergencyTreatment))
		if err != nil || r.State != reidentify.Ready {
			t.Fatal(r, err)
		}
		ids[i] = r.ID
	}
	var all sync.WaitGroup
	all.Add(3)
	s.reached = func(step requests.Step) {
		if step == requests.StepWitnessed { // until three are there nothing of any is written down
			all.Done()
			all.Wait()
		}
	}
	var mu sync.Mutex
	opened := 0
	together(len(ids), func(i int) {
		if _, err := s.desk.Open(t.Context(), &dora.Person, ids[i], s.clock()); err == nil {
			mu.Lock()
			defer mu.Unlock()
			opened++
		}
	})
	if opened != 3 {
		t.Errorf("%d emergencies went on unwitnessed", opened)
	}
}

// TestEverythingAtOnce: one request that all ask, approve, take back and open at once ends
// in one state, which the log tells; it is for the race detector, too.
func TestEverythingAtOnce(t *testing.T) {
	for round := range 20 {
		s := quiet(t)
		s.region.patient[s.of["care"][0].number] = "" // approvers decide
		ann, carol, rita := signedIn("ann", 1, s.clock()), signedIn("carol", 1, s.clock()), signedIn("rita", 1, s.clock())
		first, err := s.desk.Ask(t.Context(), "1", s.draft(ann, reidentify.Treatment))
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		opened, cancelled := 0, 0
		together(60, func(i int) {
			switch i % 6 {
			case 0:
				if r, err := s.desk.Ask(t.Context(), "1", s.draft(ann, reidentify.Treatment)); err != nil || r.ID != first.ID {
					t.Error("the same request is another one")
				}
			case 1:
				_, _ = s.desk.Decide(t.Context(), &carol.Person, first.ID, reidentify.Approve, first.Hash, "")
			case 2, 3:
				if _, err := s.desk.Open(t.Context(), &ann.Person, first.ID, s.clock()); err == nil {
					mu.Lock()
					opened++
					mu.Unlock()
				}
			case 4:
				if i > 30+round {
					if _, err := s.desk.Cancel(t.Context(), &ann.Person, first.ID); err == nil {
						mu.Lock()
						cancelled++
						mu.Unlock()
					}
				}
			case 5:
				s.desk.List(&ann.Person, reidentify.AsRequester, "")
				s.desk.List(&rita.Person, reidentify.AsGuardian, "")
				_, _ = s.desk.Pending(), s.desk.Unreviewed()
				_ = s.desk.Work(t.Context())
			}
		})
		if opened > 1 || opened == 1 && cancelled > 0 || s.entries(audit.KindReidIntent) != opened || s.entries(audit.KindApproval) > 1 || s.entries(audit.KindReidRequest) > 2 {
			t.Errorf("%d opened, %d cancelled, %d intents", opened, cancelled, s.entries(audit.KindReidIntent))
		}
	}
}

// TestRequestsSurviveAnEnd: what is read from the store is what was there.
func TestRequestsSurviveAnEnd(t *testing.T) {
	s := quiet(t)
	ann := signedIn("ann", 1, s.clock())
	for i := range 5 {
		if _, err := s.desk.Ask(t.Context(), fmt.Sprint(i), s.draft(ann, reidentify.Treatment)); err != nil {
			t.Fatal(err)
		}
	}
	hashes := func() (all []string) {
		for _, r := range s.desk.List(&ann.Person, reidentify.AsRequester, "") {
			all = append(all, r.Hash+string(r.State)+r.Created.String())
		}
		return all
	}
	before := hashes()
	s.start(t)
	if len(before) != 5 || !slices.Equal(hashes(), before) {
		t.Errorf("%v, and after %v", before, hashes())
	}
}

// TestEmergencyWithoutRegion: that a region does not answer keeps nobody from an emergency,
// and from all else.
func TestEmergencyWithoutRegion(t *testing.T) {
	s := quiet(t)
	s.region.away = true
	dora, ann := signedIn("dora", 1, s.clock()), signedIn("ann", 1, s.clock())
	if _, err := s.desk.Ask(t.Context(), "1", s.draft(ann, reidentify.Treatment)); err == nil {
		t.Error("direct care is decided without the region")
	}
	r, err := s.desk.Ask(t.Context(), "2", s.draft(dora, reidentify.EmergencyTreatment))
	if err != nil {
		t.Fatal(err)
	}
	if opened, err := s.desk.Open(t.Context(), &dora.Person, r.ID, s.clock()); err != nil || opened.Items[0].Identity == nil {
		t.Error(err)
	}
}

// BenchmarkAskAmongMany: an Ask, and a list of one's own, where there are 200,000 requests
// of 2,000 people.
func BenchmarkAskAmongMany(b *testing.B) {
	s := quiet(b)
	for i := range 200_000 {
		by := signedIn("ann", 1, s.clock())
		by.Subject = fmt.Sprint("ann-", i%2000)
		r, err := reidentify.New(s.draft(by, reidentify.Treatment), "pond", 1, s.clock().Add(-time.Duration(i)*10*time.Second), zeroes{})
		if err != nil {
			b.Fatal(err)
		}
		r.ID, r.State, r.Counted = fmt.Sprint(i), reidentify.Opened, true
		r.Items[0].Subject = fmt.Sprintf("%032x", i%50_000)
		value, err := json.Marshal(r)
		if err != nil {
			b.Fatal(err)
		}
		s.store.records[store.Key{Kind: "reidentification", Name: r.ID}] = value
	}
	s.start(b)
	n := 0
	b.Run("ask", func(b *testing.B) {
		for b.Loop() {
			n++
			by := signedIn("ann", 1, s.clock())
			by.Subject = fmt.Sprint("ann-", n%2000) // nobody asks too often
			if n > 60*2000 {
				b.Skip("they have asked very often")
			}
			if _, err := s.desk.Ask(b.Context(), fmt.Sprint("more", n), s.draft(by, reidentify.Treatment)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("own list", func(b *testing.B) {
		by := signedIn("ann", 1, s.clock())
		by.Subject = "ann-7"
		for b.Loop() {
			s.desk.List(&by.Person, reidentify.AsRequester, "")
		}
	})
	b.Run("approvers' list", func(b *testing.B) {
		by := signedIn("carol", 1, s.clock())
		for b.Loop() {
			s.desk.List(&by.Person, reidentify.AsApprover, reidentify.Pending)
		}
	})
}

type zeroes struct{}

func (zeroes) Read(b []byte) (int, error) { clear(b); return len(b), nil }
