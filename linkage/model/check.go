package model

import (
	"cmp"
	"fmt"
	"slices"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
)

const fitting = "fitting the linkage model"

// Start is what became of one start of a fit.
type Start struct {
	Fitting      string  // what was fitted
	LogPosterior float64 // where it ended, up to a constant
	Iterations   int
	Converged    bool
}

const (
	// Two ends whose log-posteriors are this close are as probable as each other.
	samePosterior = 1e-3
	// Two ends that differ by this much in a probability are not the same.
	sameParameters = .02
)

// bestOf climbs from every start and returns the highest end. It is an error if
// that has not converged, or if another end is as probable and says something
// else: the data do not tell the two apart.
func (m *Model) bestOf(starts []mixture, what string) (climb, error) {
	var ends []climb
	for _, x := range starts {
		c := climbFrom(x)
		m.Iterations += c.iterations
		m.Starts = append(m.Starts, Start{what, c.end.logPosterior, c.iterations, c.converged})
		ends = append(ends, c)
	}
	best := slices.MaxFunc(ends, func(a, b climb) int { return cmp.Compare(a.end.logPosterior, b.end.logPosterior) })
	if !best.converged {
		return best, fault.New(fault.Internal, fitting, "the "+what+" did not converge, so the weights would mislead",
			"link more records or records with more fields in common, or reuse a fitted model with --model")
	}
	for _, c := range ends {
		if best.end.logPosterior-c.end.logPosterior < samePosterior && distance(best.at, c.at) > sameParameters {
			return best, refuse("two different models explain the data equally well, so neither can be presented: the "+what+" cannot be identified",
				"link records with more fields in common, or reuse a fitted model with --model")
		}
	}
	return best, nil
}

func refuse(wrong, next string) error { return fault.New(fault.Usage, fitting, wrong, next) }

// A field is there for a fit if it is present in this share of the pairs.
const presentEnough = .01

// checkFields refuses to fit m where too few fields are compared: three are
// needed to tell matches, strangers and their share apart, two where strangers
// are known from pairs within a side.
func (m *Model) checkFields(patterns []pattern) error {
	n := len(m.Scheme.Fields)
	present, total := make([]float64, n), 0.0
	for _, p := range patterns {
		pairs := 0.0
		for _, c := range p.counts {
			pairs += c
		}
		total += pairs
		for f, l := range p.levels {
			if l >= 0 {
				present[f] += pairs
			}
		}
	}
	there := 0
	for _, p := range present {
		if p >= presentEnough*total {
			there++
		}
	}
	need := 2
	if m.Joint {
		need = 3
	}
	if there < need {
		return refuse(fmt.Sprintf("%d fields are present in 1%% of the pairs or more, and %d are needed to tell matches from other pairs without truth", there, need),
			"link records with more fields in common, or reuse a fitted model with --model")
	}
	return nil
}

const (
	// A field whose identical values speak against a match by this much (log2)
	// has its classes the wrong way round.
	reversed = -.5
	// Fields together must tell matches from another class by this much on
	// average (Kullback-Leibler, bits).
	apart = 2
	// Where u is fitted together with m, this share of either class or less is
	// the edge at which one class is all there is.
	edge = 1e-3
)

// check refuses a fit that must not be presented. most is the largest number of
// matches that there can be, 0 where it is not known.
func (m *Model) check(most float64) error {
	if err := m.checkClasses(); err != nil {
		return err
	}
	if over := m.ExpectedMatches - 3*m.MatchesError; most > 0 && over > tooMany*most {
		return refuse(fmt.Sprintf("%.0f matches are expected where there can be %.0f at most, so other pairs are taken for matches", m.ExpectedMatches, most), lookAt)
	}
	return m.checkDetermined()
}

// tooMany is how far above what is possible the expected number of matches may
// lie, misfit allowed for.
const tooMany = 1.1

const lookAt = "look at the completeness of the fields and at the column maps, or reuse a fitted model with --model"

// checkClasses refuses a fit whose classes are not what their names say.
func (m *Model) checkClasses() error {
	fromStrangers, fromTwins, identical := 0.0, 0.0, 0.0
	for f, field := range m.Scheme.Fields {
		if field.Name == compare.TokenField {
			continue
		}
		divergence := 0.0
		for l := range m.M[f] {
			divergence += m.M[f][l] * m.FieldWeight(f, l)
		}
		fromStrangers += divergence
		if field.Twin == cohort.TwinDiffers {
			fromTwins += divergence
		}
		identical += m.FieldWeight(f, len(m.M[f])-1)
		if m.FieldWeight(f, len(m.M[f])-1) < reversed {
			return refuse("identical values of "+field.Name+" speak against a match, so the classes are not what they should be", lookAt)
		}
	}
	if identical <= 0 {
		return refuse("identical values of all fields together speak against a match, so the classes are not what they should be", lookAt)
	}
	if fromStrangers < apart {
		return refuse(fmt.Sprintf("matches are hardly told from other pairs: by %.1f bits on average, and %d are needed", fromStrangers, apart), lookAt)
	}
	if m.outer.at.exists(twins) && fromTwins < apart/2 {
		return refuse(fmt.Sprintf("matches are hardly told from twins: by %.1f bits on average, and %d are needed", fromTwins, apart/2), lookAt)
	}
	if m.Joint {
		for _, s := range m.Strata {
			if s.Matches > 1-edge {
				return refuse("nearly all pairs are taken for matches, and there are no others to compare them with", lookAt)
			}
		}
	}
	return nil
}

// undetermined is the relative standard error of the number of matches from
// which it could as well be several times larger or smaller.
const undetermined = .5

// checkDetermined refuses a fit that the data leave open.
func (m *Model) checkDetermined() error {
	if relative := m.MatchesError / m.ExpectedMatches; m.Fitted && relative > undetermined {
		return refuse(fmt.Sprintf("the number of matches is not determined: about %.0f, with a standard error of %.0f%%", m.ExpectedMatches, 100*relative),
			"link records with more fields in common, or reuse a fitted model with --model")
	}
	return nil
}
