// Package truth turns truth on source ids, which only the makers of test data
// have, into truth on the minted unique_ids of encoded cohorts, which is what
// links can be compared with.
package truth

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort/table"
	"tarn/linkage/equity/csvfile"
)

const next = "give a CSV file with source_dataset,unique_id,cluster, or with source_dataset_l,unique_id_l,source_dataset_r,unique_id_r, on source ids"

// Counts says what became of the rows of a truth file.
type Counts struct {
	Rows    int64 // written
	Dropped int64 // with a record that is in no crosswalk: refused, or not encoded
}

// record is a record under its source id.
type record struct{ dataset, sourceID string }

// Mint reads truth on source ids and the crosswalks of cohorts, and writes the
// same rows with minted ids. Other columns are kept as they are. Rows with a
// record that is in no crosswalk are dropped and counted.
func Mint(ctx context.Context, truthPath string, crosswalks []string, out string) (*Counts, error) {
	minted := map[record]string{}
	for _, path := range crosswalks {
		if err := readCrosswalk(ctx, path, minted); err != nil {
			return nil, err
		}
	}
	in, err := csvfile.Open(truthPath, "truth file", next)
	if err != nil {
		return nil, err
	}
	defer func() { _ = in.Close() }() // opened for reading
	places := idColumns(in)
	if len(places) == 0 {
		return nil, fault.New(fault.Usage, "reading the truth file "+truthPath, "it has neither the columns of pairs nor those of clusters", next)
	}
	pending, err := keys.NewFile(out)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+out, err, "choose a folder that exists and can be written")
	}
	defer func() { _ = pending.Cleanup() }() // does nothing after the file has its name
	buffer := bufio.NewWriter(pending)
	counts, err := mint(ctx, in, places, minted, csv.NewWriter(buffer))
	if err != nil {
		return nil, err
	}
	if err = buffer.Flush(); err == nil {
		err = pending.CloseAtomicallyReplace()
	}
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+out, err, "free space on the disk, then run again")
	}
	return counts, nil
}

func readCrosswalk(ctx context.Context, path string, minted map[record]string) error {
	r, err := table.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	columns := []string{"source_dataset", "source_id", "unique_id"}
	return r.Scan(ctx, columns, func(batch arrow.RecordBatch) error {
		var values [3]func(int) (string, bool)
		for i, name := range columns {
			if values[i], err = table.Strings(batch.Column(i), name); err != nil {
				return err
			}
		}
		for row := range int(batch.NumRows()) {
			dataset, _ := values[0](row)
			sourceID, _ := values[1](row)
			id, _ := values[2](row)
			// The values share the batch's memory, which is used again.
			minted[record{strings.Clone(dataset), strings.Clone(sourceID)}] = strings.Clone(id)
		}
		return nil
	})
}

// idColumns returns the columns of each record that a row names: data set and id.
func idColumns(r *csvfile.Reader) (places [][2]int) {
	for _, suffix := range [][]string{{"_l", "_r"}, {""}} {
		places = places[:0]
		for _, s := range suffix {
			dataset, id := r.Column("source_dataset"+s), r.Column("unique_id"+s)
			if dataset >= 0 && id >= 0 {
				places = append(places, [2]int{dataset, id})
			}
		}
		if len(places) == len(suffix) {
			return places
		}
	}
	return nil
}

func mint(ctx context.Context, in *csvfile.Reader, places [][2]int, minted map[record]string, out *csv.Writer) (*Counts, error) {
	if err := out.Write(in.Header); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing truth on minted ids", err, "free space on the disk, then run again")
	}
	counts := &Counts{}
rows:
	for {
		cells, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if counts.Rows%1024 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
		for _, p := range places {
			id, ok := minted[record{strings.TrimSpace(cells[p[0]]), strings.TrimSpace(cells[p[1]])}]
			if !ok {
				counts.Dropped++
				continue rows
			}
			cells[p[1]] = id
		}
		if err := out.Write(cells); err != nil {
			return nil, fault.Wrap(fault.Internal, "writing truth on minted ids", err, "free space on the disk, then run again")
		}
		counts.Rows++
	}
	out.Flush()
	if err := out.Error(); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing truth on minted ids", err, "free space on the disk, then run again")
	}
	return counts, nil
}
