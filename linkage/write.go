package linkage

import (
	"context"
	"path/filepath"

	"tarn/linkage/cohort/table"
	"tarn/linkage/purge"
	"tarn/linkage/report"
	"tarn/linkage/report/tally"
	"tarn/linkage/result"
)

// write writes the result folder; summary.json comes last, as it lists the
// digests of the others.
func (j *job) write(ctx context.Context) (*result.Summary, error) {
	var outputs []result.Output
	add := func(some ...result.Output) { outputs = append(outputs, some...) }
	summary, run := j.summary(), j.run()
	var people *clusters
	for _, stage := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"links", func(ctx context.Context) error {
			links, err := j.writeLinks()
			if err != nil {
				return err
			}
			conflicts, err := j.writeConflicts()
			add(links, conflicts)
			return err
		}},
		{"clusters", func(ctx context.Context) error {
			if err := j.readWholeTokens(ctx); err != nil {
				return err
			}
			if err := j.readFounders(ctx); err != nil {
				return err
			}
			people = j.cluster()
			j.candidates, j.conflicts, j.estimator = nil, nil, nil // the summary has what they say
			summary.Clusters, run.ClusterSizes = people.counts(), tally.ClusterSizes(people.sizes())
			file, err := j.writeClusters(people)
			add(file)
			return err
		}},
		{"crosswalk", func(ctx context.Context) error {
			files, err := j.writeCrosswalks(ctx, people)
			add(files...)
			return err
		}},
		{"report", func(context.Context) error {
			summary.Outputs = append(summary.Outputs, outputs...)
			return j.writeReport(summary, run)
		}},
	} {
		if err := j.stage(ctx, stage.name, stage.run); err != nil {
			return nil, err
		}
	}
	var disk *int64
	if most := j.disk.bytes.Load(); most > 0 {
		disk = &most
	}
	var inputs []purge.Input
	for _, c := range j.cohorts {
		inputs = append(inputs, purge.Input{CohortID: c.Manifest.CohortID, Path: c.Path})
	}
	if err := purge.WriteInputs(j.Out, j.Software, j.created, inputs); err != nil {
		return nil, err
	}
	summary.Resources = resources(j.started, j.Wall(), j.stages, disk)
	return summary, result.WriteDocument(j.Out, result.SummaryFile, summary)
}

// writeReport writes model.json, run.json and report.html.
func (j *job) writeReport(summary *result.Summary, run *result.Run) error {
	fitted, err := modelDocument(j.model, j.strataNames(), j.cohorts[0].Manifest, j.Software, j.created)
	if err != nil {
		return err
	}
	if err := result.WriteDocument(j.Out, result.ModelFile, fitted); err != nil {
		return err
	}
	if err := result.WriteDocument(j.Out, result.RunFile, run); err != nil {
		return err
	}
	if err := report.Write(filepath.Join(j.Out, result.ReportFile), summary, run, j.Software); err != nil {
		return err
	}
	for _, name := range []string{result.ModelFile, result.RunFile, result.ReportFile} {
		output, err := result.OutputOf(j.Out, name)
		if err != nil {
			return err
		}
		summary.Outputs = append(summary.Outputs, output)
	}
	return nil
}

func output(folder string, f table.File) result.Output {
	path, err := filepath.Rel(folder, f.Path)
	if err != nil {
		path = filepath.Base(f.Path)
	}
	return result.Output{Path: filepath.ToSlash(path), SHA256: f.SHA256, Bytes: &f.Bytes}
}

// readWholeTokens reads the tokens again, as they are, where they are asked
// for.
func (j *job) readWholeTokens(ctx context.Context) (err error) {
	if !j.WithTokens {
		return nil
	}
	for _, p := range j.cohorts {
		if p.whole, err = p.ReadWholeTokens(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (j *job) strataNames() (names [][2]string) {
	for _, s := range j.strata {
		names = append(names, [2]string{s.left.SourceDataset(), s.right.SourceDataset()})
	}
	return names
}
