package equity

import (
	"path/filepath"

	"tarn/linkage/report"
	"tarn/linkage/result"
)

// Apply adds the equity section to the result folder dir: report.html is
// re-drawn, then summary.json is written with the section and the new digest of
// the report. Each file is replaced whole. A nil equity removes the section.
func Apply(dir string, equity *result.Equity) error {
	summary, err := result.ReadSummary(dir)
	if err != nil {
		return err
	}
	run, err := result.ReadRun(dir)
	if err != nil {
		return err
	}
	summary.Equity = equity
	path := filepath.Join(dir, result.ReportFile)
	if err := report.Write(path, summary, run, summary.Software); err != nil {
		return err
	}
	drawn, err := result.OutputOf(dir, result.ReportFile)
	if err != nil {
		return err
	}
	for i := range summary.Outputs {
		if summary.Outputs[i].Path == result.ReportFile {
			summary.Outputs[i] = drawn
		}
	}
	return result.WriteDocument(dir, result.SummaryFile, summary)
}
