package cmd_test

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"go.yaml.in/yaml/v3"

	"tarn/bench/process"
)

// promProgram returns the path of a program of Prometheus.
func promProgram(t *testing.T, name string) string {
	t.Helper()
	if folder := os.Getenv("TARN_PROMETHEUS"); folder != "" {
		if path := filepath.Join(folder, name); exec.Command(path, "--version").Run() == nil {
			return path
		}
	}
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skip(name + " is not installed: rules and boards are not looked at")
	}
	return path
}

// TestRules has promtool read the rules and try each alarm: when it fires, and when not.
func TestRules(t *testing.T) {
	promtool := promProgram(t, "promtool")
	folder := filepath.Join(deployFolder, "prometheus")
	for _, args := range [][]string{
		{"check", "rules", filepath.Join(folder, "rules.yaml")}, {"check", "config", filepath.Join(folder, "prometheus.yml")}, {"test", "rules", filepath.Join(folder, "rules_test.yaml")},
	} {
		if code, said := output(t, promtool, args...); code != 0 {
			t.Errorf("promtool %s: exit %d: %s", strings.Join(args, " "), code, said)
		}
	}
	// Every alarm is tried both ways.
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, test := range readYAML[ruleTests](t, filepath.Join(folder, "rules_test.yaml")).Tests {
		for _, try := range test.Tries {
			if len(try.Alerts) > 0 {
				fires[try.Name] = true
			} else {
				rests[try.Name] = true
			}
		}
	}
	for _, rule := range allRules(t) {
		if rule.Alert != "" && (!fires[rule.Alert] || !rests[rule.Alert]) {
			t.Errorf("%s: tried firing %t, tried at rest %t", rule.Alert, fires[rule.Alert], rests[rule.Alert])
		}
	}
}

// TestRulesThatAreWrongAreFound is the control, for one bound; make test-heavy moves every one.
func TestRulesThatAreWrongAreFound(t *testing.T) {
	moveBounds(t, func(i int) bool { return i == 1 })
}

// moveBounds moves bounds of the rules, one at a time: to where the alarm always fires, and
// to where it never does. The tries must notice each.
func moveBounds(t *testing.T, which func(i int) bool) {
	t.Helper()
	promtool := promProgram(t, "promtool")
	folder := filepath.Join(deployFolder, "prometheus")
	rules, err := os.ReadFile(filepath.Join(folder, "rules.yaml"))
	must(t, err)
	tests, err := os.ReadFile(filepath.Join(folder, "rules_test.yaml"))
	must(t, err)
	found := regexp.MustCompile(`== [01]\b|[<>] [0-9](?:[0-9.* ]*[0-9])?`).FindAllIndex(rules, -1)
	if len(found) < 25 {
		t.Fatalf("there are %d bounds: the control is blind", len(found))
	}
	for i, at := range found {
		if !which(i) {
			continue
		}
		was := string(rules[at[0]:at[1]])
		always := "> -1e30"
		if strings.HasPrefix(was, "== ") {
			always = ">= 0"
		}
		for _, is := range []string{always, "> 1e30"} {
			there := t.TempDir()
			broken := string(rules[:at[0]]) + is + string(rules[at[1]:])
			must(t, os.WriteFile(filepath.Join(there, "rules.yaml"), []byte(broken), 0o600))
			must(t, os.WriteFile(filepath.Join(there, "rules_test.yaml"), tests, 0o600))
			code, said := output(t, promtool, "test", "rules", filepath.Join(there, "rules_test.yaml"))
			// An alarm may have errors in its name; rules that cannot be read are an error of promtool's.
			if code == 0 || !strings.Contains(said, "FAILED") || strings.Contains(strings.ReplaceAll(said, "-errors", ""), "error") {
				line := 1 + strings.Count(string(rules[:at[0]]), "\n")
				t.Errorf("line %d: %s in place of %s is not noticed: %s", line, is, was, said)
			}
		}
	}
}

