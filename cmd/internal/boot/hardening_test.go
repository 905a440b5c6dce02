package boot

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestWhatIsLackingIsSaid(t *testing.T) {
	for _, tt := range []struct {
		hardening *hardening
		hardened  bool
		stderr    string
	}{
		{nil, false, ""},
		{&hardening{}, true, ""},
		{&hardening{lacking: []string{"PR_SET_DUMPABLE was refused"}}, false, `level=WARN msg="the process is not hardened`},
	} {
		var stderr bytes.Buffer
		hardened := false
		code := run(t.Context(), func(env *Environment) *cobra.Command {
			return &cobra.Command{Use: "prog", Run: func(*cobra.Command, []string) { hardened = env.Hardened() }}
		}, nil, strings.NewReader(""), &bytes.Buffer{}, &stderr, tt.hardening)
		if code != 0 || hardened != tt.hardened || (stderr.String() == "") != (tt.stderr == "") || !strings.Contains(stderr.String(), tt.stderr) {
			t.Errorf("%v: exit %d, hardened %t, %q", tt.hardening, code, hardened, stderr.String())
		}
	}
}
