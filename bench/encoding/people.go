package encoding

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"runtime"
	"strings"

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

// rawTable is the values of a table in memory, by input field. It holds no
// pointers to the values: the collector, whose work is timed too, would follow
// millions of them.
type rawTable struct {
	columns map[string]int
	text    string
	ends    []uint32 // of all values in text, row by row
	width   int      // values of a row
}

func (t *rawTable) len() int { return len(t.ends) / t.width }

// row gives the values of a row, in values.
func (t *rawTable) row(i int, values []string) []string {
	values = values[:0]
	start := uint32(0)
	if i > 0 {
		start = t.ends[i*t.width-1]
	}
	for _, end := range t.ends[i*t.width : (i+1)*t.width] {
		values = append(values, t.text[start:end])
		start = end
	}
	return values
}

// first returns the first rows.
func (t *rawTable) first(rows int) *rawTable {
	few := *t
	few.ends = t.ends[:min(rows, t.len())*t.width]
	return &few
}

// readTable reads a whole table into memory: what is timed is not reading.
func readTable(path string) (*rawTable, error) {
	r, err := source.Open(path, source.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	t := &rawTable{columns: map[string]int{}, width: len(r.Header())}
	for i, name := range r.Header() {
		t.columns[name] = i
	}
	var text strings.Builder
	var b source.Batch
	for {
		err := r.Read(&b)
		if errors.Is(err, io.EOF) {
			t.text = text.String()
			return t, nil
		}
		if err != nil {
			return nil, err
		}
		for i := range b.Rows {
			for _, value := range b.Rows[i].Values {
				text.WriteString(value)
				t.ends = append(t.ends, uint32(text.Len()))
			}
		}
	}
}
