package model

import (
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

// class numbers the classes of pairs.
type class int

const (
	strangers class = iota
	households
	twins
	matches
	classes
)

// Shares are the proportions of the classes among the compared pairs.
type Shares struct{ Strangers, Households, Twins, Matches float64 }

func sharesFrom(p [classes]float64) Shares {
	return Shares{p[strangers], p[households], p[twins], p[matches]}
}

func (s Shares) list() [classes]float64 {
	return [classes]float64{s.Strangers, s.Households, s.Twins, s.Matches}
}

func (s Shares) plus(o Shares) Shares {
	return Shares{s.Strangers + o.Strangers, s.Households + o.Households, s.Twins + o.Twins, s.Matches + o.Matches}
}

func (s Shares) times(a float64) Shares {
	return Shares{a * s.Strangers, a * s.Households, a * s.Twins, a * s.Matches}
}

func (s Shares) sum() float64 { return s.Strangers + s.Households + s.Twins + s.Matches }

// dateField is the name of the field on which twins agree and other people of
// one household do not.
const dateField = "date_of_birth"

// agrees reports whether a pair of the class has field f as one person's
// records have it, and not as strangers have.
func (c class) agrees(f compare.Field) bool {
	switch c {
	case matches:
		return true
	case twins:
		return f.Twin == cohort.TwinAgrees
	case households:
		return f.Twin == cohort.TwinAgrees && f.Name != dateField
	default:
		return false
	}
}

// exists reports whether the class can be told from all others in the scheme.
// Relatives agree on two fields at least: with one, any share of them explains
// as much as another. Twins need a field apart from the token on which they
// differ. Households are told from twins only where dates of birth are compared;
// where dates are blocked on, the two are the same.
func (c class) exists(scheme *compare.Scheme) bool {
	agree, differ, date := 0, false, false
	for _, f := range scheme.Fields[:len(scheme.Fields)-1] {
		if c.agrees(f) {
			agree++
		}
		differ = differ || f.Twin == cohort.TwinDiffers
		date = date || f.Name == dateField && f.Twin == cohort.TwinAgrees
	}
	switch c {
	case twins:
		return agree >= 2 && differ
	case households:
		return agree >= 2 && date
	default:
		return true
	}
}

// half is the pseudo-pairs of a class: half a pair more than was seen, so that
// no class is ruled out for good.
const half = .5

// sharePrior returns the pseudo-pairs of each class, 0 for one that the scheme
// does not have.
func sharePrior(scheme *compare.Scheme) Shares {
	var p [classes]float64
	for c := range p {
		if class(c).exists(scheme) {
			p[c] = half
		}
	}
	return sharesFrom(p)
}

// existing returns pseudo-pairs without the classes that do not exist.
func (x *structure) existing(pairs Shares) Shares {
	s := pairs.list()
	for c := range s {
		if !x.exists(class(c)) {
			s[c] = 0
		}
	}
	return sharesFrom(s)
}

// scaled returns the shares without the classes that do not exist, and with sum
// 1.
func (x *structure) scaled(shares Shares) Shares {
	s := x.existing(shares).list()
	sum := sharesFrom(s).sum()
	for c := range s {
		s[c] /= sum
	}
	return sharesFrom(s)
}
