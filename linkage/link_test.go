package linkage

import (
	"path/filepath"
	"strings"
	"testing"

	"tarn/linkage/cohort"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// TestLinkIsTheNestedLoop: what Link writes is what nested loops over all pairs
// of records give, for any number of parties, blocking and assignment.
func TestLinkIsTheNestedLoop(t *testing.T) {
	t.Parallel()
	two, plain := pair(t, 1, true), pair(t, 2, false)
	c, dir := newCrowd(3, 310, true), t.TempDir()
	three := []*side{c.party(t, dir, "east", c.people[:200]...), c.party(t, dir, "north", c.people[50:250]...), c.party(t, dir, "south", c.people[110:]...)}
	twice := c.party(t, dir, "west", append(append([]cohort.Row{}, c.people[:220]...), c.people[:140]...)...)
	// While tokens are brought to another epoch. Those of the first side have the same
	// bytes as before: nothing but their epoch keeps them from being compared.
	old := []*side{c.party(t, t.TempDir(), "north", c.people[50:250]...), c.party(t, t.TempDir(), "south", c.people[110:]...).of(t, 2)}
	mixed := []*side{c.party(t, t.TempDir(), "east", c.people[:200]...).of(t, 2), c.party(t, t.TempDir(), "north", c.people[50:250]...).of(t, 1), c.party(t, t.TempDir(), "south", c.people[110:]...).of(t, 2)}
	keys := map[string]int{}
	for _, x := range []struct {
		name     string
		sides    []*side
		assign   resolve.Assignment
		blocking string
	}{
		{"two parties", two, resolve.Mutual, BlockAuto},
		{"greedy", two, resolve.Greedy, BlockTags},
		{"any number of links", two, resolve.None, BlockTags},
		{"three parties", three, resolve.Mutual, BlockTags},
		{"two token epochs", old, resolve.Mutual, BlockTags},
		{"three parties, one of an older token epoch", mixed, resolve.Mutual, BlockTags},
		{"one party", []*side{twice}, resolve.None, BlockTags},
		{"one party, pairs of records", []*side{twice}, resolve.Mutual, BlockTags},
		{"all pairs", plain, resolve.Mutual, BlockAuto},
		{"hashes", plain, resolve.Mutual, BlockLSH},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := options(t, x.sides...)
			o.OneToOne, o.Blocking = x.assign, x.blocking
			j := done(t, o)
			checkJob(t, j, x.sides)
			for _, name := range []string{result.LinksFile, result.ConflictsFile} {
				for _, r := range readRows(t, filepath.Join(o.Out, name)) {
					words := strings.Fields(r.text)
					keys[words[len(words)-3]]++
					keys[words[len(words)-2]]++
					keys[words[len(words)-1]]++
					keys[name]++
				}
			}
		})
	}
	for _, want := range []string{"dob", "area", "token", "all", "lsh", result.BasisBoth, result.BasisDemographic, result.DecisionNo, result.DecisionReview, result.ConflictsFile} {
		if keys[want] == 0 {
			t.Errorf("no pair tries %s: %v", want, keys)
		}
	}
}
