package clk

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// object is a JSON object being read against what clkhash's own JSON Schema of
// linkage schemas says. The first thing that is wrong stays in the reading.
type object struct {
	*reading
	place   string
	members map[string]jsontext.Value
	used    map[string]bool
}

// reading is one document being read.
type reading struct {
	err      error
	warnings []string
	formOnly bool // what members mean does not matter
}

func (r *reading) fail(place, wrong string) {
	if r.err == nil {
		r.err = fmt.Errorf("%s %s", place, wrong)
	}
}

func (r *reading) object(place string, value jsontext.Value) *object {
	o := &object{reading: r, place: place, used: map[string]bool{}}
	if value.Kind() != '{' || json.Unmarshal(value, &o.members) != nil {
		r.fail(place, "is not an object")
	}
	return o
}

func (o *object) at(name string) string {
	if o.place == "" {
		return name
	}
	return o.place + "." + name
}

func (o *object) wrong(name, what string) { o.fail(o.at(name), what) }

// useless is wrong of a member whose form is right.
func (o *object) useless(name, what string) {
	if !o.formOnly {
		o.wrong(name, what)
	}
}

func (o *object) has(name string) bool { return o.members[name] != nil }

// member returns a member, which is missing where required and not there.
func (o *object) member(name string, required bool) (jsontext.Value, bool) {
	o.used[name] = true
	value, ok := o.members[name]
	if !ok && required {
		o.wrong(name, "is missing")
	}
	return value, ok
}

func (o *object) object(name string, required bool) *object {
	value, ok := o.member(name, required)
	if !ok {
		return &object{reading: o.reading, place: o.at(name), used: map[string]bool{}}
	}
	return o.reading.object(o.at(name), value)
}

func (o *object) text(name string, required bool) (string, bool) {
	value, ok := o.member(name, required)
	if !ok {
		return "", false
	}
	var text string
	if value.Kind() != '"' || json.Unmarshal(value, &text) != nil {
		o.wrong(name, "is not a text")
		return "", false
	}
	return text, true
}

// oneOf returns a text that must be one of the choices; the first stands for a
// member that is not there and need not be.
func (o *object) oneOf(name string, required bool, choices ...string) string {
	text, ok := o.text(name, required)
	if !ok {
		return choices[0]
	}
	if !slices.Contains(choices, text) {
		o.wrong(name, "is none of: "+strings.Join(choices, ", "))
	}
	return text
}

func (o *object) boolean(name string) bool {
	value, ok := o.member(name, false)
	if ok && value.Kind() != 't' && value.Kind() != 'f' {
		o.wrong(name, "is neither true nor false")
	}
	return value.Kind() == 't'
}

func (o *object) list(name string) []jsontext.Value {
	var list []jsontext.Value
	if value, ok := o.member(name, true); ok && (value.Kind() != '[' || json.Unmarshal(value, &list) != nil) {
		o.wrong(name, "is not an array")
	}
	return list
}

// number is a JSON number as Python reads it: whole without point or exponent,
// else a float.
type number struct {
	text  string
	whole bool
	float float64 // the nearest, also of a whole number
}

func (n number) integer() *big.Int {
	v := new(big.Int)
	if n.whole {
		v.SetString(n.text, 10)
	} else {
		big.NewFloat(n.float).Int(v)
	}
	return v
}

func (o *object) number(name string, required bool) (number, bool) {
	value, ok := o.member(name, required)
	if !ok {
		return number{}, false
	}
	n := number{text: string(bytes.TrimSpace(value))}
	n.whole = !strings.ContainsAny(n.text, ".eE")
	n.float, _ = strconv.ParseFloat(n.text, 64)
	switch {
	case value.Kind() != '0':
		o.wrong(name, "is not a number")
	case n.whole && len(n.text) > maxDigits, !n.whole && math.IsInf(n.float, 0):
		o.wrong(name, "is too large")
	default:
		return n, true
	}
	return number{}, false
}

// integral is a number that is an integer, and may be written as 2.0.
func (o *object) integral(name string, required bool) (number, bool) {
	n, ok := o.number(name, required)
	if ok && !n.whole && n.float != math.Trunc(n.float) {
		o.wrong(name, "is not an integer")
		return number{}, false
	}
	return n, ok
}

// count is an integer between two bounds. One written as 2.0 is refused unless
// clkhash gets along with it, which pointed says.
func (o *object) count(name string, required bool, low, high int, pointed bool) (int, bool) {
	n, ok := o.integral(name, required)
	switch {
	case !ok:
		return 0, false
	case !n.whole && !pointed && !o.formOnly:
		o.wrong(name, "is not written as an integer: leave out the point and the exponent")
	case n.float < float64(low) || n.float > float64(high):
		o.wrong(name, fmt.Sprintf("is not between %d and %d", low, high))
	default:
		return int(n.float), true
	}
	return 0, false
}

// close refuses the members that nothing has read, or only warns where clkhash
// reads over them.
func (o *object) close(strict bool) {
	for _, name := range slices.Sorted(maps.Keys(o.members)) {
		switch {
		case o.used[name]:
		case strict:
			o.fail(o.place, "has a member that is not known: "+strconv.Quote(name))
		default:
			o.warnings = append(o.warnings, fmt.Sprintf("%s has no effect: clkhash reads over it", o.at(name)))
		}
	}
}
