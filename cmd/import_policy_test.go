// Package cmd_test holds what concerns every binary at once: the import
// policy, and the links of the documents.
package cmd_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "tarn"

// vocabulary is what every side may speak of: names and digests, NHS numbers,
// secrets, faults.
var vocabulary = []string{"keys", "keys/fault", "keys/nhsnumber", "keys/outfile", "keys/secret"}

// allowed is a statement of policy, not a description of the code: do not
// change it to fix a build. A line gives a tree of packages and the packages
// of this module it may import; "x/..." is x and all below it. The line of the
// longest tree holds for a package, and every package needs one. Tests may
// import more: they are in no binary.
var allowed = map[string][]string{
	// The vocabulary and its leaves know nothing of either side.
	"keys":           {"keys/fault", "keys/nhsnumber", "keys/secret"},
	"keys/fault":     {},
	"keys/nhsnumber": {},
	"keys/secret":    {},
	// How what people write is read.
	"keys/strict":     {"keys/fault"},
	"keys/oprf":       with(vocabulary, "keys/oprf/..."),
	"keys/audit":      with(vocabulary, "keys/audit/..."),
	"keys/reidentify": with(vocabulary, "keys/reidentify/...", "keys/strict"),
	// What guardians, people and the public read of requests: counts. Its sheets are the one
	// place of the key holder that knows CSV: see withoutData.
	"keys/reidentify/oversight":       {"keys/fault", "keys/reidentify", "keys/reidentify/oversight/sheet"},
	"keys/reidentify/oversight/sheet": {"keys", "keys/fault"},
	// What is sealed to a recipient; the key holder seals its answers, tokenisers their rows.
	"keys/parcel": with(vocabulary, "keys/oprf"),
	"keys/api":    with(vocabulary, "keys/parcel"),
	"keys/budget": {},
	// What services show and make: certificates.
	"keys/servercert": {"keys/fault"},
	"keys/trialcert":  {"keys", "keys/fault"},
	// How whoever keeps a store in Badger opens it, and writes to it.
	"keys/badgerdb": vocabulary,
	// What a region keeps for, and answers to, a key holder that opens a token.
	"keys/escrow":       vocabulary,
	"keys/relationship": with(vocabulary, "keys/escrow"),
	"keys/enrol":        vocabulary,
	// Who has signed in: what an identity provider signs becomes a person.
	"keys/signin":          with(vocabulary, "keys/reidentify"),
	"keys/signin/codeflow": with(vocabulary, "keys/reidentify", "keys/signin"),
	"keys/client":          with(vocabulary, "keys/api", "keys/enrol", "keys/oprf"),
	"keys/holder":          with(vocabulary, "keys/holder/...", "keys/api", "keys/audit/...", "keys/badgerdb", "keys/budget", "keys/enrol", "keys/escrow", "keys/oprf", "keys/parcel", "keys/reidentify/...", "keys/relationship", "keys/servercert", "keys/signin/..."),
	// Pages: what they show they are told, and they reach neither a key nor the log.
	"keys/holder/console":       with(vocabulary, "keys/holder/console/...", "keys/api", "keys/audit", "keys/reidentify/...", "keys/signin/..."),
	"keys/holder/console/nhsuk": {},

	// Linkage sees encodings only. Its cohort format is where it and tokenise
	// meet, so that one is a leaf.
	"linkage":        with(vocabulary, "linkage/..."),
	"linkage/cohort": with(vocabulary, "linkage/cohort/..."),

	// Tokenise sees people, and writes cohorts.
	"tokenise":        with(vocabulary, "tokenise/...", "linkage/cohort/...", "keys/api", "keys/escrow"),
	"tokenise/reason": {},
	// What is answered to pipelines: budgets are counted here, too.
	"tokenise/serving": with(vocabulary, "tokenise/...", "keys/api", "keys/budget"),
	"tokenise/httpapi": with(vocabulary, "tokenise/...", "keys/api", "keys/budget"),
	// The one store of a region.
	"tokenise/regionstore": with(vocabulary, "keys/badgerdb"),
	// Whose tokens are, sealed to the key holder.
	"tokenise/escrow": with(vocabulary, "keys/escrow", "tokenise/escrow/...", "tokenise/regionstore"),
	// What a region answers to a key holder, out of a table that stays with it.
	"tokenise/relationship": with(vocabulary, "tokenise/...", "keys/api", "keys/escrow", "keys/relationship", "keys/servercert"),
	// Rows that go to another party.
	"tokenise/forward": with(vocabulary, "tokenise/...", "keys/api", "keys/oprf", "keys/parcel"),

	// One main for each party. Only the workbench and the benchmarks see
	// several sides.
	"cmd":          {},
	"cmd/internal": with(vocabulary, "cmd/internal/...", "keys/strict"),
	// What the key holder's clients share; who may be one is said below.
	"cmd/internal/connection": with(vocabulary, "cmd/internal/...", "keys/client"),
	"cmd/tokeniser":           with(vocabulary, "cmd/internal/...", "cmd/tokeniser/...", "tokenise/...", "linkage/cohort/...", "keys/api", "keys/budget", "keys/client", "keys/enrol", "keys/oprf", "keys/parcel", "keys/relationship", "keys/servercert", "keys/trialcert"),
	"cmd/linker":              with(vocabulary, "cmd/internal/...", "cmd/linker/...", "linkage/..."),
	"cmd/keyholder":           with(vocabulary, "cmd/internal/...", "cmd/keyholder/...", "keys/..."),
	"cmd/auditor":             with(vocabulary, "cmd/internal/...", "cmd/auditor/...", "keys/audit/..."),
	"cmd/tarn":                with(vocabulary, "cmd/internal/...", "cmd/tarn/...", "bench/...", "keys/...", "linkage/...", "tokenise/..."),
	"bench":                   with(vocabulary, "bench/...", "keys/...", "linkage/...", "tokenise/..."),
	"bench/idp":               {"keys/fault"}, // it stands for somebody else's service
	"bench/browser":           {},             // it sees what people see
}

