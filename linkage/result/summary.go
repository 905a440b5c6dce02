// Package result is what a linkage job leaves behind: the links, conflicts,
// clusters and crosswalk tables, summary.json and run.json. It writes and reads
// these formats and decides nothing.
package result

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"

	"tarn/keys"
	"tarn/keys/fault"
)

// Schemas of the JSON documents.
const (
	SummarySchema = "tarn.link-summary/1"
	RunSchema     = "tarn.link-run/1"
)

// Names of the files in a result folder.
const (
	SummaryFile   = "summary.json"
	RunFile       = "run.json"
	ReportFile    = "report.html"
	LinksFile     = "links.parquet"
	ConflictsFile = "conflicts.parquet"
	ClustersFile  = "clusters.parquet"
	ModelFile     = "model.json"
	CrosswalkDir  = "crosswalk"
)

// Estimate is an estimated share with its 95% interval; nil is unknown.
type Estimate struct {
	Value float64 `json:"value"`
	Lo    float64 `json:"lo"`
	Hi    float64 `json:"hi"`
}

// Summary is summary.json.
type Summary struct {
	Schema        string      `json:"schema"`
	Software      string      `json:"software"`
	Created       string      `json:"created"`
	RunID         string      `json:"run_id"`
	Project       string      `json:"project"`
	Profile       string      `json:"profile"`
	ProfileDigest string      `json:"profile_digest"`
	Method        string      `json:"method"`
	Threshold     float64     `json:"threshold"` // on link_probability
	Inputs        []Input     `json:"inputs"`
	Pairs         Pairs       `json:"pairs"`
	Links         Links       `json:"links"`
	Clusters      Clusters    `json:"clusters"`
	Model         Model       `json:"model"`
	Estimated     Quality     `json:"estimated"`
	Thresholds    []Threshold `json:"thresholds"`
	Equity        *Equity     `json:"equity"`
	Unlinkable    int64       `json:"unlinkable"` // records with neither token nor anything to compare
	Resources     Resources   `json:"resources"`
	Warnings      []Warning   `json:"warnings"`
	Outputs       []Output    `json:"outputs"`
}

// Input is one cohort of the job.
type Input struct {
	SourceDataset string `json:"source_dataset"`
	CohortID      string `json:"cohort_id"`
	Rows          int64  `json:"rows"`
	ValidTokens   int64  `json:"valid_tokens"`
	// Tokens is nil where none are used (method clk), and in results of versions
	// that did not say.
	Tokens *Tokens `json:"tokens"`
}

// Tokens says what a cohort's tokens are. Those of two cohorts are compared where
// all of it is equal, and the key is.
type Tokens struct {
	Scheme  string `json:"scheme"`
	Release bool   `json:"release"` // whether they are release tokens, made of those of the scheme
	Domain  string `json:"domain"`
	Epoch   uint32 `json:"epoch"`
}

func (t *Tokens) String() string {
	scheme := t.Scheme
	if t.Release {
		scheme = "release of " + scheme
	}
	return fmt.Sprintf("%s, domain %s, epoch %d", scheme, t.Domain, t.Epoch)
}

// Pairs counts pairs of records of different parties.
type Pairs struct {
	Planned     int64 `json:"planned"`     // in the blocks, counted before work
	Compared    int64 `json:"compared"`    // compared by the kernel
	Token       int64 `json:"token"`       // with equal tokens
	Demographic int64 `json:"demographic"` // compared, without equal tokens
}

// Links counts links by what they rest on.
type Links struct {
	Total           int64 `json:"total"`
	TokenOnly       int64 `json:"token_only"`
	DemographicOnly int64 `json:"demographic_only"`
	Both            int64 `json:"both"`
	Review          int64 `json:"review"`
	Conflicts       int64 `json:"conflicts"`
}

// Clusters counts clusters at the job's threshold.
type Clusters struct {
	Total      int64 `json:"total"`
	Linked     int64 `json:"linked"` // of two records or more
	Singletons int64 `json:"singletons"`
	Largest    int64 `json:"largest"`
}

// Model is the fitted Fellegi-Sunter model.
type Model struct {
	Converged   bool         `json:"converged"`
	Iterations  int          `json:"iterations"`
	Probability *float64     `json:"probability_two_random_records_match"` // nil where there are no two records of different parties
	Fields      []ModelLevel `json:"fields"`
}

