package quality

import (
	"context"
	"fmt"
	"math"

	"tarn/bench/measure"
)

// Most that estimates may be off on data like the NHS's.
const (
	precisionError = .01
	recallError    = .03
)

// results makes the documents of a set: one for each thing that is asked.
func (s *suite) results(ctx context.Context, j *judged) (list []*measure.Result, err error) {
	for _, c := range s.cases(j) {
		r, err := c.Run(ctx, 1, s.Software, s.Clock)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

func (s *suite) cases(j *judged) []*measure.Case {
	o := j.outcome
	whole := map[string]any{"outcome": o, "calibration_plot": Suite + "-" + j.name + ".svg", "data_sets": max(j.seeds, 1)}
	if j.peer != nil {
		whole["splink_clear_text"] = j.peer
	}
	few := map[string]any{"see": Suite + "-" + j.name + "-f1.json"}
	add := func(name, unit string, value, target float64, higher bool, notes string) *measure.Case {
		c := &measure.Case{Suite: Suite, Name: j.name + "-" + name, SubjectVersion: s.Software, Unit: unit, HigherIsBetter: higher, Parameters: few,
			Dataset: measure.Dataset{Name: j.name, Rows: j.rows}, Notes: notes, Subject: func(context.Context) (float64, error) { return value, nil }}
		if target > 0 {
			c.Target = &target
		}
		return c
	}
	f1 := add("f1", "F1", o.F1, j.f1, true, j.describe())
	f1.Parameters = whole
	cases := []*measure.Case{f1}
	if j.precision > 0 {
		cases = append(cases, add("precision", "precision", o.Precision, j.precision, true, ""))
	}
	if j.peer != nil {
		c := add("beside-splink", "F1", o.F1, 0, true, fmt.Sprintf("Splink on clear text at match_probability >= .9, F1 %.4f; at its best threshold, chosen with truth, %.4f", j.peer.At9.F1, j.peer.Best.F1))
		c.PeerParty, c.Peer = measure.Party{Name: "Splink", Version: j.version}, func(context.Context) (float64, error) { return j.peer.At9.F1, nil }
		if one := 1.0; j.beat {
			c.Target = &one
		}
		cases = append(cases, c)
	}
	if dimension, gap := o.WidestGap(); !math.IsInf(gap, -1) && j.seeds < 2 {
		cases = append(cases, add("recall-gap", "recall", gap, j.gap, false, "by "+dimension+"; parameters.outcome.recall_by_group of the case f1 says what causes it"))
	}
	if j.estimates {
		cases = append(cases, add("estimate-precision", "difference", off(o.EstimateError.Precision), precisionError, false, "|estimated - true|; 1 where there was no estimate"),
			add("estimate-recall", "difference", off(o.EstimateError.Recall), recallError, false, "|estimated - true|; 1 where there was no estimate"))
	}
	if j.withheld {
		withheld := 0.0
		if o.Estimated.Precision == nil {
			withheld = 1
		}
		cases = append(cases, add("estimates-withheld", "yes is 1", withheld, 1, true, "too few matches to estimate from"))
	}
	return cases
}

// off is how far an estimate was from the truth, 1 where there was none.
func off(difference *float64) float64 {
	if difference == nil {
		return 1
	}
	return math.Abs(*difference)
}

func (j *judged) describe() string {
	o := j.outcome
	text := fmt.Sprintf("at threshold %.4g, chosen without truth: precision %.4f, recall %.4f; best F1 with truth %.4f; of %d true pairs %d are out of reach of any method, so F1 is at most %.4f; mean |probability - true share| %.4f",
		o.Threshold, o.Precision, o.Recall, o.Best.F1, o.Ceiling.Pairs, o.Ceiling.Unreachable, o.Ceiling.F1, o.CalibrationError)
	if o.Oracle != nil {
		text += fmt.Sprintf("; best F1 of any model over these agreement levels %.4f", *o.Oracle)
	}
	if j.notes != "" {
		text += ". " + j.notes
	}
	return text
}
