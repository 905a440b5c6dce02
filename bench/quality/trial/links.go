package trial

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
	"tarn/linkage/result"
)

// link is a row of links.parquet or conflicts.parquet.
type link struct {
	pair
	pairwise    float64 // match_probability
	probability float64 // link_probability, -1 where there is none
	basis       string
	decision    string
	pattern     string // agreement levels of all fields, as encoded by letter
}

// letter encodes a level: a is missing, then one by one.
func letter(level int8) byte { return byte('b' + level) }

// levelsOf writes a pattern out: field and level, -1 for missing.
func levelsOf(fields []string, pattern string) string {
	var b strings.Builder
	for i, field := range fields {
		fmt.Fprintf(&b, "%s %d, ", strings.TrimPrefix(field, "gamma_"), int(pattern[i])-int(letter(0)))
	}
	return strings.TrimSuffix(b.String(), ", ")
}

// readLinks reads a table of links, and the names of the columns with the
// agreement levels of its pairs, in the order of a pattern's letters.
func readLinks(ctx context.Context, c *Clear, path string) (links []link, levels []string, err error) {
	r, err := table.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = r.Close() }() // opened for reading
	numbers := []string{"match_probability", "link_probability"}
	texts := []string{"source_dataset_l", "unique_id_l", "source_dataset_r", "unique_id_r", "basis", "decision"}
	for _, f := range r.Schema().Fields() {
		if strings.HasPrefix(f.Name, "gamma_") {
			levels = append(levels, f.Name)
		}
	}
	known := map[string]string{} // texts that come again and again, kept once
	once := func(text string) string {
		if k, ok := known[text]; ok {
			return k
		}
		text = strings.Clone(text)
		known[text] = text
		return text
	}
	err = r.Scan(ctx, slices.Concat(numbers, texts, levels), func(b arrow.RecordBatch) error {
		var number [2]func(int) (float64, bool)
		var text [6]func(int) (string, bool)
		var level []*array.Int8
		for i, name := range numbers {
			if number[i], err = table.Doubles(b.Column(i), name); err != nil {
				return err
			}
		}
		for i, name := range texts {
			if text[i], err = table.Strings(b.Column(len(numbers)+i), name); err != nil {
				return err
			}
		}
		for i := range levels {
			column, ok := b.Column(len(numbers) + len(texts) + i).(*array.Int8)
			if !ok {
				return fault.New(fault.Internal, "reading "+path, "a column of agreement levels does not hold small integers", "")
			}
			level = append(level, column)
		}
		pattern := make([]byte, len(level))
		for row := range int(b.NumRows()) {
			var v [6]string
			for i := range text {
				v[i], _ = text[i](row)
			}
			left, okLeft := c.numbers[key{v[0], v[1]}]
			right, okRight := c.numbers[key{v[2], v[3]}]
			if !okLeft || !okRight {
				return fault.New(fault.Internal, "reading "+path, "it names a record that was not encoded", "")
			}
			l := link{pair: pairOf(left, right), probability: -1, basis: once(v[4]), decision: once(v[5])}
			l.pairwise, _ = number[0](row)
			if p, ok := number[1](row); ok {
				l.probability = p
			}
			for i, column := range level {
				pattern[i] = letter(column.Value(row))
			}
			l.pattern = once(string(pattern))
			links = append(links, l)
		}
		return nil
	})
	return links, levels, err
}

func (l *link) linked() bool { return l.decision == result.DecisionLink }
