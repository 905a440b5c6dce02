package encoding

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"runtime"

	"tarn/bench/synth"
	"tarn/tokenise/encode"
	"tarn/tokenise/source"
)

// seed is that of every table of the suite.
const seed = 4

// makePeople writes a table of synthetic people, project.json and keys.json
// into folder and returns the table's path.
func makePeople(ctx context.Context, folder string, rows int) (string, error) {
	config := synth.Config{People: rows, Parties: 1, Seed: seed, Errors: synth.ErrorsNHS, Threads: runtime.NumCPU()}
	project, err := synth.NewProject(&config, encode.DefaultPreset)
	if err != nil {
		return "", err
	}
	if err := project.Write(folder); err != nil {
		return "", err
	}
	if _, err := synth.Generate(ctx, config, folder, nil); err != nil {
		return "", err
	}
	return filepath.Join(folder, synth.PartyName(0)+".csv"), nil
}

// readTable reads a whole table into memory: what is timed is not reading.
func readTable(path string) (header []string, rows [][]string, err error) {
	r, err := source.Open(path, source.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	for {
		var b source.Batch
		err := r.Read(&b)
		if errors.Is(err, io.EOF) {
			return r.Header(), rows, nil
		}
		if err != nil {
			return nil, nil, err
		}
		for i := range b.Rows {
			rows = append(rows, b.Rows[i].Values)
		}
	}
}
