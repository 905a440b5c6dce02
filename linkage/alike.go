package linkage

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/linkage/result"
)

// What jobs of every method do alike, for package similarity.

// CheckCohorts refuses cohorts that were not encoded alike (kind
// [fault.Disagreement]) or whose project has expired by now (kind
// [fault.Policy]). Differences that stop nothing are warnings.
func CheckCohorts(cohorts []*cohort.File, now time.Time) ([]result.Warning, error) {
	warnings, err := checkAgreement(cohorts)
	if err != nil {
		return nil, err
	}
	return warnings, checkExpiry(cohorts, now)
}

// CheckProject refuses, with kind [fault.Disagreement], cohorts that are not of
// the project, the encoding epoch and the encoding key of record, the project's
// record as it is now: agreement with each other says nothing of a key that was
// replaced since. Every disagreement is listed with both sides named. Kind
// [fault.Policy] is a record that has expired by now. A nil record refuses
// nothing. Another digest is a warning, and so is a record that pins no check
// value, with which only project and epoch are compared.
func CheckProject(record *keys.Project, cohorts []*cohort.File, now time.Time) ([]result.Warning, error) {
	if record == nil {
		return nil, nil
	}
	if err := record.CheckCurrent(now); err != nil {
		return nil, err
	}
	pinned := record.Keys.EncodingKCV
	var disagreements []string
	var warnings []result.Warning
	for _, c := range cohorts {
		m := c.Manifest
		for _, x := range []struct{ what, cohort, record string }{
			{"project", m.Project, record.Name},
			{"encoding epoch", fmt.Sprint(m.EncodingEpoch), fmt.Sprint(record.Keys.EncodingEpoch)},
			{"encoding key check value", m.EncodingKCV, *cmp.Or(pinned, &m.EncodingKCV)},
		} {
			if x.cohort != x.record {
				disagreements = append(disagreements, fmt.Sprintf("%s is %s in %s and %s in the project's record", x.what, x.cohort, m.SourceDataset, x.record))
			}
		}
		if m.ProjectDigest != record.Digest() {
			warnings = append(warnings, result.Warning{Code: "record_digest_differs",
				Text: m.SourceDataset + " was encoded with another version of the project file than the record that was given; project and encoding epoch agree"})
		}
	}
	if len(disagreements) > 0 {
		return nil, fault.New(fault.Disagreement, "comparing the cohorts with the project's record", strings.Join(disagreements, "; "),
			"if the record is the project's current one, encode these cohorts again with it, and delete them: their key was replaced")
	}
	if pinned == nil {
		warnings = append(warnings, result.Warning{Code: "record_pins_no_key",
			Text: "the project's record has no encoding key check value, so that cohorts were held to its name and encoding epoch alone"})
	}
	return warnings, nil
}

// RunID returns the id of a run: what its result depends on, as 16 hex digits of
// a digest.
func RunID(identity any) (string, error) {
	b, err := keys.Encode(identity)
	if err != nil {
		return "", fault.Wrap(fault.Internal, "identifying the run", err, "")
	}
	digest, err := keys.Digest(b)
	if err != nil {
		return "", fault.Wrap(fault.Internal, "identifying the run", err, "")
	}
	return digest[:16], nil
}

// ClusterIDs gives clusters ids that only who has the linker's state can make.
// It is not for concurrent use.
type ClusterIDs struct {
	state  *state
	hasher *secret.Hasher
}

// OpenClusterIDs reads the linker's state in folder, or makes it there with a
// key drawn from random. State of another project or epoch is refused.
func OpenClusterIDs(folder, project string, epoch uint32, software, created string, random io.Reader) (*ClusterIDs, error) {
	s, err := openState(folder, project, epoch, software, created, random)
	if err == nil {
		err = s.forget()
	}
	if err != nil {
		return nil, err
	}
	return &ClusterIDs{s, secret.NewHasher()}, nil
}

// Of returns the id of the cluster whose founding member this is.
func (c *ClusterIDs) Of(sourceDataset, uniqueID string) cohort.ID {
	return c.state.clusterID(c.hasher, sourceDataset, uniqueID)
}

// Check returns a value that tells two states apart and gives neither away.
func (c *ClusterIDs) Check() string { return c.state.check() }

// Used states what the process has used since from.
func Used(from, to time.Time, stages []result.Stage) result.Resources {
	return resources(from, to, stages, nil)
}
