//go:build faults || heavy

package cmd_test

import (
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/holder/disktest"
)

// TestFullDiskStopsChangesOnly is scenario 4 of the reliability tests: on a disk
// that is full a change is refused with 507, what is read is answered, and the
// process goes on; with room again it takes changes by itself. The control is the
// store's own test: one that does not look dies.
func TestFullDiskStopsChangesOnly(t *testing.T) {
	stores := disktest.New(t, diskSize)
	s := newKeyholderIn(t, stores.Path, t.TempDir())
	s.start()
	operator := s.operator()
	defer operator.Close()
	add := func(name string) error {
		_, err := operator.Ask(t.Context(), api.OpDomainAdd, api.DomainAdd{Name: name, Scheme: "keyed-hash"})
		return err
	}
	if err := add("before"); err != nil {
		t.Fatal(err)
	}
	empty := stores.Fill(t)
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(200 * time.Millisecond) { // space is looked at from time to time
		err := add("during")
		if client.Code(err) == api.CodeNoSpace {
			break
		}
		if time.Now().After(until) {
			t.Fatalf("on a full disk: %v; it has said: %s", err, s.said())
		}
	}
	for range 3 {
		if domains, err := operator.Domains(t.Context()); err != nil || len(domains) == 0 {
			t.Errorf("reading from a full disk: %d domains, %v", len(domains), err)
		}
	}
	empty()
	for until := time.Now().Add(10 * time.Second); add("after") != nil; time.Sleep(200 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("with room again it does not go on: %s", s.said())
		}
	}
	select {
	case <-s.ended:
		t.Errorf("it ended: %s", s.said())
	default:
	}
	s.kill()
	s.start()
	if missing := s.missing([]string{"before", "after"}); len(missing) > 0 {
		t.Errorf("not there: %v", missing)
	}
	s.kill()
}
