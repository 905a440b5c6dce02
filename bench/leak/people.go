// Package leak looks for people where nobody should be found. It makes people who
// do not exist, whose every value is unlike anything else, and finds those values
// in bytes: as they are, in the forms that people and programs write them in,
// encoded, compressed, and hashed without a key.
//
// It promises to find what it lists (see [Scanner]) and no more: a value that was
// encrypted, hashed with a key, cut in pieces or changed is not found.
package leak

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"tarn/keys/nhsnumber"
)

// Person is one whom nobody has met.
type Person struct {
	ID       string    // ten letters, as a source's id
	Number   string    // ten digits with a valid check digit, of the range that is never issued
	Given    string    // ten letters
	Family   string    // ten letters
	Birth    time.Time // a day of 1900 to 1914, none that stands for an unknown one
	Postcode string    // of the form AA99 9AA
}

const maxPeople = 5000

// birthdays are days of so long ago that no document has one for another reason, none
// of which a system writes for want of a date: those have equal day and month.
func birthdays() (days []time.Time) {
	for day := time.Date(1900, 2, 1, 0, 0, 0, 0, time.UTC); day.Year() < 1915; day = day.AddDate(0, 0, 1) {
		if day.Day() != int(day.Month()) {
			days = append(days, day)
		}
	}
	return days
}

// People makes n people, at most 5,000; the same for the same seed. No two share any
// value.
func People(n int, seed uint64) []Person {
	if n > maxPeople {
		panic("leak: more people than there are days for")
	}
	random := rand.New(rand.NewPCG(seed, 0x6c65616b))
	days := birthdays()
	random.Shuffle(len(days), func(i, j int) { days[i], days[j] = days[j], days[i] })
	taken := map[string]bool{}
	fresh := func(draw func() string) string {
		for {
			if text := draw(); !taken[text] {
				taken[text] = true
				return text
			}
		}
	}
	people := make([]Person, n)
	for i := range people {
		people[i] = Person{
			ID:       strings.ToUpper(fresh(func() string { return word(random) })),
			Number:   fresh(func() string { return number(random) }),
			Given:    fresh(func() string { return word(random) }),
			Family:   fresh(func() string { return word(random) }),
			Birth:    days[i],
			Postcode: fresh(func() string { return postcode(random) }),
		}
	}
	return people
}

func letter(random *rand.Rand, of string) string { return string(of[random.IntN(len(of))]) }

// word is five syllables, which can be said and which nobody has said.
func word(random *rand.Rand) string {
	var b strings.Builder
	for i := range 5 {
		consonant := letter(random, "bdfghjklmnprstvwxz")
		if i == 0 {
			consonant = strings.ToUpper(consonant)
		}
		b.WriteString(consonant + letter(random, "aeiouy"))
	}
	return b.String()
}

// number is of 900 000 0000 to 998 999 9999.
func number(random *rand.Rand) string {
	for {
		text := fmt.Sprintf("%09d", 900_000_000+random.IntN(99_000_000))
		if digit, ok := nhsnumber.CheckDigit([9]byte([]byte(text))); ok {
			return text + string(digit)
		}
	}
}

func postcode(random *rand.Rand) string {
	areas := []string{"BD", "DN", "HU", "HX", "LS", "WF", "YO"}
	inward := "ABDEFGHJLNPQRSTUWXYZ"
	return fmt.Sprintf("%s%d %d%s%s", areas[random.IntN(len(areas))], 10+random.IntN(90), random.IntN(10), letter(random, inward), letter(random, inward))
}
