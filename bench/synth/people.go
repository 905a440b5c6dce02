package synth

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"tarn/keys/nhsnumber"
)

// Ethnic groups, the five of the Census 2021, with their shares of people in
// England and Wales, per mille (Office for National Statistics).
const (
	ethnicWhite = iota
	ethnicAsian
	ethnicBlack
	ethnicMixed
	ethnicOther
)

var ethnicNames = []string{"White", "Asian", "Black", "Mixed", "Other"}
var ethnicShares = []int{817, 93, 40, 29, 21}

// householdShares are the shares of households of one to five people, per
// cent (Families and households in the UK 2022, Office for National
// Statistics; five stands for five and more).
var householdShares = []int{30, 34, 16, 14, 6}

// agePyramid is the share of people by age, five years a step from 0, per
// mille (Census 2021, England and Wales; the last step is 85 and over).
var agePyramid = []int{54, 59, 60, 57, 60, 66, 70, 67, 63, 64, 69, 67, 58, 49, 49, 36, 26, 26}

// groupSize is the number of people whose households are drawn together.
const groupSize = 12

// twinsPerGroup is the chance that a group holds a pair of twins: 1.5% of
// people then have their twin among the people.
const twinsPerGroup = .09

// today is the day on which ages are counted.
var today = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// role of a person in a household.
type role uint8

const (
	adult role = iota
	partner
	child
)

// place is where a person is in the group: the household and role, and the
// twin, if any.
type place struct {
	household uint64
	first     int // the household's first person, within the group
	size      int
	role      role
	twin      int // within the group; -1 if none
	younger   bool
}

// population makes the people. A person is a number; everything about them
// follows from it and the seed.
type population struct {
	seed      uint64
	names     *nameTables
	postcodes uint64 // how many different ones are lived in
	numbers   permutation
}

// NHS numbers are drawn from 900 000 0000 to 998 999 9999, which are not issued.
// Of the ten numbers that share their first eight digits at least nine have a
// check digit, so that nine to each eight can be numbered without gaps.
const (
	firstEight = 900_000_00
	eights     = 99_000_00
	toAnEight  = 9
)

func newPopulation(seed, people uint64, names *nameTables) *population {
	const (
		peopleAPostcode = 36  // 15 addresses of 2.4 people
		fewestPostcodes = 100 // ten for each deprivation decile, so that people can move
	)
	return &population{seed: seed, names: names, postcodes: max(people/peopleAPostcode, fewestPostcodes),
		numbers: newPermutation(eights*toAnEight, seed, streamNumber, 0)}
}

// person is one person, as they truly are.
type person struct {
	index     uint64
	female    bool
	ethnic    int
	given     string
	middle    string
	family    string
	birth     time.Time
	postcode  string
	decile    int // 1 is most deprived
	household uint64
}

// places draws the households of a group.
func (p *population) places(group uint64) (places [groupSize]place) {
	d := newDraw(p.seed, streamGroup, group)
	for at, n := 0, 0; at < groupSize; n++ {
		size := min(1+pickShare(&d, householdShares), groupSize-at)
		children := 0
		couple := size >= 2 && d.chance(.82)
		if couple {
			children = size - 2
		} else {
			children = size - 1
		}
		for i := range size {
			places[at+i] = place{household: group*groupSize + uint64(n), first: at, size: size, twin: -1}
			switch {
			case i >= size-children:
				places[at+i].role = child
			case i == 1:
				places[at+i].role = partner
			}
		}
		at += size
	}
	if d.chance(twinsPerGroup) {
		makeTwins(&places, &d)
	}
	return places
}

// makeTwins makes two people twins: two children of a household where there
// are two, else two adults of two households.
func makeTwins(places *[groupSize]place, d *draw) {
	for i := 0; i+1 < groupSize; i++ {
		if places[i].role == child && places[i+1].role == child && places[i].household == places[i+1].household {
			places[i].twin, places[i+1].twin, places[i+1].younger = i+1, i, true
			return
		}
	}
	var adults []int
	for i := range places {
		if places[i].role == adult {
			adults = append(adults, i)
		}
	}
	if len(adults) >= 2 {
		i := d.below(len(adults) - 1)
		a, b := adults[i], adults[i+1]
		places[a].twin, places[b].twin, places[b].younger = b, a, true
	}
}

func pickShare(d *draw, shares []int) int {
	total := 0
	for _, s := range shares {
		total += s
	}
	x := d.below(total)
	for i, s := range shares {
		if x < s {
			return i
		}
		x -= s
	}
	return len(shares) - 1
}

// household is what the members of a household share.
type household struct {
	ethnic   int
	family   string
	decile   int
	postcode string
}

