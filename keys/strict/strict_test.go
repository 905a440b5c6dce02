package strict_test

import (
	"errors"
	"strings"
	"testing"

	"tarn/keys/strict"
)

type Inner struct {
	Roles []string `toml:"roles"`
}

type document struct {
	Name   string `toml:"name"`
	Groups []struct {
		Inner
		Most int `toml:"most"`
	} `toml:"group"`
}

// TestTOML: what is known is read, defaults stay, and what is not known is said with what
// is nearest.
func TestTOML(t *testing.T) {
	d := document{Name: "default"}
	if err := strict.TOML([]byte("[[group]]\nroles = [\"R1\"]\nmost = 2\n"), &d); err != nil || d.Name != "default" || len(d.Groups) != 1 || d.Groups[0].Roles[0] != "R1" || d.Groups[0].Most != 2 {
		t.Fatalf("%+v: %v", d, err)
	}
	var unknown *strict.UnknownError
	err := strict.TOML([]byte("nmae = \"x\"\n[[group]]\nrole = [\"R1\"]\nzebra = 1\n"), &d)
	if !errors.As(err, &unknown) || len(unknown.Keys) != 3 {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"there is no key nmae (did you mean name?)", "there is no key group.role (did you mean group.roles?)", "there is no key group.zebra"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not say %q", err, want)
		}
	}
	err = strict.TOML([]byte("name = \"Quetzalina\"\n[[group]]\nmost = \"Quetzalina\"\n"), &d)
	if err == nil || errors.As(err, &unknown) || !strings.Contains(err.Error(), "line 3") || strings.Contains(err.Error(), "Quetzalina") {
		t.Errorf("a text for a number: %v", err)
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{"nmae": "name", "name": "name", "group": "group", "zebra": "", "da": "day", "dxy": "day", "xxy": ""} {
		if got := strict.Nearest(name, []string{"name", "group", "day"}); got != want {
			t.Errorf("%q is nearest to %q, want %q", name, got, want)
		}
	}
}
