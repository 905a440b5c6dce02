// Package demo runs everything from end to end on synthetic people, as the
// parties would: each step is a command of the party's own binary, started as
// a process of its own.
package demo

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/bench/enumerate"
	"tarn/bench/synth"
	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/evaluate"
	"tarn/linkage/result"
)

// Options are the settings of a demonstration.
type Options struct {
	People  int // of each party
	Parties int
	Seed    uint64
	Folder  string // an existing folder to write into
	// Shown is what the folder will be called, for people to read.
	Shown string
	// Command runs a command in the folder and returns its standard output, with an
	// error, too.
	Command func(ctx context.Context, folder, binary string, args ...string) ([]byte, error)
	// Start starts a service in the folder, and returns the line in which it says
	// until, and what stops it.
	Start func(ctx context.Context, folder, until, binary string, args ...string) (said string, stop func() error, err error)
	// Step, if not nil, is told of each command before it runs.
	Step func(binary string, args []string)

	Software string
	Clock    func() time.Time // the time that the document carries
	Wall     func() time.Time // for durations
}

// Folders and files of a demonstration.
const (
	peopleFolder = "people"
	linkFolder   = "link"
	mintedTruth  = "truth.minted.csv"
)

// demo is one demonstration on its way.
type demo struct {
	Options
	ctx      context.Context
	document *Document
	parties  []string
	linked   *result.Summary
	judged   *evaluate.Evaluation

	url  string          // the key holder's
	stop func() error    // ends the key holder while it runs
	duty *enumerate.Duty // hears its alarms
	said strings.Builder
	care care
	walk *walk // through the key holder's pages
}

// Run makes the people, runs the parties' commands one after another and
// returns what came of it, which is also in summary.json. The first step that
// fails ends it; the Document is then returned with the error.
func Run(ctx context.Context, o Options) (*Document, error) {
	started := o.Wall()
	d := &demo{Options: o, ctx: ctx, document: &Document{
		Schema: Schema, Software: o.Software, Created: o.Clock().UTC().Format(time.RFC3339), People: o.People, Parties: o.Parties,
		Steps: []Step{}, Tokenise: []Tokenise{}, Artefacts: []string{}}}
	for i := range o.Parties {
		d.parties = append(d.parties, synth.PartyName(i))
	}
	duty, err := enumerate.NewDuty()
	if err != nil {
		return d.document, err
	}
	d.duty = duty
	defer func() {
		_ = d.duty.Close() // nothing is heard any more
		if d.stop != nil {
			_ = d.stop() // the step that failed is what is said
		}
	}()
	// Most of its time somebody waits for a page: others go on meanwhile.
	walking, stop := context.WithCancel(ctx)
	d.walk = d.beginWalk(walking)
	defer func() {
		stop()
		<-d.walk.done // with it its folder has gone
	}()
	var failed error
	for _, step := range []struct {
		name string
		run  func() (detail string, err error)
	}{
		{"synth", d.synth}, {"profile", d.profile}, {"region", d.region}, {"keyholder", d.keyholder}, {"enrol", d.enrol}, {"run", d.tokenise}, {"serve", d.serve}, {"canaries", d.canaries}, {"move", d.move}, {"enumerate", d.enumerate}, {"reidentify", d.reidentify},
		{"close", d.close}, {"audit", d.audit}, {"truth", d.truth}, {"link", d.link}, {"evaluate", d.evaluate}, {"equity", d.equity}, {"console", d.console}, {"collect", d.collect}, {"leaks", d.leaks},
	} {
		from := o.Wall()
		detail, err := step.run()
		s := Step{Name: step.name, OK: err == nil, WallS: o.Wall().Sub(from).Seconds(), Detail: detail}
		if err != nil {
			failed = fmt.Errorf("the step %s: %w", step.name, err)
			s.Detail = "failed"
		}
		d.document.Steps = append(d.document.Steps, s)
		if failed != nil {
			break
		}
	}
	d.document.OK = failed == nil
	d.document.WallS = o.Wall().Sub(started).Seconds()
	if err := result.WriteDocument(o.Folder, SummaryFile, d.document); err != nil && failed == nil {
		failed = err
	}
	return d.document, failed
}

