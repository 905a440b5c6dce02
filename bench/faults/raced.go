package faults

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"tarn/bench/care"
	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/reidentify"
)

// openersAtOnce is how many open one request at once; the key holder works on 256 at most.
const openersAtOnce = 200

// raced is scenario 15.
func raced(t *Trial) error {
	d, err := t.desk(40+2*t.times(3, 20), keyholder.Options{})
	if err != nil {
		return err
	}
	for _, part := range []func(*desk) error{(*desk).edited, (*desk).openedAtOnce, (*desk).decidedAtOnce, (*desk).replayed, (*desk).killedWhileOpening, (*desk).twoOfTwo} {
		if err := part(d); err != nil {
			return err
		}
	}
	return nil
}

// edited changes a request that was, or is to be, approved.
func (d *desk) edited() error {
	t := d.t
	t.note("an edit after approval")
	id := care.NewID()
	first := d.about(0, stranger.Organisation)
	a, err := d.send(stranger, id, http.MethodPost, requestsPath, first)
	if err != nil {
		return err
	}
	r, err := made(a)
	if err != nil {
		return err
	}
	other := *r
	other.RequestHash = anotherHash(r.RequestHash)
	if a, err = d.decided(approver, &other); err != nil {
		return err
	}
	t.check(a.Status == http.StatusConflict && a.Code == api.CodeHashDiffers, "an approval of another hash is 409 hash_differs", "status %d, %s", a.Status, a.Code)
	if a, err = d.open(stranger, r); err != nil {
		return err
	}
	t.check(!a.Done() && !d.names(a, 0), "what was not approved is not opened", "status %d, %s", a.Status, a.Code)
	if a, err = d.decided(approver, r); err != nil {
		return err
	}
	if r, err = made(a); err != nil {
		return err
	}
	for name, edit := range map[string]func(*api.ReidentificationRequest){
		"another patient": func(e *api.ReidentificationRequest) { e.Items = d.about(1, "").Items },
		"one more patient": func(e *api.ReidentificationRequest) {
			e.Items = append(slices.Clone(e.Items), api.ReidentificationItem{Row: 2, Token: d.Patients[1].Token})
		},
		"another reason": func(e *api.ReidentificationRequest) { e.Reason.Text = "Called back about another result." },
	} {
		edited := first
		edit(&edited)
		if a, err = d.send(stranger, id, http.MethodPost, requestsPath, edited); err != nil {
			return err
		}
		t.check(a.Status == http.StatusConflict && a.Code == api.CodeConflict, "after the approval another request under the same id is 409", "%s: status %d, %s", name, a.Status, a.Code)
	}
	if a, err = d.send(stranger, id, http.MethodPost, requestsPath, first); err != nil {
		return err
	}
	same, err := made(a)
	if err != nil {
		return err
	}
	t.control(same.ID == r.ID && same.State == "ready" && same.RequestHash == r.RequestHash, "the same request sent again is the one that was approved", "%s", same.State)
	if a, err = d.open(stranger, r); err != nil {
		return err
	}
	t.check(a.Done() && d.names(a, 0) && !d.names(a, 1), "what is opened is what was approved", "status %d, %s", a.Status, a.Code)
	return nil
}

// anotherHash is another one than a given one.
func anotherHash(hash string) string {
	first := "0"
	if hash[0] == first[0] {
		first = "1"
	}
	return first + hash[1:]
}

// openedAtOnce has many open one request at once, from some sessions of the one who asked: one
// that was approved, and one that rests on what the region says, which is asked anew between
// the first look at the request and its use.
func (d *desk) openedAtOnce() error {
	t := d.t
	t.note("%d open one request at once", openersAtOnce)
	for round := range t.times(2, 8) {
		patient, who, ready := 2+round, stranger, d.approved
		if round%2 == 1 {
			who, ready = doctor, d.asked
		}
		r, err := ready(who, patient)
		if err != nil {
			return err
		}
		answers, err := d.atOnce(openersAtOnce, func(n int) care.Person {
			p := who
			p.Session = fmt.Sprintf("race-%d", n%4)
			return p
		}, requestsPath+"/"+r.ID+"/open", func() any { return nil })
		if err != nil {
			return err
		}
		opened, named, other := 0, 0, 0
		for _, a := range answers {
			if a.Done() {
				opened++
			} else if a.Status != http.StatusGone {
				other++
			}
			if d.names(a, patient) {
				named++
			}
		}
		t.check(opened == 1 && named == 1, "of 200 who open one request at once one is told", "%d were answered, %d told, of %d", opened, named, len(answers))
		t.check(other == 0, "the others are told 410", "%d were told something else", other)
		found, err := d.traces(r)
		if err != nil {
			return err
		}
		t.check(found.kinds[audit.KindReidIntent] == 1 && found.outcomes[string(reidentify.Released)] == 1 && len(found.outcomes) == 1 && found.kinds[audit.KindRedeliver] == 0,
			"one intent and one released outcome are in the log", "%v, %v", found.kinds, found.outcomes)
		t.count("opened_at_once", len(answers))
	}
	return nil
}

