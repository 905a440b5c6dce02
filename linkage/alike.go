package linkage

import (
	"io"
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
