package boot

import (
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
)

// nextRelease is the version of a build that no tag names.
const nextRelease = "0.1.0-dev"

// version is what `git describe --tags --always --dirty` said when the binary
// was built, set by the linker (-X tarn/cmd/internal/boot.version=...); empty
// in a plain `go build`. Nothing else writes it.
var version string

// Version returns the version in the form of semver.org, such as "0.1.0",
// "0.1.0+4.g67aa2ed" (four commits later) or "0.1.0-dev+g67aa2ed.dirty" (no
// tag yet, uncommitted changes).
func Version() string {
	described := version
	if described == "" {
		described = describeBuild(debug.ReadBuildInfo())
	}
	return semantic(described)
}

// Software returns the name and version that documents carry in their
// `software` member, such as "tarn 0.1.0+4.g67aa2ed".
func Software() string { return "tarn " + Version() }

// versionText is what --version prints after the binary's name.
func versionText() string {
	return fmt.Sprintf("%s (%s %s/%s)", Version(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// describeBuild gives what the Go tool recorded in the form of git describe.
func describeBuild(info *debug.BuildInfo, ok bool) string {
	if !ok {
		return ""
	}
	var revision, dirty string
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision" && len(s.Value) >= 7:
			revision = s.Value[:7]
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "-dirty"
		}
	}
	if revision == "" {
		return ""
	}
	return revision + dirty
}

var (
	taggedForm = regexp.MustCompile(`^v?(\d+\.\d+\.\d+(?:-[0-9A-Za-z.]+)??)(?:-(\d+)-(g[0-9a-f]+))?$`)
	commitForm = regexp.MustCompile(`^[0-9a-f]{7,40}$`)
)

// semantic turns the output of git describe into a semantic version. What it
// does not recognise (an empty text, a tag of another form) becomes the next
// release's development version.
func semantic(described string) string {
	described, dirty := strings.CutSuffix(described, "-dirty")
	base, build := nextRelease, []string(nil)
	if m := taggedForm.FindStringSubmatch(described); m != nil {
		base = m[1]
		if m[2] != "" {
			build = append(build, m[2], m[3])
		}
	} else if commitForm.MatchString(described) {
		build = append(build, "g"+described)
	}
	if dirty {
		build = append(build, "dirty")
	}
	if len(build) == 0 {
		return base
	}
	return base + "+" + strings.Join(build, ".")
}
