package evaluate

import (
	"fmt"

	"tarn/linkage/equity/groups"
)

// fewTrue is the number of true pairs under which a group's recall says
// little.
const fewTrue = 30

func (e *Evaluation) addGroups(j *job, table *groups.Table, linked, truth map[pair]struct{}) (warnings []string, err error) {
	counts := make([][]GroupScore, len(table.Dimensions))
	for d, names := range table.Groups {
		for _, name := range names {
			counts[d] = append(counts[d], GroupScore{Dimension: table.Dimensions[d], Group: name})
		}
	}
	joined := false
	groupsOf := func(r record) ([]int32, error) {
		codes, err := table.Lookup(j.datasets[j.dataset[r]], j.ids[r])
		joined = joined || codes != nil
		return codes, err
	}
	visit := func(p pair, count func(*GroupScore)) error {
		a, b := p.records()
		left, err := groupsOf(a)
		if err != nil {
			return err
		}
		right, err := groupsOf(b)
		if err != nil {
			return err
		}
		for d := range counts {
			x, y := len(counts[d])-1, len(counts[d])-1 // not recorded
			if left != nil {
				x = int(left[d])
			}
			if right != nil {
				y = int(right[d])
			}
			count(&counts[d][x])
			if y != x {
				count(&counts[d][y])
			}
		}
		return nil
	}
	for p := range linked {
		_, ok := truth[p]
		if err := visit(p, func(g *GroupScore) {
			if ok {
				g.TP++
			} else {
				g.FP++
			}
		}); err != nil {
			return nil, err
		}
	}
	for p := range truth {
		if _, ok := linked[p]; !ok {
			if err := visit(p, func(g *GroupScore) { g.FN++ }); err != nil {
				return nil, err
			}
		}
	}
	if !joined && len(linked)+len(truth) > 0 {
		warnings = append(warnings, "no record of the links or the truth is in the group files")
	}
	for d := range counts {
		warnings = append(warnings, e.addDimension(table.Dimensions[d], counts[d])...)
	}
	return warnings, nil
}

func (e *Evaluation) addDimension(name string, counts []GroupScore) (warnings []string) {
	var low, high *float64
	few := 0
	for _, g := range counts {
		if g.TP+g.FP+g.FN == 0 {
			continue
		}
		g.Precision, g.Recall = ratio(g.TP, g.TP+g.FP), ratio(g.TP, g.TP+g.FN)
		e.ByGroup = append(e.ByGroup, g)
		if g.Recall == nil {
			continue
		}
		if g.TP+g.FN < fewTrue {
			few++
		}
		if low == nil || *g.Recall < *low {
			low = g.Recall
		}
		if high == nil || *g.Recall > *high {
			high = g.Recall
		}
	}
	gap := RecallGap{Dimension: name}
	shown := 0
	for _, g := range e.ByGroup {
		if g.Dimension == name && g.Recall != nil {
			shown++
		}
	}
	if shown >= 2 {
		d := *high - *low
		gap.Gap = &d
	}
	e.MaxRecallGap = append(e.MaxRecallGap, gap)
	if few > 0 {
		warnings = append(warnings, fmt.Sprintf("%s: %d groups have fewer than %d true pairs, so chance alone makes a gap", name, few, fewTrue))
	}
	return warnings
}
