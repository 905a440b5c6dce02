package linkage

import (
	"cmp"
	"path/filepath"
	"slices"

	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/resolve"
	"tarn/linkage/result"
)

// writeLinks writes links.parquet: the links and what else is as probable as
// Keep, by data sets and then unique_ids, which tells nothing of the order of
// the input.
func (j *job) writeLinks() (result.Output, error) {
	return j.writePairs(result.LinksFile, j.candidates, func(c *resolve.Candidate) bool { return c.Linked(j.threshold) || c.Probability >= j.Keep })
}

// writeConflicts writes conflicts.parquet.
func (j *job) writeConflicts() (result.Output, error) {
	return j.writePairs(result.ConflictsFile, j.conflicts, func(*resolve.Candidate) bool { return true })
}

func (j *job) writePairs(name string, candidates []resolve.Candidate, wanted func(*resolve.Candidate) bool) (result.Output, error) {
	w, err := result.CreateLinks(filepath.Join(j.Out, name), j.linkColumns(), j.Software)
	if err != nil {
		return result.Output{}, err
	}
	defer w.Abort()
	templates := j.templates()
	templates.compete = name == result.LinksFile // conflicts compete with nothing
	for from := 0; from < len(candidates); {
		s := &j.strata[candidates[from].Stratum]
		group := candidates[from:]
		for to := range group {
			if group[to].Stratum != group[0].Stratum {
				group = group[:to]
				break
			}
		}
		from += len(group)
		if err := j.writeGroup(w, s, group, templates, wanted); err != nil {
			return result.Output{}, err
		}
	}
	f, err := w.Commit()
	if err != nil {
		return result.Output{}, err
	}
	return output(j.Out, f), nil
}

func (j *job) linkColumns() result.Columns {
	c := result.Columns{Fields: j.scheme.Names(), Keys: []string{tokenKey}}
	for _, p := range j.cohorts {
		c.Datasets = append(c.Datasets, p.SourceDataset())
	}
	for _, p := range j.passes {
		if !slices.Contains(c.Keys, p.name) {
			c.Keys = append(c.Keys, p.name)
		}
	}
	return c
}

// pairRow is one row of links, with what it is ordered by.
type pairRow struct {
	left, right cohort.ID
	at          int32 // among the group's candidates
}

// writeGroup writes the candidates of one pair of cohorts, one range of left ids
// after the other.
func (j *job) writeGroup(w *result.LinkWriter, s *stratum, group []resolve.Candidate, templates *templates, wanted func(*resolve.Candidate) bool) error {
	ranges := rangesOf(len(group))
	for r := range ranges {
		if err := j.writeRange(w, s, group, templates, func(c *resolve.Candidate) bool {
			first := int(s.left.ids[c.Left][0])
			return first >= r*256/ranges && first < (r+1)*256/ranges && wanted(c)
		}); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) writeRange(w *result.LinkWriter, s *stratum, group []resolve.Candidate, templates *templates, wanted func(*resolve.Candidate) bool) error {
	var rows []pairRow
	for i := range group {
		if c := &group[i]; wanted(c) {
			rows = append(rows, pairRow{s.left.ids[c.Left], s.right.ids[c.Right], int32(i)})
		}
	}
	rows = sortByID(rows, func(p *pairRow) byte { return p.left[0] }, func(a, b pairRow) int {
		if c := a.left.Compare(b.left); c != 0 {
			return c
		}
		return a.right.Compare(b.right)
	}, j.Threads)
	for piece := range slices.Chunk(rows, textRows) {
		left := textOf(len(piece), func(i int) *cohort.ID { return &piece[i].left })
		right := textOf(len(piece), func(i int) *cohort.ID { return &piece[i].right })
		for i := range piece {
			c := &group[piece[i].at]
			l := templates.of(c)
			l.UniqueIDL, l.UniqueIDR, l.Decision, l.LinkProbability = left.at(i), right.at(i), j.decision(c), nil
			if templates.compete {
				l.LinkProbability = &c.Probability
			}
			if err := w.Append(l); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *job) decision(c *resolve.Candidate) string {
	switch {
	case c.Linked(j.threshold):
		return result.DecisionLink
	case c.Review(j.threshold):
		return result.DecisionReview
	}
	return result.DecisionNo
}

// templates are the rows of links that agree in the same way, of which there
// are few.
type templates struct {
	job   *job
	links map[kind]*result.Link
	last  kind
	link  *result.Link

	compete bool // whether the rows have a link_probability
}

// kind is what the columns of a link but its ids and its decision depend on.
type kind struct {
	stratum int16
	code    uint32
	pass    int8
}

func (j *job) templates() *templates { return &templates{job: j, links: map[kind]*result.Link{}} }

func (t *templates) of(c *resolve.Candidate) *result.Link {
	k := kind{c.Stratum, c.Code, c.Pass}
	if t.link != nil && t.last == k {
		return t.link
	}
	l, ok := t.links[k]
	if !ok {
		l = t.job.link(c)
		t.links[k] = l
	}
	t.last, t.link = k, l
	return l
}

// link returns the row of a pair, but for its ids and its decision.
func (j *job) link(c *resolve.Candidate) *result.Link {
	s := &j.strata[c.Stratum]
	score := j.scoreOf(c)
	l := &result.Link{
		MatchWeight: score.Weight, MatchProbability: score.Probability,
		SourceDatasetL: s.left.SourceDataset(), SourceDatasetR: s.right.SourceDataset(),
		MatchKey: j.passName(c.Pass), Basis: j.basis(c),
	}
	for f := range j.scheme.Fields {
		l.Gamma = append(l.Gamma, int8(j.scheme.Level(c.Code, f)))
	}
	l.FieldWeights = j.model.FieldWeights(c.Code)
	return l
}

// tokenKey is the match_key of a pair that only its tokens brought together.
const tokenKey = "token"

func (j *job) passName(pass int8) string {
	if pass == resolve.TokenPass {
		return tokenKey
	}
	return cmp.Or(j.passes[pass].name, block.All)
}
