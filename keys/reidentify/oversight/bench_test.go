package oversight

import (
	"fmt"
	"testing"
	"time"

	"tarn/keys/reidentify"
)

// benched are 100,000 requests of one month, of 3,000 people in 300 organisations, every
// twentieth a list of ten patients.
func benched() (p *reidentify.Policy, requests []*reidentify.Request, now time.Time) {
	const size = 100_000
	p = &reidentify.Policy{Mode: reidentify.Enforce, Limits: reidentify.DefaultLimits(), BreakGlass: reidentify.BreakGlassRules{User: 5, Organisation: 20}}
	now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	for i := range size {
		r := &reidentify.Request{ID: fmt.Sprintf("%032x", i), State: reidentify.Opened, Counted: true, Created: now.Add(-time.Duration(i*7919%size) * 30 * 24 * time.Hour / size)}
		r.Requester = reidentify.Person{Issuer: "https://issuer.example", Subject: fmt.Sprint("subject-", i%3000), UserID: fmt.Sprint("user-", i%3000)}
		r.Organisation, r.Purpose, r.Project = fmt.Sprintf("A%05d", i%300), reidentify.Treatment, "care"
		n := 1
		if i%20 == 0 {
			n = 10
		}
		for j := range n {
			r.Items = append(r.Items, reidentify.Item{Row: j, Subject: fmt.Sprintf("%032x", (i*31+j)%60_000)})
		}
		r.Openings = map[string]*reidentify.Opening{r.Organisation: {By: r.Requester, At: r.Created, Done: r.Created, Outcomes: []reidentify.Outcome{reidentify.Released}}}
		requests = append(requests, r)
	}
	return p, requests, now
}

func BenchmarkEverybody(b *testing.B) {
	p, requests, now := benched()
	b.ReportAllocs()
	for b.Loop() {
		Everybody(p, requests, now)
	}
}

// BenchmarkMonth reports the organisation that has asked everything.
func BenchmarkMonth(b *testing.B) {
	p, requests, now := benched()
	for _, r := range requests {
		r.Openings = map[string]*reidentify.Opening{"RYJ": r.Openings[r.Organisation]}
		r.Organisation, r.Requester.Organisation = "RYJ", "RYJ"
	}
	b.ReportAllocs()
	for b.Loop() {
		Month(p, requests, "RYJ", MonthOf(now))
	}
}

func BenchmarkRegister(b *testing.B) {
	_, requests, now := benched()
	b.ReportAllocs()
	for b.Loop() {
		Register(requests, now.AddDate(0, 2, 0))
	}
}

// BenchmarkStandings is of one person of 3,000.
func BenchmarkStandings(b *testing.B) {
	p, requests, now := benched()
	b.ReportAllocs()
	for b.Loop() {
		Standings(p, requests, Subject{Person: &requests[0].Requester}, now)
	}
}
