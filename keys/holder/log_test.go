package holder_test

import (
	"log/slog"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/note"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/audit/checkpoint"
	"tarn/keys/audit/verify"
	"tarn/keys/audit/witness"
	"tarn/keys/audit/witness/witnesstest"
	"tarn/keys/fault"
	"tarn/keys/holder"
)

func (s *site) logFolder(number uint32) string {
	return holder.LogFolder(filepath.Join(s.options.Dir, "log"), number)
}

// verified holds a log to its checkpoint, and returns its entries in order.
func (s *site) verified(number uint32) (*verify.Result, []audit.Leaf) {
	s.t.Helper()
	var mu sync.Mutex
	found := map[uint64]audit.Leaf{}
	r, err := verify.Log(s.t.Context(), s.logFolder(number), verify.Options{Visit: func(i uint64, leaf audit.Leaf) {
		mu.Lock()
		defer mu.Unlock()
		found[i] = leaf
	}})
	if err != nil {
		s.t.Fatal(err)
	}
	leaves := make([]audit.Leaf, len(found))
	for i, leaf := range found {
		leaves[i] = leaf
	}
	return r, leaves
}

// tryUnseal tries to unseal, and returns why it could not.
func (s *site) tryUnseal() error {
	_, err := s.holder.Unseal(s.t.Context(), api.Unseal{Identity: string(s.made.Identity)})
	return err
}

// TestEveryUseIsInTheLog: what operators and tokenisers did is in the log, which is
// whole, in the order in which the key holder answered; it is the same after a
// restart, and the events that are listed are its entries.
func TestEveryUseIsInTheLog(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	north := prepare(ann, bob)
	for range 300 {
		north.lease(api.UseToken)
	}
	first := must[api.List[api.Event]](ann, "GET", "/v1/events", nil)
	var all []api.Event
	for page := first; ; {
		all = append(all, page.Items...)
		if page.Next == "" {
			break
		}
		page = must[api.List[api.Event]](ann, "GET", "/v1/events?after="+page.Next, nil)
	}
	s.stop()
	r, leaves := s.verified(1)
	if !r.Whole() || r.Size != uint64(len(all)) {
		t.Fatalf("%+v; %d events were listed", r, len(all))
	}
	leased := 0
	for i, leaf := range leaves {
		if b, err := leaf.Encode(); err != nil || string(b) != string(all[i].Leaf) || all[i].Index != uint64(i) {
			t.Fatalf("entry %d is %s, listed as %d %s", i, b, all[i].Index, all[i].Leaf)
		}
		if leaf.Kind == audit.KindLease && leaf.Actor.Subject == "north" {
			leased++
		}
	}
	if leased != 300 {
		t.Errorf("%d leases of 300", leased)
	}
	s.start()
	s.unseal()
	s.stop()
	after, more := s.verified(1)
	if !after.Whole() || len(more) != len(leaves)+2 || more[len(more)-1].Kind != audit.KindStart {
		t.Errorf("after a restart: %+v, %d entries more", after, len(more)-len(leaves))
	}
}

