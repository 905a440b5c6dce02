package linkage

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// clusters are the records of all cohorts as people, at the job's threshold and
// at three fixed ones.
type clusters struct {
	*resolve.Clusters
	names []cohort.ID // by founder; zero for records that found no cluster
	// moved are, for each fixed threshold, the records that have another founder
	// there, rising. They are few.
	moved [len(fixedThresholds)][]move
}

type move struct{ number, founder int32 }

var fixedThresholds = [...]float64{.90, .95, .99}

// memoryToSpare is the number of records up to which clusters are made side by
// side: each takes some 16 bytes a record while it is made.
const memoryToSpare = 4_000_000

// cluster joins the links, and names the clusters. After it candidates are not
// needed any more.
func (j *job) cluster() *clusters {
	c := &clusters{Clusters: j.clustersAt(j.threshold)}
	var group errgroup.Group
	group.SetLimit(1)
	if j.people.Total() <= memoryToSpare {
		group.SetLimit(max(j.Threads, 1))
	}
	for k, threshold := range fixedThresholds {
		group.Go(func() error {
			for number, founder := range j.clustersAt(threshold).Founder {
				if founder != c.Founder[number] {
					c.moved[k] = append(c.moved[k], move{int32(number), founder})
				}
			}
			return nil
		})
	}
	_ = group.Wait() // none fails
	c.Count(j.people)
	c.names = j.nameClusters(c.Clusters)
	return c
}

func (j *job) clustersAt(threshold float64) *resolve.Clusters {
	onePerCohort := j.OneToOne != resolve.None && !j.Dedupe
	linked := func(c *resolve.Candidate) bool { return c.Linked(threshold) }
	return j.people.Cluster(j.resolved(), j.candidates, onePerCohort, linked, j.comesFirst)
}

// founderAt returns the founder of a record's cluster at a fixed threshold.
func (c *clusters) founderAt(k int, number int32) int32 {
	at, ok := slices.BinarySearchFunc(c.moved[k], number, func(m move, number int32) int { return cmp.Compare(m.number, number) })
	if ok {
		return c.moved[k][at].founder
	}
	return c.Founder[number]
}

// idOf returns the unique_id of a record.
func (j *job) idOf(number int32) *cohort.ID {
	c, row := j.people.Cohort(number)
	return &j.cohorts[c].ids[row]
}

func (j *job) cohortOf(number int32) int {
	c, _ := j.people.Cohort(number)
	return c
}

// nameClusters returns the cluster ids, by founder.
func (j *job) nameClusters(c *resolve.Clusters) []cohort.ID {
	names := make([]cohort.ID, len(c.Founder))
	j.spread(len(names), func(from, to int) {
		h := secret.NewHasher()
		for i := from; i < to; i++ {
			if c.Founder[i] == int32(i) {
				names[i] = j.clusterID(h, int32(i))
			}
		}
	})
	return names
}

// spread does n things on all cores.
func (j *job) spread(n int, do func(from, to int)) {
	var group sync.WaitGroup
	threads := max(j.Threads, 1)
	for t := range threads {
		group.Go(func() { do(t*n/threads, (t+1)*n/threads) })
	}
	group.Wait()
}

// memberRow is one row of clusters.parquet, with what it is ordered by.
type memberRow struct {
	cluster, own cohort.ID
	number       int32 // of the record
	size         int32
	cohorts      uint16
	same         uint8 // bit k: the cluster at fixed threshold k has the same id
}

// writeClusters writes clusters.parquet, by cluster, data set and unique_id: one
// range of cluster ids after the other.
func (j *job) writeClusters(c *clusters) (result.Output, error) {
	ranges := rangesOf(len(c.names))
	f, err := result.WriteClusters(filepath.Join(j.Out, result.ClustersFile), j.runID, j.Software, j.WithTokens, func(yield func(*result.Member) bool) {
		for r := range ranges {
			rows := j.memberRows(c, r*256/ranges, (r+1)*256/ranges)
			for piece := range slices.Chunk(rows, textRows) {
				if !j.members(c, piece, yield) {
					return
				}
			}
		}
	})
	if err != nil {
		return result.Output{}, err
	}
	return output(j.Out, f), nil
}

