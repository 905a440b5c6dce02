// Package release makes a copy of a result that may be handed over: clusters
// under new ids, that nobody can join with those of the result or of another
// release, and without what speaks of pairs of records or of tokens.
package release

import (
	"cmp"
	"context"
	"crypto/rand"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/linkage/report"
	"tarn/linkage/result"
)

// ConflictsDir holds a file for each party: the records of its own whose NHS
// number is that of another record which is plainly not the same person.
const ConflictsDir = "conflicts"

// Options are the settings of a release.
type Options struct {
	From, To string // the result, and an existing folder
	Software string
	Clock    func() time.Time
	Random   io.Reader // for the key of the new ids, which is not kept
}

// releaser is one release.
type releaser struct {
	Options
	key     secret.MAC
	summary *result.Summary
	run     *result.Run
	outputs []result.Output
}

// Make writes the release. It keeps no more than some millions of rows in
// memory at a time.
func Make(ctx context.Context, o Options) error {
	r := &releaser{Options: o}
	var err error
	if r.summary, err = result.ReadSummary(o.From); err != nil {
		return err
	}
	if r.run, err = result.ReadRun(o.From); err != nil {
		return err
	}
	random := o.Random
	if random == nil {
		random = rand.Reader
	}
	key, err := secret.Generate(random)
	if err != nil {
		return fault.Wrap(fault.Internal, "making new cluster ids", err, "")
	}
	r.key = key.MAC()
	for _, step := range []func(context.Context) error{r.clusters, r.crosswalks, r.conflicts, r.documents} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rename returns the new id of a cluster; "" stays what it is, where a method
// has no such cluster.
func (r *releaser) rename(h *secret.Hasher, old string) string {
	if old == "" {
		return ""
	}
	var id cohort.ID
	copy(id[:], h.Sum(r.key, keys.LP(keys.Text("tarn/release"), keys.Text(old)))[:])
	return id.String()
}

// heldRows is how many rows are ordered at a time, about.
const heldRows = 2_000_000

// ranges returns into how many ranges of ids the records are divided, a power
// of two up to 256.
func (r *releaser) ranges() int {
	rows, n := int64(0), 1
	for _, in := range r.summary.Inputs {
		rows += in.Rows
	}
	for n < 256 && rows/int64(n) > heldRows {
		n *= 2
	}
	return n
}

// inRange reports whether an id's first two digits lie in range i of n.
func inRange(id string, i, n int) bool {
	if len(id) < 2 {
		return i == 0 // row numbers of CLKs
	}
	digit := func(c byte) int { return max(strings.IndexByte("0123456789abcdef", c), 0) }
	first := digit(id[0])*16 + digit(id[1])
	return first >= i*256/n && first < (i+1)*256/n
}

func (r *releaser) path(parts ...string) string {
	return filepath.Join(append([]string{r.To}, parts...)...)
}

func (r *releaser) add(f table.File, name string) {
	r.outputs = append(r.outputs, result.Output{Path: name, SHA256: f.SHA256, Bytes: &f.Bytes})
}

// clusters writes clusters.parquet by new cluster id, data set and unique_id,
// without tokens.
func (r *releaser) clusters(ctx context.Context) (err error) {
	n := r.ranges()
	h := secret.NewHasher()
	var scanned error
	f, err := result.WriteClusters(r.path(result.ClustersFile), r.summary.RunID, r.Software, false, func(yield func(*result.Member) bool) {
		for i := range n {
			var rows []result.Member
			scanned = result.ScanClusters(ctx, filepath.Join(r.From, result.ClustersFile), func(m *result.Member) error {
				id := r.rename(h, m.ClusterID)
				if !inRange(id, i, n) {
					return nil
				}
				renamed := func(old string) string {
					if old == m.ClusterID {
						return id
					}
					return r.rename(h, old)
				}
				rows = append(rows, result.Member{ClusterID: id, SourceDataset: strings.Clone(m.SourceDataset), UniqueID: strings.Clone(m.UniqueID),
					ClusterIDP90: renamed(m.ClusterIDP90), ClusterIDP95: renamed(m.ClusterIDP95), ClusterIDP99: renamed(m.ClusterIDP99),
					ClusterSize: m.ClusterSize, Datasets: m.Datasets})
				return nil
			})
			if scanned != nil {
				return
			}
			slices.SortFunc(rows, func(a, b result.Member) int {
				return cmp.Or(cmp.Compare(a.ClusterID, b.ClusterID), cmp.Compare(a.SourceDataset, b.SourceDataset), cmp.Compare(a.UniqueID, b.UniqueID))
			})
			for k := range rows {
				if !yield(&rows[k]) {
					return
				}
			}
		}
	})
	if scanned != nil {
		return scanned
	}
	if err != nil {
		return err
	}
	r.add(f, result.ClustersFile)
	return nil
}

// crosswalks writes a file for each party from the clusters of the release.
func (r *releaser) crosswalks(ctx context.Context) error {
	if err := os.MkdirAll(r.path(result.CrosswalkDir), 0o700); err != nil {
		return fault.Wrap(fault.Internal, "writing "+r.path(result.CrosswalkDir), err, "choose a folder that can be written")
	}
	n := r.ranges()
	for _, in := range r.summary.Inputs {
		name := in.SourceDataset + ".parquet"
		var scanned error
		f, err := result.WriteCrosswalk(r.path(result.CrosswalkDir, name), r.Software, func(yield func(result.CrosswalkRow) bool) {
			for i := range n {
				var rows []result.CrosswalkRow
				scanned = result.ScanClusters(ctx, r.path(result.ClustersFile), func(m *result.Member) error {
					if m.SourceDataset == in.SourceDataset && inRange(m.UniqueID, i, n) {
						rows = append(rows, result.CrosswalkRow{UniqueID: strings.Clone(m.UniqueID), ClusterID: strings.Clone(m.ClusterID)})
					}
					return nil
				})
				if scanned != nil {
					return
				}
				slices.SortFunc(rows, func(a, b result.CrosswalkRow) int { return cmp.Compare(a.UniqueID, b.UniqueID) })
				for _, row := range rows {
					if !yield(row) {
						return
					}
				}
			}
		})
		if err := cmp.Or(scanned, err); err != nil {
			return err
		}
		r.add(f, filepath.ToSlash(filepath.Join(result.CrosswalkDir, name)))
	}
	return nil
}

// conflicts writes to each party which records of its own are in a conflict,
// and nothing of the other side.
func (r *releaser) conflicts(ctx context.Context) error {
	path := filepath.Join(r.From, result.ConflictsFile)
	if _, err := os.Stat(path); err != nil {
		return nil // the method knows no conflicts
	}
	own := map[string][]string{}
	err := result.ScanLinks(ctx, path, func(l *result.Link) error {
		own[l.SourceDatasetL] = append(own[l.SourceDatasetL], strings.Clone(l.UniqueIDL))
		own[l.SourceDatasetR] = append(own[l.SourceDatasetR], strings.Clone(l.UniqueIDR))
		return nil
	})
	if err != nil {
		return err
	}
	if err := os.MkdirAll(r.path(ConflictsDir), 0o700); err != nil {
		return fault.Wrap(fault.Internal, "writing "+r.path(ConflictsDir), err, "choose a folder that can be written")
	}
	for _, in := range r.summary.Inputs {
		name := in.SourceDataset + ".parquet"
		ids := own[in.SourceDataset]
		slices.Sort(ids)
		f, err := result.WriteIDs(r.path(ConflictsDir, name), r.Software, slices.Values(slices.Compact(ids)))
		if err != nil {
			return err
		}
		r.add(f, filepath.ToSlash(filepath.Join(ConflictsDir, name)))
	}
	return nil
}

// documents writes model.json and run.json as they are, the report without any
// record, and the summary of what is here.
func (r *releaser) documents(context.Context) error {
	names := []string{result.RunFile, result.ReportFile}
	if _, err := os.Stat(filepath.Join(r.From, result.ModelFile)); err == nil {
		names = append(names, result.ModelFile)
	}
	for _, name := range names {
		if name == result.ReportFile {
			if err := report.Write(r.path(name), r.summary, r.run, r.Software); err != nil {
				return err
			}
		} else if err := r.copy(name); err != nil {
			return err
		}
		output, err := result.OutputOf(r.To, name)
		if err != nil {
			return err
		}
		r.outputs = append(r.outputs, output)
	}
	r.summary.Outputs, r.summary.Created = r.outputs, r.Clock().UTC().Format(time.RFC3339)
	return result.WriteDocument(r.To, result.SummaryFile, r.summary)
}

func (r *releaser) copy(name string) error {
	b, err := os.ReadFile(filepath.Join(r.From, name))
	if err != nil {
		return fault.Wrap(fault.Usage, "reading "+filepath.Join(r.From, name), err, "give the folder that linker link wrote")
	}
	if err := keys.WriteFile(r.path(name), b); err != nil {
		return fault.Wrap(fault.Internal, "writing "+r.path(name), err, "free space on the disk or choose a folder that can be written")
	}
	return nil
}