// atOnce has many send a request at the same moment, and returns what each was answered.
func (d *desk) atOnce(n int, who func(int) care.Person, path string, body func() any) ([]*keyholder.Answer, error) {
	callers := map[care.Person]*keyholder.Caller{}
	answers, failed := make([]*keyholder.Answer, n), make([]error, n)
	start := make(chan struct{})
	var all sync.WaitGroup
	for i := range n {
		p := who(i)
		if callers[p] == nil {
			c, err := d.as(p)
			if err != nil {
				return nil, err
			}
			defer c.Close()
			callers[p] = c
			if _, err := c.Send(d.t.ctx, care.NewID(), http.MethodGet, "/v1/me", nil); err != nil { // so that the connection is there
				return nil, err
			}
		}
		c := callers[p]
		all.Go(func() {
			<-start
			answers[i], failed[i] = c.Send(d.t.ctx, care.NewID(), http.MethodPost, path, body())
		})
	}
	close(start)
	all.Wait()
	return answers, errors.Join(failed...)
}

// decidedAtOnce has two approvers, many times each, approve and reject one request at once.
func (d *desk) decidedAtOnce() error {
	t := d.t
	t.note("approved and rejected at once")
	r, err := d.asked(stranger, 10)
	if err != nil {
		return err
	}
	another := approver
	another.Subject = "another-approver"
	var mu sync.Mutex
	turn := 0
	_, err = d.atOnce(60, func(n int) care.Person { return []care.Person{approver, another}[n%2] }, requestsPath+"/"+r.ID+"/approvals", func() any {
		mu.Lock()
		defer mu.Unlock()
		turn++
		return api.ApprovalGiven{Decision: []string{"approve", "reject"}[turn%2], RequestHash: r.RequestHash}
	})
	if err != nil {
		return err
	}
	found, err := d.traces(r)
	if err != nil {
		return err
	}
	a, err := d.send(stranger, care.NewID(), http.MethodGet, requestsPath+"/"+r.ID, nil)
	if err != nil {
		return err
	}
	after, err := made(a)
	if err != nil {
		return err
	}
	decided := after.State == "ready" && after.Approvals.Have == 1 || after.State == "refused" && after.Approvals.Have == 0
	t.check(decided && found.kinds[audit.KindApproval] == 1, "of two who decide at once, over and over, one decides, once", "%s, %d approvals, %d entries of it", after.State, after.Approvals.Have, found.kinds[audit.KindApproval])
	return nil
}

// replayed opens a request again and again.
func (d *desk) replayed() error {
	t := d.t
	t.note("replay")
	r, err := d.asked(doctor, 11)
	if err != nil {
		return err
	}
	id, open := care.NewID(), requestsPath+"/"+r.ID+"/open"
	elsewhere := doctor
	elsewhere.Session = "elsewhere"
	for _, step := range []struct {
		name string
		who  care.Person
		id   string
		want int
	}{
		{"it is opened", doctor, id, http.StatusOK},
		{"another session is told 410", elsewhere, care.NewID(), http.StatusGone},
		{"another session is told 410 under the same id, too", elsewhere, id, http.StatusGone},
		{"the same session is shown it again, under the same id", doctor, id, http.StatusOK},
		{"the same session is shown it again, under another id", doctor, care.NewID(), http.StatusOK},
		{"the third time it is 410", doctor, care.NewID(), http.StatusGone},
		{"the third time it is 410 under the same id, too", doctor, id, http.StatusGone},
	} {
		a, err := d.send(step.who, step.id, http.MethodPost, open, nil)
		if err != nil {
			return err
		}
		told := step.want == http.StatusOK
		t.check(a.Status == step.want && d.names(a, 11) == told && (told || a.Code == api.CodeGone), "replay: "+step.name, "status %d, %s", a.Status, a.Code)
	}
	found, err := d.traces(r)
	if err != nil {
		return err
	}
	t.check(found.kinds[audit.KindReidIntent] == 1 && found.outcomes[string(reidentify.Released)] == 1 && found.kinds[audit.KindRedeliver] == reidentify.Redeliveries,
		"replay: one intent, one outcome and two redeliveries are in the log", "%v, %v", found.kinds, found.outcomes)
	return nil
}

