package faults

import (
	"net/http"

	"tarn/bench/care"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/reidentify"
)

// waiting are requests for re-identification that were made while the log was well.
type waiting struct {
	u *uses
	// ready may be opened, and are tried first and last; undecided waits for an approver.
	ready     [2]*api.Reidentification
	undecided *api.Reidentification
	patients  [4]int // whose they are, and one whom nobody has asked for
	// onItsWay says that the first opening was on its way when the log failed.
	onItsWay bool
}

// people makes requests, while the log is well.
func (u *uses) people() (w *waiting, err error) {
	w = &waiting{u: u}
	for i := range w.patients {
		w.patients[i] = u.patient % len(u.desk.Patients)
		u.patient++
	}
	for i := range w.ready {
		if w.ready[i], err = u.desk.asked(doctor, w.patients[i]); err != nil {
			return nil, err
		}
		u.t.control(w.ready[i].State == "ready", "with the log well a request for a patient is taken", "%s", w.ready[i].State)
	}
	w.undecided, err = u.desk.asked(stranger, w.patients[2])
	return w, err
}

// refused tries all that people can do while the log is away. Where nobody else has tried
// to write before, the first opening finds out that it is: it has been begun then, has opened
// nothing, and is given back.
func (w *waiting) refused(o obstacle, first bool) error {
	d := w.u.desk
	w.onItsWay = first
	tries := []struct {
		name string
		who  care.Person
		path string
		body any
	}{
		{"opening a request", doctor, requestsPath + "/" + w.ready[0].ID + "/open", nil},
		{"asking for a patient", doctor, requestsPath, d.about(w.patients[3], doctor.Organisation)},
		{"asking for another practice's patient", stranger, requestsPath, d.about(w.patients[3], stranger.Organisation)},
		{"approving a request", approver, requestsPath + "/" + w.undecided.ID + "/approvals", api.ApprovalGiven{Decision: "approve", RequestHash: w.undecided.RequestHash}},
		{"taking a request back", stranger, requestsPath + "/" + w.undecided.ID + "/cancel", nil},
		{"opening a request", doctor, requestsPath + "/" + w.ready[1].ID + "/open", nil},
		{"opening a request again", doctor, requestsPath + "/" + w.ready[0].ID + "/open", nil},
	}
	if first {
		tries = tries[:len(tries)-1]
	}
	for _, one := range tries {
		a, err := d.post(one.who, one.path, one.body)
		if err != nil {
			return err
		}
		w.u.t.check(a.Status == http.StatusServiceUnavailable && a.Code == api.CodeLogUnavailable, one.name+" is answered 503 log_unavailable", "%s: status %d, %s", o.name, a.Status, a.Code)
		named := false
		for _, patient := range w.patients {
			named = named || d.names(a, patient)
		}
		w.u.t.check(!named, "while the log is away nobody is told who a patient is", "%s, %s", o.name, one.name)
	}
	return nil
}

// opens looks, with the log back, whether what was ready is opened, once, and what was
// undecided can be decided.
func (w *waiting) opens(o obstacle) error {
	t, d := w.u.t, w.u.desk
	elsewhere := doctor
	elsewhere.Session = "elsewhere"
	for i, r := range w.ready {
		// The one that was on its way is in the log, and given back: it has opened nothing.
		begun := 0
		if i == 0 && w.onItsWay {
			begun = 1
			t.count("given_back", 1)
		}
		found, err := d.traces(r)
		if err != nil {
			return err
		}
		t.check(found.kinds[audit.KindReidIntent] == begun, "nothing of an opening that was refused is in the log but that it was begun", "%s: %v", o.name, found.kinds)
		for n, who := range []care.Person{doctor, elsewhere} {
			a, err := d.open(who, r)
			if err != nil {
				return err
			}
			if n == 0 {
				t.check(a.Done() && d.names(a, w.patients[i]), "with the log back what was ready is opened", "%s: status %d, %s", o.name, a.Status, a.Code)
			} else {
				t.check(a.Status == http.StatusGone && !d.names(a, w.patients[i]), "and once only", "%s: status %d, %s", o.name, a.Status, a.Code)
			}
		}
		if found, err = d.traces(r); err != nil {
			return err
		}
		t.check(found.kinds[audit.KindReidIntent] == 1+begun && found.outcomes[string(reidentify.Released)] == 1 && found.outcomes[string(reidentify.Failed)] == begun,
			"its intent and its outcome are in the log, once, and that it was given back", "%s: %v, %v", o.name, found.kinds, found.outcomes)
	}
	a, err := d.decided(approver, w.undecided)
	if err != nil {
		return err
	}
	after, err := made(a)
	t.check(err == nil && after.State == "ready" && after.Approvals.Have == 1, "with the log back what was undecided is decided", "%s: status %d, %s", o.name, a.Status, a.Code)
	found, err := d.traces(w.undecided)
	t.check(found.kinds[audit.KindApproval] == 1, "its approval is in the log, once", "%s: %v", o.name, found.kinds)
	return err
}
