package linkage

import (
	"tarn/linkage/cohort"
	"tarn/linkage/model"
)

// ModelSchema is the schema member of model.json.
const ModelSchema = "tarn.link-model/1"

// ModelDocument is model.json: the fitted model, which holds nothing of any
// record and may be inspected and exchanged.
type ModelDocument struct {
	Schema          string         `json:"schema"`
	Software        string         `json:"software"`
	Created         string         `json:"created"`
	Project         string         `json:"project"`
	Profile         string         `json:"profile"`
	ProfileDigest   string         `json:"profile_digest"`
	Fitted          bool           `json:"fitted"` // false: the shipped m-probabilities
	ExpectedMatches float64        `json:"expected_matches"`
	Fields          []ModelField   `json:"fields"`
	Strata          []ModelStratum `json:"strata"`
}

// ModelField is one field's probabilities by agreement level, level 0 first.
type ModelField struct {
	Name    string    `json:"name"`
	Measure string    `json:"measure"`
	Levels  []float64 `json:"levels,omitzero"`
	M       []float64 `json:"m"`
	U       []float64 `json:"u"`
}

// ModelStratum is the class shares among the compared pairs of two parties.
type ModelStratum struct {
	SourceDatasetL string  `json:"source_dataset_l"`
	SourceDatasetR string  `json:"source_dataset_r"`
	Strangers      float64 `json:"strangers"`
	Twins          float64 `json:"twins"`
	Matches        float64 `json:"matches"`
}

func modelDocument(m *model.Model, strata [][2]string, manifest *cohort.Manifest, software, created string) ModelDocument {
	d := ModelDocument{Schema: ModelSchema, Software: software, Created: created, Project: manifest.Project, Profile: manifest.Profile,
		ProfileDigest: manifest.ProfileDigest, Fitted: m.Fitted, ExpectedMatches: m.ExpectedMatches}
	for f, field := range m.Scheme.Fields {
		d.Fields = append(d.Fields, ModelField{Name: field.Name, Measure: field.Measure, Levels: field.Levels, M: m.M[f], U: m.U[f]})
	}
	for s, names := range strata {
		shares := m.Strata[s]
		d.Strata = append(d.Strata, ModelStratum{names[0], names[1], shares.Strangers, shares.Twins, shares.Matches})
	}
	return d
}
