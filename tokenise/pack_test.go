package tokenise

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
)

var testLayout = cohort.Layout{Blocks: []string{"blk_dob", "blk_other"}, Filters: []cohort.FilterColumn{{Name: "bf_a", Bytes: 8}, {Name: "bf_b", Bytes: 16}}, Tags: []string{"tag_c"}}

func drawRow(t *rapid.T) (row cohort.Row) {
	bytesOf := func(n int) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, "bytes") }
	tag := func() (tag cohort.Tag) {
		if tag.Present = rapid.Bool().Draw(t, "present"); tag.Present {
			tag.Value = rapid.SampledFrom([]int64{-1 << 63, -2, -1, 0, 1, 1<<63 - 1}).Draw(t, "value")
		}
		return tag
	}
	copy(row.UniqueID[:], bytesOf(2))
	if row.HasToken = rapid.Bool().Draw(t, "token"); row.HasToken {
		copy(row.Token[:], bytesOf(32))
	}
	row.Blocks, row.Tags = []cohort.Tag{tag(), tag()}, []cohort.Tag{tag()}
	for _, f := range testLayout.Filters {
		var filter []byte
		if rapid.Bool().Draw(t, "filter") {
			filter = bytesOf(f.Bytes)
		}
		row.Filters = append(row.Filters, filter)
	}
	return row
}

// TestPackedRowsSortAsCohortsDo and come back as they were.
func TestPackedRowsSortAsCohortsDo(t *testing.T) {
	p := newPacker(testLayout, false)
	rapid.Check(t, func(t *rapid.T) {
		rows, packed := []cohort.Row{drawRow(t), drawRow(t)}, make([][]byte, 2)
		for i := range rows {
			state := nhsnumber.State(rapid.IntRange(0, 5).Draw(t, "state"))
			packed[i] = p.pack(nil, &rows[i], 7, state, i == 0)
			rows[i].NHSNumberState = state.String()
			var back cohort.Row
			if p.unpack(packed[i], &back); !reflect.DeepEqual(back, rows[i]) || packed[i][packedEncoded] != byte(1-i) {
				t.Fatalf("%+v\ncame back as\n%+v", rows[i], back)
			}
		}
		if got, want := bytes.Compare(packed[0][:packedNumber], packed[1][:packedNumber]), testLayout.Compare(&rows[0], &rows[1]); got != want {
			t.Fatalf("packed rows compare as %d, rows as %d", got, want)
		}
	})
}

// TestEntriesLeadToPlaces: the place of an entry is that of its row.
func TestEntriesLeadToPlaces(t *testing.T) {
	p := newPacker(testLayout, false)
	rapid.Check(t, func(t *rapid.T) {
		row := drawRow(t)
		packed := p.pack(nil, &row, rapid.Int64Range(1, 1<<40).Draw(t, "number"), nhsnumber.Valid, true)
		entry := appendEntry(nil, packed[:packedPlace], false, string(appendText(nil, "source")))
		if !bytes.Equal(appendPlace(nil, entry), packed[:packedPlace]) {
			t.Fatal("another place")
		}
		if text, rest := takeText(entry[entryRest:]); string(text) != "source" || len(rest) > 0 {
			t.Fatal("another source id")
		}
	})
}

// TestDuplicatesSpill: however few fit in memory, all come back in both orders.
func TestDuplicatesSpill(t *testing.T) {
	p := newPacker(testLayout, false)
	rapid.Check(t, func(r *rapid.T) {
		d := &duplicates{folder: t.TempDir(), limit: rapid.IntRange(1, 6).Draw(r, "limit")}
		var places [][]byte
		for n := range rapid.IntRange(0, 20).Draw(r, "duplicates") {
			row := drawRow(r)
			packed := p.pack(nil, &row, int64(100-n), nhsnumber.Valid, true)
			places = append(places, packed[:packedPlace])
			if err := d.add(appendEntry(nil, packed[:packedPlace], false, "")); err != nil {
				r.Fatal(err)
			}
		}
		if err := d.flush(); err != nil {
			r.Fatal(err)
		}
		slices.SortFunc(places, bytes.Compare)
		m, err := d.byPlace(t.Context())
		if err != nil {
			r.Fatal(err)
		}
		defer m.Close()
		for _, want := range places {
			if got, err := m.Next(); err != nil || !bytes.Equal(got, want) {
				r.Fatal("another place", err)
			}
		}
		if _, err := m.Next(); !errors.Is(err, io.EOF) {
			r.Fatal("more than there are")
		}
		events, err := d.byNumber(t.Context())
		if err != nil {
			r.Fatal(err)
		}
		defer events.Close()
		slices.SortFunc(places, func(a, b []byte) int { return cmp.Compare(string(a[packedNumber:]), string(b[packedNumber:])) })
		for _, want := range places {
			if e, err := events.next(); err != nil || e == nil || !bytes.Equal(e.id[:], want[packedID:packedNumber]) {
				r.Fatal("another event", err)
			}
		}
		if e, err := events.next(); e != nil || err != nil {
			r.Fatal("more events than there are")
		}
	})
}
