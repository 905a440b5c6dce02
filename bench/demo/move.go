package demo

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"

	"tarn/keys"
	"tarn/keys/fault"
)

// What moving tokens leaves.
const (
	tokensFile    = "visits.tokens.csv"    // a table with tokens in place of numbers
	rotatedFile   = "visits.rotated.csv"   // the same under the next epoch
	convertedFile = "visits.converted.csv" // the same in another domain
	rotatedRecord = "project.rotated.json"
	otherRecord   = "register.json"
	otherDomain   = "register"
	otherProject  = "register"
)

// move has the tokens of a table brought to the next epoch of their domain and then into
// another domain, without the numbers, and compares both with what the numbers give.
func (d *demo) move() (string, error) {
	party := d.parties[0]
	as := []string{"--as", d.credentials(party)}
	asAnn := []string{"--as", d.credentials(operator)}
	column := func(project string, as []string, out string) error {
		_, err := d.run("tokeniser", append([]string{"column", "--project", project, "--in", input(party), "--column", "nhs_number", "--out", out}, as...)...)
		return err
	}
	if err := column(projectFile, as, tokensFile); err != nil {
		return "", err
	}
	if _, err := d.run("keyholder", append([]string{"key", "rotate", "--domain", "synthetic", "--reason", "yearly"}, asAnn...)...); err != nil {
		return "", err
	}
	if _, err := d.run("tokeniser", append([]string{"project", d.project(), "--out", rotatedRecord}, as...)...); err != nil {
		return "", err
	}
	_, err := d.run("tokeniser", append([]string{"rotate", "--from", projectFile, "--project", rotatedRecord, "--in", tokensFile, "--column", "nhs_number", "--out", rotatedFile}, as...)...)
	if err != nil {
		return "", err
	}
	// Another domain of the same controller, and a grant that joins the two.
	record, err := os.ReadFile(filepath.Join(d.Folder, rotatedRecord))
	if err != nil {
		return "", fault.Wrap(fault.Internal, "reading the project's record", err, "")
	}
	for from, to := range map[string]string{`"domain": "synthetic"`: `"domain": "` + otherDomain + `"`, `"name": "` + d.project() + `"`: `"name": "` + otherProject + `"`} {
		record = bytes.Replace(record, []byte(from), []byte(to), 1)
	}
	if err := d.write(otherRecord, string(record)); err != nil {
		return "", err
	}
	for _, args := range [][]string{
		{"domain", "add", otherDomain, "--scheme", keys.SchemeOblivious},
		{"project", "add", otherRecord},
		{"grant", "add", "join", "--kind", "convert", "--from", "synthetic", "--to", otherDomain, "--purpose", "to show it", "--legal-basis", "nobody exists", "--opt-outs", "none",
			"--row-cap", fmt.Sprint(d.People), "--expires", "2099-12-31"},
	} {
		if _, err := d.run("keyholder", append(args, asAnn...)...); err != nil {
			return "", err
		}
	}
	shown, err := d.run("keyholder", append([]string{"project", "show", otherProject}, asAnn...)...)
	if err != nil {
		return "", err
	}
	if err := d.write(otherRecord, string(shown)); err != nil {
		return "", err
	}
	_, err = d.run("tokeniser", append([]string{"convert", "--grant", "join", "--from", rotatedRecord, "--to", otherRecord, "--in", rotatedFile, "--column", "nhs_number", "--out", convertedFile}, as...)...)
	if err != nil {
		return "", err
	}
	return d.compareMoved(column)
}

// compareMoved has the tokens made of the numbers in the other domain, by a tokeniser
// of its own, and compares.
func (d *demo) compareMoved(column func(project string, as []string, out string) error) (string, error) {
	const direct = "visits.direct.csv"
	code, err := d.run("keyholder", "client", "add", otherProject, "--role", "tokeniser", "--organisation", "ZZ001", "--project", otherProject, "--as", d.credentials(operator))
	if err != nil {
		return "", err
	}
	if err := d.write(otherProject+".code", string(code)); err != nil {
		return "", err
	}
	if _, err := d.run("tokeniser", "enrol", "--keyholder", d.url, "--code-file", otherProject+".code", "--out", d.credentials(otherProject)); err != nil {
		return "", err
	}
	if err := column(otherRecord, []string{"--as", d.credentials(otherProject)}, direct); err != nil {
		return "", err
	}
	moved, err := os.ReadFile(filepath.Join(d.Folder, convertedFile))
	if err != nil {
		return "", fault.Wrap(fault.Internal, "comparing tokens", err, "")
	}
	made, err := os.ReadFile(filepath.Join(d.Folder, direct))
	if err != nil {
		return "", fault.Wrap(fault.Internal, "comparing tokens", err, "")
	}
	if !bytes.Equal(moved, made) || bytes.Count(moved, []byte("tarn1")) == 0 {
		return "", fault.New(fault.Internal, "comparing tokens", "those that were moved are not those that the numbers give", "")
	}
	n := int64(bytes.Count(moved, []byte("tarn1")))
	d.document.Moved = &Moved{Tokens: n, Equal: true}
	return fmt.Sprintf("%d tokens went to the next epoch and then to another domain, without the numbers, and are those that the numbers give there", n), nil
}
