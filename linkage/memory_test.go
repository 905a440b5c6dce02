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
	records := int64(leastMemory + 2*230*leastOfRecord)
	o.Memory = records + 100*ofCandidate
	j := newJob(o)
	t.Cleanup(j.close)
	_, err := j.do(t.Context())
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "--keep") {
		t.Fatalf("more than a hundred candidates in the memory of a hundred: %v", err)
	}
	o = options(t, pair(t, 5, true)...)
	o.Memory = records + 10_000*ofCandidate
	if j := done(t, o); len(j.candidates) <= 100 {
		t.Errorf("%d candidates: the refusal above is of something else", len(j.candidates))
	}
}
