package linkage

import (
	"strings"
	"testing"

	"tarn/keys/fault"
)

// TestCandidatesThatDoNotFitAreRefused: how many they are is known before any is
// made. With the memory that they need the job is done.
func TestCandidatesThatDoNotFitAreRefused(t *testing.T) {
	o := options(t, pair(t, 5, true)...)
	o.Keep = 1e-12
	whole := done(t, o)
	if len(whole.candidates) <= 100 {
		t.Fatalf("%d candidates are too few to be refused", len(whole.candidates))
	}
	o = options(t, pair(t, 5, true)...)
	o.Keep, o.Memory = 1e-12, whole.records()+100*ofCandidate
	j := newJob(o)
	t.Cleanup(j.close)
	_, err := j.do(t.Context())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--keep") {
		t.Fatalf("more than a hundred candidates in the memory of a hundred: %v", err)
	}
}
