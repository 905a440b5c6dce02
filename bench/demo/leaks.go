package demo

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"tarn/bench/leak"
	"tarn/keys/fault"
)

const (
	canariesFile = "canaries.csv"
	canaryCount  = 200
	canaryCohort = "canaries" // what they are encoded into
)

func (d *demo) people() []leak.Person { return leak.People(canaryCount, d.Seed) }

// canaries has people encoded whose every value would be recognised anywhere.
func (d *demo) canaries() (string, error) {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	rows := [][]string{{"unique_id", "nhs_number", "given_name", "family_name", "date_of_birth", "sex", "postcode"}}
	for i, p := range d.people() {
		rows = append(rows, []string{p.ID, p.Number, p.Given, p.Family, p.Birth.Format("2006-01-02"), fmt.Sprint(1 + i%2), p.Postcode})
	}
	if err := w.WriteAll(rows); err != nil {
		return "", fault.Wrap(fault.Internal, "writing "+canariesFile, err, "")
	}
	if err := d.write(canariesFile, b.String()); err != nil {
		return "", err
	}
	if _, err := d.run("tokeniser", "profile", "--in", canariesFile); err != nil {
		return "", err
	}
	_, err := d.run("tokeniser", "run", "--project", projectFile, "--as", d.credentials(d.parties[0]), "--in", canariesFile, "--source", d.parties[0],
		"--out", canaryCohort+".parquet", "--quarantine", canaryCohort+".refused.csv", "--confirm-map")
	return fmt.Sprintf("%d people whose every value would be recognised anywhere were encoded", canaryCount), err
}

// leaks looks for them in everything that is left but the tables that they came in: in
// what they were encoded into, in what the key holder keeps, in its log and in what all
// commands have said.
func (d *demo) leaks() (string, error) {
	const doing = "looking for people where nobody should be found"
	scanner := leak.NewScanner(d.people())
	entries, err := os.ReadDir(d.Folder)
	if err != nil {
		return "", fault.Wrap(fault.Internal, doing, err, "")
	}
	var found []leak.Finding
	for _, entry := range entries {
		if slices.Contains([]string{peopleFolder, canariesFile, numbersFile}, entry.Name()) {
			continue
		}
		some, err := scanner.Tree(filepath.Join(d.Folder, entry.Name()))
		if err != nil {
			return "", fault.Wrap(fault.Internal, doing, err, "")
		}
		for _, f := range some {
			// A crosswalk is a region's own: source ids are what it is for.
			if !strings.HasSuffix(entry.Name(), ".crosswalk.parquet") || f.Kind != leak.ID {
				found = append(found, f)
			}
		}
	}
	found = append(found, scanner.Text("what commands have said", d.said.String())...)
	control, err := scanner.Tree(filepath.Join(d.Folder, canariesFile))
	if err != nil {
		return "", fault.Wrap(fault.Internal, doing, err, "")
	}
	if len(control) < canaryCount {
		return "", fault.New(fault.Internal, doing, "they are not found where they are: the search is blind", "")
	}
	d.document.LeakScan = &LeakScan{Canaries: canaryCount, Found: len(found)}
	if len(found) > 0 {
		return "", fault.New(fault.Internal, doing, fmt.Sprintf("%d values were found; the first: %v", len(found), found[0]), "")
	}
	return fmt.Sprintf("nothing of %d people is in any file but those they came in", canaryCount), nil
}
