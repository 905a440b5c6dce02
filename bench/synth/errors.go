package synth

import (
	"strings"
	"time"

	"tarn/keys/nhsnumber"
)

// Rates are the chances that a record of one side is wrong, each on its own.
// Rates of names, date and missing number are multiplied by the factor of the
// person's group, unless they are even.
type Rates struct {
	Even                                      bool // the same for all groups
	NumberMissing, NumberWrong                float64
	FamilyFemale, FamilyMale                  float64 // another or misspelt family name
	GivenWrong, GivenPhonetic, GivenTruncated float64
	DateWrong                                 float64
	SexWrong                                  float64
	PostcodeChanged, PostcodePseudo           float64
}

// dateOneComponent is the share of wrong dates that are wrong in one component.
const dateOneComponent = .93

// nhsRates are those found between two systems of an NHS trust, published with
// CRATE (Cardinal 2023), and numbers missing or wrong at stated rates.
var nhsRates = Rates{
	NumberMissing: .10, NumberWrong: .001, FamilyFemale: .0567, FamilyMale: .0134,
	GivenWrong: .006, GivenPhonetic: .009, GivenTruncated: .008, DateWrong: .00492, SexWrong: .0033,
	PostcodeChanged: .30, PostcodePseudo: .002,
}

// crateRates are those of CRATE as they were published: how often one system
// differs from the other, so one of two sides has them, and the same for all
// groups. Numbers are missing or wrong on either side.
var (
	crateRates          = evenly(nhsRates)
	crateReferenceRates = Rates{Even: true, NumberMissing: nhsRates.NumberMissing, NumberWrong: nhsRates.NumberWrong}
)

func evenly(r Rates) Rates {
	r.Even = true
	return r
}

// hardRates are a source with poor data: numbers, dates and three times as many
// errors in names.
var hardRates = Rates{
	NumberMissing: .30, NumberWrong: .01, FamilyFemale: 3 * .0567, FamilyMale: 3 * .0134,
	GivenWrong: 3 * .006, GivenPhonetic: 3 * .009, GivenTruncated: 3 * .008, DateWrong: .02, SexWrong: .0033,
	PostcodeChanged: .30, PostcodePseudo: .002,
}

// Factor is by how much errors in names, date and missing numbers are more
// frequent in an ethnic group than in the first.
func Factor(ethnicGroup string) float64 {
	switch ethnicGroup {
	case "Asian", "Black":
		return 3
	case "Mixed", "Other":
		return 2
	}
	return 1
}

// Mistake is a kind of error in a record.
type Mistake uint16

// The kinds of error.
const (
	NumberMissing Mistake = 1 << iota
	NumberWrong
	FamilyWrong
	GivenWrong
	GivenPhonetic
	GivenTruncated
	DateWrong
	SexWrong
	PostcodeChanged
	PostcodePseudo
)

// record is a person as one side has them.
type record struct {
	person
	number   string
	previous string
	sexText  string
	dateText string
	mistakes Mistake
}

// record makes the record of a person on a side.
func (p *population) record(x person, side uint64, rates *Rates) (r record) {
	d := newDraw(p.seed, streamRecord, x.index*64+side)
	r.person = x
	factor := 1.0
	if !rates.Even {
		factor = Factor(ethnicNames[x.ethnic])
	}
	chance := func(m Mistake, probability float64) bool {
		if !d.chance(probability) {
			return false
		}
		r.mistakes |= m
		return true
	}
	if !chance(NumberMissing, rates.NumberMissing*factor) {
		r.number = p.nhsNumber(x.index)
		if chance(NumberWrong, rates.NumberWrong) {
			r.number = wrongNumber(r.number, &d)
		}
	}
	family := rates.FamilyMale
	if x.female {
		family = rates.FamilyFemale
	}
	if chance(FamilyWrong, family*factor) {
		p.changeFamily(&r, &d)
	}
	r.given = p.changeGiven(&r, &d, chance, rates, factor)
	if chance(DateWrong, rates.DateWrong*factor) {
		r.birth = wrongDate(x.birth, &d)
	}
	r.dateText = r.birth.Format(time.DateOnly)
	female := x.female
	if chance(SexWrong, rates.SexWrong) {
		female = !female
	}
	r.sexText = "1"
	if female {
		r.sexText = "2"
	}
	switch {
	case chance(PostcodePseudo, rates.PostcodePseudo):
		r.postcode = "ZZ99 3VZ"
	case chance(PostcodeChanged, rates.PostcodeChanged):
		r.postcode = another(x.postcode, func() string { return p.postcodeOf(&d, x.decile) })
	}
	return r
}

