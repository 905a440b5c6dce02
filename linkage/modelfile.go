package linkage

import (
	"tarn/linkage/cohort"
	"tarn/linkage/model"
)

// modelDocument returns the fitted model as model.json has it.
func modelDocument(m *model.Model, strata [][2]string, manifest *cohort.Manifest, software, created string) (*model.Document, error) {
	d, err := m.Document(strata)
	if err != nil {
		return nil, err
	}
	d.Software, d.Created, d.Project, d.Profile, d.ProfileDigest = software, created, manifest.Project, manifest.Profile, manifest.ProfileDigest
	return d, nil
}
