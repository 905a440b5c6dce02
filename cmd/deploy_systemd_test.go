package cmd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// exposure is what a unit of deploy/ may have at most, in tenths, of what systemd-analyze
// security counts up to 100: the host's network and its root are what remains.
const exposure = "12"

// installedUnits copies the units into a folder, with a program that is there in place of
// each that will be.
func installedUnits(t *testing.T) (folder string, units []string) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Skip("systemd-analyze is not installed: the units are not looked at")
	}
	here, err := os.Executable()
	must(t, err)
	folder = t.TempDir()
	found, err := filepath.Glob(filepath.Join(deployFolder, "systemd", "*.service"))
	must(t, err)
	if len(found) != 3 {
		t.Fatalf("there are the units %v", found)
	}
	for _, path := range found {
		b, err := os.ReadFile(path)
		must(t, err)
		text := regexp.MustCompile(`/usr/local/bin/[a-z]+`).ReplaceAll(b, []byte(here))
		must(t, os.WriteFile(filepath.Join(folder, filepath.Base(path)), text, 0o600))
		units = append(units, filepath.Base(path))
	}
	return folder, units
}

// verified runs systemd-analyze on a unit: its words must be right, and what it lets its
// service do little.
func verified(t *testing.T, path string) (said string, ok bool) {
	t.Helper()
	code, words := output(t, "systemd-analyze", "verify", "--man=no", "--recursive-errors=no", path)
	// What other units of the machine are like is not the question.
	lines := regexp.MustCompile(`(?m)^.*`+regexp.QuoteMeta(filepath.Base(path))+`.*$`).FindAllString(words, -1)
	if code != 0 && len(lines) == 0 {
		lines = []string{words}
	}
	code, security := output(t, "systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold="+exposure, path)
	if code != 0 {
		lines = append(lines, security[max(0, len(security)-500):])
	}
	return strings.Join(lines, "\n"), len(lines) == 0
}

func TestUnitsAreHardened(t *testing.T) {
	folder, units := installedUnits(t)
	for _, unit := range units {
		if said, ok := verified(t, filepath.Join(folder, unit)); !ok {
			t.Errorf("%s: %s", unit, said)
		}
	}
}

// TestUnitsThatAreNotAreFound is the control: a unit with each of these is refused.
func TestUnitsThatAreNotAreFound(t *testing.T) {
	folder, units := installedUnits(t)
	for name, change := range map[string][2]string{
		"a word that is none":    {"ProtectSystem=strict", "ProtectSytem=strict"},
		"a value that is none":   {"TimeoutStopSec=", "TimeoutStopSec=soon "},
		"a program that is none": {"ExecStart=/", "ExecStart=/nowhere/"},
		"as root":                {"User=", "#User="},
		"every capability":       {"CapabilityBoundingSet=\n", ""},
		"every system call":      {"SystemCallFilter=", "#SystemCallFilter="},
		"a file system to write": {"ProtectSystem=strict", "ProtectSystem=no"},
	} {
		for _, unit := range units {
			b, err := os.ReadFile(filepath.Join(folder, unit))
			must(t, err)
			broken := strings.ReplaceAll(string(b), change[0], change[1])
			if broken == string(b) {
				t.Fatalf("%s: there is no %q in %s", name, change[0], unit)
			}
			path := filepath.Join(t.TempDir(), unit)
			must(t, os.WriteFile(path, []byte(broken), 0o600))
			if said, ok := verified(t, path); ok {
				t.Errorf("%s in %s is not found: %s", name, unit, said)
			}
		}
	}
}

// TestServicesGoByTheirOwnNames: every user and group of the units is one that sysusers.conf makes and
// tmpfiles.conf gives its folders to.
func TestServicesGoByTheirOwnNames(t *testing.T) {
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(deployFolder, "systemd", name))
		must(t, err)
		return string(b)
	}
	users, folders := read("sysusers.conf"), read("tmpfiles.conf")
	for _, service := range []string{"tokeniser", "keyholder", "witness"} {
		name := "tarn-" + service
		if got := inUnit(t, service, "(?:User|Group)"); len(got) != 2 || got[0] != name || got[1] != name {
			t.Errorf("%s runs as %v", service, got)
		}
		if !regexp.MustCompile(`(?m)^u ` + name + ` `).MatchString(users) {
			t.Errorf("sysusers.conf does not make %s", name)
		}
		if !regexp.MustCompile(`(?m)^d /etc/tarn/` + service + ` 0750 root ` + name + ` -$`).MatchString(folders) {
			t.Errorf("tmpfiles.conf does not make the folder of %s", service)
		}
	}
	// Neither removes anything, and neither reaches beyond its own folders.
	for line := range strings.Lines(folders) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !regexp.MustCompile(`^d /(etc|srv)/tarn(/| )`).MatchString(line) {
			t.Errorf("tmpfiles.conf has the line %q", line)
		}
	}
}
