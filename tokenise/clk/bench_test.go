package clk

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// syntheticRows makes rows for testdata/clkhash/people.json: names, streets and
// suburbs by Zipf's law as in a population, dates of birth over 80 years, a
// house name in every third row. The ids are of nobody.
func syntheticRows(n int) [][]string {
	r := rand.New(rand.NewPCG(4, 3))
	words := func(count, syllables int) []string {
		list := make([]string, count)
		for i := range list {
			for range 1 + r.IntN(syllables) {
				list[i] += []string{"an", "be", "cor", "da", "el", "fi", "gra", "ho", "is", "jo", "ka", "lin", "ma", "no", "os", "per", "ri", "sta", "ton", "wil"}[r.IntN(20)]
			}
		}
		return list
	}
	zipf := func(list []string) func() string {
		z := rand.NewZipf(r, 1.1, 10, uint64(len(list)-1))
		return func() string { return list[z.Uint64()] }
	}
	given, surname, street, house, suburb := zipf(words(3000, 4)), zipf(words(20000, 4)), zipf(words(20000, 5)), zipf(words(20000, 6)), zipf(words(3000, 5))
	kinds, states := []string{"street", "place", "crescent", "avenue", "road"}, []string{"nsw", "vic", "qld", "wa", "sa", "act", "tas", ""}
	rows := make([][]string, n)
	for i := range rows {
		town := suburb()
		second := ""
		if r.IntN(3) == 0 {
			second = house()
		}
		born := time.Date(1920, 1, 1+r.IntN(80*365), 0, 0, 0, 0, time.UTC)
		rows[i] = oneText([]string{
			fmt.Sprintf("rec-%d-org", i), given(), surname(), fmt.Sprint(1 + int(r.ExpFloat64()*40)), street() + " " + kinds[r.IntN(len(kinds))], second,
			town, fmt.Sprint(800 + len(town)*997%9000), states[r.IntN(len(states))], born.Format("20060102"), fmt.Sprint(1000000 + r.IntN(9000000)),
		})
	}
	return rows
}

// oneText lays the values of a row together in memory, as a reader of tables
// does.
func oneText(row []string) []string {
	text := strings.Join(row, "")
	for i, value := range row {
		row[i], text = text[:len(value)], text[len(value):]
	}
	return row
}

func peopleSchema(t testing.TB) []byte {
	schema, err := os.ReadFile("../../testdata/clkhash/people.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

// BenchmarkEncodeFEBRL encodes rows like those of FEBRL data set 4 at steady
// state, on one core.
func BenchmarkEncodeFEBRL(b *testing.B) {
	rows := syntheticRows(1 << 18)
	benchmarkRows(b, newEncoder(b, peopleSchema(b), "secret"), rows)
}

// BenchmarkEncodeUnseen encodes rows in which no name, street or house has been
// seen before, the worst case of the caches.
func BenchmarkEncodeUnseen(b *testing.B) {
	benchmarkRows(b, newEncoder(b, peopleSchema(b), "secret"), unseenRows(1<<17))
}

// unseenRows are rows in which no name, street or house comes twice.
func unseenRows(n int) [][]string {
	rows := syntheticRows(n)
	for i, row := range rows {
		for _, column := range []int{1, 2, 4, 5, 6} {
			row[column] += fmt.Sprintf("%c%c%c%c", 'a'+i%26, 'a'+i/26%26, 'a'+i/676%26, 'a'+i/17576%26)
		}
		rows[i] = oneText(row)
	}
	return rows
}

func benchmarkRows(b *testing.B, e *Encoder, rows [][]string) {
	w := e.NewWorker(0)
	for _, row := range rows {
		if _, problems := w.Encode(row); len(problems) > 0 {
			b.Fatalf("refused: %v", problems)
		}
	}
	b.ReportAllocs()
	i, before := 0, processorTime(b)
	for b.Loop() {
		w.Encode(rows[i])
		if i++; i == len(rows) {
			i = 0
		}
	}
	b.ReportMetric(float64(b.N)/(processorTime(b)-before).Seconds(), "records/cpu-s")
}

// processorTime is what the process had of the processors: unlike the time by
// the clock it can be compared on a machine that has other work.
func processorTime(b *testing.B) time.Duration {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// BenchmarkPeerFEBRL measures clkhash on the first of the same rows, on one
// core, once its caches are warm.
func BenchmarkPeerFEBRL(b *testing.B) { benchmarkPeer(b, syntheticRows(1<<18)) }

// BenchmarkPeerUnseen measures clkhash on the rows of BenchmarkEncodeUnseen.
func BenchmarkPeerUnseen(b *testing.B) { benchmarkPeer(b, unseenRows(1<<17)) }

func benchmarkPeer(b *testing.B, rows [][]string) {
	const warm, measured = 20000, 40000
	p := startPeer(b)
	for b.Loop() {
		var answer struct{ Seconds float64 }
		p.Ask(b, map[string]any{"schema": rawJSON(peopleSchema(b)), "secret": "secret", "rows": rows[:warm+measured], "seconds": true, "warm": warm}, &answer)
		b.ReportMetric(measured/answer.Seconds, "records/cpu-s")
	}
}
