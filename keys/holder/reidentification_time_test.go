package holder_test

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"
	"gonum.org/v1/gonum/stat"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/holder"
	"tarn/keys/oprf"
)

// nobody returns a token that is well formed, and nobody's.
func (s *reid) nobody() string {
	s.t.Helper()
	key, err := oprf.NewKey(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	point, err := oprf.PublicKey(key)
	if err != nil {
		s.t.Fatal(err)
	}
	return keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: s.domainNo, TokenEpoch: 1, Value: point}.String()
}

// differ reports whether two samples are of different distributions: the two-sided
// Kolmogorov-Smirnov test at level .001.
func differ(a, b []float64) bool {
	a, b = slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b))
	n, m := float64(len(a)), float64(len(b))
	return stat.KolmogorovSmirnov(a, nil, b, nil) > 1.95*math.Sqrt((n+m)/(n*m))
}

// TestNothingTellsWhetherATokenExists: whoever may not open a token gets for one that is
// nobody's what they get for a patient's, in the same bytes but for names and times, and
// in the same time; and no answer leaves before 300 ms. Both ways of asking are tried: with
// a region that knows of no relationship, and without one.
func TestNothingTellsWhetherATokenExists(t *testing.T) {
	s := newReid(t, func(*holder.Options) {})
	for purpose, who := range map[string][2]string{"TREAT": {"gp", "Y12345"}, "HQUALIMP": {"analyst", "QMJ"}} {
		s.probes(purpose, who[0], who[1])
	}
}

// probes asks for patients and for nobody, in turn, and compares what comes back.
func (s *reid) probes(purpose, who, organisation string) {
	s.t.Helper()
	const samples, atOnce = 60, 6
	tokens := [2][]string{s.patients(samples)}
	for range samples {
		tokens[1] = append(tokens[1], s.nobody())
	}
	var mu sync.Mutex
	var took [2][]float64
	answers := [2]map[string]bool{{}, {}}
	queue := make(chan [2]int)
	var work sync.WaitGroup
	for range atOnce {
		work.Go(func() {
			for one := range queue {
				which, i := one[0], one[1]
				caller := s.as(fmt.Sprintf("%s#%d-%d/1", who, which, i)) // somebody who has not asked before: limits say nothing
				caller.call("GET", "/v1/me", nil)                        // so that the connection is there
				begun := time.Now()
				r := must[api.Reidentification](caller, "POST", "/v1/reidentifications", asks(tokens[which][i], purpose, organisation))
				asked := time.Since(begun)
				if r.State != "pending_approval" {
					s.t.Errorf("%+v", r)
				}
				r.ID, r.RequestHash, r.Requester.Subject, r.Receipt.Index, r.Created, r.Expires = "", "", "", 0, time.Time{}, time.Time{}
				text, err := json.Marshal(r, json.Deterministic(true))
				if err != nil {
					s.t.Error(err)
				}
				mu.Lock()
				took[which] = append(took[which], asked.Seconds())
				answers[which][string(text)] = true
				mu.Unlock()
			}
		})
	}
	for i := range samples {
		queue <- [2]int{i % 2, i}
		queue <- [2]int{1 - i%2, i}
	}
	close(queue)
	work.Wait()
	for _, times := range took {
		if slices.Min(times) < .3 {
			s.t.Errorf("%s: an answer left after %v s", purpose, slices.Min(times))
		}
	}
	if differ(took[0], took[1]) {
		s.t.Errorf("%s: the times tell which token exists:\n%v\n%v", purpose, took[0], took[1])
	}
	if len(answers[0]) != 1 || fmt.Sprint(answers[0]) != fmt.Sprint(answers[1]) {
		s.t.Errorf("%s: the answers differ:\n%v\n%v", purpose, answers[0], answers[1])
	}
	// The control: a difference of a few times what the machine's own noise is would show.
	later := slices.Sorted(slices.Values(took[1]))
	shift := max(.01, 3*(later[samples*9/10]-later[samples/10]))
	for i := range later {
		later[i] += shift
	}
	if !differ(took[0], later) {
		s.t.Errorf("%s: the test would not see a difference of %v s", purpose, shift)
	}
}
