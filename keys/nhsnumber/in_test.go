package nhsnumber_test

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/nhsnumber"
)

func TestIn(t *testing.T) {
	for text, want := range map[string]bool{
		"9434765919": true, "943 476 5919": true, "943-476-5919": true, "943_476_5919": true, "943.476.5919": true,
		"for 943 476 5919, please": true, "north-9434765919": true, "x9434765919y": true, "9990000018": true, "1 9434765919": true,
		"": false, "9434765918": false, "943 4765919": false, "943 476-5919": false, "943  476 5919": false,
		"19434765919": false, "94347659190": false, "9434765919.": true, "2026-11-26 10:30": false, "0000000000": false, "943476591": false,
	} {
		if got := nhsnumber.In(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
		if nhsnumber.In([]byte(text)) != want {
			t.Errorf("%q as bytes: not %t", text, want)
		}
	}
}

func TestInFindsANumberAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		around := rapid.StringMatching(`[^0-9]{0,20}`)
		number := rapid.SampledFrom([]string{"9434765919", "943 476 5919", "943-476-5919"}).Draw(t, "number")
		text := around.Draw(t, "before") + number + around.Draw(t, "after")
		if !nhsnumber.In(text) {
			t.Fatalf("not found in %q", text)
		}
		if hidden := strings.ReplaceAll(text, number, "943476591"); nhsnumber.In(hidden) {
			t.Fatalf("found in %q", hidden)
		}
	})
}
