package keyring

import (
	"os"
	"strings"
	"testing"

	"tarn/keys/api"
)

// TestTransitionsAreDocumented holds docs/key-holder.md to the states of a key
// and what each may become.
func TestTransitionsAreDocumented(t *testing.T) {
	b, err := os.ReadFile("../../../../docs/key-holder.md")
	if err != nil {
		t.Fatal(err)
	}
	states := []api.EpochState{api.StatePending, api.StateCurrent, api.StateReadable, api.StateRetired, api.StateCompromised, api.StateDestroyed}
	if len(states) != len(transitions) {
		t.Fatalf("%d states are looked at, there are %d", len(states), len(transitions))
	}
	for _, from := range states {
		var may []string
		for _, to := range states {
			if Transition(from, to) {
				may = append(may, "`"+string(to)+"`")
			}
		}
		line := "\n| `" + string(from) + "` | " + strings.Join(may, ", ") + " | "
		if len(may) == 0 {
			line = "\n| `" + string(from) + "` | | "
		}
		if !strings.Contains(string(b), line) {
			t.Errorf("docs/key-holder.md lacks %q", line)
		}
	}
}
