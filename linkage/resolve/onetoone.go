package resolve

// OneToOneFactor returns by what the odds of a pair's own evidence are
// multiplied before candidates compete, where sides of so many records hold one
// record of a person at most and so many matches are expected between them.
//
// A model that is fitted to pairs one by one learns the odds that a pair is a
// match whatever else its records match. Compete asks something else: the odds
// of the pair against the event that neither record has any match. Of the
// pairs of the first kind that are no match, most have a record whose match is
// another: only a share (1-matches/left)(1-matches/right) are of the second. So
// the odds are larger by the inverse: 4 where half of each side match. Without
// it probabilities between .1 and .9 were far too low (docs/model.md).
func OneToOneFactor(matches, left, right float64) float64 {
	return 1 / (unmatched(matches, left) * unmatched(matches, right))
}

// unmatched is the share of the records of a side that have no match: never
// none, since the number of matches is an estimate.
func unmatched(matches, rows float64) float64 {
	const least = .02
	if rows <= 0 {
		return 1
	}
	return max(least, 1-matches/rows)
}

// Where no tokens are compared and pairs are brought together by a date of
// birth, nothing in the data tells how many matches were missed. This share is
// what the error rates of an NHS trust give for two sides (docs/model.md), and
// the error is as large, since other data have several times as many.
const missedByDate = .01

// MissedByDate returns the matches that blocking on a date of birth is expected
// to miss, and the standard error, where matches were found and no token tells
// more.
func MissedByDate(found float64) (missed, standardError float64) {
	missed = found * missedByDate / (1 - missedByDate)
	return missed, missed
}
