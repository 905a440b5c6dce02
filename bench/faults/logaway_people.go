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
// to write before, the first opening finds out that it is: it has been used up then, and is
// not opened again.
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
		if i == 0 && w.onItsWay {
			w.u.cutOff = append(w.u.cutOff, r)
			continue
		}
		found, err := d.traces(r)
		if err != nil {
			return err
		}
		t.check(found.kinds[audit.KindReidIntent] == 0, "nothing of an opening that was refused is in the log", "%s: %v", o.name, found.kinds)
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
		t.check(found.kinds[audit.KindReidIntent] == 1 && found.outcomes[string(reidentify.Released)] == 1 && len(found.outcomes) == 1, "its intent and its outcome are in the log, once", "%s: %v, %v", o.name, found.kinds, found.outcomes)
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

// settled looks at openings that were on their way when the log failed, after the key
// holder was started again: nobody was told, nobody will be, and the log says so.
func (u *uses) settled() error {
	for _, r := range u.cutOff {
		found, err := u.desk.traces(r)
		if err != nil {
			return err
		}
		u.t.check(found.kinds[audit.KindReidIntent] == 1 && found.outcomes[string(reidentify.Unknown)] == 1 && len(found.outcomes) == 1,
			"an opening that was on its way when the log failed is in the log, once, with outcome unknown", "%v, %v", found.kinds, found.outcomes)
		a, err := u.desk.open(doctor, r)
		if err != nil {
			return err
		}
		u.t.check(a.Status == http.StatusGone, "it is used up", "status %d, %s", a.Status, a.Code)
	}
	u.t.figure("used_up_unopened", float64(len(u.cutOff)))
	return nil
}
