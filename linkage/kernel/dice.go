package kernel

import "math"

// Match is a right row whose Dice coefficient with a left row reaches the
// threshold.
type Match struct {
	// Row is the index of the right row.
	Row uint32
	// Common is the number of bits that are set in both.
	Common uint32
	// Dice is 2*Common divided by the sum of both numbers of set bits, in
	// double precision, and 0 where no bit is set in either.
	Dice float64
}

// Dice returns the coefficient of two filters with a and b bits set, common of
// them in both, in the arithmetic of anonlink: one division of doubles.
func Dice(common, a, b int) float64 {
	if a == 0 || b == 0 {
		return 0
	}
	return float64(2*common) / float64(a+b)
}

// rule is the decision on a pair: which numbers of common bits reach the
// threshold. It decides as anonlink 0.15.3 does (similarities/dice.cpp), whose
// test of a pair is the comparison of the coefficient, in doubles, with the
// threshold, after a bound on the difference in length that is rounded down in
// doubles as well: at some thresholds (3/4 is one) it loses pairs that reach
// them exactly, one filter being part of the other.
type rule struct {
	threshold float64
	needs     []int32 // by a+b: the least common count that reaches the threshold
}

// never is a need that no pair meets.
const never = math.MaxInt32

// newRule makes the rule for filters of some bits.
func newRule(threshold float64, size int) *rule {
	r := &rule{threshold: threshold, needs: make([]int32, 2*size+1)}
	for sum := range r.needs {
		r.needs[sum] = leastCommon(threshold, sum)
	}
	return r
}

// leastCommon returns the least common count whose coefficient, in doubles,
// reaches the threshold, never if there is none; it may be above half of the
// sum, which no pair has. As a function of the sum it does not fall, and rises
// by one at most: tiles are judged by their ends.
func leastCommon(threshold float64, sum int) int32 {
	switch {
	case threshold <= 0:
		return 0
	case !(threshold <= 1):
		return never
	case sum == 0:
		return 1 // nothing divided by nothing reaches no threshold
	}
	reaches := func(common int32) bool { return float64(2*common)/float64(sum) >= threshold }
	common := int32(threshold * float64(sum) / 2) // off by one at most
	for reaches(common - 1) {
		common--
	}
	for !reaches(common) {
		common++
	}
	return common
}

// need returns the least common count that makes filters with a (left) and b
// (right) bits set a match; never if none does.
func (r *rule) need(a, b int) int {
	if r.threshold <= 0 {
		return 0
	}
	need := int(r.needs[a+b])
	if need > min(a, b) || max(a-b, b-a) > r.longer(a) {
		return never
	}
	return need
}

// longer returns by how many bits a right filter may be longer than a left one
// with a bits. The conversion of the product rounds down, as in anonlink.
func (r *rule) longer(a int) int {
	delta := float64(2*a) * (1/r.threshold - 1)
	if delta < math.MaxInt32 {
		return int(delta)
	}
	return math.MaxInt32
}
