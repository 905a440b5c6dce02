package equity

import (
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
	return report.Replace(dir, summary, run)
}
