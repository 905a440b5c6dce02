package clks_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/tokenise/clk"
	"tarn/tokenise/clk/clks"
	"tarn/tokenise/source"
)

const schemaText = `{"version": 3, "clkConfig": {"l": 100, "kdf": {"type": "HKDF"}}, "features": [
 {"identifier": "name", "format": {"type": "string", "maxLength": 8}, "hashing": {"comparison": {"type": "ngram", "n": 2}, "strategy": {"bitsPerToken": 3}, "hash": {"type": "doubleHash"}}},
 {"identifier": "number", "format": {"type": "integer"}, "hashing": {"comparison": {"type": "exact"}, "strategy": {"bitsPerToken": 5}, "hash": {"type": "doubleHash"}}}]}`

func setting(t interface{ Fatal(...any) }) (*clk.Schema, clk.Secret) {
	schema, err := clk.Parse([]byte(schemaText))
	if err != nil {
		t.Fatal(err)
	}
	secret, err := clk.NewSecret([]byte("secret"))
	if err != nil {
		t.Fatal(err)
	}
	return schema, secret
}

// TestEveryRowAtItsPlace: the file has the CLK of every row at the row's place,
// or there is none and all rows that are to blame are listed; on any number of
// threads, over several batches.
func TestEveryRowAtItsPlace(t *testing.T) {
	schema, secret := setting(t)
	encoder, err := clk.NewEncoder(schema, secret)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	in, out, quarantine := filepath.Join(folder, "in.csv"), filepath.Join(folder, "out.json"), filepath.Join(folder, "bad.csv")
	rapid.Check(t, func(t *rapid.T) {
		rows := [][]string{{"name", "number"}}
		name := rapid.OneOf(rapid.StringMatching(`[a-zé,"]{0,8}`), rapid.StringMatching(` ?[a-z]{1,5}[ \x{a0}]?`))
		wrong := rapid.SampledFrom([]string{"1", "1", "1", "x"}).Draw(t, "wrong")
		for i := range rapid.IntRange(0, 3000).Draw(t, "rows") {
			number := strconv.Itoa(i)
			if i%701 == 700 {
				number = wrong
			}
			rows = append(rows, []string{"", number})
		}
		for range min(20, len(rows)-1) {
			rows[rapid.IntRange(1, len(rows)-1).Draw(t, "row")][0] = name.Draw(t, "name")
		}
		var table bytes.Buffer
		if err := csv.NewWriter(&table).WriteAll(rows); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(in, table.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		keep := rapid.Bool().Draw(t, "keep space")
		want, refused, set, spaced := []string{}, "row,unique_id,field,code\n", 0, int64(0)
		for i, row := range rows[1:] {
			values := row
			if short := strings.TrimSpace(row[0]); !keep && short != row[0] {
				spaced++
				values = []string{short, row[1]}
			}
			c, problems := encoder.NewWorker(1).Encode(values)
			for _, p := range problems {
				refused += fmt.Sprintf("%d,,%s,%s\n", i+1, p.Field, p.Code)
			}
			for _, octet := range c {
				set += bits.OnesCount8(octet)
			}
			want = append(want, base64.StdEncoding.EncodeToString(c))
		}
		_ = os.Remove(out)
		result, err := clks.Run(t.Context(), clks.Options{Schema: schema, Secret: secret, In: in, Source: source.Options{Delimiter: ','}, KeepSpace: keep, Out: out, Quarantine: quarantine, Threads: rapid.IntRange(0, 4).Draw(t, "threads")})
		listed, readErr := os.ReadFile(quarantine)
		if readErr != nil || string(listed) != refused {
			t.Fatalf("quarantine is %q (%v), want %q", listed, readErr, refused)
		}
		if bad := strings.Count(refused, "\n") - 1; bad > 0 {
			if _, statErr := os.Stat(out); fault.KindOf(err) != fault.RowsRefused || result.Refused != int64(bad) || !os.IsNotExist(statErr) {
				t.Fatalf("%d rows are wrong: %v, %+v, %v", bad, err, result, statErr)
			}
			return
		}
		text, readErr := os.ReadFile(out)
		var got struct{ CLKs []string }
		if err := errors.Join(err, readErr, json.Unmarshal(text, &got)); err != nil {
			t.Fatal(err)
		}
		if fmt.Sprint(got.CLKs) != fmt.Sprint(want) || string(text) != `{"clks": [`+quoted(want)+`]}` {
			t.Fatalf("got %s", text)
		}
		if mean, _ := result.BitsSet(); result.Rows != int64(len(want)) || result.Spaced != spaced || int(mean*float64(len(want))+.5) != set {
			t.Fatalf("%d rows, %d with space, %d bits set: %+v, mean %f", len(want), spaced, set, result, mean)
		}
	})
}

func quoted(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return `"` + strings.Join(list, `", "`) + `"`
}

// TestBlankLines: in a table of one column a blank line may be a value, so it
// must not make the rows after it others.
func TestBlankLines(t *testing.T) {
	schema, err := clk.Parse([]byte(`{"version": 3, "clkConfig": {"l": 64, "kdf": {"type": "HKDF"}}, "features": [{"identifier": "name", "format": {"type": "string"}, "hashing": {"comparison": {"type": "exact"}, "strategy": {"bitsPerToken": 3}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	_, secret := setting(t)
	for text, code := range map[string]fault.Kind{"name\nann\n\nbob\n": fault.RowsRefused, "\nname\nann\n\"\"\nbob\n": 0} {
		in := filepath.Join(t.TempDir(), "in.csv")
		if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		result, err := clks.Run(t.Context(), clks.Options{Schema: schema, Secret: secret, In: in, Out: in + ".json"})
		if result == nil || result.Rows != 3 || (err != nil) != (code != 0) || err != nil && fault.KindOf(err) != code {
			t.Errorf("%q: %+v, %v", text, result, err)
		}
	}
}

func TestStopped(t *testing.T) {
	schema, secret := setting(t)
	folder := t.TempDir()
	in := filepath.Join(folder, "in.csv")
	if err := os.WriteFile(in, []byte("name,number\n"+strings.Repeat("ann,1\n", 200_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	_, err := clks.Run(ctx, clks.Options{Schema: schema, Secret: secret, In: in, Out: filepath.Join(folder, "out.json"), Threads: 2, Progress: func(int64, int64) { cancel() }})
	left, globErr := filepath.Glob(filepath.Join(folder, "*.json*"))
	hidden, _ := filepath.Glob(filepath.Join(folder, ".*"))
	if !errors.Is(err, context.Canceled) || globErr != nil || len(left)+len(hidden) > 0 {
		t.Errorf("stopped with %v, leaving %v %v", err, left, hidden)
	}
}
