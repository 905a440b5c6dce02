package rekey

import (
	"context"
	"crypto/hmac"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
)

// doing is what is done with a cohort, for messages.
const doing = "bringing the tokens of a cohort to another key"

// fromNumbers is what to do about tokens that cannot be moved.
const fromNumbers = "make them again from the numbers: tokeniser run"

// Options say of which cohort the tokens are moved, and where to.
type Options struct {
	In       string // the Parquet file, or the folder of parts
	Out      string // likewise: a folder becomes a folder
	From, To *keys.Project
	// Convert says that the tokens become another domain's, and the cohort stays the
	// project's of From. Else they go to another epoch of one domain, and the cohort
	// becomes what the record To says.
	Convert  bool
	Replace  bool // writes over whatever file Out is, and not only over what an earlier run has left
	Batch    int  // how many tokens are moved at a time, at most
	Software string
	Clock    func() time.Time // the time that the manifest carries
	Wall     func() time.Time // the real time, for expiry
}

// Cohort is an encoded cohort whose tokens may be moved: it is whole, it is what its
// manifest says, and its tokens are those of the record they come from. Close it.
type Cohort struct {
	Options
	file     *cohort.File
	manifest *cohort.Manifest // of what is written, but for its files
}

// IsCohort reports whether the table at path is an encoded cohort: a folder, or a Parquet
// file with the columns of one, whose tokens are bytes and not text.
func IsCohort(path string) bool {
	paths, err := cohort.Parts(path)
	if err != nil {
		return false // whoever reads it says what is wrong
	}
	t, err := table.Open(paths[0])
	if err != nil {
		return false
	}
	defer func() { _ = t.Close() }() // opened for reading
	for _, name := range []string{cohort.ColumnUniqueID, cohort.ColumnCohortID, cohort.ColumnToken} {
		if len(t.Schema().FieldIndices(name)) != 1 {
			return false
		}
	}
	return t.HoldsBytes(cohort.ColumnToken)
}

// OpenCohort opens a cohort and checks it: nothing has been asked, nothing charged and
// nothing written when it is refused.
func OpenCohort(ctx context.Context, o Options) (*Cohort, error) {
	if err := o.checkOut(); err != nil {
		return nil, err
	}
	f, err := cohort.Open(ctx, o.In)
	if err != nil {
		return nil, err
	}
	c := &Cohort{Options: o, file: f}
	if err := c.check(ctx); err != nil {
		f.Close()
		return nil, err
	}
	return c, nil
}

// Close closes the cohort that was read.
func (c *Cohort) Close() { c.file.Close() }

// Rows returns the number of its records.
func (c *Cohort) Rows() int { return c.file.Rows() }

// checkOut refuses to write over the cohort that is read, or over something that is none.
func (o *Options) checkOut() error {
	if outfile.Same(o.In, o.Out) {
		return fault.New(fault.Usage, doing, "--in and --out name the same cohort", "give each a name of its own")
	}
	named := strings.EqualFold(filepath.Ext(filepath.Clean(o.Out)), ".parquet")
	switch folder := isFolder(o.In); {
	case folder && named:
		return fault.New(fault.Usage, doing, "the name given with --out is that of a file, and the cohort is a folder of parts", "name a folder such as north with --out")
	case !folder && !named:
		return fault.New(fault.Usage, doing, "the name given with --out does not end in .parquet", "name a file such as north.parquet with --out")
	case folder:
		return nil // beginning the folder checks it
	}
	return outfile.Check(doing, nil, []outfile.Output{{Flag: "--out", Path: o.Out, Kind: "a cohort of the same source with tokens of the epoch that they go to", Earlier: o.earlier()}})
}

