package model

import (
	"fmt"
	"math"
	"os"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/compare"
)

// DocumentSchema is the schema member of model.json.
const DocumentSchema = "tarn.link-model/1"

// Document is model.json: a model, which holds nothing of any record and may
// be inspected, exchanged, compared and used again.
type Document struct {
	Schema        string `json:"schema"`
	Software      string `json:"software"`
	Created       string `json:"created"`
	Project       string `json:"project"`
	Profile       string `json:"profile"`
	ProfileDigest string `json:"profile_digest"`
	// SchemeDigest is the SHA-256 over the RFC 8785 form of the fields' names,
	// measures and levels: a model serves cohorts that are compared in this way.
	SchemeDigest    string            `json:"scheme_digest,omitzero"`
	Fitted          bool              `json:"fitted"` // false: the shipped m-probabilities
	ExpectedMatches float64           `json:"expected_matches"`
	Fields          []DocumentField   `json:"fields"`
	Strata          []DocumentStratum `json:"strata"`
	Others          *DocumentShares   `json:"others,omitzero"` // absent in documents of earlier versions
	Fit             *DocumentFit      `json:"fit,omitzero"`
}

// DocumentField is one field's probabilities by agreement level, level 0 first.
type DocumentField struct {
	Name    string    `json:"name"`
	Measure string    `json:"measure"`
	Levels  []float64 `json:"levels,omitzero"`
	M       []float64 `json:"m"`
	U       []float64 `json:"u"`
	// Given names the field on whose level u depends, and UGiven holds u for each
	// of its levels.
	Given  string      `json:"given"`
	UGiven [][]float64 `json:"u_given"`
}

// DocumentShares are the shares of the classes among pairs of different people.
type DocumentShares struct {
	Strangers  float64 `json:"strangers"`
	Households float64 `json:"households"`
	Twins      float64 `json:"twins"`
}

// DocumentStratum is the class shares among the compared pairs of two parties,
// or of the records of one.
type DocumentStratum struct {
	SourceDatasetL string  `json:"source_dataset_l"`
	SourceDatasetR string  `json:"source_dataset_r"`
	Strangers      float64 `json:"strangers"`
	Households     float64 `json:"households"`
	Twins          float64 `json:"twins"`
	Matches        float64 `json:"matches"`
}

// DocumentFit is how the fit went.
type DocumentFit struct {
	Converged          bool            `json:"converged"`
	Joint              bool            `json:"joint"` // u and m from the same pairs
	Iterations         int             `json:"iterations"`
	Change             float64         `json:"change"` // of any probability in the last step
	LogLikelihood      float64         `json:"log_likelihood"`
	LogPosterior       float64         `json:"log_posterior"`
	MatchesError       float64         `json:"expected_matches_error"`
	ExpectedDuplicates float64         `json:"expected_duplicates"` // within sides, pairs
	Priors             DocumentPriors  `json:"priors"`
	Starts             []DocumentStart `json:"starts"`
}

// DocumentPriors are Priors.
type DocumentPriors struct {
	Matches   float64 `json:"matches"`
	Strangers float64 `json:"strangers"`
	Relatives float64 `json:"relatives"`
	Token     float64 `json:"token"`
}

// DocumentStart is what became of one start of a fit.
type DocumentStart struct {
	Fitting      string  `json:"fitting"`
	LogPosterior float64 `json:"log_posterior"`
	Iterations   int     `json:"iterations"`
	Converged    bool    `json:"converged"`
}

// Document returns the model as a document; what is known only to the job
// (Software, Created, Project, Profile, ProfileDigest) is left to the caller.
// sources names the two parties of each stratum.
func (m *Model) Document(sources [][2]string) (*Document, error) {
	d := &Document{Schema: DocumentSchema, Fitted: m.Fitted, ExpectedMatches: m.ExpectedMatches,
		Others: &DocumentShares{m.Others.Strangers, m.Others.Households, m.Others.Twins},
		Fit: &DocumentFit{Converged: m.Converged, Joint: m.Joint, Iterations: m.Iterations, Change: m.Change, LogLikelihood: m.LogLikelihood, LogPosterior: m.LogPosterior,
			MatchesError: m.MatchesError, ExpectedDuplicates: m.ExpectedDuplicates, Priors: DocumentPriors(m.Priors), Starts: []DocumentStart{}}}
	for _, s := range m.Starts {
		d.Fit.Starts = append(d.Fit.Starts, DocumentStart(s))
	}
	for f, field := range m.Scheme.Fields {
		x := DocumentField{Name: field.Name, Measure: field.Measure, Levels: field.Levels, M: m.M[f], U: m.U[f], UGiven: append([][]float64{}, m.Dependence.Given[f]...)}
		if p := m.Dependence.Parent[f]; p >= 0 {
			x.Given = m.Scheme.Fields[p].Name
		}
		d.Fields = append(d.Fields, x)
	}
	for s, names := range sources {
		x := m.Strata[s]
		d.Strata = append(d.Strata, DocumentStratum{names[0], names[1], x.Strangers, x.Households, x.Twins, x.Matches})
	}
	var err error
	d.SchemeDigest, err = d.schemeDigest()
	return d, err
}

