package attack

import (
	"fmt"
	"io"
	"math"
	"strings"

	"tarn/keys/fault"
)

// Schema is the schema member of an audit.
const Schema = "tarn.attack/1"

// Scales.
const (
	ScaleSmall = "small"
	ScaleFull  = "full"
)

// What an audit expects of an attack.
const (
	ExpectFall   = "fall"   // it must succeed: Must
	ExpectHold   = "hold"   // it must stay within Limit
	ExpectReport = "report" // it is reported, for the threat model
)

// Verdicts.
const (
	VerdictHolds    = "holds"
	VerdictFails    = "FAILS"
	VerdictReported = "reported"
	VerdictBroken   = "broken, as it must be"
	VerdictBlind    = "BLIND" // the attack does not break what it must break, so it shows nothing
)

// Document is tarn.attack/1: what attacks found of a profile.
type Document struct {
	Schema      string   `json:"schema"`
	Software    string   `json:"software"`
	Created     string   `json:"created"`
	Profile     Subject  `json:"profile"`
	Scale       string   `json:"scale"`
	Seed        uint64   `json:"seed"`
	NotAttacked []string `json:"not_attacked"` // fields for which synthetic people have no value
	Attacks     []Attack `json:"attacks"`
	OK          bool     `json:"ok"`
}

// Subject is the profile that was attacked.
type Subject struct {
	Name   string `json:"name"`
	Digest string `json:"digest"`
}

// Attack is one attack and what it found. Shares are from 0 to 1; those that are
// not defined are null.
type Attack struct {
	ID       string   `json:"id"`
	Name     string   `json:"name"`
	Has      string   `json:"attacker_has"`
	Finds    string   `json:"attacker_seeks"`
	Expected string   `json:"expected"`
	Records  int      `json:"records"`
	Right    int      `json:"right"`
	Found    *float64 `json:"found"`
	Low      *float64 `json:"found_low"` // of the 95% interval of Wilson, where records are taken as independent
	High     *float64 `json:"found_high"`
	Chance   *float64 `json:"chance"`         // what guessing would find
	Floor    *float64 `json:"equality_floor"` // what the same attacker finds by equality of fields alone
	Limit    *float64 `json:"limit"`          // that must not be passed
	Must     *float64 `json:"must"`           // that must be reached
	Control  *Control `json:"control"`        // null where there is nothing to attack
	Verdict  string   `json:"verdict"`
	Note     string   `json:"note"`
}

// Control is what must fall to an attack, and whether it did.
type Control struct {
	Name    string  `json:"name"`
	Records int     `json:"records"`
	Right   int     `json:"right"`
	Found   float64 `json:"found"`
	Must    float64 `json:"must"`
	Broken  bool    `json:"broken"`
}

func share(x float64) *float64 { return &x }

func newControl(name string, s score, must float64) *Control {
	c := &Control{Name: name, Records: s.records, Right: s.right, Must: must}
	if s.records > 0 {
		c.Found = float64(s.right) / float64(s.records)
	}
	c.Broken = s.records > 0 && c.Found >= must
	return c
}

func (a *Attack) found(s score) {
	a.Records, a.Right = s.records, s.right
	if s.records == 0 {
		return
	}
	p, n := float64(s.right)/float64(s.records), float64(s.records)
	const z = 1.96
	middle, half := (p+z*z/(2*n))/(1+z*z/n), z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))/(1+z*z/n)
	low, high := max(middle-half, 0), min(middle+half, 1)
	// Rounding is not to say more than was seen.
	if s.right == 0 {
		low = 0
	}
	if s.right == s.records {
		high = 1
	}
	a.Found, a.Low, a.High = share(p), share(low), share(high)
}

func (a *Attack) figures(f figures) {
	a.found(f.score)
	if f.records > 0 {
		a.Chance = share(f.chance / float64(f.records))
	}
	if f.floor.records > 0 {
		a.Floor = share(float64(f.floor.right) / float64(f.floor.records))
	}
}