// earlier returns what tells a cohort that an earlier run has left, or that tokeniser run
// would make now: its tokens are of the epoch that they go to, and it is of the same source.
// One without a manifest was left by a run that was killed before it had one.
func (o *Options) earlier() func([]byte) bool {
	if o.Replace {
		return nil
	}
	return func([]byte) bool {
		if !IsCohort(o.Out) {
			return false
		}
		there, err := cohort.ReadManifest(cohort.ManifestPath(o.Out))
		if err != nil {
			_, absent := os.Lstat(cohort.ManifestPath(o.Out))
			return errors.Is(absent, fs.ErrNotExist)
		}
		in, err := cohort.ReadManifest(cohort.ManifestPath(o.In))
		return err == nil && there.TokenDomain == o.To.Domain && there.TokenEpoch == o.To.Keys.TokenEpoch && there.SourceDataset == in.SourceDataset && there.Project == in.Project
	}
}

// check refuses what cannot be moved, and makes the manifest of what it becomes.
func (c *Cohort) check(ctx context.Context) error {
	m := c.file.Manifest
	if outfile.Same(c.file.ManifestPath, cohort.ManifestPath(c.Out)) {
		return fault.New(fault.Usage, doing, "the manifest of --out would take the place of that of --in", "give --out a name of its own, or another folder")
	}
	switch {
	case m.TokenRelease:
		return fault.New(fault.Policy, doing, "its tokens are release tokens, which are one-way", fromNumbers)
	case m.TokenScheme != keys.SchemeOblivious:
		return fault.New(fault.Policy, doing, "its tokens are of scheme "+m.TokenScheme+", and only those of scheme oblivious can be moved", fromNumbers)
	}
	if err := c.checkCurrent(m); err != nil {
		return err
	}
	if err := c.checkRecords(m); err != nil {
		return err
	}
	if err := c.checkFiles(ctx, m); err != nil {
		return err
	}
	return c.become(m)
}

// checkCurrent refuses a cohort or a project whose time is over.
func (c *Cohort) checkCurrent(m *cohort.Manifest) error {
	end, err := time.Parse(time.RFC3339, m.Expires)
	if err != nil {
		return fault.New(fault.Usage, "reading the manifest of "+m.SourceDataset, "member expires is not an RFC 3339 time", "give the manifest that tokeniser run wrote")
	}
	if !c.Wall().Before(end) {
		return fault.New(fault.Policy, "checking the cohort of "+m.SourceDataset, "its project expired at "+m.Expires, "ask the project's controllers to renew it, then run tokeniser run again")
	}
	if c.Convert {
		if err := c.From.CheckCurrent(c.Wall()); err != nil {
			return err
		}
	}
	return c.To.CheckCurrent(c.Wall())
}

// checkRecords refuses, with kind [fault.Disagreement], a cohort that the records are not
// of.
func (c *Cohort) checkRecords(m *cohort.Manifest) error {
	var wrong []string
	differ := func(what, theirs, ours string) {
		if theirs != ours {
			wrong = append(wrong, what+" is "+theirs+" in the cohort and "+ours+" in the record")
		}
	}
	public, err := publicKCV(c.From)
	if err != nil {
		return err
	}
	kcv := "not stated"
	if m.TokenKCV != nil {
		kcv = *m.TokenKCV
	}
	differ("project", m.Project, c.From.Name)
	differ("token domain", m.TokenDomain, c.From.Domain)
	differ("number of the domain", fmt.Sprint(m.DomainNo), fmt.Sprint(c.From.Keys.DomainNo))
	differ("token epoch", fmt.Sprint(m.TokenEpoch), fmt.Sprint(c.From.Keys.TokenEpoch))
	differ("token key check value", kcv, public)
	if len(wrong) > 0 {
		return fault.New(fault.Disagreement, "comparing the cohort with the record given with --from", strings.Join(wrong, "; "), "give the record of the project and epoch that its tokens are of")
	}
	if c.Convert {
		return nil
	}
	// What is written will say that it is of this record: all of it must be.
	differ("project", m.Project, c.To.Name)
	differ("encoding epoch", fmt.Sprint(m.EncodingEpoch), fmt.Sprint(c.To.Keys.EncodingEpoch))
	if pinned := c.To.Keys.EncodingKCV; pinned != nil {
		differ("encoding key check value", m.EncodingKCV, *pinned)
	}
	if _, there := c.To.Party(m.SourceDataset); !there {
		wrong = append(wrong, "the record has no party "+m.SourceDataset)
	}
	if len(wrong) > 0 {
		return fault.New(fault.Disagreement, "comparing the cohort with the record that its tokens go to", strings.Join(wrong, "; "),
			"give the record of the same project as it is now; of an encoding key that was replaced encode again: tokeniser run")
	}
	return nil
}