// onlyIn names libraries that a single tree may import directly.
var onlyIn = map[string]string{
	"github.com/valyala/fasthttp":         "tokenise/httpapi", // its buffers are reused: the copying is in one place
	"github.com/spf13/cobra":              "cmd",
	"github.com/schollz/progressbar":      "cmd/internal/boot",
	"github.com/prometheus/client_golang": "cmd/internal/boot/metrics",
	"os/signal":                           "cmd/internal/boot",
	"golang.org/x/oauth2":                 "keys/signin/codeflow",
	"github.com/coreos/go-oidc":           "keys/signin", // what a token must be, beyond what it asks for, is in one place
	"github.com/google/renameio":          "keys",        // its default puts files into the folder of temporary files first
}

// measuredBeside names the benchmark that runs a library by itself, beside what we make of
// it.
var measuredBeside = map[string]string{"github.com/valyala/fasthttp": "bench/serve"}

// wall says what a binary may not contain anywhere in its graph, libraries
// included, and why.
type wall struct {
	tree   string
	why    string
	except string // a tree below it that may be there; may be empty
	// ours says that only packages of this module may not import it: a library that
	// we use for something else does.
	ours bool
	// importers are the packages of this module, each by its whole path, that may all the same
	// where ours is set: what they read and write with it is not what the wall is about.
	importers []string
}

const (
	noPeople  = "this party never sees a person's record"
	noDataset = "this party has no reader for a data set"
	noKeys    = "this party holds no tokenising key and asks for none"
)

// mustNotLink is policy in the same way as allowed.
var mustNotLink = map[string][]wall{
	"cmd/linker": {
		{tree: "tarn/tokenise", why: noPeople},
		{tree: "tarn/keys/client", why: noKeys},
		{tree: "tarn/keys/oprf", why: noKeys},
		{tree: "tarn/keys/api", why: noKeys},
		{tree: "tarn/keys/holder", why: noKeys},
		{tree: "tarn/keys/reidentify", why: "the linker re-identifies nobody"},
		{tree: "tarn/bench", why: "the workbench sees several sides"},
	},
	"cmd/tokeniser": {
		{tree: "tarn/keys/holder", why: "the tokeniser never holds a domain's master key"},
		{tree: "tarn/linkage", why: "the tokeniser knows the cohort format only", except: "tarn/linkage/cohort"},
		{tree: "tarn/bench", why: "the workbench sees several sides"},
	},
	"cmd/keyholder": withoutData, // its operators' commands are clients of the service, which itself (keys/holder) is nobody's
	"cmd/auditor": with(withoutData,
		wall{tree: "tarn/keys/holder", why: "the auditor verifies and holds nothing"},
		wall{tree: "tarn/keys/client", why: noKeys},
		wall{tree: "tarn/keys/oprf", why: noKeys}),
}

var withoutData = []wall{
	{tree: "tarn/tokenise", why: noPeople},
	{tree: "tarn/linkage", why: noDataset},
	{tree: "tarn/bench", why: "the workbench sees several sides"},
	// pflag reads lists in flags with it. The sheets of oversight are no data set: counts go
	// out, and what comes in is tokens or is refused, of one small file at a time.
	{tree: "encoding/csv", why: noDataset, ours: true, importers: []string{"tarn/keys/reidentify/oversight/sheet"}},
	{tree: "github.com/apache/arrow-go", why: noDataset},
	{tree: "github.com/parquet-go/parquet-go", why: noDataset},
	{tree: "github.com/duckdb/duckdb-go", why: noDataset},
}

