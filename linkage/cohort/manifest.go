package cohort

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
)

// Schema is the schema member of a manifest.
const Schema = "tarn.cohort/1"

// Identity is the part of a manifest that says what a cohort is: the same
// rows encoded the same way have the same identity, whichever version of the
// software wrote them and whenever.
type Identity struct {
	Schema        string  `json:"schema"`
	Project       string  `json:"project"`
	ProjectDigest string  `json:"project_digest"`
	Profile       string  `json:"profile"`
	ProfileDigest string  `json:"profile_digest"`
	EncodingEpoch uint32  `json:"encoding_epoch"`
	EncodingKCV   string  `json:"encoding_kcv"`
	TokenScheme   string  `json:"token_scheme"`
	TokenRelease  bool    `json:"token_release"`
	TokenDomain   string  `json:"token_domain"`
	TokenEpoch    uint32  `json:"token_epoch"`
	TokenKCV      *string `json:"token_kcv"`
	SourceDataset string  `json:"source_dataset"`
	SourceOrg     string  `json:"source_org"`
	RowsDigest    string  `json:"rows_digest"` // see RowsDigest
}

// CohortID returns the first 16 hex digits of the SHA-256 over the RFC 8785
// form of the identity.
func (id Identity) CohortID() (string, error) {
	b, err := keys.Encode(id)
	if err != nil {
		return "", err
	}
	digest, err := keys.Digest(b)
	if err != nil {
		return "", err
	}
	return digest[:16], nil
}

func (id Identity) metadata() []table.KeyValue {
	kcv := ""
	if id.TokenKCV != nil {
		kcv = *id.TokenKCV
	}
	return []table.KeyValue{
		{Key: "tarn.schema", Value: id.Schema},
		{Key: "tarn.project", Value: id.Project},
		{Key: "tarn.project_digest", Value: id.ProjectDigest},
		{Key: "tarn.profile", Value: id.Profile},
		{Key: "tarn.profile_digest", Value: id.ProfileDigest},
		{Key: "tarn.encoding_epoch", Value: strconv.FormatUint(uint64(id.EncodingEpoch), 10)},
		{Key: "tarn.encoding_kcv", Value: id.EncodingKCV},
		{Key: "tarn.token_scheme", Value: id.TokenScheme},
		{Key: "tarn.token_release", Value: strconv.FormatBool(id.TokenRelease)},
		{Key: "tarn.token_domain", Value: id.TokenDomain},
		{Key: "tarn.token_epoch", Value: strconv.FormatUint(uint64(id.TokenEpoch), 10)},
		{Key: "tarn.token_kcv", Value: kcv},
		{Key: "tarn.source_dataset", Value: id.SourceDataset},
		{Key: "tarn.source_org", Value: id.SourceOrg},
		{Key: "tarn.rows_digest", Value: id.RowsDigest},
	}
}

// Manifest describes an encoded cohort. It is authoritative: what tools do to
// the Parquet file's own metadata does not matter.
type Manifest struct {
	CohortID string `json:"cohort_id"`
	Identity
	Created    string           `json:"created"`
	Expires    string           `json:"expires"`
	Software   string           `json:"software"`
	DomainNo   uint32           `json:"token_domain_no"`
	Rows       int64            `json:"rows"`
	Refused    map[string]int64 `json:"refused"`
	Warnings   map[string]int64 `json:"warnings"`
	OptOuts    []string         `json:"opt_outs"`
	MapDigest  string           `json:"map_digest"`
	Files      []ManifestFile   `json:"files"`
	Comparison Comparison       `json:"comparison"` // how to compare; outside the identity
}

// ManifestFile is one file of a cohort, relative to the manifest.
type ManifestFile struct {
	Path   string `json:"path"`
	SHA256 string `json:"sha256"`
	Rows   int64  `json:"rows"`
}

// manifestSuffix is appended to a cohort's name without its extension.
const manifestSuffix = ".manifest.json"

// ManifestPath returns where the manifest of the cohort at path lies.
func ManifestPath(path string) string {
	return strings.TrimSuffix(path, filepath.Ext(path)) + manifestSuffix
}

// ReadManifest reads and checks one manifest.
func ReadManifest(path string) (*Manifest, error) {
	doing, next := "reading the manifest "+path, "give the manifest that tokeniser run wrote beside the cohort"
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, next)
	}
	m := new(Manifest)
	if err := keys.DecodeStrict(b, m); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, next)
	}
	if m.Schema != Schema {
		return nil, fault.New(fault.Usage, doing, fmt.Sprintf("member schema is not %q", Schema), next)
	}
	id, err := m.Identity.CohortID()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	if id != m.CohortID {
		return nil, fault.New(fault.Usage, doing, "cohort_id is not the digest of what it identifies: the manifest was changed", next)
	}
	if !keys.ValidSourceDataset(m.SourceDataset) {
		return nil, fault.New(fault.Usage, doing, "member source_dataset must be 1 to 64 of letters, digits, - and _", next)
	}
	if err := m.Comparison.check(); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "correct the comparison part of the profile and encode again")
	}
	return m, nil
}

// CheckFiles reports whether the files of the cohort at path, beside which m
// lies, are those that m describes, byte for byte.
func (m *Manifest) CheckFiles(ctx context.Context, path string) error {
	for _, f := range m.Files {
		name := filepath.Join(filepath.Dir(path), filepath.FromSlash(f.Path))
		digest, err := digestOf(ctx, name)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			return fault.Wrap(fault.Usage, "reading "+name, err, "give all files of the cohort")
		}
		if digest != f.SHA256 {
			return fault.New(fault.Usage, "comparing "+name+" with its manifest", "it is not the file that the manifest describes", "encode again, or copy the file again")
		}
	}
	return nil
}

func digestOf(ctx context.Context, path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer func() { _ = f.Close() }() // opened for reading
	h := sha256.New()
	for {
		if _, err := io.CopyN(h, f, 64<<20); errors.Is(err, io.EOF) {
			break
		} else if err = cmp.Or(err, ctx.Err()); err != nil {
			return "", err
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// WriteManifest writes the manifest, complete or not at all.
func WriteManifest(path string, m *Manifest) error {
	b, err := keys.Encode(m)
	if err != nil {
		return fault.Wrap(fault.Internal, "writing the manifest "+path, err, "")
	}
	if err := keys.WriteFile(path, b); err != nil {
		return fault.Wrap(fault.Internal, "writing the manifest "+path, err, "choose a folder that can be written")
	}
	return nil
}

// findManifest finds the manifest of the cohort at path: NAME.manifest.json
// beside it if that has this cohort_id, else any manifest in the folder that
// has (a rewritten file often has another name). cohortID is empty for a
// cohort without rows.
func findManifest(path, cohortID string) (m *Manifest, found string, err error) {
	own := ManifestPath(path)
	if _, err := os.Stat(own); err == nil {
		m, err := ReadManifest(own)
		if err != nil {
			return nil, "", err
		}
		if cohortID == "" || m.CohortID == cohortID {
			return m, own, nil
		}
	}
	others, err := filesWith(filepath.Dir(path), manifestSuffix)
	if err != nil {
		return nil, "", fault.Wrap(fault.Usage, "looking for the manifest of "+path, err, "give a folder that this user can read")
	}
	for _, other := range others {
		if m, err := ReadManifest(other); err == nil && cohortID != "" && m.CohortID == cohortID {
			return m, other, nil
		}
	}
	return nil, "", fault.New(fault.Usage, "looking for the manifest of "+path, "no *"+manifestSuffix+" beside it has its cohort_id",
		"copy the manifest that tokeniser run wrote into the same folder")
}
