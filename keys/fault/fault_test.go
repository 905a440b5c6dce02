package fault_test

import (
	"errors"
	"fmt"
	"io/fs"
	"testing"

	"tarn/keys/fault"
)

func TestErrorText(t *testing.T) {
	for _, c := range []struct {
		err  *fault.Error
		want string
	}{
		{fault.New(fault.Usage, "reading the key file", "mode 0644", "run chmod 600"), "reading the key file: mode 0644; run chmod 600"},
		{fault.New(fault.Usage, "reading", "no header", ""), "reading: no header"},
		{fault.Wrap(fault.Internal, "opening x", fs.ErrNotExist, ""), "opening x: file does not exist"},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestKindOfSurvivesWrapping(t *testing.T) {
	err := fmt.Errorf("linking: %w", fault.Wrap(fault.Disagreement, "comparing manifests", fs.ErrInvalid, ""))
	if fault.KindOf(err) != fault.Disagreement {
		t.Errorf("kind lost in wrapping: %v", fault.KindOf(err))
	}
	if !errors.Is(err, fs.ErrInvalid) {
		t.Error("cause lost in wrapping")
	}
	if fault.KindOf(errors.New("other")) != fault.Internal {
		t.Error("an error of no kind must be internal")
	}
}
