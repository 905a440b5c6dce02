package kernel

import (
	"os"
	"slices"
	"testing"
)

func TestChoiceOfPath(t *testing.T) {
	for _, c := range []struct {
		has  features
		want []Path
	}{
		{features{}, []Path{Portable}},
		{features{avx2: true}, []Path{Portable}},
		{features{popcnt: true}, []Path{Portable}},
		{features{popcnt: true, avx2: true}, []Path{Portable, AVX2}},
		{features{popcnt: true, avx2: true, avx512f: true}, []Path{Portable, AVX2}},
		{features{popcnt: true, avx2: true, avx512v: true}, []Path{Portable, AVX2}},
		{features{avx512f: true, avx512v: true}, []Path{Portable}},
		{features{popcnt: true, avx2: true, avx512f: true, avx512v: true}, []Path{Portable, AVX2, AVX512}},
	} {
		if got := supported(c.has); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.has, got, c.want)
		}
	}
	t.Logf("this machine: %v, the best %v", Available(), Best())
	if want := os.Getenv("TARN_WANT_PATH"); want != "" && Best().String() != want {
		t.Errorf("the best path is %v and not the %s of TARN_WANT_PATH", Best(), want)
	}
}

func TestSingleFilters(t *testing.T) {
	rows, filter := similar(8, 12, 1, 0, 2)
	counts := make([]uint32, 12)
	New().EqualBits(counts, filter, rows)
	if d := differ(counts, slowFields([]int{8}, filter, rows, func(a, b bool) bool { return a == b })); d != "" {
		t.Error(d)
	}
	New().CommonBits(counts, filter, rows)
	if d := differ(counts, slowFields([]int{8}, filter, rows, func(a, b bool) bool { return a && b })); d != "" {
		t.Error(d)
	}
}
