package linkage

import (
	"fmt"
	"strings"
	"time"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/result"
)

// checkAgreement refuses, with kind [fault.Disagreement], cohorts that were
// not encoded alike. Every disagreement is listed with both sides named. A
// differing project digest is only a warning: it changes with every rotation.
func checkAgreement(cohorts []*cohort.File) ([]result.Warning, error) {
	var disagreements []string
	var warnings []result.Warning
	first := cohorts[0].Manifest
	for _, c := range cohorts[1:] {
		other := c.Manifest
		for _, x := range []struct{ what, a, b string }{
			{"project", first.Project, other.Project},
			{"profile digest", first.ProfileDigest, other.ProfileDigest},
			{"encoding epoch", fmt.Sprint(first.EncodingEpoch), fmt.Sprint(other.EncodingEpoch)},
			{"encoding key check value", first.EncodingKCV, other.EncodingKCV},
		} {
			if x.a != x.b {
				disagreements = append(disagreements, fmt.Sprintf("%s is %s in %s and %s in %s", x.what, x.a, first.SourceDataset, x.b, other.SourceDataset))
			}
		}
		if first.ProjectDigest != other.ProjectDigest {
			warnings = append(warnings, result.Warning{Code: "project_digest_differs",
				Text: fmt.Sprintf("%s and %s were encoded with different versions of the project file; encoding key and profile agree", first.SourceDataset, other.SourceDataset)})
		}
	}
	if len(disagreements) > 0 {
		return nil, fault.New(fault.Disagreement, "comparing the cohorts", "they were not encoded alike and cannot be linked: "+strings.Join(disagreements, "; "),
			"agree on one project file and one key file, then run tokeniser run again at the side that differs")
	}
	seen := map[string]*cohort.Manifest{}
	for _, c := range cohorts {
		if earlier := seen[c.SourceDataset()]; earlier != nil {
			return nil, samePartyTwice(earlier, c.Manifest)
		}
		seen[c.SourceDataset()] = c.Manifest
	}
	return warnings, nil
}

// samePartyTwice says that two cohorts are one party's. Where their token epochs
// differ, one is the other before its tokens were rotated.
func samePartyTwice(a, b *cohort.Manifest) error {
	wrong, next := "two of them are of "+a.SourceDataset, "give one cohort for each party"
	if a.TokenEpoch != b.TokenEpoch {
		wrong += fmt.Sprintf(", of token epochs %d and %d", min(a.TokenEpoch, b.TokenEpoch), max(a.TokenEpoch, b.TokenEpoch))
		if a.RowsDigest == b.RowsDigest {
			wrong += ": the same records before and after their tokens were rotated"
		}
		next += ", of the token epoch that the other parties' cohorts have"
	}
	return fault.New(fault.Usage, "comparing the cohorts", wrong, next)
}

// checkExpiry refuses, with kind [fault.Policy], cohorts whose project has
// expired.
func checkExpiry(cohorts []*cohort.File, now time.Time) error {
	for _, c := range cohorts {
		end, err := time.Parse(time.RFC3339, c.Manifest.Expires)
		if err != nil {
			return fault.New(fault.Usage, "reading the manifest of "+c.SourceDataset(), "member expires is not an RFC 3339 time", "give the manifest that tokeniser run wrote")
		}
		if !now.Before(end) {
			return fault.New(fault.Policy, "checking the cohort of "+c.SourceDataset(), "its project expired at "+c.Manifest.Expires,
				"ask the project's controllers to renew it, then run tokeniser run again")
		}
	}
	return nil
}

// checkColumns refuses cohorts that lack a column which the comparison needs.
func checkColumns(c *cohort.File, comparison cohort.Comparison) error {
	doing, next := "reading the cohort "+c.Path, "give the file that tokeniser run wrote, with all of its columns"
	if len(comparison.Fields) == 0 {
		return fault.New(fault.Usage, doing, "its manifest says nothing of how to compare its columns", "encode again with a profile that has a comparison part")
	}
	for _, f := range comparison.Fields {
		if isTag := f.Measure == cohort.MeasureEqual; !c.HasColumn(f.Column) || isTag != (c.FilterWidth(f.Column) < 0) {
			return fault.New(fault.Usage, doing, "it has no column "+f.Column, next)
		}
	}
	return nil
}

// checkWidths refuses cohorts whose filters differ in width. A column without
// any filter takes the width of the others.
func checkWidths(cohorts []*cohort.File, comparison cohort.Comparison) error {
	for _, f := range comparison.Fields {
		if f.Measure == cohort.MeasureEqual {
			continue
		}
		width := 0
		for _, c := range cohorts {
			own := c.FilterWidth(f.Column)
			if own != 0 && width != 0 && own != width {
				return fault.New(fault.Usage, "comparing the cohorts", "their filters "+f.Column+" differ in width", "give the files that tokeniser run wrote")
			}
			width = max(width, own)
		}
		for _, c := range cohorts {
			if c.FilterWidth(f.Column) == 0 {
				c.SetFilterWidth(f.Column, max(width, 8)) // without any filter every width will do
			}
		}
	}
	return nil
}
