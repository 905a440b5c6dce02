package faults

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tarn/bench/keyholder"
	"tarn/bench/leak"
	"tarn/bench/process"
	"tarn/keys/api"
)

// strangers is how many people are looked for.
const strangers = 5000

// leaked is scenario 12, over the binaries as they are shipped. Panics, which none of
// them has, are planted by a test of the source: TestNothingLeaks.
func leaked(t *Trial) error {
	people := leak.People(strangers, 12)
	scanner := leak.NewScanner(people)
	k, err := t.keyHolder(keyholder.Options{Metrics: true, LogLevel: "debug"})
	if err == nil {
		err = t.populate(k)
	}
	if err != nil {
		return err
	}
	// The region's folder has the tables that people came in; nothing else may have them.
	tables, err := t.sub("tables")
	if err != nil {
		return err
	}
	region, err := t.sub("region")
	if err != nil {
		return err
	}
	whole, err := strangersTable(filepath.Join(tables, "north.csv"), people, "")
	if err != nil {
		return err
	}
	ragged, err := strangersTable(filepath.Join(tables, "ragged.csv"), people, "a field too many")
	if err != nil {
		return err
	}
	var said bytes.Buffer
	tokeniser := func(want int, args ...string) error {
		code, _, out, err := t.command("tokeniser", append(args, "--as", k.Credentials(loadClient), "--keyholder", k.URL)...)
		said.WriteString(out + "\n")
		t.check(code == want, fmt.Sprintf("tokeniser %s ends as it should", args[0]), "exit %d, want %d", code, want)
		return err
	}
	project := filepath.Join(region, "project.json")
	run := func(in, out string, more ...string) []string {
		return append([]string{"run", "--project", project, "--in", in, "--source", "north", "--confirm-map", "--out", filepath.Join(region, out), "--state", filepath.Join(region, "state"), "--log-level", "debug"}, more...)
	}
	for _, step := range []struct {
		want int
		args []string
	}{
		{0, []string{"project", loadProject, "--out", project}},
		{0, run(whole, "north.parquet", "--quarantine", filepath.Join(region, "refused.csv"))},
		{3, run(ragged, "ragged.parquet", "--quarantine", filepath.Join(region, "ragged.refused.csv"))},
		{1, run(whole, filepath.Join("nowhere", "north.parquet"))},
		{2, run(filepath.Join(tables, "absent-"+people[0].Number+".csv"), "absent.parquet")},
		{0, []string{"column", "--project", project, "--in", whole, "--column", "nhs_number", "--out", filepath.Join(region, "tokens.out")}},
	} {
		if err := tokeniser(step.want, step.args...); err != nil {
			return err
		}
	}
	if err := t.killedRun(append(run(whole, "killed.parquet", "--checkpoint-rows", "100"), "--as", k.Credentials(loadClient), "--keyholder", k.URL), &said); err != nil {
		return err
	}
	t.note("%d people at every entrance of the key holder", strangers)
	if err := t.misuse(k, people); err != nil {
		return err
	}
	operator, err := k.As(keyholder.Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	if o, err := operator.Ask(t.ctx, api.OpBackup, api.Backup{}); err != nil {
		return err
	} else if _, err := operator.Collect(t.ctx, o.ID); err != nil {
		return err
	}
	page, err := k.MetricsPage(t.ctx)
	if err != nil {
		return err
	}
	t.note("looking for them")
	places := map[string][]leak.Finding{
		"metrics": scanner.Text("metrics", page), "what the key holder says": scanner.Text("said", k.Process.Said()),
	}
	// Its arguments name a file by somebody's number: that line is the caller's own.
	places["what the tokeniser says"] = scanner.Text("said", strings.ReplaceAll(said.String(), people[0].Number, ""))
	for what, folder := range map[string]string{"the store, the log and backups": k.Dir, "the anchor": filepath.Dir(k.Anchor), "the region's outputs": region} {
		found, err := scanner.Tree(folder)
		if err != nil {
			return err
		}
		places[what] = found
	}
	for _, what := range slices.Sorted(maps.Keys(places)) {
		found := places[what]
		var wrong []leak.Finding
		for _, f := range found {
			// A crosswalk, and what a run keeps while it lasts, have source ids: that is what they are for.
			if f.Kind == leak.ID && (strings.HasSuffix(f.Place, ".crosswalk.parquet") || strings.Contains(f.Place, ".checkpoint")) || strings.HasPrefix(f.Place, "tokens.out") && f.Kind != leak.Number {
				continue
			}
			wrong = append(wrong, f)
		}
		detail := ""
		if len(wrong) > 0 {
			detail = wrong[0].String()
		}
		t.check(len(wrong) == 0, "nobody is in "+what, "%d values, the first: %s", len(wrong), detail)
	}
	t.figure("people", strangers)
	return t.plantedStrangers(k, scanner, people, region)
}

// strangersTable writes people as a CSV; with more, every row has that field too many.
func strangersTable(path string, people []leak.Person, more string) (string, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"unique_id", "nhs_number", "given_name", "family_name", "date_of_birth", "sex", "postcode"}}
	for i, p := range people {
		row := []string{p.ID, p.Number, p.Given, p.Family, p.Birth.Format(time.DateOnly), fmt.Sprint(1 + i%2), p.Postcode}
		if more != "" {
			row = append(row, more)
		}
		rows = append(rows, row)
	}
	if err := w.WriteAll(rows); err != nil {
		return "", err
	}
	return path, os.WriteFile(path, b.Bytes(), 0o600)
}