// wrongNumber returns another valid number near this one, as when a
// neighbouring line is copied.
func wrongNumber(number string, d *draw) string {
	for {
		b := []byte(number)
		b[3+d.below(6)] = byte('0' + d.below(10))
		if digit, ok := nhsnumber.CheckDigit([9]byte(b[:9])); ok && string(b[:9]) != number[:9] {
			b[9] = digit
			return string(b)
		}
	}
}

// changeFamily gives women four times in five, and men one time in two,
// another name altogether, as marriage does; the rest are misspelt.
func (p *population) changeFamily(r *record, d *draw) {
	replaced := .5
	if r.female {
		replaced = .8
	}
	if !d.chance(replaced) {
		r.family = misspell(r.family, d)
		return
	}
	before := r.family
	r.family = another(before, func() string { return p.names.family[originFor(r.ethnic, d)].pick(d) })
	if d.chance(.5) {
		r.previous = before
	}
}

func (p *population) changeGiven(r *record, d *draw, chance func(Mistake, float64) bool, rates *Rates, factor float64) string {
	switch {
	case chance(GivenWrong, rates.GivenWrong*factor):
		list := p.names.given[originFor(r.ethnic, d)][sexIndex(r.female)][cohortOf(r.birth.Year())]
		return another(r.given, func() string { return list.pick(d) })
	case chance(GivenPhonetic, rates.GivenPhonetic*factor):
		return respell(r.given, d)
	case chance(GivenTruncated, rates.GivenTruncated*factor):
		return r.given[:min(2, len(r.given))]
	}
	return r.given
}

// another draws until it gets something else than before. Tables that hold
// little else give before back after a while.
func another(before string, draw func() string) string {
	for range 1000 {
		if drawn := draw(); drawn != before {
			return drawn
		}
	}
	return before
}

// misspell makes one typing mistake: a letter replaced, left out, doubled, or
// two that change places.
func misspell(name string, d *draw) string {
	b := []byte(name)
	if len(b) < 2 {
		return name + name
	}
	at := 1 + d.below(len(b)-1)
	switch d.below(4) {
	case 0:
		c := byte('a' + d.below(26))
		for c == b[at] {
			c = byte('a' + d.below(26))
		}
		b[at] = c
	case 1:
		b = append(b[:at], b[at+1:]...)
	case 2:
		b = append(b[:at], append([]byte{b[at]}, b[at:]...)...)
	default:
		if at == len(b)-1 {
			at--
		}
		if b[at]|0x20 == b[at+1]|0x20 {
			return misspell(name, d)
		}
		b[at], b[at+1] = b[at+1]&^0x20|b[at]&0x20, b[at]|0x20
		if at > 0 {
			b[at] |= 0x20
		}
	}
	return string(b)
}

// sounds are spellings that sound alike, tried in order from a random place.
var sounds = [][2]string{
	{"ph", "f"}, {"ee", "ea"}, {"ie", "y"}, {"ai", "ay"}, {"ck", "k"}, {"c", "k"}, {"y", "i"}, {"i", "y"}, {"nn", "n"}, {"ll", "l"}, {"tt", "t"},
	{"n", "nn"}, {"l", "ll"}, {"th", "t"}, {"sh", "ch"}, {"ou", "u"}, {"u", "oo"}, {"e", "i"}, {"a", "e"}, {"o", "u"},
}

// respell writes a name as it sounds.
func respell(name string, d *draw) string {
	start := d.below(len(sounds))
	for i := range sounds {
		s := sounds[(start+i)%len(sounds)]
		if at := strings.Index(name[1:], s[0]); at >= 0 {
			return name[:1+at] + s[1] + name[1+at+len(s[0]):]
		}
	}
	return misspell(name, d)
}

// wrongDate changes one component of a date, or, in the rest of cases, gives
// another date of the same decade.
func wrongDate(birth time.Time, d *draw) time.Time {
	for {
		year, month, day := birth.Date()
		if d.chance(dateOneComponent) {
			switch d.below(3) {
			case 0:
				day = 1 + d.below(28)
			case 1:
				month = time.Month(1 + d.below(12))
			default:
				year += d.below(21) - 10
			}
		} else {
			year, month, day = year+d.below(11)-5, time.Month(1+d.below(12)), 1+d.below(28)
		}
		wrong := time.Date(year, month, day, 0, 0, 0, 0, time.UTC)
		if wrong != birth && wrong.Day() == day && wrong.Before(today) && year > 1901 {
			return wrong
		}
	}
}
