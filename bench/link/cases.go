package link

import (
	"context"
	"fmt"
	"time"

	"tarn/bench/measure"
	"tarn/bench/quality/splink"
	"tarn/bench/quality/trial"
	"tarn/linkage/result"
)

// atScale is a target that is judged at full scale only.
func (s *suite) atScale(target float64) *float64 {
	if !s.Full {
		return nil
	}
	return &target
}

func (s *suite) newCase(name, unit string, target *float64) *measure.Case {
	return &measure.Case{Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: unit, Target: target, Parameters: map[string]any{"cores": s.threads},
		Dataset: measure.Dataset{Name: "tarn synth, error model crate, demographics only, half shared", Rows: int64(s.rows)}}
}

// constant is a case whose value is known.
func (s *suite) constant(name, unit string, value float64, higher bool, target *float64, notes string) *measure.Case {
	c := s.newCase(name, unit, target)
	c.HigherIsBetter, c.Notes = higher, notes
	c.Subject = func(context.Context) (float64, error) { return value, nil }
	return c
}

func (s *suite) measureAll(cases []*measure.Case, runs int) (list []*measure.Result, err error) {
	for _, c := range cases {
		r, err := c.Run(s.ctx, runs, s.Software, s.Clock)
		if err != nil {
			return nil, err
		}
		list = append(list, r)
	}
	return list, nil
}

// speed measures the linker beside each peer, and judges what both found.
func (s *suite) speed() (results []*measure.Result, err error) {
	var o *trial.Outcome
	peers := splink.Installed(s.ctx, s.Python)
	if !peers {
		s.Progress("the peers are left out: the interpreter does not have Splink (make venv)")
	} else {
		for _, p := range []struct {
			name, settings string
			target         float64
			runs           int
		}{{"rules", splink.Rules, targetRules, runs}, {"tuned", splink.Tuned, targetTuned, runs}, {"documented", splink.Documented, targetDocumented, 1}} {
			if s.skipped(p.name) {
				continue
			}
			s.Progress(p.name)
			some, err := s.measureAll([]*measure.Case{s.beside(p.name, p.settings, p.target)}, p.runs)
			results = append(results, some...)
			if err != nil {
				return results, err
			}
		}
	}
	job, usage, err := s.link(s.people, "judged")
	if err != nil {
		return results, err
	}
	if o, err = job.Judge(s.ctx, s.people, s.clear); err != nil {
		return results, err
	}
	o.Usage = usage
	f1 := s.constant("demographics-f1", "F1", o.F1, true, s.atScale(targetF1), describe(o))
	f1.Parameters["outcome"] = o
	outside := apart(o.Stages)
	whole := s.constant("everything", "s", usage.WallS, false, nil,
		fmt.Sprintf("with clusters, crosswalk and report, which take %.2f s", outside))
	whole.Parameters["stages_s"], whole.Parameters["usage"], whole.Parameters["clusters_crosswalk_report_s"] = o.Stages, usage, outside
	some, err := s.measureAll([]*measure.Case{f1, s.constant("demographics-precision", "precision", o.Precision, true, s.atScale(targetPrecision), ""), whole}, 1)
	return append(results, some...), err
}

