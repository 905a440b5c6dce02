package report_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/xml"
	"flag"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"tarn/linkage/report"
	"tarn/linkage/result"
)

var update = flag.Bool("update", false, "write testdata/*.golden.html")

func render(t testing.TB, s *result.Summary, run *result.Run, pairs ...report.Pair) string {
	t.Helper()
	var b bytes.Buffer
	if err := report.Render(&b, s, run, "tarn test", pairs...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func full(t *testing.T) string {
	s, run := sample()
	s.Equity = sampleEquity()
	return render(t, s, run)
}

// bare is the least a result can hold: no model, no estimate, no run.json.
func bare() *result.Summary {
	return &result.Summary{Schema: result.SummarySchema, Project: "bare", Method: "fs", Threshold: .5,
		Inputs: []result.Input{{SourceDataset: "a", Rows: 0}, {SourceDataset: "b", Rows: 4}}}
}

func TestGolden(t *testing.T) {
	for name, got := range map[string]string{"full": full(t), "bare": render(t, bare(), nil), "clk": clk(t), "row-level": rowLevel(t), "cut-over": cutOver(t)} {
		path := filepath.Join("testdata", name+".golden.html")
		if *update {
			if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got != string(want) {
			t.Errorf("%s differs from its golden file; if the change is wanted, run with -update and look at it in a browser", name)
		}
	}
}

// TestCutOver: a report says first that tokens of two epochs were not compared, and
// which data set has which.
func TestCutOver(t *testing.T) {
	page := cutOver(t)
	head, _, _ := strings.Cut(page, "<main")
	for part, want := range map[string]string{
		head: "Not all data sets could be compared by NHS number",
		page: "bring north to epoch 2 with tokeniser rotate",
	} {
		if !strings.Contains(part, want) {
			t.Errorf("%q is not in the report", want)
		}
	}
	for _, row := range []string{`<th scope="row">north</th>.*<td>1</td></tr>`, `<th scope="row">south</th>.*<td>2</td></tr>`, `Tokens of north</th><td>oblivious, domain lake, epoch 1</td>`} {
		if !regexp.MustCompile(row).MatchString(page) {
			t.Errorf("no row %s", row)
		}
	}
	if strings.Contains(full(t), "Not all data sets") {
		t.Error("control: a job whose tokens were all compared says otherwise")
	}
	if page := render(t, bare(), nil); !strings.Contains(page, "not recorded") || strings.Contains(page, "Tokens of") {
		t.Error("a result of an earlier version does not say of which epoch tokens are, and its report does")
	}
}

func TestTimesAndResourcesDoNotChangeTheReport(t *testing.T) {
	want := full(t)
	s, run := sample()
	s.Equity = sampleEquity()
	s.Created, run.Created = "2031-01-01T00:00:00Z", "2031-01-01T00:00:00Z"
	s.Resources = result.Resources{WallS: 99, CPUS: number(99), Stages: []result.Stage{{Name: "link", WallS: 9}}}
	s.Outputs[2].SHA256, s.Outputs[3].SHA256 = "ff", "ee" // report.html itself, and run.json, which carries a time
	if got := render(t, s, run); got != want {
		t.Error("the report differs between two runs of one job")
	}
	s.Links.Both += 100
	if got := render(t, s, run); got == want {
		t.Error("control: another number of links must change the report")
	}
}

func TestWellFormed(t *testing.T) {
	for name, page := range map[string]string{"full": full(t), "bare": render(t, bare(), nil), "clk": clk(t), "row-level": rowLevel(t), "cut-over": cutOver(t)} {
		if err := wellFormed(page); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if wellFormed(strings.Replace(full(t), "</table>", "", 1)) == nil {
		t.Error("control: a page with an open table must be refused")
	}
}

// wellFormed reads the page as XML, void elements apart: every element is
// closed in order.
func wellFormed(page string) error {
	page = regexp.MustCompile(`(?s)<(style|script)([^>]*)>.*?</(style|script)>`).ReplaceAllString(page, "<$1$2></$1>")
	d := xml.NewDecoder(strings.NewReader(strings.TrimPrefix(page, "<!DOCTYPE html>")))
	d.Strict = true
	d.Entity = xml.HTMLEntity
	ids := map[string]bool{}
	var refs []string
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, a := range start.Attr {
			switch a.Name.Local {
			case "id":
				if ids[a.Value] {
					return fmt.Errorf("id %s is there twice", a.Value)
				}
				ids[a.Value] = true
			case "aria-labelledby":
				refs = append(refs, strings.Fields(a.Value)...)
			case "href":
				refs = append(refs, strings.TrimPrefix(a.Value, "#"))
			}
		}
	}
	for _, ref := range refs {
		if !ids[ref] {
			return fmt.Errorf("nothing has the id %s that is referred to", ref)
		}
	}
	return nil
}

func TestOfflineAndLockedDown(t *testing.T) {
	page := full(t)
	for _, bad := range []string{"http://", "https://", "@import", "url(", "src=", "javascript:", " style=", " onload", " onclick", "<iframe", "<link", "<img"} {
		if strings.Contains(page, bad) {
			t.Errorf("the page contains %q", bad)
		}
	}
	if n := strings.Count(page, "<script"); n == 0 || n != strings.Count(page, `<script type="application/json"`) {
		t.Error("there must be data blocks and no other script")
	}
	style := page[strings.Index(page, "<style>")+len("<style>") : strings.Index(page, "</style>")]
	digest := sha256.Sum256([]byte(style))
	policy := regexp.MustCompile(`Content-Security-Policy" content="([^"]*)"`).FindStringSubmatch(page)
	if policy == nil {
		t.Fatal("no Content-Security-Policy")
	}
	want := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(digest[:]) + "'; base-uri 'none'; form-action 'none'"
	if got := html.UnescapeString(policy[1]); got != want {
		t.Errorf("policy is %s, want %s", got, want)
	}
}

func TestHostileStringsAreInert(t *testing.T) {
	const hostile = `"'><script>alert(1)</script></title></style><img src=x onerror=alert(2)>{{.}}<!--`
	s, run := sample()
	s.Equity = sampleEquity()
	s.Project, s.Profile, s.ProfileDigest, s.RunID, s.Method = hostile, hostile, hostile, hostile, hostile
	s.Inputs[0].SourceDataset, s.Inputs[0].CohortID = hostile, hostile
	s.Warnings = append(s.Warnings, result.Warning{Code: hostile, Text: hostile})
	s.Outputs = append(s.Outputs, result.Output{Path: hostile + ".parquet", SHA256: hostile})
	s.Model.Fields[0].Field = hostile
	s.Equity.Dimensions[0].Name = hostile
	for i := range s.Equity.Dimensions[0].Groups {
		s.Equity.Dimensions[0].Groups[i].Group = hostile
		s.Equity.Dimensions[0].Groups[i].SourceDataset = hostile
	}
	run.Completeness[0].Field, run.Completeness[0].SourceDataset = hostile, hostile
	run.Parameters.OneToOne, run.Parameters.Blocking, run.Parameters.Threshold = hostile, hostile, hostile
	page := render(t, s, run)
	clean := full(t)
	for _, tag := range []string{"<script", "</script", "<img", "<style", "</style", "</title", "<!--"} {
		if got, want := strings.Count(page, tag), strings.Count(clean, tag); got > want+2 || tag != "</title" && got > want {
			t.Errorf("%q is there %d times, %d in a page without hostile strings", tag, got, want)
		}
	}
	if err := wellFormed(page); err != nil {
		t.Errorf("a hostile string broke the page: %v", err)
	}
	if !strings.Contains(page, "&lt;script&gt;alert(1)") {
		t.Error("control: the hostile string must be there as text, or the test sees nothing")
	}
	dataBlocks(t, page)
}

// dataBlocks parses the JSON behind the charts.
func dataBlocks(t *testing.T, page string) map[string]any {
	t.Helper()
	blocks := map[string]any{}
	for _, m := range regexp.MustCompile(`(?s)<script type="application/json" id="([^"]*)">(.*?)</script>`).FindAllStringSubmatch(page, -1) {
		var v any
		if err := json.Unmarshal([]byte(m[2]), &v); err != nil {
			t.Errorf("%s: %v", m[1], err)
		}
		blocks[m[1]] = v
	}
	if len(blocks) != strings.Count(page, "<svg ") {
		t.Errorf("%d charts have %d data blocks", strings.Count(page, "<svg "), len(blocks))
	}
	return blocks
}

func TestDataBehindTheCharts(t *testing.T) {
	blocks := dataBlocks(t, full(t))
	thresholds := blocks["thresholds-data"].([]any)
	if len(thresholds) < 8 {
		t.Errorf("%d thresholds", len(thresholds))
	}
	for _, name := range []string{"confidence-data", "patterns-linked-1-data", "patterns-others-1-data", "links-by-basis-data", "match-weights-data", "score-distribution-data", "block-sizes-data", "completeness-data", "equity-1-data", "equity-2-data"} {
		if blocks[name] == nil {
			t.Errorf("no %s", name)
		}
	}
}

func TestHeadlineSaysWhatIsNotKnown(t *testing.T) {
	page := render(t, bare(), nil)
	if !strings.Contains(page, "No links were made between the 0 records of a and fewer than 10 records of b.") {
		t.Error("a job without links must say so in its headline")
	}
	s, run := sample()
	s.Estimated = result.Quality{}
	if !strings.Contains(render(t, s, run), "could not be estimated") {
		t.Error("a job without estimates must say so in its headline")
	}
	s, run = sample()
	page = render(t, s, run)
	if !strings.Contains(page, "9,955 links were made between the 20,005 records of north and the 19,990 records of south.") ||
		!strings.Contains(page, "An estimated 99.96% (95% interval 99.91% to 99.98%) of them are right: they join two records of one person.") ||
		!strings.Contains(page, "about 1 link in 2,500 is wrong, and about 1 true link in 150 was missed") {
		t.Error("the headline does not say what was linked and how sure it is")
	}
	s.Model.Converged = false
	if !strings.Contains(render(t, s, run), "did not converge") {
		t.Error("an unconverged model must be named at the head")
	}
}

func TestWidestGapIsNamedFirst(t *testing.T) {
	page := full(t)
	at := strings.Index(page, `<section id="equity"`)
	first := regexp.MustCompile(`(?s)<p>(.*?)</p>`).FindStringSubmatch(page[at:])[1]
	// Not recorded 475/1020 = 46.6%, White 16525/33105 = 49.9%.
	if !strings.HasPrefix(first, "The widest gap is by ethnic category: 3.3 percentage points, between not recorded (46.6% linked") || !strings.Contains(first, "and White (49.9%") {
		t.Errorf("first paragraph of equity: %s", first)
	}
}

// TestContrast reads the palette out of the style sheet and computes the
// contrast ratios of WCAG 2.2 (4.5 for text, 3 for graphics).
func TestContrast(t *testing.T) {
	page := full(t)
	blocks := regexp.MustCompile(`(?s):root \{(.*?)\}`).FindAllStringSubmatch(page, -1)
	if len(blocks) != 3 {
		t.Fatalf("%d palettes, want light, dark and print", len(blocks))
	}
	for i, b := range blocks {
		colour := map[string]string{}
		for _, m := range regexp.MustCompile(`--([a-z0-9-]+): #([0-9a-f]{6})`).FindAllStringSubmatch(b[1], -1) {
			colour[m[1]] = m[2]
		}
		for _, c := range []struct {
			front, back string
			least       float64
		}{{"text", "page", 4.5}, {"muted", "page", 4.5}, {"text", "panel", 4.5}, {"muted", "panel", 4.5}, {"text", "alert", 4.5}, {"s1", "page", 4.5}, {"s2", "page", 4.5}, {"axis", "page", 3}} {
			if got := contrast(t, colour[c.front], colour[c.back]); got < c.least {
				t.Errorf("palette %d: %s on %s has contrast %.2f, want %.1f", i, c.front, c.back, got, c.least)
			}
		}
	}
	if got := contrast(t, "777777", "ffffff"); math.Abs(got-4.48) > .01 {
		t.Errorf("control: grey on white is %.2f, want 4.48", got)
	}
}

func contrast(t *testing.T, a, b string) float64 {
	x, y := luminance(t, a), luminance(t, b)
	return (math.Max(x, y) + .05) / (math.Min(x, y) + .05)
}

func luminance(t *testing.T, hex string) float64 {
	t.Helper()
	n, err := strconv.ParseUint(hex, 16, 32)
	if err != nil || len(hex) != 6 {
		t.Fatalf("colour %q", hex)
	}
	l := 0.0
	for i, w := range []float64{.2126, .7152, .0722} {
		c := float64(n>>(16-8*i)&255) / 255
		if c <= .04045 {
			c /= 12.92
		} else {
			c = math.Pow((c+.055)/1.055, 2.4)
		}
		l += w * c
	}
	return l
}

func TestWrite(t *testing.T) {
	s, run := sample()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := report.Write(path, s, run, "tarn test"); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil || string(b) != render(t, s, run) {
		t.Errorf("the file is not the page: %v", err)
	}
	if report.Write(filepath.Join(t.TempDir(), "missing", "report.html"), s, run, "") == nil {
		t.Error("a missing folder must be an error")
	}
}
