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
				Text: fmt.Sprintf("%s and %s were encoded with different versions of the project file; keys and profile agree", first.SourceDataset, other.SourceDataset)})
		}
	}
	if len(disagreements) > 0 {
		return nil, fault.New(fault.Disagreement, "comparing the cohorts", "they were not encoded alike and cannot be linked: "+strings.Join(disagreements, "; "),
			"agree on one project file and one key file, then run tokeniser run again at the side that differs")
	}
	seen := map[string]bool{}
	for _, c := range cohorts {
		if seen[c.SourceDataset()] {
			return nil, fault.New(fault.Usage, "comparing the cohorts", "two of them are of "+c.SourceDataset(), "give one cohort for each party")
		}
		seen[c.SourceDataset()] = true
	}
	return warnings, nil
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

// tokensComparable reports whether equal numbers have equal tokens in both
// cohorts, and if not, which of the facts differ.
func tokensComparable(a, b *cohort.Manifest) (bool, string) {
	kcv := func(m *cohort.Manifest) string {
		if m.TokenKCV == nil {
			return "unknown"
		}
		return *m.TokenKCV
	}
	var differ []string
	for _, x := range []struct {
		what  string
		equal bool
	}{
		{"scheme", a.TokenScheme == b.TokenScheme && a.TokenRelease == b.TokenRelease},
		{"domain", a.TokenDomain == b.TokenDomain},
		{"token epoch", a.TokenEpoch == b.TokenEpoch},
		{"token key check value", kcv(a) == kcv(b) && a.TokenKCV != nil},
	} {
		if !x.equal {
			differ = append(differ, x.what)
		}
	}
	return len(differ) == 0, strings.Join(differ, ", ")
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