// judge sets all verdicts.
func (d *Document) judge() {
	d.OK = true
	for i := range d.Attacks {
		a := &d.Attacks[i]
		reached := 0.0
		if a.Found != nil {
			reached = *a.Found
		}
		switch {
		case a.Control != nil && !a.Control.Broken:
			a.Verdict = VerdictBlind
		case a.Expected == ExpectFall && reached >= *a.Must:
			a.Verdict = VerdictBroken
		case a.Expected == ExpectFall:
			a.Verdict = VerdictBlind
		case a.Expected == ExpectReport:
			a.Verdict = VerdictReported
		case reached <= *a.Limit:
			a.Verdict = VerdictHolds
		default:
			a.Verdict = VerdictFails
		}
		d.OK = d.OK && a.Verdict != VerdictFails && a.Verdict != VerdictBlind
	}
}

// Verdict returns nil if all limits and controls hold, and else an error of kind
// [fault.Policy] that says which do not, with the figures.
func (d *Document) Verdict() error {
	var wrong []string
	next := ""
	for i := range d.Attacks {
		a := &d.Attacks[i]
		switch a.Verdict {
		case VerdictFails:
			wrong = append(wrong, fmt.Sprintf("attack %s (%s) names %s, more than the limit of %s", a.ID, a.Name, percent(a.Found), percent(a.Limit)))
			next = "encode with a profile that holds, or keep these encodings where nobody has that register: docs/privacy-audit.md"
		case VerdictBlind:
			what := "the profile, whose key it has"
			found, must := a.Found, a.Must
			if a.Control != nil && !a.Control.Broken {
				what, found, must = "its control, "+a.Control.Name, &a.Control.Found, &a.Control.Must
			}
			wrong = append(wrong, fmt.Sprintf("attack %s (%s) is blind: of %s it finds %s, and must find %s", a.ID, a.Name, what, percent(found), percent(must)))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	return fault.New(fault.Policy, "attacking the profile "+d.Profile.Name, strings.Join(wrong, "; "), next)
}

func percent(x *float64) string {
	switch {
	case x == nil:
		return "-"
	case *x == 0:
		return "0"
	case *x < .001:
		return fmt.Sprintf("%.3f%%", *x*100)
	case *x < .1:
		return fmt.Sprintf("%.2f%%", *x*100)
	}
	return fmt.Sprintf("%.1f%%", *x*100)
}

// WriteText prints a document for people who are no cryptographers.
func (d *Document) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Attacks on encodings of %s (%.12s), scale %s, seed %d.\n", d.Profile.Name, d.Profile.Digest, d.Scale, d.Seed)
	b.WriteString("found: share of records named rightly; chance: by guessing; floor: the same attacker, seeing only which fields are equal,\n" +
		"which any encoding that links by fields gives away; limit: what must not be passed; control: an encoding that must fall.\n\n")
	fmt.Fprintf(&b, "%-5s %-29s %8s %8s %8s %8s %10s  %s\n", "", "attack", "found", "chance", "floor", "limit", "control", "verdict")
	for i := range d.Attacks {
		a := &d.Attacks[i]
		limit := percent(a.Limit)
		if a.Must != nil {
			limit = ">" + percent(a.Must)
		}
		control := "-"
		if a.Control != nil {
			control = percent(&a.Control.Found)
		}
		fmt.Fprintf(&b, "%-5s %-29s %8s %8s %8s %8s %10s  %s\n", a.ID, a.Name, percent(a.Found), percent(a.Chance), percent(a.Floor), limit, control, a.Verdict)
	}
	b.WriteString("\n")
	for i := range d.Attacks {
		a := &d.Attacks[i]
		fmt.Fprintf(&b, "%-5s seeks %s, has %s.", a.ID, a.Finds, a.Has)
		if a.Found != nil {
			fmt.Fprintf(&b, " %d of %d, 95%% interval %s to %s.", a.Right, a.Records, percent(a.Low), percent(a.High))
		}
		if a.Note != "" {
			fmt.Fprintf(&b, " %s.", strings.ToUpper(a.Note[:1])+a.Note[1:])
		}
		if a.Control != nil {
			fmt.Fprintf(&b, " Control: %s, %d of %d, must be %s.", a.Control.Name, a.Control.Right, a.Control.Records, percent(&a.Control.Must))
		}
		b.WriteString("\n")
	}
	for _, name := range d.NotAttacked {
		fmt.Fprintf(&b, "The field %s was not attacked: synthetic people have no value for it.\n", name)
	}
	if d.OK {
		b.WriteString("\nAll limits hold, and every attack broke its control.\n")
	} else {
		b.WriteString("\nTHE AUDIT FAILED: see the verdicts.\n")
	}
	_, err := io.WriteString(w, b.String())
	return err
}