// killedWhileOpening kills the key holder in the middle of openings. What was used up and
// has no outcome gets one at the start, unknown, once.
func (d *desk) killedWhileOpening() error {
	t := d.t
	unknown, rounds, most := 0, t.times(3, 20), 40
	for round := 0; round < rounds || unknown == 0 && round < most; round++ {
		t.note("killed while it opens, %d", round+1)
		patient := 12 + round%20
		r, err := d.approved(stranger, patient)
		if err != nil {
			return err
		}
		c, err := d.as(stranger)
		if err != nil {
			return err
		}
		answered := make(chan *keyholder.Answer, 1)
		go func() {
			a, _ := c.Send(t.ctx, care.NewID(), http.MethodPost, requestsPath+"/"+r.ID+"/open", nil) // or the connection is gone
			answered <- a
		}()
		between(time.Millisecond, 250*time.Millisecond)
		err = d.Kill()
		c.Close()
		if a := <-answered; err != nil || a != nil && a.Done() {
			return errors.Join(err, fmt.Errorf("it was answered before it could be killed: no answer leaves so early"))
		}
		if err := d.Start(t.ctx); err != nil {
			t.check(false, "killed while it opens, it starts again", "%v", err)
			return nil
		}
		was, err := d.afterKill(r, patient)
		if err != nil {
			return err
		}
		unknown += was
	}
	t.figure("killed_while_opening", float64(rounds))
	t.control(unknown > 0, "some kills fall between the intent and its outcome", "none in %d", rounds)
	t.figure("outcomes_unknown", float64(unknown))
	return nil
}

// afterKill looks at a request whose opening was cut off, and reports 1 where nobody knows
// what came of it.
func (d *desk) afterKill(r *api.Reidentification, patient int) (unknown int, err error) {
	t := d.t
	before, err := d.traces(r)
	if err != nil {
		return 0, err
	}
	intents := before.kinds[audit.KindReidIntent]
	t.check(intents <= 1 && before.kinds[audit.KindReidOutcome] == intents, "after a kill each intent has one outcome", "%v, %v", before.kinds, before.outcomes)
	p := stranger
	p.Session = "after-the-kill"
	a, err := d.open(p, r)
	if err != nil {
		return 0, err
	}
	if intents == 0 {
		t.check(a.Done() && d.names(a, patient), "after a kill what was not used up is opened", "status %d, %s", a.Status, a.Code)
	} else {
		t.check(a.Status == http.StatusGone && !d.names(a, patient), "after a kill what was used up is not opened again", "status %d, %s", a.Status, a.Code)
	}
	if err := d.Kill(); err != nil {
		return 0, err
	}
	if err := d.Start(t.ctx); err != nil {
		return 0, err
	}
	after, err := d.traces(r)
	if err != nil {
		return 0, err
	}
	t.check(after.kinds[audit.KindReidIntent] == 1 && after.kinds[audit.KindReidOutcome] == 1, "after another start there is still one intent and one outcome", "%v, %v", after.kinds, after.outcomes)
	return before.outcomes[string(reidentify.Unknown)], nil
}

// twoOfTwo is the control: two approvals of two requests open twice.
func (d *desk) twoOfTwo() error {
	t := d.t
	opened, intents := 0, 0
	for _, patient := range []int{33, 34} {
		r, err := d.approved(stranger, patient)
		if err != nil {
			return err
		}
		a, err := d.open(stranger, r)
		if err != nil {
			return err
		}
		if a.Done() && d.names(a, patient) {
			opened++
		}
		found, err := d.traces(r)
		if err != nil {
			return err
		}
		intents += found.kinds[audit.KindReidIntent]
	}
	t.control(opened == 2 && intents == 2, "two approvals of two requests open twice", "%d were opened, %d intents", opened, intents)
	return nil
}