type ruleTests struct {
	Tests []struct {
		Tries []struct {
			Name   string           `yaml:"alertname"`
			Alerts []map[string]any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

// rule is a rule of rules.yaml.
type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func readYAML[T any](t *testing.T, path string) (document T) {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	must(t, yaml.Unmarshal(b, &document))
	return document
}

func allRules(t *testing.T) (all []rule) {
	t.Helper()
	type file struct {
		Groups []struct{ Rules []rule }
	}
	for _, group := range readYAML[file](t, filepath.Join(deployFolder, "prometheus", "rules.yaml")).Groups {
		all = append(all, group.Rules...)
	}
	if len(all) < 20 {
		t.Fatalf("there are %d rules: the test is blind", len(all))
	}
	return all
}

// query is a query, where it stands, and the labels that are shown of its answer.
type query struct {
	at, expr string
	labels   []string
	alarm    bool // it gives nothing while all is well
}

var (
	inAnnotation = regexp.MustCompile(`\$labels\.(\w+)`)
	inLegend     = regexp.MustCompile(`{{\s*(\w+)\s*}}`)
	inVariable   = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
)

func names(pattern *regexp.Regexp, in string) (found []string) {
	for _, m := range pattern.FindAllStringSubmatch(in, -1) {
		found = append(found, m[1])
	}
	return found
}

// board is as much of a Grafana board as is looked at.
type board struct {
	UID, Title string
	Templating struct {
		List []struct {
			Name, Type, Definition string
			Query                  json.RawMessage
		}
	}
	Panels []struct {
		ID      int
		Title   string
		GridPos struct{ X, Y, W, H int }
		Targets []struct{ Expr, LegendFormat, RefID string }
	}
}

func boards(t *testing.T) (all map[string]board) {
	t.Helper()
	all = map[string]board{}
	found, err := filepath.Glob(filepath.Join(deployFolder, "grafana", "*.json"))
	must(t, err)
	for _, path := range found {
		b, err := os.ReadFile(path)
		must(t, err)
		var one board
		must(t, json.Unmarshal(b, &one))
		all[filepath.Base(path)] = one
	}
	if len(all) != 2 {
		t.Fatalf("there are the boards %v", found)
	}
	return all
}

// queries returns every query of rules and boards.
func queries(t *testing.T) (all []query) {
	t.Helper()
	for _, r := range allRules(t) {
		q := query{at: "rules.yaml " + r.Alert + r.Record, expr: r.Expr, alarm: r.Alert != ""}
		for _, text := range r.Annotations {
			q.labels = append(q.labels, names(inAnnotation, text)...)
		}
		all = append(all, q)
	}
	for name, b := range boards(t) {
		variables := []string{}
		for _, v := range b.Templating.List {
			if v.Type != "query" {
				continue
			}
			m := inVariable.FindStringSubmatch(v.Definition)
			if m == nil || !strings.Contains(string(v.Query), v.Definition) {
				t.Fatalf("%s: the variable %s is %q and %s", name, v.Name, v.Definition, v.Query)
			}
			all = append(all, query{at: name + " $" + v.Name, expr: m[1], labels: m[2:]})
			variables = append(variables, "$"+v.Name, ".+")
		}
		for _, p := range b.Panels {
			for _, target := range p.Targets {
				all = append(all, query{at: name + " " + p.Title, expr: strings.NewReplacer(variables...).Replace(target.Expr), labels: names(inLegend, target.LegendFormat)})
			}
		}
	}
	return all
}

// TestBoardsAreWhole: panels have ids of their own and do not lie over one another.
func TestBoardsAreWhole(t *testing.T) {
	for name, b := range boards(t) {
		ids, cells := map[int]bool{}, map[[2]int]string{}
		for _, p := range b.Panels {
			if ids[p.ID] || len(p.Targets) == 0 || p.GridPos.X+p.GridPos.W > 24 {
				t.Errorf("%s: the panel %s has the id of another, no query or no place", name, p.Title)
			}
			ids[p.ID] = true
			for x := range p.GridPos.W {
				for y := range p.GridPos.H {
					at := [2]int{p.GridPos.X + x, p.GridPos.Y + y}
					if other := cells[at]; other != "" {
						t.Fatalf("%s: %s lies over %s", name, p.Title, other)
					}
					cells[at] = p.Title
				}
			}
		}
		if b.UID == "" || b.Title == "" || len(b.Panels) < 10 {
			t.Errorf("%s: %d panels", name, len(b.Panels))
		}
	}
}

// TestRunbooksAreThere: every alarm leads to a heading of the documents.
func TestRunbooksAreThere(t *testing.T) {
	for _, r := range allRules(t) {
		if r.Alert == "" {
			continue
		}
		path, name, ok := strings.Cut(r.Annotations["runbook"], "#")
		if !ok || !hasAnchor(t, filepath.Join("..", path), name) {
			t.Errorf("%s: there is no %s", r.Alert, r.Annotations["runbook"])
		}
		if severity := r.Labels["severity"]; severity != "page" && severity != "ticket" || r.Annotations["summary"] == "" {
			t.Errorf("%s has the severity %q or no summary", r.Alert, severity)
		}
	}
}

// monitor is a Prometheus that reads a deployment by the rules of deploy/.
type monitor struct {
	t       *testing.T
	address string
}

func newMonitor(t *testing.T, d *deployment) *monitor {
	t.Helper()
	program := promProgram(t, "prometheus")
	rules, err := filepath.Abs(filepath.Join(deployFolder, "prometheus", "rules.yaml"))
	must(t, err)
	b, err := os.ReadFile(filepath.Join(deployFolder, "prometheus", "prometheus.yml"))
	must(t, err)
	config := strings.NewReplacer("15s", "250ms", "- rules.yaml", "- "+rules, atTokeniserMetrics, d.ports[atTokeniserMetrics], atKeyholderMetrics, d.ports[atKeyholderMetrics]).Replace(string(b))
	path := d.path("/prometheus.yml")
	must(t, os.WriteFile(path, []byte(config), 0o600))
	m := &monitor{t: t, address: freeAddress(t)}
	p, _, err := process.Start(t.Context(), process.Options{Until: "Server is ready", Within: time.Minute}, program,
		"--config.file="+path, "--storage.tsdb.path="+d.path("/prometheus"), "--web.listen-address="+m.address)
	if p != nil {
		t.Cleanup(func() { _ = p.Kill() }) // nothing of it is kept
	}
	must(t, err)
	return m
}

// get calls Prometheus's interface.
func (m *monitor) get(path string, parameters url.Values, into any) error {
	m.t.Helper()
	answer, err := http.Get("http://" + m.address + path + "?" + parameters.Encode())
	if err != nil {
		return err
	}
	defer func() { _ = answer.Body.Close() }() // read below
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return err
	}
	var envelope struct {
		Status, Error string
		Data          json.RawMessage
	}
	if err := json.Unmarshal(b, &envelope); err != nil || envelope.Status != "success" {
		return fmt.Errorf("%s: %s", path, envelope.Error)
	}
	return json.Unmarshal(envelope.Data, into)
}

// ask evaluates a query, and returns the labels of every series of its answer.
func (m *monitor) ask(expr string) (series []map[string]string, err error) {
	m.t.Helper()
	var data struct {
		ResultType string
		Result     []struct{ Metric map[string]string }
	}
	if err := m.get("/api/v1/query", url.Values{"query": {expr}}, &data); err != nil {
		return nil, err
	}
	for _, r := range data.Result {
		series = append(series, r.Metric)
	}
	return series, nil
}

// wrong returns what of a query has nothing behind it.
func (m *monitor) wrong(q query) (found []string) {
	m.t.Helper()
	expr, err := parser.ParseExpr(q.expr)
	if err != nil {
		return []string{err.Error()}
	}
	exists := func(what string, among []string) {
		series, err := m.ask(what)
		if err != nil || len(series) == 0 {
			found = append(found, fmt.Sprintf("nothing is %s (%v)", what, err))
			return
		}
		for _, label := range among {
			if !slices.ContainsFunc(series, func(of map[string]string) bool { return of[label] != "" }) {
				found = append(found, fmt.Sprintf("nothing of %s has a label %s", what, label))
			}
		}
	}
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch n := node.(type) {
		case *parser.VectorSelector:
			exists(n.String(), nil)
			// What a matcher leaves out, and each of several that it lets in, is there, too.
			for _, matcher := range n.LabelMatchers {
				if matcher.Name != labels.MetricName {
					for _, value := range alternatives(matcher) {
						exists(n.Name+"{"+matcher.Name+value+"}", nil)
					}
				}
			}
		case *parser.AggregateExpr:
			exists(n.Expr.String(), n.Grouping)
		}
		return nil
	})
	for _, part := range shown(expr, q.alarm) {
		exists(part, q.labels)
	}
	return found
}