// inNoBinary holds for every binary of a party.
var inNoBinary = []wall{
	{tree: "pgregory.net/rapid", why: "a library for tests"},
	{tree: "github.com/rogpeppe/go-internal/testscript", why: "a library for tests"},
	{tree: "github.com/santhosh-tekuri/jsonschema", why: "a library for tests"},
	{tree: "github.com/chromedp", why: "a library for tests"},
	{tree: "golang.org/x/tools", why: "a library for tests"},
	{tree: "github.com/prometheus/prometheus", why: "a library for tests"},
	{tree: "go.yaml.in/yaml/v3", why: "a library for tests"},
	{tree: "github.com/zitadel/oidc", why: "an identity provider is for tests, and for the workbench's"},
	{tree: "tarn/bench/browser", why: "a browser is for tests, and for the workbench's"},
	{tree: "tarn/keys/holder/disk", why: "it is for tests, and for the workbench's"},
	{tree: "tarn/keys/audit/tiles/tilestest", why: "it is for tests"},
	{tree: "tarn/keys/audit/witness/witnesstest", why: "it is for tests"},
}

func with[T any](some []T, more ...T) []T { return append(slices.Clone(some), more...) }

// imported is a package as `go list` describes it.
type imported struct {
	ImportPath string
	Imports    []string
	ImportMap  map[string]string // what a source's import path stands for
}

// graph is every package of the module and all they need, by import path.
type graph map[string]imported

// list asks the Go tool for the graph of the binaries as they are built, with
// the files of planted (path in the module -> source) laid over the module's.
func list(t *testing.T, planted map[string]string) graph {
	t.Helper()
	arguments := []string{"list", "-deps", "-json=ImportPath,Imports,ImportMap"}
	if len(planted) > 0 {
		arguments = append(arguments, "-overlay", overlay(t, planted))
	}
	command := exec.Command("go", append(arguments, "./...")...)
	command.Dir = ".."
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	var stderr bytes.Buffer
	command.Stderr = &stderr
	out, err := command.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, stderr.String())
	}
	packages := graph{}
	for decoder := json.NewDecoder(bytes.NewReader(out)); ; {
		var p imported
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		for i, path := range p.Imports {
			if real, ok := p.ImportMap[path]; ok {
				p.Imports[i] = real
			}
		}
		packages[p.ImportPath] = p
	}
}

