package source

import "tarn/keys/nhsnumber"

// NumberDetector tells whether a column of ids holds NHS numbers, which must
// not be used as ids: the crosswalk would then be a list of them.
type NumberDetector struct{ seen, valid int }

// Add counts one value.
func (d *NumberDetector) Add(value string) {
	if value != "" && len(value) < len(nhsnumber.Number{}) { // too short for any, and most are
		d.seen++
		return
	}
	_, state, problem := nhsnumber.Parse(value)
	if state == nhsnumber.Absent {
		return
	}
	d.seen++
	if state != nhsnumber.Invalid || problem == nhsnumber.Repeated {
		d.valid++
	}
}

// minimumSeen is the number of values below which nothing is said.
const minimumSeen = 10

// LooksLikeNHSNumbers reports whether at least 30% of the values pass the
// check digit; of random ten-digit numbers 1 in 11 does.
func (d *NumberDetector) LooksLikeNHSNumbers() bool {
	return d.seen >= minimumSeen && 10*d.valid >= 3*d.seen
}
