package faults

import (
	"encoding/csv"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/go-json-experiment/json"

	"tarn/bench/keyholder"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/linkage/result"
)

// The parties of the probe: who is in the cohort of the one is what the other wants to know.
const (
	probedParty = "north"
	prober      = "south"
	// freeProber is the same party's client for a project that states no budget.
	freeProber  = "south-free"
	freeProject = "unbounded"
	partySize   = 2_000 // people of each party
)

// probe is somebody who may make tokens, and asks of one person after another whether they
// are in another party's cohort: each with a cohort of that one row.
type probe struct {
	t      *Trial
	k      *keyholder.KeyHolder
	folder string
	name   string     // of the project that bounds the prober
	table  [][]string // of the prober's own people, with the header
	there  []bool     // whether each is in the other cohort
}

// probed is scenario 10.
func probed(t *Trial) error {
	budget := t.times(8, 40)
	p, err := t.newProbe(budget)
	if err != nil {
		return err
	}
	found, tells := 0, 0
	for n := range budget {
		code, said, err := p.encode("probe.json", prober, n+1, n+2, "probe")
		if err != nil {
			return err
		}
		if !t.check(code == 0, "a cohort of one row is made while the budget lasts", "row %d of %d: exit code %d: %s", n+1, budget, code, said) {
			return nil
		}
		seen, err := p.link("probe")
		if err != nil {
			return err
		}
		if seen.links == 1 == p.there[n] {
			found++
		}
		if seen.none != p.there[n] {
			tells++
		}
		t.check(seen.small == "", "no count of 1 to 9 is in the report or the equity tables of a single row", "row %d: %q", n+1, seen.small)
		t.control(seen.links <= 1 && seen.exact == seen.links, "summary.json has the exact total, by the contract of the format", "%d links, %d", seen.links, seen.exact)
	}
	t.figure("rows_probed", float64(budget))
	t.figure("reports_that_tell", float64(tells))
	t.control(found == budget, "without suppression each row is found: links.parquet tells", "%d of %d", found, budget)
	if err := p.stopped(budget); err != nil {
		return err
	}
	return p.controls(budget)
}

// newProbe makes two parties, a key holder that bounds the prober's, and the other's cohort.
func (t *Trial) newProbe(budget int) (p *probe, err error) {
	p = &probe{t: t}
	if p.k, err = t.keyHolder(keyholder.Options{}); err != nil {
		return nil, err
	}
	if p.folder, err = t.sub("linkage"); err != nil {
		return nil, err
	}
	if err := p.run("tarn", "synth", "--people", fmt.Sprint(partySize), "--parties", "2", "--seed", "10", "--errors", "none", "--project", "--scheme", keys.SchemeOblivious, "--out", p.in("people")); err != nil {
		return nil, err
	}
	if err := p.projects(budget); err != nil {
		return nil, err
	}
	if err := p.read(); err != nil {
		return nil, err
	}
	return p, p.run("tokeniser", p.encoding("probe.json", probedParty, filepath.Join("people", probedParty+".csv"), probedParty)...)
}

func (p *probe) in(name string) string { return filepath.Join(p.folder, name) }

// run runs a command that must do.
func (p *probe) run(name string, args ...string) error {
	code, _, said, err := p.t.command(name, args...)
	if err == nil && code != 0 {
		err = fmt.Errorf("%s %s: exit code %d: %s", name, args[0], code, said)
	}
	return err
}

