package evaluate

import (
	"context"
	"fmt"
	"slices"

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
	if err := b.read(ctx, paths, j); err != nil {
		return nil, "", err
	}
	missed := int64(0)
	if j.run != nil && j.run.Parameters.Blocking == blockingAll {
		return &missed, "", nil
	}
	if len(b.cohorts[0].names) == 0 {
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
	cohorts []*cohortBlocks
	rows    []place // of each record
}

// cohortBlocks is what can bring a record of one cohort together with another.
type cohortBlocks struct {
	manifest *cohort.Manifest
	names    []string
	tags     []cohort.TagValues // by names
	tokens   []cohort.Fold
}

// read reads the block tags and tokens of the cohorts, and where the
// records of the truth lie. Cohorts are refused whose tags cannot be compared;
// where a tool has rounded those of one, all are.
func (b *blocks) read(ctx context.Context, paths []string, j *job) error {
	var files []*cohort.File
	defer func() {
		for _, f := range files {
			f.Close()
		}
	}()
	rounded := false
	for _, path := range paths {
		f, err := cohort.Open(ctx, path)
		if err != nil {
			return err
		}
		files = append(files, f)
		rounded = rounded || f.Rounded
		if err := alike(files[0], f); err != nil {
			return err
		}
	}
	for _, f := range files {
		if err := b.add(ctx, f, rounded, j); err != nil {
			return err
		}
	}
	return nil
}

func (b *blocks) add(ctx context.Context, f *cohort.File, rounded bool, j *job) (err error) {
	c := &cohortBlocks{manifest: f.Manifest, names: f.Layout.Blocks}
	b.cohorts = append(b.cohorts, c)
	ids, err := f.ReadIDs(ctx)
	if err != nil {
		return err
	}
	if _, err := f.CheckIDs(ids); err != nil {
		return err
	}
	for row, id := range ids {
		if n, ok := j.find(f.SourceDataset(), id.String()); ok {
			b.rows[n] = place{int32(len(b.cohorts)), int32(row)}
		}
	}
	for _, name := range c.names {
		tags, err := f.ReadTags(ctx, name, rounded)
		if err != nil {
			return err
		}
		c.tags = append(c.tags, tags)
	}
	c.tokens, err = f.ReadTokens(ctx)
	return err
}

// alike refuses cohorts whose tags cannot be compared.
func alike(first, other *cohort.File) error {
	a, b := first.Manifest, other.Manifest
	if a.Project != b.Project || a.ProfileDigest != b.ProfileDigest || a.EncodingEpoch != b.EncodingEpoch || a.EncodingKCV != b.EncodingKCV ||
		len(first.Layout.Blocks) != len(other.Layout.Blocks) {
		return fault.New(fault.Disagreement, "comparing block tags of "+first.Path+" and "+other.Path,
			"they were not encoded alike (project, profile, encoding epoch or key)", "give the cohorts that were linked")
	}
	return nil
}

func (b *blocks) meet(x, y place) bool {
	left, right := b.cohorts[x.cohort-1], b.cohorts[y.cohort-1]
	for k, name := range left.names {
		at := slices.Index(right.names, name)
		if at < 0 {
			continue
		}
		l, r := &left.tags[k], &right.tags[at]
		if l.Present[x.row] && r.Present[y.row] && l.Value[x.row] == r.Value[y.row] {
			return true
		}
	}
	return sameTokens(left.manifest, right.manifest) && left.tokens[x.row] != (cohort.Fold{}) && left.tokens[x.row] == right.tokens[y.row]
}

// sameTokens reports whether equal tokens of two cohorts are of one person:
// they agree in scheme, domain, epoch and key.
func sameTokens(a, b *cohort.Manifest) bool {
	return a.TokenScheme == b.TokenScheme && a.TokenRelease == b.TokenRelease && a.TokenDomain == b.TokenDomain && a.TokenEpoch == b.TokenEpoch &&
		a.TokenKCV != nil && b.TokenKCV != nil && *a.TokenKCV == *b.TokenKCV
}