// overlay writes the description of files that `go list` shall believe in.
func overlay(t *testing.T, planted map[string]string) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	replace := map[string]string{}
	for path, source := range planted {
		file := filepath.Join(folder, strings.ReplaceAll(path, "/", "_"))
		if err := os.WriteFile(file, []byte(source), 0o600); err != nil {
			t.Fatal(err)
		}
		replace[filepath.Join(root, path)] = file
	}
	document, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "overlay.json")
	if err := os.WriteFile(name, document, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// under reports whether a package is a tree's root or below it.
func under(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

// lineOf returns the tree whose policy line holds for a package.
func lineOf(path string) (tree string, ok bool) {
	for candidate := range allowed {
		if under(path, candidate) && len(candidate) >= len(tree) {
			tree, ok = candidate, true
		}
	}
	return tree, ok
}

func permitted(path string, may []string) bool {
	return slices.ContainsFunc(may, func(entry string) bool {
		tree, whole := strings.CutSuffix(entry, "/...")
		return path == tree || whole && under(path, tree)
	})
}

// findings is what a check of a graph gave.
type findings struct {
	violations []string // sorted
	imports    int      // imports between packages of the module that were judged
	binaries   []string // binaries whose graph was judged
}

// check holds a graph to the policy.
func check(packages graph) findings {
	var found findings
	report := func(format string, values ...any) {
		found.violations = append(found.violations, fmt.Sprintf(format, values...))
	}
	for path, p := range packages {
		from, ours := strings.CutPrefix(path, module+"/")
		if !ours {
			continue
		}
		tree, ok := lineOf(from)
		if !ok {
			report("%s: no policy line for this package", from)
			continue
		}
		for _, path := range p.Imports {
			if to, ours := strings.CutPrefix(path, module+"/"); ours {
				found.imports++
				if !permitted(to, allowed[tree]) {
					report("%s imports %s: not in the policy of %q", from, to, tree)
				}
				continue
			}
			for library, home := range onlyIn {
				if under(path, library) && !under(from, home) && !under(from, measuredBeside[library]) {
					report("%s imports %s: only %q may", from, path, home)
				}
			}
		}
	}
	for binary, walls := range mustNotLink {
		root := module + "/" + binary
		if _, exists := packages[root]; !exists {
			continue
		}
		found.binaries = append(found.binaries, binary)
		reached := reach(packages, root)
		for _, w := range with(walls, inNoBinary...) {
			if path, importer := first(packages, reached, w); path != "" {
				report("%s links %s: %s (%s > %s)", binary, path, w.why, chain(reached, root, importer), path)
			}
		}
	}
	slices.Sort(found.violations)
	slices.Sort(found.binaries)
	return found
}

// reach returns every package in a binary's graph with the one that imports
// it, nearest to the root.
func reach(packages graph, root string) map[string]string {
	importer := map[string]string{root: ""}
	for queue := []string{root}; len(queue) > 0; queue = queue[1:] {
		for _, path := range packages[queue[0]].Imports {
			if _, seen := importer[path]; !seen {
				importer[path] = queue[0]
				queue = append(queue, path)
			}
		}
	}
	return importer
}

// first returns the first package by name that a wall forbids, and the nearest
// that imports it, or "".
func first(packages graph, reached map[string]string, w wall) (lowest, importer string) {
	forbidden := func(path string) bool {
		return under(path, w.tree) && (w.except == "" || !under(path, w.except))
	}
	for path, by := range reached {
		if !w.ours {
			if forbidden(path) && (lowest == "" || path < lowest) {
				lowest, importer = path, by
			}
			continue
		}
		if !under(path, module) || slices.Contains(w.importers, path) {
			continue
		}
		for _, imported := range packages[path].Imports {
			if forbidden(imported) && (lowest == "" || path < importer) {
				lowest, importer = imported, path
			}
		}
	}
	return lowest, importer
}

// chain shows how a package got into a binary.
func chain(reached map[string]string, root, path string) string {
	steps := []string{path}
	for path != root {
		path = reached[path]
		steps = append(steps, path)
	}
	slices.Reverse(steps)
	return strings.Join(steps, " > ")
}

func TestImportPolicy(t *testing.T) {
	found := check(list(t, nil))
	for _, v := range found.violations {
		t.Error(v)
	}
	if found.imports == 0 || len(found.binaries) == 0 {
		t.Fatalf("checked %d imports and %d binaries: the policy test is blind", found.imports, len(found.binaries))
	}
	t.Logf("checked %d imports and the graphs of %v", found.imports, found.binaries)
}

// TestImportPolicyFindsPlantedViolations is the control of TestImportPolicy:
// each planted file must be reported.
func TestImportPolicyFindsPlantedViolations(t *testing.T) {
	tests := []struct {
		name, folder, pkg, imports string
		want                       []string // parts of the reports
	}{
		{"linker sees people", "cmd/linker", "main", "tarn/tokenise/encode", []string{
			`cmd/linker imports tokenise/encode: not in the policy of "cmd/linker"`,
			"cmd/linker links tarn/tokenise/",
		}},
		{"linker sees people through its library", "linkage", "linkage", "tarn/tokenise/reason", []string{
			`linkage imports tokenise/reason: not in the policy of "linkage"`,
			"cmd/linker links tarn/tokenise/reason: this party never sees a person's record (tarn/cmd/linker > ",
		}},
		{"cohort format sees people", "linkage/cohort", "cohort", "tarn/tokenise/reason", []string{
			`linkage/cohort imports tokenise/reason: not in the policy of "linkage/cohort"`,
		}},
		{"cohort format sees the linker", "linkage/cohort/table", "table", "tarn/linkage/leaf", []string{
			`linkage/cohort/table imports linkage/leaf: not in the policy of "linkage/cohort"`,
		}},
		{"tokeniser links", "cmd/tokeniser", "main", "tarn/linkage/compare", []string{
			`cmd/tokeniser imports linkage/compare: not in the policy`,
			"cmd/tokeniser links tarn/linkage/",
		}},
		{"encoder links", "tokenise/encode", "encode", "tarn/linkage/compare", []string{
			"tokenise/encode imports linkage/compare: not in the policy",
		}},
		{"vocabulary sees people", "keys", "keys", "tarn/tokenise/reason", []string{
			`keys imports tokenise/reason: not in the policy of "keys"`,
		}},
		{"key holder reads data sets", "cmd/keyholder", "main", "encoding/csv", []string{
			"cmd/keyholder links encoding/csv: this party has no reader for a data set",
		}},
		{"key holder reads data sets below its sheets", "keys/reidentify", "reidentify", "encoding/csv", []string{
			"cmd/keyholder links encoding/csv: this party has no reader for a data set (tarn/cmd/keyholder > ",
			"> tarn/keys/reidentify > encoding/csv)",
		}},
		{"sheets see requests", "keys/reidentify/oversight/sheet", "sheet", "tarn/keys/reidentify", []string{
			`keys/reidentify/oversight/sheet imports keys/reidentify: not in the policy of "keys/reidentify/oversight/sheet"`,
		}},
		{"key holder reads Parquet", "cmd/keyholder", "main", "github.com/apache/arrow-go/v18/parquet", []string{
			"cmd/keyholder links github.com/apache/arrow-go/v18/",
		}},
		{"auditor sees cohorts", "cmd/auditor", "main", "tarn/linkage/cohort", []string{
			`cmd/auditor imports linkage/cohort: not in the policy of "cmd/auditor"`,
			"cmd/auditor links tarn/linkage/cohort",
		}},
		{"boot sees people", "cmd/internal/boot", "boot", "tarn/tokenise/reason", []string{
			`cmd/internal/boot imports tokenise/reason: not in the policy of "cmd/internal"`,
		}},
		{"library takes over signals", "linkage/block", "block", "os/signal", []string{
			`linkage/block imports os/signal: only "cmd/internal/boot" may`,
		}},
		{"binary links a test library", "cmd/linker", "main", "pgregory.net/rapid", []string{
			"cmd/linker links pgregory.net/rapid: a library for tests",
		}},
		{"key holder is an identity provider", "keys/fault", "fault", "github.com/zitadel/oidc/v3/pkg/op", []string{
			"cmd/keyholder links github.com/zitadel/oidc/v3/",
		}},
		{"key holder drives a browser", "keys/fault", "fault", "tarn/bench/browser", []string{
			`keys/fault imports bench/browser: not in the policy of "keys/fault"`,
			"cmd/keyholder links tarn/bench",
			"cmd/linker links tarn/bench/browser: a browser is for tests",
		}},
		{"package without a line", "stray", "stray", "fmt", []string{
			"stray: no policy line for this package",
		}},
	}
	// A binary and a leaf that are there in every run, whatever else changes.
	steady := map[string]string{
		"cmd/linker/steady.go":   "package main\n\nimport _ \"tarn/linkage\"\n",
		"linkage/leaf/steady.go": "package leaf\n",
	}
	before := check(list(t, steady)).violations
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			files := maps.Clone(steady)
			files[tt.folder+"/planted.go"] = fmt.Sprintf("package %s\n\nimport _ %q\n", tt.pkg, tt.imports)
			after := check(list(t, files)).violations
			for _, want := range tt.want {
				if !slices.ContainsFunc(after, func(v string) bool { return strings.Contains(v, want) }) {
					t.Errorf("not reported: %q; reported: %q", want, after)
				}
				if slices.ContainsFunc(before, func(v string) bool { return strings.Contains(v, want) }) {
					t.Errorf("reported without the planted file: %q", want)
				}
			}
		})
	}
}