// projects adds two projects, of which one states how many rows the prober may encode, and
// the clients.
func (p *probe) projects(budget int) error {
	record, err := os.ReadFile(p.in("people/project.json"))
	if err != nil {
		return err
	}
	var document map[string]any
	if err := json.Unmarshal(record, &document); err != nil {
		return err
	}
	if err := p.k.AddDomain(p.t.ctx, document["domain"].(string), document["scheme"].(string)); err != nil {
		return err
	}
	p.name = document["name"].(string)
	for name, rows := range map[string]int{p.name: budget, freeProject: 0} {
		document["name"] = name
		for _, party := range document["parties"].([]any) {
			party := party.(map[string]any)
			delete(party, "budget_rows")
			if party["source_dataset"] == prober && rows > 0 {
				party["budget_rows"] = rows
			} else if rows > 0 {
				party["budget_rows"] = 10 * partySize
			}
		}
		b, err := json.Marshal(document)
		if err == nil {
			err = p.k.AddProject(p.t.ctx, b)
		}
		if err != nil {
			return err
		}
		clients, file := map[string]string{probedParty: probedParty, prober: prober}, "probe.json"
		if rows == 0 {
			clients, file = map[string]string{freeProber: prober}, "free.json"
		}
		for client, dataset := range clients {
			if err := p.k.AddClient(p.t.ctx, api.ClientAdd{Name: client, Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{name}, SourceDatasets: []string{dataset}}); err != nil {
				return err
			}
			if _, err := os.Stat(p.in(file)); err == nil {
				continue
			}
			if err := p.run("tokeniser", "project", name, "--as", p.k.Credentials(client), "--keyholder", p.k.URL, "--out", p.in(file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// read reads the prober's people, those whom the other has and those whom it has not by
// turns.
func (p *probe) read() error {
	numbers := map[string]bool{}
	tables := [2][][]string{}
	for i, party := range []string{probedParty, prober} {
		f, err := os.Open(p.in(filepath.Join("people", party+".csv")))
		if err != nil {
			return err
		}
		tables[i], err = csv.NewReader(f).ReadAll()
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
	const number = 1 // the column
	for _, row := range tables[0][1:] {
		numbers[row[number]] = true
	}
	by := map[bool][][]string{}
	for _, row := range tables[1][1:] {
		by[numbers[row[number]]] = append(by[numbers[row[number]]], row)
	}
	p.table = tables[1][:1]
	for i := range min(len(by[true]), len(by[false])) {
		p.table, p.there = append(p.table, by[true][i], by[false][i]), append(p.there, true, false)
	}
	return nil
}

// encoding are the arguments that make a cohort.
func (p *probe) encoding(project, client, table, out string) []string {
	party := client
	if client == freeProber {
		party = prober
	}
	return []string{"run", "--project", p.in(project), "--as", p.k.Credentials(client), "--keyholder", p.k.URL, "--in", p.in(table), "--source", party, "--confirm-map", "--unique-id", "unique_id",
		"--out", p.in(out + ".parquet"), "--groups", p.in(out + ".groups.parquet"), "--state", p.in("state-" + client)}
}

// encode makes a cohort of some of the prober's rows.
func (p *probe) encode(project, client string, from, to int, out string) (code int, said string, err error) {
	path := out + ".csv"
	f, err := os.Create(p.in(path))
	if err != nil {
		return 0, "", err
	}
	w := csv.NewWriter(f)
	err = w.WriteAll(append([][]string{p.table[0]}, p.table[from:to]...))
	if err := errors.Join(err, f.Close()); err != nil {
		return 0, "", err
	}
	code, _, said, err = p.t.command("tokeniser", p.encoding(project, client, path, out)...)
	return code, said, err
}

// seen is what can be read of a result.
type seen struct {
	links, exact int    // in links.parquet, and as summary.json has it
	none         bool   // the report says that there is none
	small        string // a count of 1 to 9 that is shown; empty where none is
}

// link links a cohort with the other party's, with equity tables.
func (p *probe) link(cohort string) (s seen, err error) {
	out := p.in(cohort + "-linked")
	if err := p.run("linker", "link", p.in(probedParty+".parquet"), p.in(cohort+".parquet"), "--out", out, "--state", p.in("linker-state")); err != nil {
		return s, err
	}
	if err := p.run("linker", "equity", out, "--groups", p.in(probedParty+".groups.parquet")+","+p.in(cohort+".groups.parquet")); err != nil {
		return s, err
	}
	err = result.ScanLinks(p.t.ctx, filepath.Join(out, "links.parquet"), func(l *result.Link) error {
		if l.Decision == result.DecisionLink {
			s.links++
		}
		return nil
	})
	if err != nil {
		return s, err
	}
	b, err := os.ReadFile(filepath.Join(out, "summary.json"))
	if err != nil {
		return s, err
	}
	var summary struct {
		Links  struct{ Total int }
		Equity any
	}
	if err := json.Unmarshal(b, &summary, json.MatchCaseInsensitiveNames(true)); err != nil {
		return s, err
	}
	s.exact = summary.Links.Total
	page, err := os.ReadFile(filepath.Join(out, "report.html"))
	if err != nil {
		return s, err
	}
	s.none = strings.Contains(string(page), "No links were made")
	s.small = smallIn(summary.Equity, string(page))
	return s, nil
}

// counted are the members of the report's and the equity tables' documents that count
// people, records or pairs.
var counted = map[string]bool{"links": true, "rows": true, "pairs": true, "blocks": true, "records": true, "expected_matches": true, "linked": true}

var (
	documents = regexp.MustCompile(`(?s)<script type="application/json"[^>]*>(.*?)</script>`)
	prose     = regexp.MustCompile(`(^|[^0-9.,])[1-9] (links?|records?|people|rows?)\b`) // "1 pair" is the size of a block, and a label
	tags      = regexp.MustCompile(`<[^>]*>`)
)

// smallIn returns a count of 1 to 9 in the equity tables or in a page; "" of none.
func smallIn(equity any, page string) string {
	if found := smallCount(equity); found != "" {
		return "equity: " + found
	}
	for _, match := range documents.FindAllStringSubmatch(page, -1) {
		var document any
		if json.Unmarshal([]byte(match[1]), &document) != nil {
			return "a document of the page that cannot be read"
		}
		if found := smallCount(document); found != "" {
			return found
		}
	}
	return prose.FindString(tags.ReplaceAllString(documents.ReplaceAllString(page, ""), ""))
}

func smallCount(document any) string {
	switch d := document.(type) {
	case []any:
		for _, one := range d {
			if found := smallCount(one); found != "" {
				return found
			}
		}
	case map[string]any:
		for name, value := range d {
			if n, is := value.(float64); is && counted[name] && n > 0 && n < 10 {
				return fmt.Sprintf("%s %g", name, n)
			}
			if found := smallCount(value); found != "" {
				return found
			}
		}
	}
	return ""
}

// stopped checks that the prober is stopped at its budget, and stays so.
func (p *probe) stopped(budget int) error {
	t := p.t
	for _, when := range []string{"at once", "after a kill"} {
		if when == "after a kill" {
			if err := p.k.Kill(); err != nil {
				return err
			}
			if err := p.k.Start(t.ctx); err != nil {
				return err
			}
		}
		code, said, err := p.encode("probe.json", prober, budget+1, budget+2, "beyond")
		if err != nil {
			return err
		}
		_, there := os.Stat(p.in("beyond.parquet"))
		t.check(code == 4 && os.IsNotExist(there), "at its budget the prober gets no cohort any more", "%s: exit code %d: %s", when, code, said)
		c, err := p.k.CallAs(prober)
		if err != nil {
			return err
		}
		status, refused, err := c.Call(t.ctx, http.MethodPost, "/v1/projects/"+p.name+"/leases", api.LeaseRequest{Use: api.UseEncoding, RowsExpected: 1}, nil)
		c.Close()
		if err != nil {
			return err
		}
		t.check(status == http.StatusTooManyRequests && refused == api.CodeBudget, "it is answered 429", "%s: status %d, %s", when, status, refused)
	}
	return nil
}

// controls are that without a budget the probing goes on, that it was the budget, and that a
// cohort that is large enough is counted.
func (p *probe) controls(budget int) error {
	t := p.t
	t.note("without a budget")
	made := 0
	for n := range budget + 4 {
		code, _, err := p.encode("free.json", freeProber, n+1, n+2, "free")
		if err != nil {
			return err
		}
		if code == 0 {
			made++
		}
	}
	t.control(made == budget+4, "without a budget the probing is not stopped", "%d of %d", made, budget+4)
	operator, err := p.k.As(keyholder.Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	alarms := 0
	err = eachEntry(t.ctx, operator, func(leaf audit.Leaf) {
		if leaf.Kind == audit.KindAlarm && leaf.Rule == audit.RuleBudgetExhausted && leaf.Actor.Subject == prober {
			alarms++
		}
	})
	if err != nil {
		return err
	}
	t.check(alarms > 0, "an alarm of it is in the log", "%d", alarms)
	return p.counts()
}

// counts is the control of the reading of a report, the last one, which is of somebody who
// is not in the other cohort: small counts that are put into it are found.
func (p *probe) counts() error {
	page, err := os.ReadFile(p.in("probe-linked/report.html"))
	if err != nil {
		return err
	}
	for _, planted := range [][2]string{{`"links":0`, `"links":1`}, {"No links were made", "1 links were made"}} {
		text := strings.Replace(string(page), planted[0], planted[1], 1)
		p.t.control(text != string(page) && smallIn(nil, text) != "", "a count of one that is planted in a report is found", "%s", planted[1])
	}
	rows := []any{map[string]any{"groups": []any{map[string]any{"rows": 1.0}}}}
	p.t.control(smallIn(rows, string(page)) != "", "a count of one that is planted in an equity table is found", "")
	return nil
}
