package reidentify

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys"
)

// past is what was asked on a Thursday and in the night after it, by three people of two
// organisations, not in the order of its times.
func past() []Occasion {
	night := time.Date(2026, 11, 26, 23, 0, 0, 0, time.UTC)
	by := func(at time.Time, n int, organisation string, purpose Purpose, subjects ...string) Occasion {
		return Occasion{At: at, Person: user(n), Project: "care", Organisation: organisation, Purpose: purpose, BreakGlass: purpose == EmergencyTreatment, Subjects: subjects}
	}
	return []Occasion{
		by(night.Add(2*time.Hour), 1, "A81001", Treatment, patients(1, 1)...),
		by(thursday, 1, "A81001", Treatment, patients(0, 1)...),
		by(night, 1, "A81001", Treatment, patients(1, 1)...),
		by(thursday.Add(time.Hour), 2, "A81001", QualityImprovement, patients(0, 1)...),
		by(thursday.Add(2*time.Hour), 2, "A81001", Treatment, patients(0, 1)...),
		by(thursday, 3, "RYJ", EmergencyTreatment, patients(2, 1)...),
		by(thursday.Add(time.Minute), 3, "RYJ", EmergencyTreatment, patients(3, 1)...),
	}
}

func pastPolicy() *Policy {
	p := only("", 0, "")
	p.Mode = Simulate
	p.Limits = DefaultLimits()
	p.Limits.Night.Action, p.Limits.SamePatient.Action, p.Limits.Requests = ActionRefuse, ActionRefuse, Limit{Most: 1, Action: ActionApproval}
	p.BreakGlass = BreakGlassRules{User: 1, Organisation: 20}
	return p
}

// TestReplay holds a simulation to what is seen by counting.
func TestReplay(t *testing.T) {
	occasions := past()
	s := Replay(pastPolicy(), occasions)
	if !slices.EqualFunc(occasions, past(), func(a, b Occasion) bool { return a.At.Equal(b.At) }) {
		t.Error("the occasions were put into another order")
	}
	if s.Occasions != 7 || !s.From.Equal(thursday) || !s.To.Equal(time.Date(2026, 11, 27, 1, 0, 0, 0, time.UTC)) {
		t.Errorf("%d occasions from %s to %s", s.Occasions, s.From, s.To)
	}
	var fired []string
	for _, f := range s.Fired {
		fired = append(fired, strings.Join([]string{f.Time.Format("2T15:04"), f.Rule, string(f.Action), f.Organisation, f.Subject}, " "))
	}
	want := []string{
		"26T12:01 requests_a_day warn RYJ user-3",
		"26T12:01 break_glass_user refuse RYJ user-3",
		"26T14:00 requests_a_day approval A81001 user-2",
		"26T14:00 same_patient approval A81001 user-2",
		"26T23:00 requests_a_day approval A81001 user-1",
		"27T01:00 night refuse A81001 user-1",
		"27T01:00 requests_a_day approval A81001 user-1",
	}
	if !slices.Equal(fired, want) {
		t.Errorf("fired\n%s\nwant\n%s", strings.Join(fired, "\n"), strings.Join(want, "\n"))
	}
	for rule, want := range map[string][3]int{LimitNight: {0, 0, 1}, LimitRequestsDay: {1, 3, 0}, LimitSamePatient: {0, 1, 0}, CapUser: {0, 0, 1}, CapOrganisation: {}, LimitPatientsDay: {}} {
		i := slices.IndexFunc(s.Rules, func(r SimulatedRule) bool { return r.Rule == rule })
		if r := s.Rules[i]; [3]int{r.Warn, r.Approval, r.Refuse} != want || r.Text == "" {
			t.Errorf("%+v, want %v", r, want)
		}
	}
	if len(s.Organisations) != 2 || s.Organisations[0].Organisation != "A81001" || s.Organisations[0].Occasions != 5 || s.Organisations[0].Fired[LimitRequestsDay] != 3 || s.Organisations[1].Fired[CapUser] != 1 {
		t.Errorf("by organisation: %+v", s.Organisations)
	}
	enforced := pastPolicy()
	enforced.Mode = Enforce
	if !slices.Equal(Replay(enforced, past()).Fired, s.Fired) {
		t.Error("a policy's mode changes what would have fired")
	}
}

// TestSimulationsNameNoPatient, as a document and as a text; both are written of nothing,
// too.
func TestSimulationsNameNoPatient(t *testing.T) {
	for _, occasions := range [][]Occasion{past(), nil} {
		s := Replay(pastPolicy(), occasions)
		document, err := keys.Encode(s)
		if err != nil {
			t.Fatal(err)
		}
		var text strings.Builder
		if err := s.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		for _, o := range occasions {
			for _, written := range []string{string(document), text.String()} {
				if strings.Contains(written, o.Subjects[0]) {
					t.Errorf("it names a patient:\n%s", written)
				}
				if !strings.Contains(written, o.Organisation) {
					t.Errorf("it does not name %s:\n%s", o.Organisation, written)
				}
			}
		}
		for _, rule := range LimitRules() {
			if !strings.Contains(text.String(), rule) || !strings.Contains(string(document), `"`+rule+`"`) {
				t.Errorf("%s is missing:\n%s", rule, text.String())
			}
		}
		if len(occasions) > 0 && !strings.Contains(text.String(), "2026-11-27 01:00  night             refuse    A81001        TREAT    user-1") {
			t.Errorf("the text is\n%s", text.String())
		}
	}
	read, write := io.Pipe()
	full := errors.New("full")
	if err := errors.Join(read.CloseWithError(full), Replay(pastPolicy(), past()).WriteText(write)); !errors.Is(err, full) {
		t.Errorf("a text that cannot be written: %v", err)
	}
}
