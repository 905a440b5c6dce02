package holder_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/holder"
)

// opening gives what unseals, one thing after the other.
type opening []api.Unseal

func (o opening) collect() holder.Collect {
	given := 0
	return func(api.SealStatus) (api.Unseal, error) {
		if given == len(o) {
			return api.Unseal{}, errors.New("there is no more to give")
		}
		given++
		return o[given-1], nil
	}
}

// opens returns what opens custody of which this was handed out.
func opens(out holder.Handout, chosen string) (o opening) {
	for _, share := range out.Shares {
		o = append(o, api.Unseal{Share: share})
	}
	switch {
	case len(out.Identity) > 0:
		o = append(o, api.Unseal{Identity: string(out.Identity)})
	case len(o) == 0:
		o = append(o, api.Unseal{Passphrase: chosen})
	}
	return o
}

const passphrase = "correct horse battery staple"

// fsck opens a copy of the deployment, so that looking changes nothing.
func (s *site) fsck(with opening) (*holder.Checked, error) {
	s.t.Helper()
	return fsckCopy(s, s.options.Dir, s.options.Anchor, with)
}

func fsckCopy(s *site, dir, anchor string, with opening) (*holder.Checked, error) {
	s.t.Helper()
	o := s.options
	o.Dir, o.Anchor = copied(s.t, dir, anchor)
	return holder.Check(s.t.Context(), o, with.collect())
}

