package batch

import (
	"slices"

	"tarn/keys/fault"
	"tarn/tokenise/source"
)

// guard watches columns in which NHS numbers would be disclosed: that which
// identifies rows, since the crosswalk would be a list of them, and group columns,
// since they leave the region. The run ends before anything is written under its
// name.
type guard struct {
	source.Reader
	watched []watched
}

type watched struct {
	at          int
	column      string
	wrong, next string
	kind        fault.Kind
	detector    source.NumberDetector
}

func (g *guard) watch(at int, wrong, next string, kind fault.Kind) {
	g.watched = append(g.watched, watched{at: at, column: g.Header()[at], wrong: wrong, next: next, kind: kind})
}

// watchGroups watches the columns that the project allows as groups.
func (g *guard) watchGroups(groups []string) {
	for at, column := range g.Header() {
		if slices.Contains(groups, column) {
			g.watch(at, "it is a group column but looks like NHS numbers, which may not lie beside minted ids", "take it out of the project's groups", fault.Policy)
		}
	}
}

// Read implements source.Reader.
func (g *guard) Read(b *source.Batch) error {
	if err := g.Reader.Read(b); err != nil {
		return err // of an interrupted read the batch may still be written to
	}
	for w := range g.watched {
		w := &g.watched[w]
		for i := range b.Rows {
			if row := &b.Rows[i]; row.Problem == "" && w.at < len(row.Values) {
				w.detector.Add(row.Values[w.at])
			}
		}
		if w.detector.LooksLikeNHSNumbers() {
			return fault.New(w.kind, "reading the column "+w.column, w.wrong, w.next)
		}
	}
	return nil
}
