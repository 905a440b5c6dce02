package trial

import (
	"cmp"
	"slices"

	"tarn/linkage/result"
)

// Kind is a kind of error and how often it was made.
type Kind struct {
	What   string `json:"what"`
	Fields string `json:"differing"` // clear-text fields in which the two records differ; a question mark: one side lacks it
	Count  int64  `json:"count"`
}

// kindsListed bounds the kinds of a list; the rest are summed up in one.
const kindsListed = 12

// What became of true pairs that were not linked.
const (
	missedByBlocking = "missed by blocking"
	setAside         = "set aside as a conflict"
	lostToAnother    = "a record of it was linked to another"
	inReview         = "in review"
	belowThreshold   = "below the threshold"
	notKept          = "not in links.parquet"
)

// What false links join.
const (
	twins      = "twins: date, family name and place agree"
	namesakes  = "namesakes: names and date agree"
	relatives  = "relatives: family name and place agree"
	sameNumber = "one NHS number"
	others     = "other people"
)

// falseNegatives tells true pairs that were not linked apart.
func falseNegatives(c *Clear, t truth, links, conflicts []link) []Kind {
	known := map[pair]*link{}
	taken := map[record]bool{}
	for i := range links {
		l := &links[i]
		known[l.pair] = l
		if a, b := l.records(); l.linked() {
			taken[a], taken[b] = true, true
		}
	}
	aside := map[pair]bool{}
	for i := range conflicts {
		aside[conflicts[i].pair] = true
	}
	counts := map[[2]string]int64{}
	for p := range t {
		l := known[p]
		if l != nil && l.linked() {
			continue
		}
		a, b := p.records()
		what := notKept
		switch {
		case aside[p]:
			what = setAside
		case !c.reachable(a, b):
			what = missedByBlocking
		case !c.dataset.Dedupe() && (taken[a] || taken[b]):
			what = lostToAnother
		case l != nil && l.decision == result.DecisionReview:
			what = inReview
		case l != nil:
			what = belowThreshold
		}
		counts[[2]string{what, c.differing(a, b)}]++
	}
	return kinds(counts)
}

// falsePositives tells links of different people apart.
func falsePositives(c *Clear, t truth, links []link) []Kind {
	counts := map[[2]string]int64{}
	for i := range links {
		if l := &links[i]; l.linked() && !t.has(l.pair) {
			a, b := l.records()
			counts[[2]string{c.people(a, b), c.differing(a, b)}]++
		}
	}
	return kinds(counts)
}

// people says who two records of different people are to each other.
func (c *Clear) people(a, b record) string {
	same := func(column string) bool { return c.value(a, column) != "" && c.value(a, column) == c.value(b, column) }
	w := c.dataset.Twins
	date := c.date(a) != "" && c.date(a) == c.date(b)
	switch {
	case c.number(a) != "" && c.number(a) == c.number(b):
		return sameNumber
	case date && same(w.Family) && same(w.Place) && !same(w.Given):
		return twins
	case date && same(w.Family) && same(w.Given):
		return namesakes
	case same(w.Family) && same(w.Place):
		return relatives
	}
	return others
}

func kinds(counts map[[2]string]int64) []Kind {
	list := make([]Kind, 0, len(counts))
	for k, n := range counts {
		list = append(list, Kind{k[0], k[1], n})
	}
	slices.SortFunc(list, func(a, b Kind) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.What, b.What), cmp.Compare(a.Fields, b.Fields))
	})
	if len(list) > kindsListed {
		rest := Kind{What: "all other kinds"}
		for _, k := range list[kindsListed:] {
			rest.Count += k.Count
		}
		list = append(list[:kindsListed], rest)
	}
	return list
}