// copied is a deployment as a power cut would leave it at this moment.
func copied(t *testing.T, dir, anchor string) (string, string) {
	t.Helper()
	to, at := filepath.Join(t.TempDir(), "holder"), filepath.Join(t.TempDir(), "anchor.json")
	if err := os.CopyFS(to, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"root.json", holder.ServerKeyFile} { // a copy has the mode of its source, less what the umask takes
		if err := os.Chmod(filepath.Join(to, secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	copyFile(t, anchor, at)
	return to, at
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, content, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestCustodyFromAnyToAny: what was handed out opens the deployment, with
// everything in it, and what opened it before does not, neither by its own
// method nor as a key to root.json.
func TestCustodyFromAnyToAny(t *testing.T) {
	methods := []holder.Custody{
		{Method: "identity"}, {Method: "shares", Threshold: 2, Shares: 3}, {Method: "passphrase", Passphrase: []byte(passphrase)},
	}
	s := newSite(t, methods[0])
	s.stop()
	with := opens(s.made.Handout, "")
	before, err := s.fsck(with)
	if err != nil {
		t.Fatal(err)
	}
	from := methods[0].Method
	for i, next := range []int{0, 1, 1, 2, 2, 0, 2, 1, 0} { // every pair, once
		to := methods[next]
		if to.Method == "passphrase" {
			to.Passphrase = fmt.Appendf(nil, "%s %d", to.Passphrase, i)
		}
		step := "from " + from + " to " + to.Method
		from = to.Method
		var out holder.Handout
		_, err := holder.ReplaceCustody(t.Context(), s.options, to, with.collect(), func(made holder.Handout) error {
			out = made
			out.Identity = bytes.Clone(made.Identity)
			return nil
		})
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		old := with
		with = opens(out, string(to.Passphrase))
		if _, err := s.fsck(old); err == nil {
			t.Errorf("%s: what opened it before still does", step)
		}
		after, err := s.fsck(with)
		if err != nil {
			t.Fatalf("%s: what was handed out does not open it: %v", step, err)
		}
		if after.Generation != before.Generation+1 || after.Records != before.Records+1 || after.Kinds["event"] != before.Kinds["event"]+1 {
			t.Errorf("%s: %+v became %+v", step, before, after)
		}
		before = after
	}
}

// replaced is a deployment whose custody went from shares to other shares, with
// a backup from before, and copies of it at each step of the change.
type replaced struct {
	*site
	ann, bob *caller
	early    api.Collected
	old, new opening
	// The folder and the anchor when the shares had been handed out, and when
	// root.json had been replaced as well.
	handedOut, switched [2]string
}

func replaceShares(t *testing.T) *replaced {
	t.Helper()
	r := &replaced{site: newSite(t, holder.Custody{Method: "shares", Threshold: 2, Shares: 3})}
	r.old = opens(r.made.Handout, "")[:2]
	r.unsealWith(r.old)
	r.ann, r.bob = r.operators()
	prepare(r.ann, r.bob)
	r.early = change(r.ann, r.bob, api.OpBackup, api.Backup{})
	r.stop()
	_, err := holder.ReplaceCustody(t.Context(), r.options, holder.Custody{Method: "shares", Threshold: 2, Shares: 4}, r.old.collect(), func(out holder.Handout) error {
		r.new = opens(out, "")[:2]
		r.handedOut[0], r.handedOut[1] = copied(t, r.options.Dir, r.options.Anchor)
		r.switched[0], r.switched[1] = copied(t, r.options.Dir, r.options.Anchor)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	copyFile(t, filepath.Join(r.options.Dir, "root.json"), filepath.Join(r.switched[0], "root.json"))
	return r
}

func (s *site) unsealWith(with opening) {
	s.t.Helper()
	for _, given := range with {
		if _, err := s.holder.Unseal(s.t.Context(), given); err != nil {
			s.t.Fatal(err)
		}
	}
}

// again returns the caller at another address of the site.
func (c *caller) again() *caller {
	certificate := c.certificate()
	next := c.site.with(&certificate)
	next.keys, next.digest, next.sealing = c.keys, c.digest, c.sealing
	return next
}

// TestNewShares: the service goes on under new shares, says so in its events,
// and its backups take the new ones; those from before take the old ones.
func TestNewShares(t *testing.T) {
	r := replaceShares(t)
	r.start()
	anyone := r.anyone()
	status, body := anyone.call("POST", "/v1/unseal", r.old[0])
	if status != api.Codes()[api.CodeUnsealRefused] || !strings.Contains(string(body), "one that was replaced") {
		t.Errorf("an old share: %d %s", status, body)
	}
	r.unsealWith(r.new)
	ann, bob := r.ann.again(), r.bob.again()
	if p := must[api.Project](ann, "GET", "/v1/projects/study", nil); p.Encoding[0].State != api.StateCurrent {
		t.Errorf("%+v", p.Encoding)
	}
	events := fmt.Sprint(must[api.List[api.Event]](ann, "GET", "/v1/events", nil).Items)
	if !strings.Contains(events, `"kind":"rotate","outcome":"custody-replaced","rule":"shares"`) {
		t.Errorf("the change is not recorded: %s", events)
	}
	late := change(ann, bob, api.OpBackup, api.Backup{})
	r.stop()
	for _, share := range append(r.old, r.new...) {
		if strings.Contains(r.log.String(), share.Share) {
			t.Error("the log holds a share")
		}
	}
	for _, b := range []struct {
		name       string
		path       string
		opens, not opening
	}{{"the backup after", late.Path, r.new, r.old}, {"the backup before", r.early.Path, r.old, r.new}} {
		restore := func(with opening) error {
			anchor := filepath.Join(t.TempDir(), "anchor.json")
			copyFile(t, r.options.Anchor, anchor)
			info, err := holder.CheckBackup(filepath.Join(r.options.Dir, "backups", b.path), anchor)
			if err != nil {
				t.Fatal(err)
			}
			o := holder.RestoreOptions{
				Dir: filepath.Join(t.TempDir(), "standby"), Anchor: anchor, AcceptLoss: info.Behind, Hosts: []string{"127.0.0.1"}, Software: "test", Clock: r.now,
			}
			if _, err = holder.Restore(t.Context(), info, o, with.collect()); err != nil {
				return err
			}
			_, err = fsckCopy(r.site, o.Dir, anchor, with)
			return err
		}
		if err := restore(b.opens); err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		if err := restore(b.not); err == nil {
			t.Errorf("%s is opened by the other shares", b.name)
		}
	}
}

// TestCustodyIsReplacedInOneStep: whenever the power goes, exactly one of the
// two custodies opens the deployment, and it can be replaced again.
func TestCustodyIsReplacedInOneStep(t *testing.T) {
	r := replaceShares(t)
	// An old root.json beside the new store opens with nothing.
	dir, anchor := copied(t, r.options.Dir, r.options.Anchor)
	copyFile(t, filepath.Join(r.handedOut[0], "root.json"), filepath.Join(dir, "root.json"))
	for _, with := range []opening{r.old, r.new} {
		if _, err := fsckCopy(r.site, dir, anchor, with); err == nil {
			t.Error("an old root.json opens the new store")
		}
	}
	for _, cut := range []struct {
		name       string
		at         [2]string
		opens, not opening
	}{
		{"after handing out", r.handedOut, r.old, r.new},
		{"after root.json", r.switched, r.new, r.old},
		{"after all", [2]string{r.options.Dir, r.options.Anchor}, r.new, r.old},
	} {
		if _, err := fsckCopy(r.site, cut.at[0], cut.at[1], cut.opens); err != nil {
			t.Errorf("%s: %v", cut.name, err)
		}
		if _, err := fsckCopy(r.site, cut.at[0], cut.at[1], cut.not); err == nil {
			t.Errorf("%s: both custodies open it", cut.name)
		}
		o := r.options
		o.Dir, o.Anchor = cut.at[0], cut.at[1]
		var out holder.Handout
		if _, err := holder.ReplaceCustody(t.Context(), o, holder.Custody{Method: "shares", Threshold: 2, Shares: 2}, cut.opens.collect(), func(made holder.Handout) error {
			out = made
			return nil
		}); err != nil {
			t.Errorf("%s: it is not replaced again: %v", cut.name, err)
			continue
		}
		kept := r.options
		r.options = o
		r.start()
		r.unsealWith(opens(out, ""))
		r.stop()
		r.options = kept
		stores, err := filepath.Glob(filepath.Join(o.Dir, "store.*"))
		if err != nil || len(stores) != 1 {
			t.Errorf("%s: %d stores lie in the folder", cut.name, len(stores))
		}
	}
}

// TestCustodyThatCannotBeReplaced: what fails before the step changes nothing,
// and says so.
func TestCustodyThatCannotBeReplaced(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "identity"})
	s.stop()
	with := opens(s.made.Handout, "")
	root := filepath.Join(s.options.Dir, "root.json")
	shares := holder.Custody{Method: "shares", Threshold: 2, Shares: 3}
	none := func(holder.Handout) error { t.Error("something was handed out"); return nil }
	for _, refusal := range []struct {
		name    string
		to      holder.Custody
		with    opening
		handOut func(holder.Handout) error
		wrong   string
		kind    fault.Kind
	}{
		{"no such method", holder.Custody{Method: "hope"}, with, none, "there is no such method of custody", fault.Usage},
		{"too few shares", holder.Custody{Method: "shares", Threshold: 1, Shares: 1}, with, none, "at least 2 shares must be needed", fault.Usage},
		{"a weak passphrase", holder.Custody{Method: "passphrase", Passphrase: []byte("secret")}, with, none, "fewer than 16 characters", fault.Usage},
		{"another's identity", shares, opens(newSite(t, holder.Custody{Method: "identity"}).made.Handout, ""), none, "another deployment's", fault.Disagreement},
		{"nowhere to hand out", shares, with, func(holder.Handout) error { return fault.New(fault.Usage, "writing", "the stick is full", "") }, "nothing was changed", fault.Usage},
		{"root.json cannot be replaced", shares, with, func(holder.Handout) error {
			return errors.Join(os.Rename(root, root+".kept"), os.Mkdir(root, 0o700))
		}, "nothing was changed", fault.Internal},
	} {
		_, err := holder.ReplaceCustody(t.Context(), s.options, refusal.to, refusal.with.collect(), refusal.handOut)
		var known *fault.Error
		if !errors.As(err, &known) || known.Kind != refusal.kind || !strings.Contains(err.Error(), refusal.wrong) {
			t.Errorf("%s: %v", refusal.name, err)
		}
		if _, err := os.Stat(root + ".kept"); err == nil {
			if err := errors.Join(os.Remove(root), os.Rename(root+".kept", root)); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := s.fsck(with); err != nil {
			t.Errorf("%s: it does not open as before: %v", refusal.name, err)
		}
	}
	if _, err := holder.ReplaceCustody(t.Context(), s.options, shares, with.collect(), func(holder.Handout) error { return nil }); err != nil {
		t.Errorf("the control: %v", err)
	}
}
