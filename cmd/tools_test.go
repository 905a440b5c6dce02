package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// output runs a program and returns its exit code and what it said.
func output(t *testing.T, name string, args ...string) (code int, said string) {
	t.Helper()
	command := exec.Command(name, args...)
	out, err := command.CombinedOutput()
	if err != nil && command.ProcessState == nil {
		t.Fatal(err)
	}
	return command.ProcessState.ExitCode(), string(out)
}

// TestVulnerabilityCheckFailsOnlyOnFindings puts a program in govulncheck's
// place.
func TestVulnerabilityCheckFailsOnlyOnFindings(t *testing.T) {
	tests := []struct {
		name, script string
		code         int
		said         string
	}{
		{"nothing found", "echo No vulnerabilities found.", 0, "No vulnerabilities found."},
		{"a finding", "echo 'Vulnerability #1'; exit 3", 3, "Vulnerability #1"},
		{"no database", "echo 'govulncheck: fetching vulnerabilities: Get \"https://vuln.go.dev/index\": dial tcp: no such host' >&2; exit 1", 0, "could not look: its database is out of reach (no such host)"},
		{"no package", "echo 'govulncheck: loading packages: undefined' >&2; exit 1", 1, "loading packages"},
		{"a finding that quotes the excuse", "echo 'x govulncheck: fetching vulnerabilities: x'; exit 3", 3, "x govulncheck"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			code, said := output(t, "../tools/vuln", "bash", "-c", tt.script)
			if code != tt.code || !strings.Contains(said, tt.said) {
				t.Errorf("exit %d, said %q; want %d and %q", code, said, tt.code, tt.said)
			}
		})
	}
}

// TestCheckOfTheDemo plants a shortfall of each kind beside a good result.
func TestCheckOfTheDemo(t *testing.T) {
	if _, err := exec.LookPath("python3"); err != nil {
		t.Skip("python3 is not installed")
	}
	const good = `{"schema":"tarn.demo/1","ok":true,"wall_s":12.5,"steps":[],"evaluate":{"f1":0.99,"precision":0.999}}`
	tests := []struct{ name, from, to, leaveOut, want string }{
		{name: "good"},
		{name: "not ok", from: `"ok":true,"wall_s":12.5,"steps":[]`, to: `"ok":false,"wall_s":12.5,"steps":[{"name":"link","ok":false}]`, want: "steps that failed: ['link']"},
		{name: "ok is a text", from: `"ok":true`, to: `"ok":"true"`, want: "ok is not true"},
		{name: "too slow", from: "12.5", to: "60.0", want: "wall_s is 60.0, must be below"},
		{name: "low F1", from: `"f1":0.99`, to: `"f1":0.9849`, want: "evaluate.f1 is 0.9849"},
		{name: "low precision", from: "0.999", to: "0.98", want: "evaluate.precision is 0.98"},
		{name: "not a number", from: "0.999", to: "NaN", want: "evaluate.precision is nan"},
		{name: "no evaluation", from: `{"f1":0.99,"precision":0.999}`, to: "null", want: "evaluate.f1 is not a number"},
		{name: "another document", from: "tarn.demo/1", to: "tarn.demo/2", want: "not a tarn.demo/1"},
		{name: "not JSON", from: "{", to: "", want: "cannot be read"},
		{name: "no summary", leaveOut: "summary.json", want: "cannot be read"},
		{name: "no report", leaveOut: "report.html", want: "report.html is missing"},
		{name: "no links", leaveOut: "links.parquet", want: "links.parquet is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			folder := t.TempDir()
			for name, text := range map[string]string{
				"summary.json": strings.Replace(good, tt.from, tt.to, 1),
				"report.html":  "<html>", "links.parquet": "PAR1",
			} {
				if name == tt.leaveOut {
					continue
				}
				if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			code, said := output(t, "python3", "../tools/check_demo.py", folder)
			if (code == 0) != (tt.want == "") || !strings.Contains(said, tt.want) {
				t.Errorf("exit %d, said %q; want %q in it", code, said, tt.want)
			}
		})
	}
}