// TestSheetsAreNoDataSet: the package of sheets may import what it needs, and nothing beside,
// above or below it may.
func TestSheetsAreNoDataSet(t *testing.T) {
	const sheet = "tarn/keys/reidentify/oversight/sheet"
	for importer, may := range map[string]bool{
		sheet: true, sheet + "/wide": false, sheet + "s": false, "tarn/keys/reidentify/oversight": false, "tarn/keys/reidentify": false, "tarn/cmd/keyholder": false,
	} {
		packages := graph{"encoding/csv": {}, sheet: {Imports: []string{"encoding/csv"}}}
		packages["tarn/cmd/keyholder"] = imported{Imports: []string{sheet, importer}}
		p := packages[importer]
		p.Imports = append(p.Imports, "encoding/csv")
		packages[importer] = p
		found := check(packages).violations
		reported := slices.ContainsFunc(found, func(v string) bool {
			return strings.HasPrefix(v, "cmd/keyholder links encoding/csv: "+noDataset) && strings.HasSuffix(v, importer+" > encoding/csv)")
		})
		if reported == may {
			t.Errorf("%s may import it: %v; reported: %q", importer, may, found)
		}
	}
}

// TestCheckOfAnEmptyGraphIsBlind holds the guard of TestImportPolicy to what
// it looks at: nothing listed is nothing judged.
func TestCheckOfAnEmptyGraphIsBlind(t *testing.T) {
	if found := check(graph{}); found.imports != 0 || len(found.binaries) != 0 {
		t.Errorf("an empty graph counts as %+v", found)
	}
}
