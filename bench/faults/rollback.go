package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/reidentify"
)

// witness makes a witness of a log, starts it, and returns its address and the path
// of its verifier key.
func (t *Trial) witness(log string) (url, key string, err error) {
	w, err := keyholder.StartWitness(t.ctx, t.binary("auditor"), t.folder, log)
	if err != nil {
		return "", "", err
	}
	t.later(w.Process.Kill)
	return w.URL, w.Key, nil
}

// leases leases keys, one after another.
func (t *Trial) leases(k *keyholder.KeyHolder, n int) error {
	tokeniser, err := k.CallAs(loadClient)
	if err != nil {
		return err
	}
	defer tokeniser.Close()
	for range n {
		status, code, err := tokeniser.Call(t.ctx, http.MethodPost, "/v1/projects/"+loadProject+"/leases", api.LeaseRequest{Use: api.UseToken, RowsExpected: 1}, nil)
		if err != nil {
			return err
		}
		if status >= http.StatusMultipleChoices {
			return fault.New(fault.Internal, "leasing a key", fmt.Sprintf("status %d, %s", status, code), "")
		}
	}
	return nil
}

// states are copies of a key holder: of before, of now, and their witness.
type states struct {
	t             *Trial
	before, now   *keyholder.KeyHolder
	url, key      string // the witness's
	seen          string // what an auditor has kept of the log
	entries, lost int    // of the log now, and how many of them the older copy has not

	desk *desk
	// ready was approved before the older copy, and opened after it; undecided waits.
	ready, undecided *api.Reidentification
	backup           string // of when it was approved and not yet opened
}

// rolledBack is scenario 8.
func rolledBack(t *Trial) error {
	s, err := t.newStates()
	if err != nil {
		return err
	}
	t.figure("entries", float64(s.entries))
	t.figure("entries_put_back", float64(s.lost))
	for _, mix := range []struct {
		name             string
		store, log, mark *keyholder.KeyHolder
		witnessed        bool
		says             string
	}{
		{"the log", s.now, s.before, s.now, false, "entries are gone"},
		{"the store", s.before, s.now, s.now, false, "it is older than its anchor"},
		{"store and anchor", s.before, s.now, s.before, false, "the store is older than its log"},
		{"store, anchor and log", s.before, s.before, s.before, true, "the witness has signed"},
	} {
		t.note("%s put back", mix.name)
		k, err := s.mixed(mix.store, mix.log, mix.mark, mix.witnessed)
		if err != nil {
			return err
		}
		err = k.Start(t.ctx)
		t.check(err != nil && strings.Contains(k.Process.Said(), mix.says), "with "+mix.name+" put back the start is refused", "%s", k.Process.Said())
	}
	if err := s.controls(); err != nil {
		return err
	}
	return s.restored()
}

// newStates makes a key holder with a witness, a copy of it, some more entries, and
// another copy.
func (t *Trial) newStates() (*states, error) {
	d, err := t.desk(4, keyholder.Options{})
	if err == nil {
		err = d.Stop() // its log has a key from now on
	}
	if err != nil {
		return nil, err
	}
	k := d.KeyHolder
	s := &states{t: t, seen: filepath.Join(t.folder, "seen"), desk: d}
	if s.url, s.key, err = t.witness(k.Log(1)); err != nil {
		return nil, err
	}
	k.WitnessURL, k.WitnessKey = s.url, s.key
	if err := k.Configure(); err != nil {
		return nil, err
	}
	if err := k.Start(t.ctx); err != nil {
		return nil, err
	}
	if err := t.populate(k); err != nil {
		return nil, err
	}
	sizes := []int{}
	for _, name := range []string{"before", "now"} {
		if k.Process.HasEnded() {
			if err := k.Start(t.ctx); err != nil {
				return nil, err
			}
		}
		if err := s.reidentified(name == "before"); err != nil {
			return nil, err
		}
		if err := t.leases(k, t.times(30, 150)); err != nil {
			return nil, err
		}
		if err := k.Stop(); err != nil { // the last checkpoint is cosigned when it ends
			return nil, err
		}
		v, code, err := t.verify(k.Log(1), "--witness-key", s.key, "--seen", s.seen)
		if err != nil {
			return nil, err
		}
		t.control(code == 0 && v.Whole, "an auditor finds the log whole while it grows", "exit code %d, %+v", code, v)
		sizes = append(sizes, int(v.Entries))
		copied, err := t.copied(k, name)
		if err != nil {
			return nil, err
		}
		if name == "before" {
			s.before = copied
		} else {
			s.now = copied
		}
	}
	s.entries, s.lost = sizes[1], sizes[1]-sizes[0]
	return s, nil
}

// reidentified has somebody's request approved, and another made; later it is opened, after
// a backup was taken.
func (s *states) reidentified(before bool) (err error) {
	if before {
		if s.ready, err = s.desk.approved(stranger, 0); err == nil {
			s.undecided, err = s.desk.asked(stranger, 1)
		}
		return err
	}
	if s.backup, err = s.t.backup(s.desk.KeyHolder); err != nil {
		return err
	}
	a, err := s.desk.open(stranger, s.ready)
	if err != nil {
		return err
	}
	s.t.control(a.Done() && s.desk.names(a, 0), "what was approved is opened", "status %d, %s", a.Status, a.Code)
	return nil
}