// schemeDigest identifies how the fields are compared. It follows from the
// document alone, so that documents of earlier versions have one too.
func (d *Document) schemeDigest() (string, error) {
	type field struct {
		Name    string    `json:"name"`
		Measure string    `json:"measure"`
		Levels  []float64 `json:"levels"`
	}
	fields := []field{}
	for _, f := range d.Fields {
		fields = append(fields, field{f.Name, f.Measure, append([]float64{}, f.Levels...)})
	}
	b, err := keys.Encode(fields)
	if err != nil {
		return "", err
	}
	return keys.Digest(b)
}

// ReadDocument reads and checks a model.json.
func ReadDocument(path string) (*Document, error) {
	doing := "reading the model " + path
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the model.json of a result")
	}
	d, err := ParseDocument(b)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the model.json of a result, unchanged")
	}
	return d, nil
}

// ParseDocument reads and checks a model.json. Errors name places, not values.
func ParseDocument(b []byte) (*Document, error) {
	d := new(Document)
	if err := keys.DecodeStrict(b, d); err != nil {
		return nil, err
	}
	return d, d.check()
}

func (d *Document) check() error {
	if d.Schema != DocumentSchema {
		return fmt.Errorf("its schema is not %s", DocumentSchema)
	}
	if len(d.Fields) < 2 || d.Fields[len(d.Fields)-1].Name != compare.TokenField {
		return fmt.Errorf("its last field is not %s", compare.TokenField)
	}
	places := map[string]int{}
	for i, f := range d.Fields {
		if _, ok := places[f.Name]; ok {
			return fmt.Errorf("fields[%d]: its name is taken", i)
		}
		places[f.Name] = i
	}
	for i := range d.Fields {
		if err := d.checkField(i, places); err != nil {
			return fmt.Errorf("fields[%d].%w", i, err)
		}
	}
	for i, s := range d.Strata {
		if !isDistribution([]float64{s.Strangers, s.Households, s.Twins, s.Matches}) {
			return fmt.Errorf("strata[%d]: its shares do not add up to 1", i)
		}
	}
	if o := d.Others; o != nil && !isDistribution([]float64{o.Strangers, o.Households, o.Twins}) {
		return fmt.Errorf("others: its shares do not add up to 1")
	}
	digest, err := d.schemeDigest()
	if err != nil {
		return err
	}
	if d.SchemeDigest != "" && d.SchemeDigest != digest {
		return fmt.Errorf("scheme_digest is not that of its fields")
	}
	return nil
}

func (d *Document) checkField(i int, places map[string]int) error {
	f := d.Fields[i]
	levels := len(f.M)
	switch {
	case levels < 2 || len(f.U) != levels:
		return fmt.Errorf("m and u must have the same levels, two or more")
	case len(f.Levels) > 0 && len(f.Levels) != levels-2:
		return fmt.Errorf("levels must be two fewer than those of m")
	case !isPositive(f.M) || !isDistribution(f.M):
		return fmt.Errorf("m must hold probabilities above 0 that add up to 1")
	case !isPositive(f.U) || !isDistribution(f.U):
		return fmt.Errorf("u must hold probabilities above 0 that add up to 1")
	case f.Given == "" && len(f.UGiven) == 0:
		return nil
	}
	parent, ok := places[f.Given]
	if !ok || len(f.UGiven) != len(d.Fields[parent].M) {
		return fmt.Errorf("u_given must hold u for each level of another field")
	}
	for at, steps := i, 0; d.Fields[at].Given != ""; steps++ {
		if at, ok = places[d.Fields[at].Given]; !ok || steps > len(d.Fields) {
			return fmt.Errorf("given must lead to a field that depends on none")
		}
	}
	for _, u := range f.UGiven {
		if len(u) != levels || !isPositive(u) || !isDistribution(u) {
			return fmt.Errorf("u_given must hold probabilities above 0 that add up to 1")
		}
	}
	return nil
}

func isPositive(p []float64) bool {
	for _, v := range p {
		if !(v > 0) {
			return false
		}
	}
	return true
}

func isDistribution(p []float64) bool {
	sum := 0.0
	for _, v := range p {
		if !(v >= 0 && v <= 1) {
			return false
		}
		sum += v
	}
	return math.Abs(sum-1) < 1e-6
}
