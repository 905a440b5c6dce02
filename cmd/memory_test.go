//go:build heavy

package cmd_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"tarn/linkage/cohort/table"
)

// memoryBound is the memory that tokeniser run is promised to stay within,
// resident, with the default preset and flags (docs/tokeniser.md).
const memoryBound = 1280 << 20

// TestMemoryIsBounded: tokeniser run takes no more memory for ten million rows
// than it is promised to, and next to no more than for two million; the output
// holds all of them in their order.
func TestMemoryIsBounded(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	people := filepath.Join(t.TempDir(), "people")
	if code, said := output(t, filepath.Join(binaries, "tarn"), "synth", "--people", "100", "--parties", "1", "--overlap", "0", "--seed", "4", "--keys", "--out", people); code != 0 {
		t.Fatalf("tarn synth: exit %d: %s", code, said)
	}
	resident := map[int]int64{}
	for _, rows := range []int{2_000_000, 10_000_000} {
		folder := t.TempDir()
		out := filepath.Join(folder, "north.parquet")
		c := exec.Command(filepath.Join(binaries, "tokeniser"), "run", "--project", filepath.Join(people, "project.json"), "--key-file", filepath.Join(people, "keys.json"),
			"--in", "-", "--source", "north", "--out", out, "--confirm-map", "--quarantine", filepath.Join(folder, "refused.csv"))
		in, err := c.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		var said bytes.Buffer
		c.Stdout, c.Stderr = &said, &said
		c.Env = append(os.Environ(), "GOMEMLIMIT=")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		if err := writePeople(in, rows); err != nil {
			t.Error(err)
		}
		if err := c.Wait(); err != nil {
			t.Fatalf("%v: %s", err, said.String())
		}
		resident[rows] = c.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
		t.Logf("%d rows: %d MiB resident at most", rows, resident[rows]>>20)
		checkOrder(t, out, int64(rows)-int64(rows/1000))
		if err := os.RemoveAll(folder); err != nil {
			t.Fatal(err)
		}
	}
	few, many := resident[2_000_000], resident[10_000_000]
	if many > memoryBound {
		t.Errorf("ten million rows take %d MiB, more than the %d promised", many>>20, memoryBound>>20)
	}
	if many > few+few/4 { // where the collector happens to be makes a tenth
		t.Errorf("ten million rows take %d MiB where two million take %d: memory grows with the table", many>>20, few>>20)
	}
}

// writePeople writes a table of people, in which each thousandth row has the
// unique_id of the row before.
func writePeople(w io.WriteCloser, rows int) error {
	out := bufio.NewWriterSize(w, 1<<20)
	random := rand.New(rand.NewPCG(1, 2))
	given := []string{"Olivia", "George", "Amina", "Jack", "Zoë", "Mohammed", "Ann-Marie", "Freya", "Tadeusz", "Lily"}
	family := []string{"Smith", "Jones", "O'Brien", "Patel", "Kowalski", "Taylor-Green", "Khan", "Walker", "Nguyen", "Evans"}
	out.WriteString("unique_id,given_name,family_name,date_of_birth,sex,postcode\n")
	var b []byte
	for i := 1; i <= rows; i++ {
		id := i
		if i%1000 == 0 {
			id--
		}
		b = append(strconv.AppendInt(append(b[:0], 'p'), int64(id), 10), ',')
		b = append(append(b, given[random.IntN(len(given))]...), ',')
		b = append(append(b, family[random.IntN(len(family))]...), byte('a'+random.IntN(26)), ',')
		b = fmt.Appendf(b, "%d-%02d-%02d,%d,LS%d %d%c%c\n", 1930+random.IntN(90), 1+random.IntN(12), 1+random.IntN(28), 1+random.IntN(2), 1+random.IntN(29), random.IntN(10), "ABDEFGHJ"[random.IntN(8)], "ABDEFGHJ"[random.IntN(8)])
		if _, err := out.Write(b); err != nil {
			return err
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return w.Close()
}

// checkOrder wants so many rows, by blk_dob and unique_id.
func checkOrder(t *testing.T, path string, want int64) {
	r, err := table.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	rows, lastBlock, lastID := int64(0), int64(0), ""
	err = r.Scan(context.Background(), []string{"blk_dob", "unique_id"}, func(batch arrow.RecordBatch) error {
		blocks, ids := batch.Column(0).(*array.Int64), batch.Column(1).(*array.String)
		for i := range int(batch.NumRows()) {
			block, id := blocks.Value(i), ids.Value(i)
			if rows > 0 && (block < lastBlock || block == lastBlock && id <= lastID) {
				return fmt.Errorf("row %d is not in its place", rows)
			}
			rows, lastBlock, lastID = rows+1, block, id
		}
		return nil
	})
	if err != nil || rows != want {
		t.Fatalf("%v: %d rows, want %d", err, rows, want)
	}
}
