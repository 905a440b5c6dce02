package linkage

import (
	"strings"
	"testing"

	"tarn/keys/fault"
)

// TestCandidatesThatDoNotFitAreRefused: how many they are is known before any is
// made. With the memory that they need the job is done.
func TestCandidatesThatDoNotFitAreRefused(t *testing.T) {
	whole := done(t, options(t, pair(t, 5, true)...)) // with memory enough
	o := options(t, pair(t, 5, true)...)
	o.Memory = whole.records() + 20*ofCandidate
	j := newJob(o)
	t.Cleanup(j.close)
	_, err := j.do(t.Context())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--keep") {
		t.Fatalf("the candidates of 150 people in the memory of twenty: %v", err)
	}
}