// beside is the linker beside a peer on the clear text: read, link, write
// links.
func (s *suite) beside(name, settings string, target float64) *measure.Case {
	c := s.newCase(name, "s", s.atScale(target))
	party := &c.PeerParty
	party.Name = "Splink"
	if settings == splink.Rules {
		party.Name = "plain rules in DuckDB"
	}
	c.Parameters["peer_settings"], c.Parameters["peer_clock"] = splink.Describe(settings), "from file to file in a fresh process, without the import of Python's modules"
	c.Parameters["subject_clock"] = "the whole process, without the stages of clusters, crosswalk and report"
	c.Notes = "links after one-to-one (mutual best) from Parquet to Parquet; the linker reads encodings, the peer clear text of the same people"
	c.Subject = func(context.Context) (float64, error) {
		job, usage, err := s.link(s.people, "timed")
		if err != nil {
			return 0, err
		}
		summary, err := job.Summary()
		if err != nil {
			return 0, err
		}
		stages := summary.StageSeconds()
		c.Parameters["subject"], c.Parameters["subject_stages_s"] = usage, stages
		return usage.WallS - apart(stages), nil
	}
	c.Peer = func(ctx context.Context) (float64, error) {
		limited, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		said, usage, out, err := s.peer(limited, settings)
		if limited.Err() != nil && ctx.Err() == nil {
			c.Parameters["peer"], c.Parameters["peer_stopped"] = usage, true
			c.Notes += fmt.Sprintf("; the peer was stopped after %v and not done, so that its time and the ratio are at least what is said", patience)
			return usage.WallS, nil
		}
		if err != nil {
			return 0, err
		}
		party.Version = said.Version
		at, best, err := trial.ScorePeer(ctx, s.clear, out, peerThreshold)
		c.Parameters["peer"], c.Parameters["peer_score_at_.9"], c.Parameters["peer_score_best_with_truth"] = usage, at, best
		return said.WallS, err
	}
	return c
}

// patience is how long a peer is waited for: enough to tell that a target is
// met, whatever it would have taken.
const patience = 4 * time.Minute

// numbers judges the linkage of the same people with NHS numbers.
func (s *suite) numbers() ([]*measure.Result, error) {
	d, err := s.cohorts(s.rows, false)
	if err != nil {
		return nil, err
	}
	clear, err := trial.ReadClear(s.ctx, d)
	if err != nil {
		return nil, err
	}
	job, usage, err := s.link(d, "numbers")
	if err != nil {
		return nil, err
	}
	o, err := job.Judge(s.ctx, d, clear)
	if err != nil {
		return nil, err
	}
	o.Usage = usage
	c := s.constant("numbers-f1", "F1", o.F1, true, s.atScale(targetNumbersF1), describe(o))
	c.Dataset.Name = "tarn synth, error model crate, NHS numbers missing in 10% of a side, half shared"
	c.Parameters["outcome"] = o
	return s.measureAll([]*measure.Case{c}, 1)
}

func describe(o *trial.Outcome) string {
	return fmt.Sprintf("at threshold %.4g, chosen without truth: precision %.4f, recall %.4f; best F1 with truth %.4f; F1 is at most %.4f: %d of %d true pairs are out of reach",
		o.Threshold, o.Precision, o.Recall, o.Best.F1, o.Ceiling.F1, o.Ceiling.Unreachable, o.Ceiling.Pairs)
}

// largest runs ten million a side in bounded memory, at full scale.
func (s *suite) largest() ([]*measure.Result, error) {
	if !s.Full {
		s.Progress("largest is left out: it is for full scale")
		return nil, nil
	}
	where := s.Folder
	if s.Cache != "" {
		where = s.Cache
	}
	if free(where) < largestDisk {
		s.Progress(fmt.Sprintf("largest is left out: %d GiB of disk are not free", largestDisk>>30))
		return nil, nil
	}
	d, err := s.cohorts(largestRows, true)
	if err != nil {
		return nil, err
	}
	job, usage, err := s.link(d, "largest", "--memory", largestMemory, "--tmp-dir", s.Folder)
	if err != nil {
		return nil, err
	}
	summary, err := job.Summary()
	if err != nil {
		return nil, err
	}
	limit := float64(targetMemory)
	memory := s.constant("largest-memory", "bytes", float64(usage.PeakRSSBytes), false, &limit, "high-water mark of the process with --memory "+largestMemory)
	wall := s.constant("largest-wall", "s", usage.WallS, false, nil, fmt.Sprintf("everything, %s, clusters and report included; %d pairs compared", result.LinksFile, summary.Pairs.Compared))
	for _, c := range []*measure.Case{memory, wall} {
		c.Dataset.Rows = largestRows
		c.Parameters["usage"], c.Parameters["stages_s"], c.Parameters["pairs_compared"], c.Parameters["links"] = usage, summary.StageSeconds(), summary.Pairs.Compared, summary.Links.Total
	}
	return s.measureAll([]*measure.Case{memory, wall}, 1)
}