// run runs a command of a party in the demonstration's folder.
func (d *demo) run(binary string, args ...string) ([]byte, error) {
	if d.Step != nil {
		d.Step(binary, args)
	}
	out, err := d.Command(d.ctx, d.Folder, binary, args...)
	d.said.Write(out)
	if err != nil {
		d.said.WriteString(err.Error())
	}
	return out, err
}

// runInto runs a command and reads the JSON document it prints.
func (d *demo) runInto(document any, binary string, args ...string) error {
	out, err := d.run(binary, append(slices.Clone(args), "--json")...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, document); err != nil {
		return fault.Wrap(fault.Internal, "reading what "+binary+" "+args[0]+" printed", keys.DescribeJSON(err), "use binaries of one version: make build")
	}
	return nil
}

func (d *demo) synth() (string, error) {
	_, err := d.run("tarn", "synth", "--people", strconv.Itoa(d.People), "--parties", strconv.Itoa(d.Options.Parties),
		"--seed", strconv.FormatUint(d.Seed, 10), "--errors", synth.ErrorsNHS, "--project", "--scheme", keys.SchemeOblivious, "--out", peopleFolder)
	return fmt.Sprintf("%d records of each party, half of them of people whom all have", d.People), err
}

// input returns the table of a party.
func input(party string) string { return filepath.Join(peopleFolder, party+".csv") }

func (d *demo) profile() (string, error) {
	var readable []string
	for _, party := range d.parties {
		var p struct {
			Fields []struct {
				Field   string `json:"field"`
				Missing *int64 `json:"missing"`
			} `json:"fields"`
			Input struct {
				Rows int64 `json:"rows"`
			} `json:"input"`
		}
		if err := d.runInto(&p, "tokeniser", "profile", "--in", input(party)); err != nil {
			return "", err
		}
		for _, f := range p.Fields {
			if f.Field == "nhs_number" && f.Missing != nil && p.Input.Rows > 0 {
				readable = append(readable, fmt.Sprintf("%s: %.1f%% of records have no NHS number", party, 100*float64(*f.Missing)/float64(p.Input.Rows)))
			}
		}
	}
	return strings.Join(readable, "; "), nil
}

func (d *demo) tokenise() (string, error) {
	for _, party := range d.parties {
		var s struct {
			Rows    int64 `json:"rows"`
			OK      int64 `json:"ok"`
			Refused int64 `json:"refused"`
		}
		from := d.Wall()
		err := d.runInto(&s, "tokeniser", "run", "--project", projectFile, "--as", d.credentials(party),
			"--in", input(party), "--out", party+".parquet", "--quarantine", party+".refused.csv", "--groups", party+".groups.parquet", "--confirm-map")
		if err != nil {
			return "", err
		}
		t := Tokenise{SourceDataset: party, Rows: s.Rows, OK: s.OK, Refused: s.Refused}
		if seconds := d.Wall().Sub(from).Seconds(); seconds > 0 {
			rate := float64(s.Rows) / seconds
			t.RowsPerS = &rate
		}
		d.document.Tokenise = append(d.document.Tokenise, t)
	}
	return "every party encoded: with tokens that the key holder made of what it cannot see, and proved, and a leased encoding key", d.fetch() // the first run pinned the encoding key
}

func (d *demo) truth() (string, error) {
	args := []string{"truth", "--truth", filepath.Join(peopleFolder, synth.TruthFile), "--out", mintedTruth}
	for _, party := range d.parties {
		args = append(args, "--crosswalk", party+".crosswalk.parquet")
	}
	_, err := d.run("tarn", args...)
	return "truth on minted ids", err
}

