package dataprofile

// verdict is what is shown of counts that add up to a known total.
type verdict struct {
	hidden []bool
	small  []bool // of the hidden, those that the reader is told are 1 to limit - 1
}

// all hides every count, zeros too, and tells of none that it is small.
func (v *verdict) all() *verdict {
	for i := range v.hidden {
		v.hidden[i], v.small[i] = true, false
	}
	return v
}

// hide says which of several counts are hidden, where the reader knows their
// total and this rule. A count is small when it is 1 to limit-1. Where there is
// one, small counts are hidden, and of the others, in the order in which they
// are given, one after another, until what these have beyond limit makes up for
// what the small ones have less than limit-1: the sum of all that is hidden then
// leaves open whether a small count is 1, limit-1 or anything between. Where the
// others do not suffice, or the total is less than 2 limit, everything is
// hidden.
//
// For limit of at least 4 and fewer than limit counts, this holds: for each
// hidden count there is another table of the same total for which the same is
// shown and in which that count is different. It is reached by moving a row
// from one hidden count to another, and where everything is hidden by changing
// their places.
func hide(counts []int64, limit int64) *verdict {
	v := &verdict{hidden: make([]bool, len(counts)), small: make([]bool, len(counts))}
	total, lacking, spare := int64(0), int64(0), int64(0)
	small := false
	for i, n := range counts {
		total += n
		if n > 0 && n < limit {
			v.hidden[i], v.small[i] = true, true
			small = true
			lacking += limit - 1 - n
		}
	}
	switch {
	case total == 0:
		return v
	case total < 2*limit:
		return v.all()
	case !small:
		return v
	}
	for i, n := range counts {
		if n < limit {
			continue
		}
		v.hidden[i] = true
		if spare += n - limit; spare >= lacking {
			return v
		}
	}
	return v.all()
}

// span is what a reader knows of a count: one value where lo is hi, or nothing,
// which is 0 to all rows.
type span struct{ lo, hi int64 }

func exactly(n int64) span { return span{n, n} }

func (s span) known() bool { return s.lo == s.hi }

// overlap is what is known of how rows can be linked once the usable values of
// each field are shown or hidden.
type overlap struct {
	rows int64 // all that may be linkable
	// unread says that an unknown number of 1 or more of the rows cannot be read.
	unread                      bool
	number, date, given, family span // usable values
	byDemographics, neither     int64
	// whether these two are shown
	showDemographics, showNeither bool
}

// judge decides whether the two counts are shown. They share rows with the
// counts of the fields: with these, the rows that can be linked by both ways,
// by the number only, by demographics only and by neither follow from them. So
// they are hidden where one of those four is small or a count of the fields is
// hidden; a count that follows from the fields' own is shown, as there is
// nothing left to hide; and where hiding would itself tell the one value that
// needs hiding, all values are hidden. Rows that cannot be read hold neither a
// date nor a name: demographics that leave too little room for them are hidden.
func (o *overlap) judge(limit int64) {
	small := func(n int64) bool { return n > 0 && n < limit }
	end := func(n int64) bool { return n == 0 || n == o.rows }
	demographics := span{max(0, o.date.lo+max(o.given.lo, o.family.lo)-o.rows), min(o.date.hi, o.given.hi+o.family.hi)}
	number := o.number.lo
	crowded := int64(-1) // the most rows by demographics that leave too little room
	if o.unread {
		crowded = o.date.lo + max(o.given.lo, o.family.lo) - o.rows + limit - 1
	}
	both := number + o.byDemographics + o.neither - o.rows
	cell := small(both) || small(number-both) || small(o.byDemographics-both) || small(o.neither) || o.byDemographics <= crowded
	o.showDemographics = demographics.known()
	switch {
	case !o.number.known():
		o.showNeither = demographics == exactly(o.rows)
	case demographics.known():
		o.showNeither = end(number) || end(demographics.lo) || !cell
	case !o.date.known() || !o.given.known() || !o.family.known():
		o.showNeither = number == o.rows
	case end(number):
		within := func(from, to int64) int64 { return max(0, min(demographics.hi, to)-max(demographics.lo, from)+1) }
		low, from := max(limit-1, crowded), int64(1)
		if crowded >= 0 {
			from = 0
		}
		needy := within(from, low) + within(max(low, o.rows-limit)+1, o.rows-1)
		o.showDemographics = needy != 1 && !cell
		o.showNeither = number == o.rows || o.showDemographics
	default:
		o.showDemographics, o.showNeither = !cell, !cell
	}
}
