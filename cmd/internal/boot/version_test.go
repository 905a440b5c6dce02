package boot

import (
	"regexp"
	"runtime/debug"
	"strings"
	"testing"
)

func TestSemanticVersion(t *testing.T) {
	for described, want := range map[string]string{
		"":                         "0.1.0-dev",
		"67aa2ed":                  "0.1.0-dev+g67aa2ed",
		"67aa2ed-dirty":            "0.1.0-dev+g67aa2ed.dirty",
		"v1.2.3":                   "1.2.3",
		"1.2.3":                    "1.2.3",
		"v1.2.3-dirty":             "1.2.3+dirty",
		"v1.2.3-4-g67aa2ed":        "1.2.3+4.g67aa2ed",
		"v1.2.3-4-g67aa2ed-dirty":  "1.2.3+4.g67aa2ed.dirty",
		"v1.2.3-rc.1":              "1.2.3-rc.1",
		"v1.2.3-rc.1-14-g67aa2ede": "1.2.3-rc.1+14.g67aa2ede",
		"nightly":                  "0.1.0-dev",
		"v1.2.3\nx":                "0.1.0-dev",
	} {
		if got := semantic(described); got != want {
			t.Errorf("semantic(%q) = %q, want %q", described, got, want)
		}
	}
}

func TestSoftwareNamesTheProduct(t *testing.T) {
	form := regexp.MustCompile(`^tarn \d+\.\d+\.\d+(-[0-9A-Za-z.]+)?(\+[0-9A-Za-z.]+)?$`)
	if got := Software(); !form.MatchString(got) {
		t.Errorf("Software() = %q", got)
	}
	if got := versionText(); !strings.HasPrefix(got, Version()+" (go") {
		t.Errorf("versionText() = %q", got)
	}
}

func TestDescribeBuild(t *testing.T) {
	info := &debug.BuildInfo{Settings: []debug.BuildSetting{
		{Key: "vcs.revision", Value: "67aa2ed0123456789"}, {Key: "vcs.modified", Value: "true"},
	}}
	if got := describeBuild(info, true); got != "67aa2ed-dirty" {
		t.Errorf("got %q", got)
	}
	if got := describeBuild(&debug.BuildInfo{}, true) + describeBuild(nil, false); got != "" {
		t.Errorf("without a revision: %q", got)
	}
}