// each returns a file of every party, in order.
func (d *demo) each(suffix string) (files []string) {
	for _, party := range d.parties {
		files = append(files, party+suffix)
	}
	return files
}

func (d *demo) link() (string, error) {
	d.linked = new(result.Summary)
	args := append(append([]string{"link"}, d.each(".parquet")...), "--project", projectFile, "--out", linkFolder)
	if err := d.runInto(d.linked, "linker", args...); err != nil {
		return "", err
	}
	link := &Link{Links: d.linked.Links.Total}
	if e := d.linked.Estimated.Precision; e != nil {
		link.PrecisionEst = &e.Value
	}
	if e := d.linked.Estimated.Recall; e != nil {
		link.RecallEst = &e.Value
	}
	d.document.Link = link
	return fmt.Sprintf("%d links", link.Links), nil
}

func (d *demo) evaluate() (string, error) {
	d.judged = new(evaluate.Evaluation)
	args := []string{"evaluate", "--links", filepath.Join(linkFolder, result.LinksFile), "--truth", mintedTruth}
	for _, file := range d.each(".groups.parquet") {
		args = append(args, "--groups", file)
	}
	if err := d.runInto(d.judged, "linker", args...); err != nil {
		return "", err
	}
	e := &Evaluate{Precision: d.judged.Precision, Recall: d.judged.Recall, F1: d.judged.F1}
	for _, gap := range d.judged.MaxRecallGap {
		if gap.Gap != nil && (e.MaxRecallGap == nil || *gap.Gap > *e.MaxRecallGap) {
			e.MaxRecallGap, e.widest = gap.Gap, gap.Dimension
		}
	}
	d.document.Evaluate = e
	return "compared with the truth", nil
}

func (d *demo) equity() (string, error) {
	args := []string{"equity", linkFolder}
	for _, file := range d.each(".groups.parquet") {
		args = append(args, "--groups", file)
	}
	_, err := d.run("linker", args...)
	return "link rates by group added to the report", err
}

// collect copies up what a visitor looks for first, and names what there is.
func (d *demo) collect() (string, error) {
	for _, name := range []string{result.ReportFile, result.LinksFile} {
		if err := copyFile(filepath.Join(d.Folder, linkFolder, name), filepath.Join(d.Folder, name)); err != nil {
			return "", err
		}
	}
	d.document.Artefacts = []string{result.ReportFile, SummaryFile, result.LinksFile, peopleFolder, linkFolder, mintedTruth, projectFile, eventsFile, numbersFile, tokensFile, rotatedFile, convertedFile, rotatedRecord, otherRecord, canariesFile, canaryCohort + ".parquet", serviceConfig, serviceTLS, serviceStore, serviceStore + ".key.json", holderConfig, regionConfig, regionTLS, regionKey, regionTables, careStore, careStore + ".key.json", careRecord, careTokens, careTable, policyFile, receiptFile, signInTLS, holderFolder, anchorFolder, handoutFolder, tamperedFolder}
	for _, suffix := range []string{".parquet", ".manifest.json", ".crosswalk.parquet", ".groups.parquet", ".refused.csv"} {
		d.document.Artefacts = append(d.document.Artefacts, d.each(suffix)...)
	}
	if d.document.Console != nil {
		d.document.Artefacts = append(d.document.Artefacts, picturesFolder)
	}
	slices.Sort(d.document.Artefacts)
	return "everything is in " + d.Shown, nil
}

func copyFile(from, to string) (err error) {
	doing := "copying " + from
	in, err := os.Open(from)
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "")
	}
	defer func() { _ = in.Close() }() // opened for reading
	out, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err == nil {
		_, err = io.Copy(out, in)
		if e := out.Close(); err == nil {
			err = e
		}
	}
	if err != nil {
		return fault.Wrap(fault.Internal, doing, err, "free space on the disk, then run again")
	}
	return nil
}
