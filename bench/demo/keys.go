package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tarn/bench/synth"
	"tarn/keys"
	"tarn/keys/fault"
)

// What the key holder and its clients have in the demonstration's folder.
const (
	holderFolder  = "keyholder" // its folder, and beside it what init hands out
	anchorFolder  = "keyholder-anchor"
	handoutFolder = "keyholder-handout"
	holderConfig  = "keyholder.toml"
	operator      = "ann"
	eventsFile    = "events.jsonl"
	projectFile   = "project.json" // the record, as the key holder has it
)

// holderText is keyholder.toml. In a demonstration one operator is enough, and
// what unseals lies beside what is sealed; production refuses both.
const holderText = `# One operator is enough here, and the identity lies beside the store: this is a demonstration.
production = false
[listen]
address = "127.0.0.1:0"
[store]
dir = "` + holderFolder + `"
anchor = "` + anchorFolder + `/anchor.json"
free_floor = "64MiB"
[custody]
identity_file = "` + handoutFolder + `/identity.txt"
[operators]
required = 1
# What nobody states in the project's record: rows that a client may use a key for in a day.
[budgets]
unstated_rows = %d
[alerts]
url = "%s"
`

// folder makes a folder.
func (d *demo) folder(name string) error {
	if err := os.Mkdir(filepath.Join(d.Folder, name), 0o700); err != nil {
		return fault.Wrap(fault.Internal, "making "+name, err, "")
	}
	return nil
}

// answering is what the key holder says when it answers, before its address.
const answering = "answering on "

// keyholder makes a key holder, starts it, and has its operator ask for the domain
// and the project.
func (d *demo) keyholder() (string, error) {
	if err := d.write(holderConfig, fmt.Sprintf(holderText, max(leastBudget, budgetPeople*d.People), d.duty.URL)+d.holderPeople()); err != nil {
		return "", err
	}
	if err := d.folder(anchorFolder); err != nil {
		return "", err
	}
	_, err := d.run("keyholder", "init", "--dir", holderFolder, "--anchor", filepath.Join(anchorFolder, "anchor.json"), "--handout", handoutFolder, "--custody", "identity",
		"--operator", operator, "--operator", "bob", "--organisation", "X26", "--host", "127.0.0.1")
	if err != nil {
		return "", err
	}
	said, stop, err := d.start(answering, "keyholder", "serve", "--config", holderConfig)
	if err != nil {
		return "", err
	}
	d.stop = stop
	_, after, _ := strings.Cut(said, answering)
	address, _, _ := strings.Cut(after, ",")
	d.url = "https://" + address
	for _, args := range [][]string{
		{"enrol", "--keyholder", d.url, "--code-file", filepath.Join(handoutFolder, operator+".code"), "--out", d.credentials(operator)},
		{"domain", "add", "synthetic", "--scheme", keys.SchemeOblivious, "--as", d.credentials(operator)},
		{"project", "add", filepath.Join(peopleFolder, synth.ProjectFile), "--as", d.credentials(operator)},
	} {
		if _, err := d.run("keyholder", args...); err != nil {
			return "", err
		}
	}
	return "a key holder of its own process answers over mutual TLS; one operator was enough, because this is a demonstration", nil
}

// enrol has every party's tokeniser enrol with a one-time code.
func (d *demo) enrol() (string, error) {
	for i, party := range d.parties {
		code, err := d.run("keyholder", "client", "add", party, "--role", "tokeniser", "--organisation", fmt.Sprintf("ZZ%03d", i+1), "--project", d.project(),
			"--source", party, "--as", d.credentials(operator))
		if err != nil {
			return "", err
		}
		if err := d.write(party+".code", string(code)); err != nil {
			return "", err
		}
		if _, err := d.run("tokeniser", "enrol", "--keyholder", d.url, "--code-file", party+".code", "--out", d.credentials(party)); err != nil {
			return "", err
		}
	}
	return "each region's tokeniser has a certificate; the record of the project is the key holder's", d.fetch()
}

// fetch gets the project's record as it is now.
func (d *demo) fetch() error {
	_, err := d.run("tokeniser", "project", d.project(), "--as", d.credentials(d.parties[0]), "--out", projectFile)
	return err
}

// close ends the key holder, and keeps what it recorded.
func (d *demo) close() (string, error) {
	events, err := d.run("keyholder", "events", "--as", d.credentials(operator))
	if err == nil {
		err = d.write(eventsFile, string(events))
	}
	if e := d.stop(); err == nil {
		err = e
	}
	d.stop = nil
	if err != nil {
		return "", err
	}
	leases := strings.Count(string(events), `"outcome":"active"`)
	return fmt.Sprintf("%d keys were leased; the key holder recorded %d events", leases, strings.Count(string(events), "\n")), nil
}

func (d *demo) project() string { return fmt.Sprintf("synth-%d", d.Seed) }

// credentials returns the folder of somebody's credentials.
func (d *demo) credentials(name string) string { return name + ".credentials" }

// start starts a service of a party in the demonstration's folder.
func (d *demo) start(until, binary string, args ...string) (said string, stop func() error, err error) {
	if d.Step != nil {
		d.Step(binary, append(append([]string{}, args...), "&"))
	}
	return d.Start(d.ctx, d.Folder, until, binary, args...)
}

func (d *demo) write(name, content string) error {
	if err := keys.WriteFile(filepath.Join(d.Folder, name), []byte(content)); err != nil {
		return fault.Wrap(fault.Internal, "writing "+name, err, "free space on the disk, then run again")
	}
	return nil
}