// killedRun kills a run in the middle.
func (t *Trial) killedRun(args []string, said *bytes.Buffer) error {
	p, _, err := process.Start(t.ctx, process.Options{Until: "reading csv", Within: time.Minute}, t.binary("tokeniser"), args...)
	if err == nil {
		err = p.Kill()
	}
	if p != nil {
		said.WriteString(p.Said())
	}
	return err
}

// misuse puts people wherever a caller could put them by mistake.
func (t *Trial) misuse(k *keyholder.KeyHolder, people []leak.Person) error {
	var group errgroup.Group
	group.SetLimit(4)
	caller, err := k.CallAs(keyholder.Operator)
	if err != nil {
		return err
	}
	defer caller.Close()
	for i, p := range people {
		group.Go(func() error {
			var err error
			switch i % 5 {
			case 0:
				_, _, err = caller.Call(t.ctx, http.MethodGet, "/v1/domains/"+p.Number+"?name="+p.Family, nil, nil)
			case 1:
				_, _, err = caller.Call(t.ctx, http.MethodPost, "/v1/operations", map[string]any{"kind": "domain.add", "body": map[string]string{"name": p.Number, "scheme": p.Given}, p.Family: p.Postcode}, nil)
			case 2:
				_, _, err = caller.Call(t.ctx, http.MethodPost, "/v1/projects/"+strings.ToLower(p.Family)+"/leases", map[string]any{"use": p.Given, "rows_expected": p.Number}, nil)
			case 3:
				_, _, err = caller.Call(t.ctx, http.MethodPost, "/v1/enrol", map[string]any{"code": p.Number + p.Given, "sealing_key": p.Family}, nil)
			default:
				_, _, err = caller.Call(t.ctx, http.MethodPost, "/v1/operations", map[string]any{"kind": "grant.revoke", "body": map[string]string{"name": "pilot", "reason": url.QueryEscape(p.Given + " " + p.Number + " of " + p.Postcode)}}, nil)
			}
			return err
		})
	}
	return group.Wait()
}

// plantedStrangers is the control: somebody who is put into a copy of each sort of place
// is found there.
func (t *Trial) plantedStrangers(k *keyholder.KeyHolder, scanner *leak.Scanner, people []leak.Person, region string) error {
	p := people[99]
	backups, err := filepath.Glob(filepath.Join(k.Dir, "backups", "*.age"))
	if err != nil || len(backups) == 0 {
		return errors.New("there is no backup to plant in")
	}
	stores, err := filepath.Glob(filepath.Join(k.Dir, "store*", "*.vlog"))
	if err != nil || len(stores) == 0 {
		return errors.New("there is no file of the store to plant in")
	}
	for _, place := range [][2]string{
		{"a store", stores[0]}, {"a backup", backups[0]}, {"an anchor", k.Anchor}, {"a cohort", filepath.Join(region, "north.parquet")}, {"a refused row", filepath.Join(region, "ragged.refused.csv")},
	} {
		what := place[0]
		b, err := os.ReadFile(place[1])
		if err != nil {
			return err
		}
		b = bytes.TrimRight(b, "\x00")
		planted := append(append(bytes.Clone(b[:len(b)/2]), " "+p.Number[:3]+" "+p.Number[3:6]+" "+p.Number[6:]+" "...), b[len(b)/2:]...)
		found := false
		for _, f := range scanner.Bytes(what, planted) {
			found = found || f.Person == 99 && f.Kind == leak.Number
		}
		t.control(found, "who is planted in "+what+" is found", "")
	}
	found, err := scanner.Tree(filepath.Join(region, "north.crosswalk.parquet"))
	if err != nil {
		return err
	}
	ids := map[int]bool{}
	for _, f := range found {
		ids[f.Person] = true
	}
	t.control(len(ids) == strangers, "every source id is found in the crosswalk", "%d are", len(ids))
	return nil
}
