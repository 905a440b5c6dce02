package cmd_test

import (
	"encoding/csv"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/tokenise/relationship/table"
)

// relationshipsTable writes a table of so many patients of an organisation.
func relationshipsTable(t *testing.T, path string, patients int, organisation string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("token,organisation,from,to\n")
	random := rand.New(rand.NewPCG(1, uint64(patients)))
	for range patients {
		token := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 3}
		for i := range token.Value {
			token.Value[i] = byte(random.Uint32())
		}
		fmt.Fprintf(&b, "%s,%s,2020-01-01,\n", token, organisation)
	}
	must(t, os.WriteFile(path, []byte(b.String()), 0o600))
}

// TestKilledLoadsChangeNothing kills tokeniser relationships load (SIGKILL) at random
// points: what is answered from is the table before or the new one, whole, and the next load
// finds nothing in its way and leaves nothing behind.
func TestKilledLoadsChangeNothing(t *testing.T) {
	binaries := t.TempDir()
	build(t, binaries)
	folder := t.TempDir()
	dir := filepath.Join(folder, "tables")
	sizes := []int{20_000, 30_000}
	for i, n := range sizes {
		relationshipsTable(t, filepath.Join(folder, fmt.Sprintf("%d.csv", i)), n, []string{"A81001", "B81001"}[i])
	}
	load := func(i int) *exec.Cmd {
		return exec.Command(filepath.Join(binaries, "tokeniser"), "relationships", "load", "--in", filepath.Join(folder, fmt.Sprintf("%d.csv", i)), "--dir", dir)
	}
	if said, err := load(0).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	begun := time.Now()
	if said, err := load(1).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	took := time.Since(begun)
	// whole returns which of the tables is there, all of it.
	whole := func() int {
		t.Helper()
		document, err := table.Read(dir)
		if err != nil || len(document.Tables) != 1 {
			t.Fatal(err)
		}
		e := &document.Tables[0]
		opened, err := table.Open(dir, e)
		must(t, err)
		defer func() { _ = opened.Close() }()
		must(t, opened.Check(t.Context()))
		return slices.Index(sizes, int(e.Rows))
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d, an undisturbed load took %v", seed, took)
	random := rand.New(rand.NewPCG(seed, 0))
	there, littered, killed := 1, 0, 0
	for range 30 {
		c := load(1 - there)
		must(t, c.Start())
		timer := time.AfterFunc(time.Duration(random.Float64()*float64(took)), func() { _ = c.Process.Kill() }) // it may have ended
		err := c.Wait()
		timer.Stop()
		now := whole()
		if now < 0 || err == nil && now == there {
			t.Fatalf("what is there is neither table, or a load that ended counts for nothing: %v", err)
		}
		if err != nil {
			killed++
			if left, err := os.ReadDir(dir); err == nil && len(left) > 2 {
				littered++
			}
		}
		there = now
	}
	if killed < 10 || littered == 0 {
		t.Errorf("%d loads were killed, %d of them at work: the test kills too early or too late", killed, littered)
	}
	if said, err := load(0).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, said)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 2 {
		t.Errorf("%d files are left, %v", len(left), err)
	}
	t.Logf("killed %d times, %d of them at work", killed, littered)
}

// testRelationships gives people where their tokens, and organisations, belong.
func (l *leakage) testRelationships(t *testing.T) {
	f, err := os.Open(l.table("north.csv"))
	must(t, err)
	defer func() { _ = f.Close() }()
	people, err := csv.NewReader(f).ReadAll()
	must(t, err)
	at := func(name string) int { return slices.Index(people[0], name) }
	columns := []int{at("nhs_number"), at("family_name"), at("date_of_birth"), at("postcode"), at("nhs_number")}
	if slices.Contains(columns, -1) {
		t.Fatalf("the people have other columns: %v", columns)
	}
	rows := [][]string{{"token", "organisation", "from", "to", "relationship"}}
	token := keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: 3}.String()
	rows = append(rows, []string{token, "A81001", "2020-01-01", "", "registered"})
	for i, person := range people[1:] {
		row := make([]string, len(columns))
		for to, from := range columns {
			row[to] = person[from]
		}
		if i%2 == 0 { // a number where the organisation should be
			row[0], row[1], row[2], row[3], row[4] = token, row[0], "2020-01-01", "", "other"
		}
		rows = append(rows, row)
	}
	in, err := os.Create(filepath.Join(t.TempDir(), "relationships.csv"))
	must(t, err)
	must(t, csv.NewWriter(in).WriteAll(rows))
	must(t, in.Close())
	for _, c := range []struct {
		code int
		in   string
		more []string
	}{{3, in.Name(), nil}, {0, in.Name(), []string{"--max-refused", "100%", "--json"}}, {0, in.Name(), []string{"--max-refused", "100%", "--dry-run"}}, {2, l.table("north.csv"), nil}, {2, l.table("north.parquet"), nil}, {2, l.table("headless.csv"), nil}} {
		folder := t.TempDir()
		args := append([]string{"relationships", "load", "--in", c.in, "--dir", filepath.Join(folder, "tables"), "--quarantine", filepath.Join(folder, "refused.csv"), "--log-level", "debug"}, c.more...)
		l.run(t, c.code, happens{binary: l.tokeniser(), args: args})
		noneInTree(t, "relationships", folder, nowhere)
	}
	person := strangers()[7]
	for _, value := range []string{person.Number, person.Family} {
		folder := t.TempDir()
		for _, args := range [][]string{{"load", "--in", in.Name(), "--dir", folder, "--drop-epoch", value}, {"drop", "--dir", folder, "--domain-no", value, "--epoch", "3"}, {"key", value}, {"list", "--" + value}} {
			l.run(t, 2, happens{binary: l.tokeniser(), args: append([]string{"relationships"}, args...)})
		}
	}
}

// relationshipDocuments leaves what tokeniser relationships writes and prints.
func (j *journey) relationshipDocuments(t *testing.T) {
	t.Helper()
	of := func(epoch uint16) string {
		return keys.Token{Scheme: keys.SchemeNoOblivious, DomainNo: 7, TokenEpoch: epoch}.String() + ",A81001,2020-01-01,\n"
	}
	const header = "token,organisation,from,to\n"
	j.write(t, "relationships.csv", []byte(header+of(3)+of(4)+"x,A81001,2020-01-01,\n"))
	j.write(t, "relationships.next.csv", []byte(header+of(4)))
	load := []string{"relationships", "load", "--dir", "relationships", "--json", "--in"}
	j.run(t, 0, "tokeniser", append(load, "relationships.csv", "--quarantine", "relationships.refused.csv", "--max-refused", "50%")...)
	j.run(t, 3, "tokeniser", append(load, "relationships.csv")...)
	j.run(t, 0, "tokeniser", append(load, "relationships.next.csv", "--drop-epoch", "3", "--dry-run")...)
	j.run(t, 0, "tokeniser", append(load, "relationships.next.csv", "--drop-epoch", "3")...)
	j.run(t, 0, "tokeniser", "relationships", "list", "--dir", "relationships", "--json")
}