// memberRows returns the rows whose cluster id begins with a byte from from up
// to to, in order.
func (j *job) memberRows(c *clusters, from, to int) []memberRow {
	rows := make([]memberRow, 0, len(c.names)*(to-from)/256+len(c.names)/1000)
	var next [len(fixedThresholds)]int
	for number, founder := range c.Founder {
		name := &c.names[founder]
		same := uint8(1<<len(fixedThresholds) - 1)
		for k := range next {
			if next[k] < len(c.moved[k]) && c.moved[k][next[k]].number == int32(number) {
				same &^= 1 << k
				next[k]++
			}
		}
		if int(name[0]) < from || int(name[0]) >= to {
			continue
		}
		rows = append(rows, memberRow{cluster: *name, own: *j.idOf(int32(number)), number: int32(number), size: c.Size[founder], cohorts: uint16(c.Cohorts[founder]), same: same})
	}
	return sortByID(rows, func(m *memberRow) byte { return m.cluster[0] }, func(a, b memberRow) int {
		if c := a.cluster.Compare(b.cluster); c != 0 {
			return c
		}
		if x, y := j.cohortOf(a.number), j.cohortOf(b.number); x != y {
			return cmp.Compare(x, y)
		}
		return a.own.Compare(b.own)
	}, j.Threads)
}

// members yields some rows.
func (j *job) members(c *clusters, piece []memberRow, yield func(*result.Member) bool) bool {
	h := secret.NewHasher()
	own := textOf(len(piece), func(i int) *cohort.ID { return &piece[i].own })
	names := textOf(len(piece), func(i int) *cohort.ID { return &piece[i].cluster })
	for i := range piece {
		r := &piece[i]
		p, row := j.people.Cohort(r.number)
		name := names.at(i)
		m := result.Member{ClusterID: name, SourceDataset: j.cohorts[p].SourceDataset(), UniqueID: own.at(i), ClusterSize: r.size, Datasets: int32(r.cohorts)}
		for k, at := range [3]*string{&m.ClusterIDP90, &m.ClusterIDP95, &m.ClusterIDP99} {
			if *at = name; r.same>>k&1 == 0 {
				*at = j.clusterID(h, c.founderAt(k, r.number)).String()
			}
		}
		if j.WithTokens {
			m.NHSToken = j.cohorts[p].tokenText(row)
		}
		if !yield(&m) {
			return false
		}
	}
	return true
}

// tokenText returns the text of a record's token, empty where it has none.
func (p *party) tokenText(row int32) string {
	scheme, err := keys.SchemeNo(p.Manifest.TokenScheme, p.Manifest.TokenRelease)
	if err != nil || p.whole[row] == nil {
		return ""
	}
	return keys.Token{Scheme: scheme, DomainNo: p.Manifest.DomainNo, TokenEpoch: uint16(p.Manifest.TokenEpoch), Value: *p.whole[row]}.String()
}

// writeCrosswalks writes a file for each party, by unique_id, and changes.parquet;
// and beside them the founders, for the job that comes after.
func (j *job) writeCrosswalks(ctx context.Context, c *clusters) (outputs []result.Output, err error) {
	folder := filepath.Join(j.Out, result.CrosswalkDir)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+folder, err, "choose a folder that can be written")
	}
	j.orderRows()
	outputs = make([]result.Output, len(j.cohorts)+1)
	var group errgroup.Group
	group.Go(func() error { return j.writeFounders(ctx, c) })
	for i := range j.cohorts {
		group.Go(func() (err error) {
			outputs[i], err = j.writeCrosswalk(c, i)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	f, err := result.WriteChanges(filepath.Join(j.Out, result.ChangesFile), j.runID, j.Software, j.changes(c))
	outputs[len(j.cohorts)] = output(j.Out, f)
	return outputs, err
}

func (j *job) writeCrosswalk(c *clusters, at int) (result.Output, error) {
	p := j.cohorts[at]
	f, err := result.WriteCrosswalk(filepath.Join(j.Out, result.CrosswalkDir, p.SourceDataset()+".parquet"), j.Software, func(yield func(result.CrosswalkRow) bool) {
		for piece := range slices.Chunk(p.byID, textRows) {
			own := textOf(len(piece), func(i int) *cohort.ID { return &p.ids[piece[i]] })
			names := textOf(len(piece), func(i int) *cohort.ID { return &c.names[c.Founder[j.people.Number(at, piece[i])]] })
			for i := range piece {
				if !yield(result.CrosswalkRow{UniqueID: own.at(i), ClusterID: names.at(i)}) {
					return
				}
			}
		}
	})
	if err != nil {
		return result.Output{}, err
	}
	return output(j.Out, f), nil
}