// opensAgain tries to open at a key holder what was opened once, from another session.
func (s *states) opensAgain(k *keyholder.KeyHolder) (*keyholder.Answer, bool, error) {
	again := stranger
	again.Session = "again"
	d := s.desk.at(k)
	a, err := d.open(again, s.ready)
	return a, err == nil && d.names(a, 0), err
}

// restored looks at a key holder that was restored from a backup of when the request was
// approved and not yet opened.
func (s *states) restored() error {
	t := s.t
	t.note("restored from a backup")
	original := *s.desk.KeyHolder
	original.WitnessURL, original.WitnessKey = "", "" // it has another log
	k, code, said, err := t.restore(&original, s.backup, "restored", "--accept-loss", acceptLoss)
	if err != nil {
		return err
	}
	t.control(code == 0, "the backup is restored", "exit code %d: %s", code, said)
	if code != 0 {
		return nil
	}
	if err := k.Configure(); err != nil {
		return err
	}
	if err := k.Start(t.ctx); err != nil {
		return err
	}
	t.later(k.Kill)
	a, named, err := s.opensAgain(k)
	if err != nil {
		return err
	}
	t.check(a.Status == http.StatusConflict && a.Rule == string(reidentify.RuleState) && !named, "in what is restored an approval that was used is void", "status %d, %s %s", a.Status, a.Code, a.Rule)
	if a, err = s.desk.at(k).decided(approver, s.undecided); err != nil {
		return err
	}
	t.check(a.Status == http.StatusConflict && a.Rule == string(reidentify.RuleState), "and a request that waited cannot be approved", "status %d, %s %s", a.Status, a.Code, a.Rule)
	fresh, err := s.desk.at(k).approved(stranger, 2)
	if err != nil {
		return err
	}
	if a, err = s.desk.at(k).open(stranger, fresh); err != nil {
		return err
	}
	t.control(a.Done() && s.desk.names(a, 2), "in what is restored a new request is approved and opened", "status %d, %s", a.Status, a.Code)
	return k.Kill()
}

// mixed is a key holder of one state's store, another's log and another's anchor,
// ready to be started.
func (s *states) mixed(store, log, anchor *keyholder.KeyHolder, witnessed bool) (*keyholder.KeyHolder, error) {
	if err := os.RemoveAll(filepath.Join(s.t.folder, "mixed")); err != nil {
		return nil, fault.Wrap(fault.Internal, "putting back a copy", err, "")
	}
	k, err := s.t.copied(store, "mixed")
	if err == nil {
		err = os.RemoveAll(k.Log(1))
	}
	if err == nil {
		err = copyTo(filepath.Dir(k.Log(1)), log.Log(1))
	}
	if err == nil {
		err = copyTo(filepath.Dir(k.Anchor), anchor.Anchor)
	}
	if err != nil {
		return nil, err
	}
	k.WitnessURL, k.WitnessKey = "", ""
	if witnessed {
		k.WitnessURL, k.WitnessKey = s.url, s.key
	}
	s.t.later(k.Kill)
	return k, k.Configure()
}

// controls are that the newest copy starts; that without a witness the older one does,
// too; and that an auditor with a memory notices, and none without.
func (s *states) controls() error {
	t := s.t
	t.note("controls")
	k, err := s.mixed(s.now, s.now, s.now, true)
	if err != nil {
		return err
	}
	err = k.Start(t.ctx)
	t.control(err == nil, "the newest copy starts", "%s", wrong(err))
	if err == nil {
		a, named, err := s.opensAgain(k)
		if err != nil {
			return err
		}
		t.check(a.Status == http.StatusGone && !named, "in the newest copy an approval that was used stays used", "status %d, %s", a.Status, a.Code)
	}
	if err := k.Kill(); err != nil {
		return err
	}
	if k, err = s.mixed(s.before, s.before, s.before, false); err != nil {
		return err
	}
	v, code, err := t.verify(k.Log(1))
	if err != nil {
		return err
	}
	t.control(code == 0 && v.Whole, "an auditor without a memory finds nothing wrong with the older copy", "exit code %d, %+v", code, v)
	if v, code, err = t.verify(k.Log(1), "--seen", s.seen); err != nil {
		return err
	}
	t.check(code == int(fault.Disagreement) && strings.Contains(v.RolledBack, "when it was last seen"), "an auditor who kept a checkpoint sees the older copy", "exit code %d, %q", code, v.RolledBack)
	err = k.Start(t.ctx)
	t.control(err == nil, "without a witness the key holder starts on the older copy", "%s", wrong(err))
	if err != nil {
		return nil
	}
	a, named, err := s.opensAgain(k)
	if err != nil {
		return err
	}
	t.control(a.Done() && named, "without a witness an approval that was used is opened again on the older copy", "status %d, %s", a.Status, a.Code)
	// It goes on from there, past what the log once had: another history.
	if err := t.leases(k, s.lost+10); err != nil {
		return err
	}
	if err := k.Stop(); err != nil {
		return err
	}
	if v, code, err = t.verify(k.Log(1), "--seen", s.seen); err != nil {
		return err
	}
	t.check(code == int(fault.Disagreement) && strings.Contains(v.RolledBack, "are not those"), "an auditor who kept a checkpoint sees another history that is longer", "exit code %d, %q", code, v.RolledBack)
	k.WitnessURL, k.WitnessKey = s.url, s.key
	if err := k.Configure(); err != nil {
		return err
	}
	err = k.Start(t.ctx)
	t.check(err != nil && k.Process.ExitCode() == int(fault.Disagreement), "another history that is longer does not start with the witness", "%s", k.Process.Said())
	return nil
}