// publicKCV returns the key check value of a record's public key, against which proofs are
// verified.
func publicKCV(p *keys.Project) (string, error) {
	const doing, next = "reading the public key of a record", "get the record from the key holder: tokeniser project"
	if p.Keys.TokenPublicKey == nil {
		return "", fault.New(fault.Disagreement, doing, "the record of project "+p.Name+" has none", next)
	}
	public, err := hex.DecodeString(*p.Keys.TokenPublicKey)
	if err != nil {
		return "", fault.New(fault.Disagreement, doing, "that of project "+p.Name+" is not hexadecimal", next)
	}
	kcv := keys.PublicKCV(public)
	if pinned := p.Keys.TokenKCV; pinned != nil && !hmac.Equal([]byte(*pinned), []byte(kcv)) {
		return "", fault.New(fault.Disagreement, doing, "that of project "+p.Name+" is not the one of the record's key check value", next)
	}
	return kcv, nil
}

// idsAtOnce is how many ids are in memory while they are checked: 64 MiB.
const idsAtOnce = 4 << 20

// checkFiles refuses a cohort that is not, byte for byte and row for row, the one that its
// manifest describes.
func (c *Cohort) checkFiles(ctx context.Context, m *cohort.Manifest) error {
	doing, next := "comparing "+c.In+" with its manifest", "encode again, or copy the file again"
	paths, err := cohort.Parts(c.file.Path)
	if err != nil {
		return err
	}
	folder := filepath.Dir(c.file.Path)
	described := func(path string) bool {
		return slices.ContainsFunc(m.Files, func(f cohort.ManifestFile) bool { return filepath.Join(folder, filepath.FromSlash(f.Path)) == path })
	}
	// A copy under another name is not described: what the digest would be taken of is not
	// what is read.
	if len(paths) != len(m.Files) || !slices.ContainsFunc(paths, described) || slices.ContainsFunc(paths, func(path string) bool { return !described(path) }) {
		return fault.New(fault.Usage, doing, "it does not name the same files", "give the cohort under the name that its manifest has")
	}
	if err := m.CheckFiles(ctx, c.file.Path); err != nil {
		return err
	}
	if m.Rows != int64(c.file.Rows()) {
		return fault.New(fault.Usage, doing, "it has another number of rows", next)
	}
	digest, err := c.file.CheckRows(ctx, idsAtOnce)
	if err != nil {
		return err
	}
	if digest != m.RowsDigest {
		return fault.New(fault.Usage, doing, "its rows are not those that the manifest's digest is of", next)
	}
	return nil
}

// become makes the manifest of what is written: what is said of tokens is that of the
// record they go to. Of a rotation the record is the cohort's own as it is now. A converted
// cohort stays the project's that encoded it, under the version of the record by which that
// was done: the other record is another project's, and says nothing of these encodings.
func (c *Cohort) become(m *cohort.Manifest) error {
	kcv, err := publicKCV(c.To)
	if err != nil {
		return err
	}
	made := *m
	made.TokenDomain, made.TokenEpoch, made.TokenKCV, made.DomainNo = c.To.Domain, c.To.Keys.TokenEpoch, &kcv, c.To.Keys.DomainNo
	if !c.Convert {
		made.ProjectDigest = c.To.Digest()
	}
	end, err := c.To.End()
	if err != nil {
		return err
	}
	if before, err := time.Parse(time.RFC3339, m.Expires); err == nil && before.Before(end) {
		end = before
	}
	made.Created, made.Expires, made.Software, made.Files = c.Clock().UTC().Format(time.RFC3339), end.UTC().Format(time.RFC3339), c.Software, nil
	if made.CohortID, err = made.Identity.CohortID(); err != nil {
		return fault.Wrap(fault.Internal, "identifying the cohort", err, "")
	}
	c.manifest = &made
	return nil
}
