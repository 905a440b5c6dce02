package linkage

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
)

// record is a project's record of encoding epoch 2, as it would be read.
func record(t *testing.T, kcv string) *keys.Project {
	t.Helper()
	p, err := keys.ParseProject(fmt.Appendf(nil, `{"schema": "tarn.project/1", "name": "sample", "domain": "lake", "scheme": "keyed-hash", "profile": "nhs-field-dob-1",
		"purpose": "a test", "legal_basis": {}, "controllers": ["north"], "parties": [{"source_dataset": "north"}, {"source_dataset": "south"}],
		"opt_outs": {"ndoo": true, "type1": true, "local": false}, "groups": [], "reidentify": {"mode": "none"}, "expires": "2026-12-31",
		"keys": {"domain_no": 1, "token_epoch": 1, "token_public_key": null, "token_kcv": null, "encoding_epoch": 2, "encoding_kcv": %s}}`, kcv))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// TestCheckProject: cohorts that agree with each other are refused all the same
// where the record is of another project, epoch or key.
func TestCheckProject(t *testing.T) {
	kcv := strings.Repeat("ab", 16)
	pinned := record(t, `"`+kcv+`"`)
	now := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	cohorts := func(change func(*cohort.Identity)) (files []*cohort.File) {
		for _, source := range []string{"north", "south"} {
			id := cohort.Identity{Project: "sample", ProjectDigest: pinned.Digest(), EncodingEpoch: 2, EncodingKCV: kcv, SourceDataset: source}
			change(&id)
			files = append(files, &cohort.File{Manifest: &cohort.Manifest{Identity: id}})
		}
		return files
	}
	for _, c := range []struct {
		name     string
		record   *keys.Project
		change   func(*cohort.Identity)
		now      time.Time
		kind     fault.Kind
		says     []string
		warnings []string
	}{
		{name: "the same", record: pinned, now: now},
		{name: "no record", change: func(id *cohort.Identity) { id.EncodingEpoch = 1 }, now: now},
		{name: "an old epoch", record: pinned, change: func(id *cohort.Identity) { id.EncodingEpoch = 1 }, now: now, kind: fault.Disagreement,
			says: []string{"encoding epoch is 1 in north and 2 in the project's record", "encoding epoch is 1 in south"}},
		{name: "one side of an old epoch", record: pinned, now: now, kind: fault.Disagreement, says: []string{"is 1 in south and 2 in the project's record"},
			change: func(id *cohort.Identity) {
				if id.SourceDataset == "south" {
					id.EncodingEpoch = 1
				}
			}},
		{name: "another project", record: pinned, change: func(id *cohort.Identity) { id.Project = "other" }, now: now, kind: fault.Disagreement,
			says: []string{"project is other in north and sample in the project's record"}},
		{name: "another key", record: pinned, change: func(id *cohort.Identity) { id.EncodingKCV = "cd" }, now: now, kind: fault.Disagreement,
			says: []string{"encoding key check value is cd in north and " + kcv + " in the project's record"}},
		{name: "another digest", record: pinned, change: func(id *cohort.Identity) { id.ProjectDigest = "older" }, now: now,
			warnings: []string{"record_digest_differs", "record_digest_differs"}},
		{name: "no key pinned", record: record(t, "null"), change: func(id *cohort.Identity) { id.EncodingKCV = "cd" }, now: now,
			warnings: []string{"record_digest_differs", "record_digest_differs", "record_pins_no_key"}},
		{name: "no key pinned, an old epoch", record: record(t, "null"), change: func(id *cohort.Identity) { id.EncodingEpoch = 1 }, now: now, kind: fault.Disagreement,
			says: []string{"encoding epoch is 1 in north"}},
		{name: "an expired record", record: pinned, now: now.AddDate(1, 0, 0), kind: fault.Policy, says: []string{"it expired on 2026-12-31"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.change == nil {
				c.change = func(*cohort.Identity) {}
			}
			warnings, err := CheckProject(c.record, cohorts(c.change), c.now)
			if c.says == nil != (err == nil) || err != nil && fault.KindOf(err) != c.kind {
				t.Fatalf("error %v", err)
			}
			for _, want := range c.says {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
			var codes []string
			for _, w := range warnings {
				codes = append(codes, w.Code)
			}
			if !slices.Equal(codes, c.warnings) {
				t.Errorf("warnings %q, want %q", codes, c.warnings)
			}
		})
	}
}
