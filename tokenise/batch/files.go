package batch

import (
	"bytes"

	"tarn/keys/outfile"
	"tarn/linkage/cohort"
	"tarn/tokenise/source"
)

// checkFiles refuses outputs that would be written over an input, over each
// other, or over what no earlier run has written.
func (o *Options) checkFiles() error {
	inputs := []outfile.Input{{Flag: "--in", Path: o.In}, {Flag: "--project", Path: o.Project}, {Flag: "--key-file", Path: o.KeyFile}, {Flag: "--map", Path: o.Map}}
	parquet := func(start []byte) bool { return bytes.HasPrefix(start, []byte("PAR1")) }
	manifest := func(start []byte) bool { return bytes.Contains(start, []byte(`"`+cohort.Schema+`"`)) }
	outputs := []outfile.Output{
		{Flag: "--out (its manifest)", Path: cohort.ManifestPath(o.Out), Kind: "the manifest of a cohort", Earlier: manifest},
		{Flag: "--out (its crosswalk)", Path: CrosswalkPath(o.Out), Kind: "a Parquet file", Earlier: parquet},
		{Flag: "--groups", Path: o.Groups, Kind: "a Parquet file", Earlier: parquet},
		{Flag: "--quarantine", Path: o.Quarantine, Kind: "a quarantine file", Earlier: source.IsQuarantine},
		{Flag: "--warnings", Path: o.Warnings, Kind: "a quarantine file", Earlier: source.IsQuarantine},
	}
	if o.PartRows == 0 {
		outputs = append([]outfile.Output{{Flag: "--out", Path: o.Out, Kind: "a Parquet file", Earlier: parquet}}, outputs...)
	}
	return outfile.Check("encoding a table", inputs, outputs)
}
