package evaluate_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/evaluate"
	"tarn/linkage/result"
)

// encoded is a record with a block tag and a token; 0 is missing.
type encoded struct {
	id    byte
	block int64
	token byte
}

func minted(dataset string, id byte) string {
	return hex.EncodeToString(mintedBytes(dataset, id))
}

func mintedBytes(dataset string, id byte) []byte {
	b := make([]byte, 16)
	b[0], b[15] = dataset[0], id
	return b
}

func writeCohort(t *testing.T, dir, dataset string, change func(*cohort.Identity), records ...encoded) string {
	t.Helper()
	layout := cohort.Layout{Blocks: []string{"blk_dob"}, Tags: []string{"tag_sex"}}
	var rows []cohort.Row
	var ids []cohort.ID
	for _, e := range records {
		r := cohort.Row{NHSNumberState: "valid", HasToken: e.token != 0, Blocks: []cohort.Tag{{Value: e.block, Present: e.block != 0}}, Tags: []cohort.Tag{{}}}
		copy(r.UniqueID[:], mintedBytes(dataset, e.id))
		r.Token[0] = e.token
		rows, ids = append(rows, r), append(ids, r.UniqueID)
	}
	slices.SortFunc(rows, func(a, b cohort.Row) int { return layout.Compare(&a, &b) })
	slices.SortFunc(ids, cohort.ID.Compare)
	kcv := "00"
	identity := cohort.Identity{Schema: cohort.Schema, Project: "p", Profile: "x", ProfileDigest: "d", EncodingEpoch: 1, EncodingKCV: "e", TokenScheme: "keyed-hash", TokenDomain: "nhs", TokenEpoch: 1, TokenKCV: &kcv,
		SourceDataset: dataset, SourceOrg: "o", RowsDigest: cohort.RowsDigest(ids)}
	if change != nil {
		change(&identity)
	}
	path := filepath.Join(dir, dataset+".parquet")
	w, err := cohort.Create(path, layout, identity, "test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range rows {
		if err := w.Append(&rows[i]); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Commit(); err != nil {
		t.Fatal(err)
	}
	id, err := identity.CohortID()
	if err != nil {
		t.Fatal(err)
	}
	if err := cohort.WriteManifest(cohort.ManifestPath(path), &cohort.Manifest{CohortID: id, Identity: identity, Rows: int64(len(rows))}); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMissedByBlocking(t *testing.T) {
	// 1: equal tags. 2: other tags, equal tokens. 3: other tags, other tokens.
	// 4: no tags, no tokens. 5: not in the south's cohort.
	north := []encoded{{1, 10, 0}, {2, 20, 2}, {3, 30, 3}, {4, 0, 0}, {5, 50, 5}}
	south := []encoded{{1, 10, 0}, {2, -20, 2}, {3, -30, 33}, {4, 0, 0}}
	var truth strings.Builder
	truth.WriteString("source_dataset,unique_id,cluster\n")
	for i := byte(1); i <= 5; i++ {
		fmt.Fprintf(&truth, "north,%s,%d\nsouth,%s,%d\n", minted("north", i), i, minted("south", i), i)
	}
	setUp := func(change func(*cohort.Identity), blocking string) *world {
		w := newWorld(t, nil, truth.String())
		w.summary(t, .5, result.Parameters{Blocking: blocking})
		w.options.Cohorts = []string{writeCohort(t, w.dir, "north", nil, north...), writeCohort(t, w.dir, "south", change, south...)}
		return w
	}
	e := setUp(nil, "auto").evaluate(t)
	if e.MissedByBlocking == nil || *e.MissedByBlocking != 2 {
		t.Errorf("missed %v, want 2 (3 and 4)", e.MissedByBlocking)
	}
	if len(e.Warnings) != 1 || !strings.HasPrefix(e.Warnings[0], "1 true pairs have a record that is in none of the cohorts") {
		t.Errorf("warnings %q", e.Warnings)
	}
	otherKey := "ff"
	e = setUp(func(id *cohort.Identity) { id.TokenKCV = &otherKey }, "tags").evaluate(t)
	if e.MissedByBlocking == nil || *e.MissedByBlocking != 3 {
		t.Errorf("tokens under another key count as equal: missed %v, want 3", e.MissedByBlocking)
	}
	if e = setUp(nil, "all").evaluate(t); e.MissedByBlocking == nil || *e.MissedByBlocking != 0 {
		t.Errorf("all pairs compared: missed %v, want 0", e.MissedByBlocking)
	}
	if e = setUp(nil, "lsh").evaluate(t); e.MissedByBlocking != nil || len(e.Warnings) != 1 {
		t.Errorf("hashes: missed %v, warnings %q", e.MissedByBlocking, e.Warnings)
	}
	w := setUp(func(id *cohort.Identity) { id.EncodingKCV = "other" }, "auto")
	if _, err := evaluate.Evaluate(context.Background(), w.options); fault.KindOf(err) != fault.Disagreement {
		t.Errorf("cohorts of two keys: %v", err)
	}
}
