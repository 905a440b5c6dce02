package clk

import "testing"

// TestNoAllocations: records of the FEBRL schema are encoded without allocating,
// whether their values have been seen or not.
func TestNoAllocations(t *testing.T) {
	rows := append(syntheticRows(20_000), unseenRows(20_000)...)
	w := newEncoder(t, peopleSchema(t), "secret").NewWorker(1 << 20)
	for _, row := range rows[:500] { // buffers get their size
		w.Encode(row)
	}
	w.Encode(rows[len(rows)-1])
	at := 500
	if n := testing.AllocsPerRun(len(rows)-600, func() {
		if _, problems := w.Encode(rows[at]); len(problems) > 0 {
			t.Fatal(problems)
		}
		at++
	}); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

// TestCacheMakesNoDifference: what is encoded does not depend on the memory of
// a worker, nor on what it encoded before.
func TestCacheMakesNoDifference(t *testing.T) {
	rows := append(syntheticRows(30_000), unseenRows(30_000)...)
	e := newEncoder(t, peopleSchema(t), "secret")
	plain, small, large := e.NewWorker(1), e.NewWorker(1<<19), e.NewWorker(0)
	for i, row := range rows {
		want := ""
		if i%50 == 0 { // without memory it takes long
			want = encodeText(plain, row)
		}
		a, b := encodeText(small, row), encodeText(large, row)
		if a != b || want != "" && a != want || a == "" {
			t.Fatalf("row %d: %q with little memory, %q with much, %q with none", i, a, b, want)
		}
	}
}
