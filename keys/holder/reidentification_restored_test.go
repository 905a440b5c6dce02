package holder_test

import (
	"path/filepath"
	"testing"

	"tarn/keys/api"
	"tarn/keys/holder"
)

// TestARestoredRequestHasNobodyElsesReceipt: what comes back from a backup is void, and its
// entry is in the log of before: the entry at its place in the log of now is another's.
func TestARestoredRequestHasNobodyElsesReceipt(t *testing.T) {
	s := newReid(t, func(*holder.Options) {})
	tokens := s.patients(12)
	gp := s.as("gp/1")
	s.region.registers(tokens[0], "Y12345")
	r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(tokens[0], "TREAT", "Y12345"))
	must[map[string]any](gp, "GET", "/v1/reidentifications/"+r.ID+"/receipt", nil) // the control
	name := change(s.ann, s.bob, api.OpBackup, api.Backup{}).Path
	s.stop()
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
	gp = s.as("gp/1") // it answers elsewhere now
	other := s.as("other-gp/1")
	for last := uint64(0); last <= r.Receipt.Index; {
		for _, token := range tokens {
			last = must[api.Reidentification](other, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y54321")).Receipt.Index
		}
	}
	if again := must[api.Reidentification](gp, "GET", "/v1/reidentifications/"+r.ID, nil); again.State != "void" {
		t.Errorf("%+v", again)
	}
	gp.refused(api.CodeNotFound, "GET", "/v1/reidentifications/"+r.ID+"/receipt", nil)
}