// alternatives returns the matchers, each of which must find something by itself, of what
// a matcher lets in or leaves out.
func alternatives(m *labels.Matcher) (all []string) {
	switch m.Type {
	case labels.MatchEqual, labels.MatchNotEqual:
		return []string{fmt.Sprintf("=%q", m.Value)}
	}
	for _, value := range strings.Split(m.Value, "|") {
		all = append(all, fmt.Sprintf("=~%q", value))
	}
	return all
}

// shown returns what an alarm compares; of another query itself.
func shown(expr parser.Expr, alarm bool) []string {
	if n, ok := expr.(*parser.BinaryExpr); ok && alarm {
		switch {
		case n.Op == parser.LOR:
			return append(shown(n.LHS, alarm), shown(n.RHS, alarm)...)
		case n.Op == parser.LAND || n.Op.IsComparisonOperator():
			return shown(n.LHS, alarm)
		}
	}
	return []string{expr.String()}
}

// TestQueries: every metric, label and value that a rule or a board names exists where the
// services run, and every query has an answer.
func TestQueries(t *testing.T) {
	promProgram(t, "prometheus")
	d := newDeployment(t, nil)
	d.ready()
	// The key holder refuses while it is sealed.
	d.stop("keyholder")
	d.start("keyholder", "answering on")
	if code, said := output(t, filepath.Join(d.bin, "keyholder"), "domain", "list", "--as", d.path("/ann")); code != 5 {
		t.Fatalf("a key holder that is sealed: exit %d: %s", code, said)
	}
	d.unseal()
	m := newMonitor(t, d)
	until(t, "both services are read", func() bool {
		series, _ := m.ask(`tarn_alarms_total{rule="test-range"} == 0 and on () (count(up == 1) == 2)`) // it may not be there yet
		return len(series) == 1
	})
	// What rows were of is told when the leases end; then there is an alarm.
	if status := d.post(people); status != http.StatusOK {
		t.Fatalf("rows: %d: %s", status, d.services["tokeniser"].Said())
	}
	d.stop("tokeniser")
	d.start("tokeniser", "answering on")
	d.ready()
	if status := d.post(people); status != http.StatusOK {
		t.Fatalf("rows: %d: %s", status, d.services["tokeniser"].Said())
	}
	for _, service := range []string{"tokeniser", "keyholder"} {
		for _, more := range [][]string{nil, {"--live"}} {
			if code, said := d.health(service, more...); code != 0 {
				t.Fatalf("%s health: exit %d: %s", service, code, said)
			}
		}
	}
	all := queries(t)
	wrong := map[string][]string{}
	look := func() bool {
		clear(wrong)
		for _, q := range all {
			if found := m.wrong(q); len(found) > 0 {
				wrong[q.at] = found
			}
		}
		return len(wrong) == 0
	}
	for deadline := time.Now().Add(30 * time.Second); !look() && time.Now().Before(deadline); {
		time.Sleep(250 * time.Millisecond)
	}
	for _, at := range slices.Sorted(maps.Keys(wrong)) {
		t.Errorf("%s: %s", at, strings.Join(wrong[at], "; "))
	}
	t.Logf("%d queries", len(all))

	// The control: each of these is found.
	for name, q := range map[string]query{
		"a metric":              {expr: `tarn_tokenise_row_total`},
		"a metric in a rate":    {expr: `sum by (project) (rate(tarn_tokenise_row_total[5m]))`},
		"a metric of an or":     {expr: `up or tarn_keyholder_upp`},
		"a label":               {expr: `tarn_tokenise_rows_total{outcom="refused"}`},
		"a value":               {expr: `tarn_tokenise_rows_total{outcome="refusd"}`},
		"a value left out":      {expr: `tarn_alarms_total{rule!="test-rage"}`},
		"one of several values": {expr: `tarn_alarms_total{rule!~"test-range|log-unavailabel"}`},
		"a job":                 {expr: `up{job="tarn-tokenizer"}`},
		"a label to sum by":     {expr: `sum by (projct) (tarn_tokenise_rows_total)`},
		"a label of a legend":   {expr: `sum by (project) (tarn_tokenise_rows_total)`, labels: []string{"outcome"}},
		"a label of a text":     {expr: `tarn_project_ready == 0`, labels: []string{"client"}, alarm: true},
		"two that never meet":   {expr: `tarn_tokenise_rows_total / tarn_budget_rows`},
		"a record":              {expr: `tarn:tokenise_rows:rate1m`},
		"no query":              {expr: `sum by (project`},
	} {
		if found := m.wrong(q); len(found) == 0 {
			t.Errorf("the control %s: nothing is wrong with %s", name, q.expr)
		}
	}

	var state struct {
		Groups []struct {
			Rules []struct{ Name, Health, LastError, State string }
		}
	}
	until(t, "the alarm of the test range fires", func() bool {
		must(t, m.get("/api/v1/rules", nil, &state))
		for _, group := range state.Groups {
			for _, r := range group.Rules {
				if r.Name == "TarnTestRangeSeen" && r.State == "firing" {
					return true
				}
			}
		}
		return false
	})
	for _, group := range state.Groups {
		for _, r := range group.Rules {
			if r.Health != "ok" {
				t.Errorf("%s is %s: %s", r.Name, r.Health, r.LastError)
			}
			// At rest is whatever has no cause here.
			if r.State == "firing" && r.Name != "TarnTestRangeSeen" && r.Name != "TarnTokeniserNotHardened" && r.Name != "TarnKeyholderNotHardened" {
				t.Errorf("%s fires", r.Name)
			}
		}
	}
}
