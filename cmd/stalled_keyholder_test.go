//go:build heavy || faults

package cmd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/client"
)

// stalledTTL is how long the leases of the test last: they are renewed after half
// of it, and count as over five seconds before their end.
const stalledTTL = 20 * time.Second

// region is a key holder, a tokeniser enrolled with it, and people.
type region struct {
	*keyholder
	people, credentials, project string
	table                        []byte
	want                         []byte // the cohort of a run that nothing happened to
}

func newRegion(t *testing.T) *region {
	t.Helper()
	r := &region{keyholder: newKeyholder(t)}
	r.people, r.credentials, r.project = filepath.Join(r.folder, "people"), filepath.Join(r.folder, "north"), filepath.Join(r.folder, "project.json")
	config, err := os.ReadFile(r.config)
	if err == nil {
		err = os.WriteFile(r.config, fmt.Appendf(config, "[leases]\nttl = %q\n", stalledTTL), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Dir(r.binary)
	if code, said := output(t, filepath.Join(bin, "tarn"), "synth", "--people", "4000", "--parties", "1", "--overlap", "0", "--seed", "9", "--keys", "--out", r.people); code != 0 {
		t.Fatalf("tarn synth: exit %d: %s", code, said)
	}
	record := unpinned(t, filepath.Join(r.people, "project.json"))
	r.start()
	operator := r.operator()
	defer operator.Close()
	ask := func(kind api.OperationKind, body any) *api.Operation {
		o, err := operator.Ask(t.Context(), kind, body)
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	ask(api.OpDomainAdd, api.DomainAdd{Name: "synthetic", Scheme: "keyed-hash"})
	ask(api.OpProjectAdd, api.ProjectAdd{Record: record})
	o := ask(api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"synth-9"}})
	given, err := operator.Collect(t.Context(), o.ID)
	if err == nil {
		_, err = client.Enrol(t.Context(), client.Enrolment{URL: "https://" + r.address, Code: given.Code, Folder: r.credentials}, time.Now)
	}
	if err != nil {
		t.Fatal(err)
	}
	if code, said := output(t, filepath.Join(bin, "tokeniser"), "project", "synth-9", "--as", r.credentials, "--out", r.project); code != 0 {
		t.Fatalf("tokeniser project: exit %d: %s", code, said)
	}
	if r.table, err = os.ReadFile(filepath.Join(r.people, "north.csv")); err != nil {
		t.Fatal(err)
	}
	// The first run pins the encoding key, and so changes the record.
	for _, out := range []string{"first.parquet", "whole.parquet"} {
		if code, said := r.encode(t, out, bytes.NewReader(r.table)); code != 0 {
			t.Fatalf("exit %d: %s", code, said)
		}
	}
	if r.want, err = os.ReadFile(filepath.Join(r.folder, "whole.parquet")); err != nil {
		t.Fatal(err)
	}
	return r
}

// unpinned returns a project's record without the check values of keys.
func unpinned(t *testing.T, path string) []byte {
	t.Helper()
	var record map[string]any
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &record)
	}
	if err != nil {
		t.Fatal(err)
	}
	set := record["keys"].(map[string]any)
	set["token_kcv"], set["encoding_kcv"] = nil, nil
	if b, err = json.Marshal(record); err != nil {
		t.Fatal(err)
	}
	return b
}

// encode encodes a table from a pipe.
func (r *region) encode(t *testing.T, out string, table io.Reader, more ...string) (code int, said string) {
	t.Helper()
	c := exec.Command(filepath.Join(filepath.Dir(r.binary), "tokeniser"), append([]string{"run", "--project", r.project, "--as", r.credentials, "--keyholder", "https://" + r.address,
		"--in", "-", "--source", "north", "--confirm-map", "--checkpoint-rows", "500", "--out", filepath.Join(r.folder, out)}, more...)...)
	c.Env = append(os.Environ(), "SOURCE_DATE_EPOCH=1767225600")
	c.Stdin = table
	var both strings.Builder
	c.Stdout, c.Stderr = &both, &both
	if err := c.Run(); err != nil && c.ProcessState == nil {
		t.Fatal(err)
	}
	return c.ProcessState.ExitCode(), both.String()
}

// slowly gives half a table, then what happens, then the rest when the run is to
// go on; a table that nothing more comes of ends with the context.
func (r *region) slowly(ctx context.Context, happens func(), rest <-chan struct{}) io.Reader {
	read, write, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	half := bytes.LastIndexByte(r.table[:len(r.table)/2], '\n') + 1
	go func() {
		defer func() { _ = write.Close() }() // the reader may be gone
		_, _ = write.Write(r.table[:half])
		time.Sleep(time.Second) // the first rows are on their way
		happens()
		select {
		case <-rest:
			_, _ = write.Write(r.table[half:])
		case <-ctx.Done():
		}
	}()
	return read
}

// resumes wants a run that ended early to go on to the bytes of one that did not.
func (r *region) resumes(t *testing.T, out string) {
	t.Helper()
	code, said := r.encode(t, out, bytes.NewReader(r.table), "--resume")
	if code != 0 || !strings.Contains(said, "had been encoded before the interruption") {
		t.Fatalf("resumed: exit %d: %s", code, said)
	}
	got, err := os.ReadFile(filepath.Join(r.folder, out))
	if err != nil || !bytes.Equal(got, r.want) {
		t.Errorf("a run that went on gives other bytes, %v", err)
	}
}

