// Package evaluate compares the links of a job with known truth: precision,
// recall and F1 of what was linked, at other thresholds, and by group of
// people. It counts pairs exactly; nothing is rounded or hidden, since truth is
// had for test data and for clerical samples only.
package evaluate

import (
	"context"
	"path/filepath"
	"time"

	"tarn/linkage/equity/groups"
)

// Schema is the schema member of the document.
const Schema = "tarn.evaluation/1"

// Options says what to compare.
type Options struct {
	Links   string   // links.parquet; what lies beside it (summary.json, run.json, clusters.parquet) is read where it is there
	Truth   string   // CSV: pairs, or source_dataset,unique_id,cluster
	Groups  []string // group files, CSV or Parquet; empty for no scores by group
	Cohorts []string // encoded cohorts; empty for missed_by_blocking null

	Software string    // recorded in the document
	Now      time.Time // recorded in the document
}

// Evaluation is the document tarn.evaluation/1. Shares are from 0 to 1 and nil
// where they are not defined (no links, no true pairs).
type Evaluation struct {
	Schema           string           `json:"schema"`
	Software         string           `json:"software"`
	Created          string           `json:"created"`
	Threshold        *float64         `json:"threshold"` // the job's, on link_probability; nil where no summary lies beside the links
	Score                             // of the pairs with decision link
	ByThreshold      []ThresholdScore `json:"by_threshold"`
	Best             *Best            `json:"best"`
	ByGroup          []GroupScore     `json:"by_group"`
	MaxRecallGap     []RecallGap      `json:"max_recall_gap"`
	EstimateError    EstimateError    `json:"estimate_error"`
	MissedByBlocking *int64           `json:"missed_by_blocking"` // true pairs with no equal block tag and no equal token

	// Warnings say what was left out of the comparison; not in the document.
	Warnings []string `json:"-"`
}

// Score counts pairs of records and what follows from the counts.
type Score struct {
	TP        int64    `json:"tp"` // linked and true
	FP        int64    `json:"fp"` // linked and not true
	FN        int64    `json:"fn"` // true and not linked
	Precision *float64 `json:"precision"`
	Recall    *float64 `json:"recall"`
	F1        *float64 `json:"f1"`
}

// ThresholdScore is the score if this link_probability were the threshold.
type ThresholdScore struct {
	MatchProbability float64 `json:"match_probability"` // on link_probability
	Score
}

// Best is the threshold with the highest F1, the highest such threshold where
// several have it.
type Best struct {
	MatchProbability float64 `json:"match_probability"`
	F1               float64 `json:"f1"`
}

// GroupScore is the score of the pairs of one group of people.
type GroupScore struct {
	Dimension string   `json:"dimension"`
	Group     string   `json:"group"`
	TP        int64    `json:"tp"`
	FP        int64    `json:"fp"`
	FN        int64    `json:"fn"`
	Precision *float64 `json:"precision"`
	Recall    *float64 `json:"recall"`
}

// RecallGap is the difference between the highest and the lowest recall of a
// dimension's groups that have a true pair.
type RecallGap struct {
	Dimension string   `json:"dimension"`
	Gap       *float64 `json:"gap"` // nil for fewer than two such groups
}

// EstimateError is estimated minus true, nil where there was no estimate.
type EstimateError struct {
	Precision *float64 `json:"precision"`
	Recall    *float64 `json:"recall"`
}

// Evaluate compares links with truth.
//
// A pair is a set of two records; a pair that a file repeats counts once. The
// truth is taken to be complete: a link that is not in it is a false positive.
// True pairs are used as they are given, without their transitive closure; a
// table of clusters gives every pair inside a cluster. Where the job linked
// different data sets, only true pairs of two data sets count; where it
// deduplicated one, only pairs inside it. Where clusters.parquet lies beside
// the links, true pairs with a record that was not in the job are left out,
// with a warning: the job could not have found them.
//
// The score at a threshold t counts the candidates with link_probability >= t
// that the job would then have linked: see [atThresholds].
//
// By group, a pair whose records are in one group counts there once; where
// their groups differ it counts in both.
func Evaluate(ctx context.Context, o Options) (*Evaluation, error) {
	e := &Evaluation{Schema: Schema, Software: o.Software, Created: o.Now.UTC().Format(time.RFC3339)}
	job, err := readJob(ctx, o.Links)
	if err != nil {
		return nil, err
	}
	t, err := readTruth(ctx, o.Truth, job)
	if err != nil {
		return nil, err
	}
	e.Warnings = t.warnings
	linked := map[pair]struct{}{}
	for _, c := range job.candidates {
		if c.linked {
			linked[c.pair] = struct{}{}
		}
	}
	e.Score = scoreSets(linked, t.pairs)
	if job.summary != nil {
		e.Threshold = &job.summary.Threshold
		e.EstimateError = estimateError(job, e.Score)
	}
	e.ByThreshold, e.Best = atThresholds(job, t.pairs)
	if len(o.Groups) > 0 {
		table, err := groups.Read(ctx, o.Groups, nil)
		if err != nil {
			return nil, err
		}
		warnings, err := e.addGroups(job, table, linked, t.pairs)
		if err != nil {
			return nil, err
		}
		e.Warnings = append(e.Warnings, warnings...)
	}
	if len(o.Cohorts) > 0 {
		missed, warning, err := missedByBlocking(ctx, o.Cohorts, job, t.pairs)
		if err != nil {
			return nil, err
		}
		e.MissedByBlocking = missed
		if warning != "" {
			e.Warnings = append(e.Warnings, warning)
		}
	}
	return e, nil
}

func scoreSets(linked, truth map[pair]struct{}) Score {
	tp := int64(0)
	for p := range linked {
		if _, ok := truth[p]; ok {
			tp++
		}
	}
	return newScore(tp, int64(len(linked))-tp, int64(len(truth))-tp)
}

func newScore(tp, fp, fn int64) Score {
	return Score{TP: tp, FP: fp, FN: fn,
		Precision: ratio(tp, tp+fp), Recall: ratio(tp, tp+fn), F1: ratio(2*tp, 2*tp+fp+fn)}
}

func ratio(a, b int64) *float64 {
	if b == 0 {
		return nil
	}
	r := float64(a) / float64(b)
	return &r
}

func estimateError(j *job, s Score) EstimateError {
	var e EstimateError
	if est := j.summary.Estimated.Precision; est != nil && s.Precision != nil {
		d := est.Value - *s.Precision
		e.Precision = &d
	}
	if est := j.summary.Estimated.Recall; est != nil && s.Recall != nil {
		d := est.Value - *s.Recall
		e.Recall = &d
	}
	return e
}

func beside(links, name string) string { return filepath.Join(filepath.Dir(links), name) }
