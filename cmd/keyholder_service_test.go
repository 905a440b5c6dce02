package cmd_test

import (
	"path/filepath"
	"testing"
	"time"

	"tarn/bench/keyholder"
	"tarn/keys/client"
)

// service is a key holder with one operator, as its own process, until the test
// ends.
type service struct {
	*keyholder.KeyHolder
	t *testing.T
}

func newService(t *testing.T, edit ...func(*keyholder.Options)) *service {
	t.Helper()
	binaries := t.TempDir()
	build(t, binaries)
	o := keyholder.Options{Binary: filepath.Join(binaries, "keyholder"), Folder: t.TempDir(), Software: "test", Clock: time.Now}
	for _, e := range edit {
		e(&o)
	}
	k, err := keyholder.Begin(t.Context(), o)
	if k != nil {
		t.Cleanup(func() { _ = k.Kill() }) // most have ended
	}
	if err != nil {
		t.Fatal(err)
	}
	return &service{k, t}
}

func (s *service) operator() *client.Client {
	s.t.Helper()
	c, err := s.As(keyholder.Operator)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}