// TestLogThatCannotBeWrittenStopsEverything: no key, no change, no answer that it
// was done; reading goes on; when the log can be written it goes on by itself, what
// was begun is in it once, and an alarm is.
func TestLogThatCannotBeWrittenStopsEverything(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	north := prepare(ann, bob)
	north.lease(api.UseToken) // the control
	tile := filepath.Join(s.logFolder(1), "tile")
	if err := os.Rename(tile, tile+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(tile, nil, 0o600); err != nil { // a folder cannot be made here
		t.Fatal(err)
	}
	north.refused(api.CodeLogUnavailable, "POST", "/v1/projects/study/leases", api.LeaseRequest{Use: api.UseToken, RowsExpected: 5})
	north.refused(api.CodeLogUnavailable, "POST", "/v1/projects/study/leases", api.LeaseRequest{Use: api.UseEncoding, RowsExpected: 5})
	ann.refused(api.CodeLogUnavailable, "POST", "/v1/operations", api.OperationRequest{Kind: api.OpDomainAdd, Body: []byte(`{"name":"pond","scheme":"keyed-hash"}`)})
	must[api.Project](north, "GET", "/v1/projects/study", nil)
	north.refused(api.CodeRole, "GET", "/v1/clients", nil) // to be recorded when that is possible
	if err := os.Remove(tile); err == nil {
		err = os.Rename(tile+".away", tile)
		if err != nil {
			t.Fatal(err)
		}
	}
	for until := time.Now().Add(15 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		if status, _ := north.call("POST", "/v1/projects/study/leases", api.LeaseRequest{Use: api.UseToken, RowsExpected: 5}); status < 300 {
			break
		}
		if time.Now().After(until) {
			t.Fatal("it does not go on")
		}
	}
	s.stop()
	r, leaves := s.verified(1)
	alarm, leased, denied := false, 0, int64(0)
	for _, leaf := range leaves {
		alarm = alarm || leaf.Kind == audit.KindAlarm && leaf.Rule == "log-unavailable"
		if leaf.Kind == audit.KindLease && leaf.Outcome == "active" {
			leased++
		}
		if leaf.Kind == audit.KindRefuse {
			denied += leaf.Count
		}
	}
	if !r.Whole() || !alarm || leased != 3 || denied != 1 {
		t.Errorf("%+v, alarm %v, %d leases: one before, one that was begun, one after; %d refusals of 1", r, alarm, leased, denied)
	}
}

// TestLogIsHeldToTheStore: a log that has lost entries, or all of them, stops the
// start, and so does a store that is older than its log; what a killed key holder
// had not brought into its log is brought there.
func TestLogIsHeldToTheStore(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	s.stop()
	earlier := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(earlier, os.DirFS(s.logFolder(1))); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.unseal()
	certificate, other := ann.certificate(), bob.certificate()
	prepare(s.with(&certificate), s.with(&other))
	s.stop()
	newest := filepath.Join(t.TempDir(), "log")
	if err := os.CopyFS(newest, os.DirFS(s.logFolder(1))); err != nil {
		t.Fatal(err)
	}
	put := func(from string) {
		t.Helper()
		if err := os.RemoveAll(s.logFolder(1)); err != nil {
			t.Fatal(err)
		}
		if from != "" {
			if err := os.CopyFS(s.logFolder(1), os.DirFS(from)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, from := range map[string]string{"rolled back": earlier, "gone": ""} {
		put(from)
		s.start()
		if err := s.tryUnseal(); fault.KindOf(err) != fault.Disagreement || !strings.Contains(err.Error(), "entries are gone") {
			t.Errorf("%s: %v", name, err)
		}
		s.stop()
	}
	put(newest)
	s.start()
	if err := s.tryUnseal(); err != nil {
		t.Errorf("control: %v", err)
	}
	s.stop()
}

// TestRestoredKeyHolderBeginsAnotherLog, which goes on from the last checkpoint that
// the backup knows, and says so in its first entry.
func TestRestoredKeyHolderBeginsAnotherLog(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	ann, bob := s.operators()
	prepare(ann, bob)
	name := change(ann, bob, api.OpBackup, api.Backup{}).Path
	s.stop()
	before, _ := s.verified(1)
	info, err := holder.CheckBackup(filepath.Join(s.options.Dir, "backups", name), s.options.Anchor)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "standby")
	_, err = holder.Restore(t.Context(), info, holder.RestoreOptions{Dir: dir, Anchor: s.options.Anchor, AcceptLoss: info.Behind, Hosts: []string{"127.0.0.1"}, Software: "test", Clock: s.now},
		func(api.SealStatus) (api.Unseal, error) { return api.Unseal{Identity: string(s.made.Identity)}, nil })
	if err != nil {
		t.Fatal(err)
	}
	s.options.Dir = dir
	s.start()
	s.unseal()
	s.stop()
	r, leaves := s.verified(2)
	if !r.Whole() || r.Previous == nil || r.Previous.Origin != before.Origin || r.Previous.Size == 0 || r.Previous.Size > before.Size || leaves[0].Rule != audit.RuleLogBegun {
		t.Fatalf("%+v, previous %+v, first %+v", r, r.Previous, leaves[0])
	}
	if err := os.Remove(filepath.Join(s.logFolder(2), "previous.checkpoint")); err != nil {
		t.Fatal(err)
	}
	if r, _ := s.verified(2); r.Whole() {
		t.Error("control: the checkpoint from which the log goes on is gone, and it is whole")
	}
}

// TestWitnessStopsALogMadeAnew: store, log and anchor put back together to an
// earlier state fit one another; the witness knows better, and must be asked.
func TestWitnessStopsALogMadeAnew(t *testing.T) {
	w := witnesstest.New(t, "witness.example")
	s := newSite(t, holder.Custody{Method: "identity"})
	s.unseal()
	s.stop()
	vkey, err := os.ReadFile(filepath.Join(s.logFolder(1), "log.vkey"))
	if err != nil {
		t.Fatal(err)
	}
	key, err := checkpoint.Verifier(string(vkey))
	if err != nil {
		t.Fatal(err)
	}
	service, err := witness.New(t.TempDir(), w.Signer, w.Verifier, []note.Verifier{key})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(service.Handler(slog.New(slog.DiscardHandler)))
	defer server.Close()
	s.options.WitnessURL, s.options.WitnessKey = server.URL, w.Public
	s.start()
	s.unseal()
	s.stop()
	dir, anchor := filepath.Join(t.TempDir(), "dir"), filepath.Join(t.TempDir(), "anchor.json")
	saved, err := os.ReadFile(s.options.Anchor)
	if err == nil {
		err = os.WriteFile(anchor, saved, 0o600)
	}
	if err == nil {
		err = exec.Command("cp", "-a", s.options.Dir, dir).Run() // with the modes of files
	}
	if err != nil {
		t.Fatal(err)
	}
	s.start()
	s.unseal()
	ann, bob := s.operators()
	prepare(ann, bob)
	s.stop() // the last checkpoint is made, and cosigned, when it ends
	if r, _ := s.verified(1); !r.Whole() || len(r.Cosigned) != 1 {
		t.Fatalf("%+v", r)
	}
	newest, newestAnchor := s.options.Dir, s.options.Anchor
	s.options.Dir, s.options.Anchor = dir, anchor
	s.start()
	if err := s.tryUnseal(); fault.KindOf(err) != fault.Disagreement || !strings.Contains(err.Error(), "the witness has signed") {
		t.Errorf("rolled back as a whole: %v", err)
	}
	s.stop()
	s.options.Dir, s.options.Anchor = newest, newestAnchor
	s.start()
	if err := s.tryUnseal(); err != nil {
		t.Errorf("control: %v", err)
	}
	s.stop()
	s.options.WitnessURL = "http://127.0.0.1:1"
	s.start()
	if err := s.tryUnseal(); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("a witness that is away: %v", err)
	}
	s.stop()
}
