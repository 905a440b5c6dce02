package clk

// trial finds out whether it pays to look for the values of a feature: where
// most come once, making them of their tokens is quicker. It tries again from
// time to time.
type trial struct {
	asked, found int
	rest         int // values until the next trial
}

const (
	trialValues = 1 << 13
	trialRest   = 7 * trialValues
)

// off reports that the next value is not to be looked for.
func (t *trial) off() bool {
	if t.rest == 0 {
		return false
	}
	t.rest--
	return true
}

// result says whether a value was found.
func (t *trial) result(found bool) {
	t.asked++
	if found {
		t.found++
	}
	if t.asked == trialValues {
		if t.found < trialValues/2 {
			t.rest = trialRest
		}
		t.asked, t.found = 0, 0
	}
}