func (p *population) household(index uint64) (h household) {
	d := newDraw(p.seed, streamHousehold, index)
	h.ethnic = pickShare(&d, ethnicShares)
	h.family = p.names.family[originFor(h.ethnic, &d)].pick(&d)
	h.decile = 1 + d.below(10)
	// Ethnic minority groups live in deprived areas about twice as often.
	if h.ethnic != ethnicWhite && h.decile > 5 && d.chance(.5) {
		h.decile -= 5
	}
	h.postcode = p.postcodeOf(&d, h.decile)
	return h
}

// originFor says which lists a person of an ethnic group takes names from.
func originFor(ethnic int, d *draw) int {
	switch ethnic {
	case ethnicWhite:
		if d.chance(.06) {
			return other
		}
		return british
	case ethnicAsian:
		return asian
	case ethnicBlack:
		return black
	case ethnicMixed:
		return d.below(origins)
	}
	return other
}

// postcodeOf draws a postcode in an area of this deprivation.
func (p *population) postcodeOf(d *draw, decile int) string {
	slice := max(p.postcodes/10, 1)
	return p.postcode(uint64(decile-1)*slice + uint64(d.below(int(slice))))
}

// person makes the person of this number.
func (p *population) person(index uint64) person {
	group, at := index/groupSize, int(index%groupSize)
	places := p.places(group)
	q := places[at]
	h := p.household(q.household)
	d := newDraw(p.seed, streamPerson, index)
	x := person{index: index, ethnic: h.ethnic, family: h.family, postcode: h.postcode, decile: h.decile, household: q.household}
	x.female = d.chance(.505)
	if q.role == partner {
		// Couples are of two sexes as a rule and share a name two times in three.
		first := newDraw(p.seed, streamPerson, group*groupSize+uint64(q.first))
		x.female = first.chance(.505) == d.chance(.03)
		if d.chance(.34) {
			x.family = p.names.family[originFor(h.ethnic, &d)].pick(&d)
		}
	}
	x.birth = p.birth(index, q)
	if q.twin >= 0 {
		p.makeTwin(&x, q, places, group)
	}
	list := p.names.given[originFor(x.ethnic, &d)][sexIndex(x.female)][cohortOf(x.birth.Year())]
	x.given, x.middle = list.pick(&d), list.pick(&d)
	if q.younger {
		older := p.person(group*groupSize + uint64(q.twin))
		if older.given == x.given {
			x.given = another(older.given, func() string { return list.pick(&d) })
		}
	}
	if d.chance(.25) {
		x.middle = ""
	}
	return x
}

func sexIndex(female bool) int {
	if female {
		return 1
	}
	return 0
}

// makeTwin gives a twin the date of birth of the older one and, to adult men
// and half of adult women, the family name.
func (p *population) makeTwin(x *person, q place, places [groupSize]place, group uint64) {
	older := q.twin
	if !q.younger {
		return
	}
	x.birth = p.birth(group*groupSize+uint64(older), places[older])
	h := p.household(places[older].household)
	x.ethnic = h.ethnic
	d := newDraw(p.seed, streamBirth, x.index)
	if q.role == child || !x.female || d.chance(.5) {
		x.family = h.family
	}
}

// birth draws a date of birth: children of households 0 to 17 years ago,
// others by the age pyramid from 18 on; days are equally likely.
func (p *population) birth(index uint64, q place) time.Time {
	d := newDraw(p.seed, streamBirth, index+1<<40)
	days := 0
	if q.role == child {
		days = d.below(18 * 365)
	} else {
		for days < 18*365 {
			step := pickShare(&d, agePyramid)
			years := 5
			if step == len(agePyramid)-1 {
				years = 12 // 85 to 96
			}
			days = (step*5)*365 + d.below(years*365+1)
		}
	}
	return today.AddDate(0, 0, -1-days-days/1461)
}

// nhsNumber returns the number of a person; no two people have the same.
func (p *population) nhsNumber(index uint64) string {
	i := p.numbers.at(index)
	digits := []byte(strconv.FormatUint(firstEight+i/toAnEight, 10) + "00")
	for left, ninth := i%toAnEight, byte('0'); ; ninth++ {
		digits[8] = ninth
		check, ok := nhsnumber.CheckDigit([9]byte(digits[:9]))
		if !ok {
			continue
		}
		if left == 0 {
			digits[9] = check
			return string(digits)
		}
		left--
	}
}

// ageBand returns the person's age band.
func (x *person) ageBand() string {
	switch age := int(today.Sub(x.birth).Hours() / 24 / 365.25); {
	case age < 18:
		return "0-17"
	case age < 40:
		return "18-39"
	case age < 65:
		return "40-64"
	}
	return "65+"
}

// practiceCode returns the code of the general practice of a postcode area:
// an area is served by a few.
func practiceCode(postcode string, d *draw) string {
	area := strings.TrimRight(postcode[:min(2, len(postcode))], "0123456789 ")
	return fmt.Sprintf("%c%05d", 'A'+area[0]%16, 80000+mix(uint64(area[0])<<8|uint64(area[len(area)-1]))%500*10+uint64(d.below(9)))
}
