package synth

import (
	"strconv"
	"strings"
)

// areas are the postcode areas by their share of people.
type areas struct {
	list      weighted
	districts []int
}

var postcodeAreas = loadAreas()

func loadAreas() *areas {
	b, err := tables.ReadFile("tables/postcode_areas.txt")
	if err != nil {
		panic("synth: the table of postcode areas is not in the binary")
	}
	a := &areas{}
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) != 3 || f[0] == "#" {
			continue
		}
		districts, err1 := strconv.Atoi(f[1])
		people, err2 := strconv.Atoi(f[2])
		if err1 == nil && err2 == nil {
			a.list.add(f[0], float64(people))
			a.districts = append(a.districts, districts)
		}
	}
	return a
}

// inwardLetters may stand in the second half of a postcode (BS 7666).
const inwardLetters = "ABDEFGHJLNPQRSTUWXYZ"

// withLetter are the districts of London that are written with a letter at the end.
var withLetter = map[string]string{"EC1": "AMNRVY", "EC2": "AMNRVY", "EC3": "AMNRV", "EC4": "AMNRVY", "W1": "ABCDFGHJKSTUW", "WC1": "ABEHNRVX", "WC2": "ABEHNR", "SW1": "AEHPVWXY"}

// postcode makes the postcode of this number.
func (p *population) postcode(index uint64) string {
	d := newDraw(p.seed, streamPostcode, index)
	if p.names.other != nil {
		return p.names.other.pick(&d)
	}
	i := postcodeAreas.list.index(&d)
	outward := postcodeAreas.list.texts[i] + strconv.Itoa(1+d.below(postcodeAreas.districts[i]))
	if letters, ok := withLetter[outward]; ok {
		outward += string(letters[d.below(len(letters))])
	}
	return outward + " " + string([]byte{byte('0' + d.below(10)), inwardLetters[d.below(len(inwardLetters))], inwardLetters[d.below(len(inwardLetters))]})
}
