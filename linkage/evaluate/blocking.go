package evaluate

import (
	"context"
	"fmt"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
)

// Values of run.json's parameters.blocking.
const (
	blockingAll = "all"
	blockingLSH = "lsh"
)

// missedByBlocking counts the true pairs that the job cannot have looked at:
// no block tag of theirs is equal, nor their tokens. Pairs with a record that
// is in none of the cohorts are not counted. It is nil, with a warning, where
// the job did not block by tags.
func missedByBlocking(ctx context.Context, paths []string, j *job, truth map[pair]struct{}) (*int64, string, error) {
	if j.run != nil && j.run.Parameters.Blocking == blockingLSH {
		return nil, "the job blocked by hashes of the filters, so pairs missed by blocking are not counted", nil
	}
	b := &blocks{rows: make([]place, len(j.ids))}
	for _, path := range paths {
		if err := b.add(ctx, path, j); err != nil {
			return nil, "", err
		}
	}
	if err := b.compatible(); err != nil {
		return nil, "", err
	}
	missed := int64(0)
	if j.run != nil && j.run.Parameters.Blocking == blockingAll {
		return &missed, "", nil
	}
	if len(b.cohorts[0].Layout.Blocks) == 0 {
		return nil, "the cohorts have no block tags, so pairs missed by blocking are not counted", nil
	}
	absent := 0
	for p := range truth {
		left, right := p.records()
		x, y := b.rows[left], b.rows[right]
		switch {
		case x.cohort == 0 || y.cohort == 0:
			absent++
		case !b.meet(x, y):
			missed++
		}
	}
	if absent > 0 {
		return &missed, fmt.Sprintf("%d true pairs have a record that is in none of the cohorts and are not among those missed by blocking", absent), nil
	}
	return &missed, "", nil
}

// place says where a record lies: cohort counts from 1, 0 is nowhere.
type place struct {
	cohort, row int32
}

type blocks struct {
	cohorts []*cohort.Cohort
	rows    []place // of each record
}

func (b *blocks) add(ctx context.Context, path string, j *job) error {
	c, err := cohort.Read(ctx, path)
	if err != nil {
		return err
	}
	c.Filters, c.Tags = nil, nil // not needed here, and the bulk of the memory
	b.cohorts = append(b.cohorts, c)
	for row, id := range c.UniqueID {
		if n, ok := j.find(c.SourceDataset(), id); ok {
			b.rows[n] = place{int32(len(b.cohorts)), int32(row)}
		}
	}
	return nil
}

// compatible refuses cohorts whose tags cannot be compared, and brings those
// to one precision of which a tool has rounded one.
func (b *blocks) compatible() error {
	rounded := false
	first := b.cohorts[0].Manifest
	for _, c := range b.cohorts {
		m := c.Manifest
		if m.Project != first.Project || m.ProfileDigest != first.ProfileDigest || m.EncodingEpoch != first.EncodingEpoch || m.EncodingKCV != first.EncodingKCV ||
			len(c.Layout.Blocks) != len(b.cohorts[0].Layout.Blocks) {
			return fault.New(fault.Disagreement, "comparing block tags of "+b.cohorts[0].Path+" and "+c.Path,
				"they were not encoded alike (project, profile, encoding epoch or key)", "give the cohorts that were linked")
		}
		rounded = rounded || c.Rounded
	}
	for _, c := range b.cohorts {
		if rounded && !c.Rounded {
			c.RoundTags()
		}
	}
	return nil
}

func (b *blocks) meet(x, y place) bool {
	left, right := b.cohorts[x.cohort-1], b.cohorts[y.cohort-1]
	for k := range left.Blocks {
		at := right.BlockIndex(left.Layout.Blocks[k])
		if at < 0 {
			continue
		}
		l, r := &left.Blocks[k], &right.Blocks[at]
		if l.Present[x.row] && r.Present[y.row] && l.Value[x.row] == r.Value[y.row] {
			return true
		}
	}
	return sameTokens(left.Manifest, right.Manifest) && left.HasToken[x.row] && right.HasToken[y.row] && left.Token[x.row] == right.Token[y.row]
}

// sameTokens reports whether equal tokens of two cohorts are of one person:
// they agree in scheme, domain, epoch and key.
func sameTokens(a, b *cohort.Manifest) bool {
	return a.TokenScheme == b.TokenScheme && a.TokenRelease == b.TokenRelease && a.TokenDomain == b.TokenDomain && a.TokenEpoch == b.TokenEpoch &&
		a.TokenKCV != nil && b.TokenKCV != nil && *a.TokenKCV == *b.TokenKCV
}