// endsInTime wants a run to end with a code before its leases do, with nothing
// under its name.
func (r *region) endsInTime(t *testing.T, out string, begun time.Time, code, want int, said string) {
	t.Helper()
	if took := time.Since(begun); code != want || took > stalledTTL {
		t.Errorf("exit %d after %v: %s", code, took, said)
	}
	if !strings.Contains(said, "what was encoded so far is kept") {
		t.Errorf("it is not said what to do: %s", said)
	}
	if _, err := os.Stat(filepath.Join(r.folder, out)); err == nil {
		t.Error("a run that ended early left a cohort")
	}
}

// used returns the rows that the key holder was told of for each lease.
func (r *region) used(t *testing.T) map[string]int64 {
	t.Helper()
	operator := r.operator()
	defer operator.Close()
	rows, after := map[string]int64{}, ""
	for {
		events, next, err := operator.Events(t.Context(), after)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range events {
			var leaf struct {
				Kind, Outcome, Request string
				Count                  int64
			}
			if err := json.Unmarshal(e.Leaf, &leaf); err != nil {
				t.Fatal(err)
			}
			if leaf.Kind == "lease" && leaf.Outcome == "used" {
				rows[leaf.Request] += leaf.Count
			}
		}
		if next == "" {
			return rows
		}
		after = next
	}
}

// TestRunOutlivesNoLease is scenario 19 of the reliability tests, from the
// tokeniser's side: a key holder that stalls or is cut off in the middle of a run
// ends the run before its leases do, without a storm of requests; one that is
// back in time does not; and a run that ended goes on to the same bytes. What was
// reported is recorded once.
func TestRunOutlivesNoLease(t *testing.T) {
	t.Run("stalled", func(t *testing.T) {
		t.Parallel()
		r := newRegion(t)
		defer r.kill()
		begun := time.Now()
		code, said := r.encode(t, "north.parquet", r.slowly(t.Context(), func() { _ = r.process.Process.Signal(syscall.SIGSTOP) }, nil))
		r.endsInTime(t, "north.parquet", begun, code, 5, said)
		if err := r.process.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		back := time.Now()
		r.ready()
		if took := time.Since(back); took > 2*time.Second {
			t.Errorf("ready %v after it stalled", took)
		}
		r.resumes(t, "north.parquet")
		for lease, rows := range r.used(t) {
			if rows > 4000 {
				t.Errorf("lease %s was used for %d rows of 4,000", lease, rows)
			}
		}
	})
	t.Run("stalled for a while", func(t *testing.T) { // the control: this run does not end
		t.Parallel()
		r := newRegion(t)
		defer r.kill()
		rest := make(chan struct{})
		code, said := r.encode(t, "north.parquet", r.slowly(t.Context(), func() {
			time.Sleep(stalledTTL/2 - 3*time.Second)
			_ = r.process.Process.Signal(syscall.SIGSTOP)
			time.Sleep(5 * time.Second) // the renewal falls into it
			_ = r.process.Process.Signal(syscall.SIGCONT)
			time.Sleep(stalledTTL / 2) // the old leases have ended
			close(rest)
		}, rest))
		got, err := os.ReadFile(filepath.Join(r.folder, "north.parquet"))
		if code != 0 || err != nil || !bytes.Equal(got, r.want) {
			t.Fatalf("exit %d, %v: %s", code, err, said)
		}
		leases := 0
		for _, rows := range r.used(t) {
			if rows == 4000 {
				leases++
			}
		}
		if leases != 6 {
			t.Errorf("of two keys in three runs of 4,000 rows %d were reported whole", leases)
		}
	})
	t.Run("cut off", func(t *testing.T) {
		t.Parallel()
		r := newRegion(t)
		var asked atomic.Int64
		begun := time.Now()
		code, said := r.encode(t, "north.parquet", r.slowly(t.Context(), func() {
			r.kill()
			l, err := net.Listen("tcp", r.address)
			if err != nil {
				t.Error(err)
				return
			}
			t.Cleanup(func() { _ = l.Close() })
			go func() {
				for {
					c, err := l.Accept()
					if err != nil {
						return
					}
					asked.Add(1)
					_ = c.Close()
				}
			}()
		}, nil))
		r.endsInTime(t, "north.parquet", begun, code, 5, said)
		if n := asked.Load(); n == 0 || n > 30 {
			t.Errorf("a key holder that is cut off was asked %d times", n)
		}
		t.Logf("asked %d times", asked.Load())
		r.start()
		defer r.kill()
		r.resumes(t, "north.parquet")
	})
	t.Run("revoked", func(t *testing.T) {
		t.Parallel()
		r := newRegion(t)
		defer r.kill()
		begun := time.Now()
		code, said := r.encode(t, "north.parquet", r.slowly(t.Context(), func() {
			operator := r.operator()
			defer operator.Close()
			if _, err := operator.Ask(context.WithoutCancel(t.Context()), api.OpClientRevoke, api.ClientNamed{Name: "north", Reason: "contract ended"}); err != nil {
				t.Error(err)
			}
		}, nil))
		r.endsInTime(t, "north.parquet", begun, code, 4, said)
	})
}
