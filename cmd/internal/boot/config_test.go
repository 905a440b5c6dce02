package boot_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"tarn/cmd/internal/boot"
	"tarn/keys/fault"
)

type base struct {
	Production bool `toml:"production"`
}

type config struct {
	base
	Listen struct {
		Address        string `toml:"address"`
		MetricsAddress string `toml:"metrics_address"`
	} `toml:"listen"`
	Projects []struct {
		File       string `toml:"file"`
		BudgetRows int64  `toml:"budget_rows"`
	} `toml:"project"`
	Limits *struct {
		Timeout time.Duration `toml:"timeout"`
		Rows    int           `toml:"max_rows"`
	} `toml:"limits"`
	Labels  map[string]string `toml:"labels"`
	Ignored string            `toml:"-"`
}

func load(t *testing.T, document string) (config, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tarn.toml")
	if err := os.WriteFile(path, []byte(document), 0o600); err != nil {
		t.Fatal(err)
	}
	var c config
	c.Listen.Address = "127.0.0.1:8443"
	err := boot.LoadTOML(path, &c)
	return c, err
}

func TestLoadTOML(t *testing.T) {
	c, err := load(t, `
[listen]
metrics_address = "127.0.0.1:9090"
[[project]]
file = "a.json"
budget_rows = 12
[[project]]
file = "b.json"
[limits]
timeout = "10s"
max_rows = 5
[labels]
any = "thing"
`)
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen.Address != "127.0.0.1:8443" || c.Listen.MetricsAddress != "127.0.0.1:9090" {
		t.Errorf("listen is %+v: a default must stay and a given value be read", c.Listen)
	}
	if len(c.Projects) != 2 || c.Projects[0].BudgetRows != 12 || c.Limits.Timeout != 10*time.Second || c.Labels["any"] != "thing" {
		t.Errorf("read %+v", c)
	}
}

func TestLoadTOMLRefuses(t *testing.T) {
	tests := []struct{ name, document, want string }{
		{"misspelt key", "[listen]\nadress = \"x\"", "there is no key listen.adress (did you mean listen.address?)"},
		{"misspelt table", "[limts]\ntimeout = \"1s\"", "there is no key limts (did you mean limits?)"},
		{"misspelt key in a list", "[[project]]\nbudget_row = 1", "(did you mean project.budget_rows?)"},
		{"key of another table", "timeout = \"1s\"", "(did you mean limits.timeout?)"},
		{"nothing near", "[listen]\nzebra = 1", "there is no key listen.zebra; correct"},
		{"ignored field", "ignored = \"x\"", "there is no key ignored"},
		{"two at once", "zebra = 1\nyak = 2", "there is no key zebra; there is no key yak"},
		{"wrong type", "\n[limits]\nmax_rows = \"many\"", "line 3"},
		{"not TOML", "= 1", "line 1"},
		{"twice", "production = true\nproduction = true", "line 2"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := load(t, tt.document)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "tarn.toml") {
				t.Errorf("got %v, want a fault of usage that names the file and holds %q", err, tt.want)
			}
		})
	}
	if err := boot.LoadTOML(filepath.Join(t.TempDir(), "absent.toml"), &config{}); fault.KindOf(err) != fault.Usage {
		t.Errorf("an absent file: %v", err)
	}
}

// TestLoadTOMLRepeatsNothing reads files that were meant for something else, and
// such in which somebody put a value where none belongs.
func TestLoadTOMLRepeatsNothing(t *testing.T) {
	for name, document := range map[string]string{
		"key":              planted + " = 1",
		"quoted key":       `"943 476 5919" = 1`,
		"name as a key":    "Quetzalina = 1",
		"table":            "[" + planted + "]\nx = 1",
		"key in a table":   "[listen]\n" + planted + " = 1",
		"twice":            "[labels]\n" + planted + " = \"a\"\n" + planted + " = \"b\"",
		"value":            "production = " + planted + "x",
		"of another type":  "[listen]\naddress = " + planted,
		"text for number":  "[limits]\nmax_rows = \"" + planted + "\"",
		"duration":         "[limits]\ntimeout = \"" + planted + "\"",
		"duration in text": "[limits]\ntimeout = \"Quetzalina\"",
		"out of range":     "[limits]\nmax_rows = " + planted + planted,
		"float":            "[limits]\nmax_rows = " + planted + ".",
		"leading zero":     "[limits]\nmax_rows = 0" + planted,
		"date":             "[limits]\nmax_rows = 1973-10-99",
		"table of people":  "unique_id,nhs_number,family_name\nHOSP-77113," + planted + ",Quetzalina\n",
		"rows of people":   "HOSP-77113," + planted + ",Quetzalina\n",
		"unclosed":         "[listen]\naddress = \"" + planted,
		"NDJSON":           `{"nhs_number":"` + planted + `","family_name":"Quetzalina"}`,
	} {
		_, err := load(t, document)
		if fault.KindOf(err) != fault.Usage {
			t.Errorf("%s: got %v, want a fault of usage", name, err)
			continue
		}
		for _, value := range []string{planted, "943 476 5919", "Quetzalina", "HOSP-77113", "1973-10"} {
			if strings.Contains(err.Error(), value) {
				t.Errorf("%s: the message repeats %q: %v", name, value, err)
			}
		}
	}
}
