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