// ModelLevel is one agreement level of one field.
type ModelLevel struct {
	Field        string  `json:"field"`
	Level        int     `json:"level"`
	MProbability float64 `json:"m_probability"`
	UProbability float64 `json:"u_probability"`
	MatchWeight  float64 `json:"match_weight"` // log2(m/u)
}

// Quality is an estimate made without truth; nil where it cannot be had.
type Quality struct {
	Precision *Estimate `json:"precision"`
	Recall    *Estimate `json:"recall"`
}

// Threshold says what linking at this link_probability would give.
type Threshold struct {
	MatchProbability float64   `json:"match_probability"` // a threshold on link_probability
	MatchWeight      float64   `json:"match_weight"`      // its log2 odds
	Links            int64     `json:"links"`
	Precision        *Estimate `json:"precision"`
	Recall           *Estimate `json:"recall"`
}

// Equity compares link rates between groups of people.
type Equity struct {
	Dimensions []EquityDimension `json:"dimensions"`
}

// EquityDimension is one group column. MaxGap is the widest difference of link
// rates between two of its groups, over all parties; nil where fewer than two
// groups are large enough to be shown.
type EquityDimension struct {
	Name   string        `json:"name"`
	MaxGap *float64      `json:"max_gap"`
	Groups []EquityGroup `json:"groups"`
}

// EquityGroup is one group in one party. Rows is nil and LinkRate is nil where
// the group is too small to be shown.
type EquityGroup struct {
	Group         string    `json:"group"`
	SourceDataset string    `json:"source_dataset"`
	Rows          *int64    `json:"rows"`
	LinkRate      *Estimate `json:"link_rate"`
}

// Resources says what the job cost. Unknown is nil.
type Resources struct {
	WallS         float64  `json:"wall_s"`
	CPUS          *float64 `json:"cpu_s"`
	PeakRSSBytes  *int64   `json:"peak_rss_bytes"`
	PeakDiskBytes *int64   `json:"peak_disk_bytes"`
	Stages        []Stage  `json:"stages"`
}

// Stage is one stage of a job.
type Stage struct {
	Name  string  `json:"name"`
	WallS float64 `json:"wall_s"`
}

// Warning is something the reader of the result should know.
type Warning struct {
	Code string `json:"code"`
	Text string `json:"text"`
}

// TokenPassSkipped is the code of the warning that tokens of two cohorts were not
// compared.
const TokenPassSkipped = "token_pass_skipped"

// Output is one file of the result, relative to its folder. All are named but
// summary.json itself and the linker's state.
type Output struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Bytes  *int64 `json:"bytes"` // nil in results of versions that did not say
}

// OutputOf returns the digest and the size of a file of the folder.
func OutputOf(folder, name string) (Output, error) {
	path := filepath.Join(folder, filepath.FromSlash(name))
	b, err := os.ReadFile(path)
	if err != nil {
		return Output{}, fault.Wrap(fault.Internal, "reading "+path, err, "")
	}
	sum, size := sha256.Sum256(b), int64(len(b))
	return Output{Path: name, SHA256: hex.EncodeToString(sum[:]), Bytes: &size}, nil
}

// WriteDocument writes a JSON document into the folder, complete or not at all.
func WriteDocument(folder, name string, document any) error {
	path := filepath.Join(folder, name)
	b, err := keys.Encode(document)
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "")
	}
	if err := keys.WriteFile(path, b); err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "free space on the disk or choose a folder that can be written")
	}
	return nil
}

// ReadSummary reads DIR/summary.json.
func ReadSummary(folder string) (*Summary, error) {
	s := new(Summary)
	return s, readDocument(folder, SummaryFile, s, func() bool { return s.Schema == SummarySchema })
}

// ReadRun reads DIR/run.json.
func ReadRun(folder string) (*Run, error) {
	r := new(Run)
	return r, readDocument(folder, RunFile, r, func() bool { return r.Schema == RunSchema })
}

func readDocument(folder, name string, v any, known func() bool) error {
	path := filepath.Join(folder, name)
	doing, next := "reading "+path, "give the folder that linker link wrote"
	b, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, next)
	}
	if err := keys.DecodeStrict(b, v); err != nil {
		return fault.Wrap(fault.Usage, doing, err, next)
	}
	if !known() {
		return fault.New(fault.Usage, doing, "its schema is not one that this version reads", next)
	}
	return nil
}
