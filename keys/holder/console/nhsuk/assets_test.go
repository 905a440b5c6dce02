package nhsuk_test

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"flag"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"tarn/keys/holder/console/nhsuk"
)

var update = flag.Bool("update", false, "derive the assets from the npm package anew")

// source is assets/SOURCE.json.
type source struct {
	Package   string            `json:"package"`
	Version   string            `json:"version"`
	Integrity string            `json:"integrity"` // of the package, as npm has it
	Licence   string            `json:"licence"`
	Files     map[string]string `json:"files"` // SHA-256, hexadecimal
}

const folder = "assets"

// TestAssets derives the assets from the npm package and compares them with those that
// are here.
func TestAssets(t *testing.T) {
	files := derive(t, filepath.Join(modules(t), "dist", "nhsuk"))
	if *update {
		write(t, files)
	}
	for name, content := range files {
		here, err := os.ReadFile(filepath.Join(folder, name))
		if err != nil || !bytes.Equal(here, content) {
			t.Errorf("%s is not what the npm package gives: go test -run TestAssets -update (%v)", name, err)
		}
	}
	if got, want := names(), slices.Sorted(maps.Keys(files)); !slices.Equal(got, want) {
		t.Errorf("the assets are %v, and the npm package gives %v", got, want)
	}
}

func names() []string {
	var all []string
	for _, a := range nhsuk.Assets() {
		all = append(all, a.Name)
	}
	return all
}

func write(t *testing.T, files map[string][]byte) {
	t.Helper()
	for _, name := range names() {
		if err := os.Remove(filepath.Join(folder, name)); err != nil {
			t.Fatal(err)
		}
	}
	s := source{Package: "nhsuk-frontend", Version: nhsuk.Version, Integrity: integrity(t), Licence: "MIT", Files: map[string]string{}}
	for name, content := range files {
		s.Files[name] = digest(content)
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	b, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "SOURCE.json"), append(b, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Fatal("the assets are written: look at the difference, and run the test again")
}

func digest(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// integrity is the package's in the lock of the npm packages.
func integrity(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("../../../../testdata/node/package-lock.json")
	if err != nil {
		t.Fatal(err)
	}
	var lock struct {
		Packages map[string]struct{ Version, Integrity string }
	}
	if err := json.Unmarshal(b, &lock); err != nil {
		t.Fatal(err)
	}
	p := lock.Packages["node_modules/nhsuk-frontend"]
	if p.Version != nhsuk.Version || p.Integrity == "" {
		t.Fatalf("the lock has version %q", p.Version)
	}
	return p.Integrity
}

var (
	fontFace  = regexp.MustCompile(`@font-face\{[^{}]*\}`)
	picture   = regexp.MustCompile(`url\(/assets/images/([a-z-]+)\.svg\)`)
	sourceMap = regexp.MustCompile(`(?m)^(/\*#|//#) sourceMappingURL=.*\n?`)
)

// start starts the script, which the design system leaves to a script of the page.
const start = `document.body.classList.add("js-enabled","nhsuk-frontend-supported");initAll();` + "\n"

// derive makes the assets: the style sheet without its typeface, with its pictures beside
// it, and the script with its start; neither with the map that only its makers need.
func derive(t *testing.T, from string) map[string][]byte {
	t.Helper()
	read := func(parts ...string) []byte {
		b, err := os.ReadFile(filepath.Join(append([]string{from}, parts...)...))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	files := map[string][]byte{}
	add := func(name, extension string, content []byte) string {
		full := name + "." + digest(content)[:16] + extension
		files[full] = content
		return full
	}
	base := "nhsuk-frontend-" + nhsuk.Version
	css := sourceMap.ReplaceAll(read(base+".min.css"), nil)
	if len(fontFace.FindAll(css, -1)) != 2 {
		t.Fatal("the style sheet has not the two weights of its typeface: look at what has changed")
	}
	css = fontFace.ReplaceAll(css, nil)
	css = picture.ReplaceAllFunc(css, func(url []byte) []byte {
		name := string(picture.FindSubmatch(url)[1])
		return []byte("url(" + add(name, ".svg", read("assets", "images", name+".svg")) + ")")
	})
	add(base, ".css", css)
	add(base, ".js", append(sourceMap.ReplaceAll(read(base+".min.js"), nil), start...))
	return files
}

// TestSource: the files are those that SOURCE.json says, of the package that the lock
// has, and a name is its content's.
func TestSource(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(folder, "SOURCE.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s source
	if err := json.Unmarshal(b, &s); err != nil {
		t.Fatal(err)
	}
	if s.Version != nhsuk.Version || s.Integrity != integrity(t) {
		t.Errorf("the assets are of %s, %s", s.Version, s.Integrity)
	}
	if !slices.Equal(names(), slices.Sorted(maps.Keys(s.Files))) {
		t.Errorf("the assets are %v, and SOURCE.json has others", names())
	}
	for _, a := range nhsuk.Assets() {
		sum := digest(a.Content)
		if s.Files[a.Name] != sum || !strings.Contains(a.Name, "."+sum[:16]+".") {
			t.Errorf("%s has the SHA-256 %s", a.Name, sum)
		}
	}
	licence, err := os.ReadFile(filepath.Join(folder, "LICENSE"))
	if err != nil || !bytes.Contains(licence, []byte("MIT License")) {
		t.Errorf("there is no licence: %v", err)
	}
}

// TestAssetsAreServed: what a page needs to serve them.
func TestAssetsAreServed(t *testing.T) {
	kinds := map[string]string{nhsuk.Stylesheet(): "text/css; charset=utf-8", nhsuk.Script(): "text/javascript; charset=utf-8"}
	for _, a := range nhsuk.Assets() {
		if want, ok := kinds[a.Name]; ok && a.ContentType != want {
			t.Errorf("%s is %s", a.Name, a.ContentType)
		}
		r, err := gzip.NewReader(bytes.NewReader(a.Gzip))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || !bytes.Equal(b, a.Content) {
			t.Errorf("%s is another file when it is compressed: %v", a.Name, err)
		}
	}
}

var fetches = regexp.MustCompile(`(?i)@import|@font-face|url\(\s*["']?([^"')]*)|\bimport\s*[("']|\bfetch\(|XMLHttpRequest|sourceMappingURL|<[a-z]+ [^<>]*\b(?:src|href)\s*=|\.(?:src|href)\s*=[^=]`)

// outside is what a file fetches that is not one of the assets beside it.
func outside(content []byte, beside []string) []string {
	var all []string
	for _, found := range fetches.FindAllSubmatch(content, -1) {
		if len(found[1]) == 0 || !slices.Contains(beside, string(found[1])) {
			all = append(all, string(found[0]))
		}
	}
	return all
}

// TestNothingIsFetchedFromElsewhere: a page loads these files and no other.
func TestNothingIsFetchedFromElsewhere(t *testing.T) {
	for _, a := range nhsuk.Assets() {
		if found := outside(a.Content, names()); len(found) > 0 {
			t.Errorf("%s fetches: %q", a.Name, found)
		}
	}
	for _, planted := range []string{`@font-face{a:b}`, `a{b:url(https://c)}`, `a{b:url("/c.svg")}`, `@import "a"`, `import("a")`, `fetch("a")`, `//# sourceMappingURL=a`, `<use b="c" href="a"/>`, `a.src="b"`} {
		if len(outside([]byte(planted), names())) == 0 {
			t.Errorf("%s is not seen", planted)
		}
	}
}

// TestThereIsNoLogo: nothing that is served has the letters of the NHS logo, which are a
// path that begins so in the design system's header and pictures.
func TestThereIsNoLogo(t *testing.T) {
	const path = "M200 0v80H0V0h200Z"
	header := nhsuk.Header{Service: nhsuk.HeaderService{Text: "Service", Href: "/"}, Organisation: nhsuk.Organisation{Name: "Organisation"}}.Render()
	for name, content := range map[string][]byte{"the header": []byte(header), "the style sheet": find(t, nhsuk.Stylesheet()), "the script": find(t, nhsuk.Script())} {
		if bytes.Contains(content, []byte(path)) || bytes.Contains(content, []byte("NHS</title>")) {
			t.Errorf("%s has the logo", name)
		}
	}
	control, err := os.ReadFile(filepath.Join(modules(t), "dist", "nhsuk", "components", "header", "template.njk"))
	if err != nil || !bytes.Contains(control, []byte(path)) {
		t.Errorf("the design system's header has another logo than is looked for: %v", err)
	}
}

func find(t *testing.T, name string) []byte {
	t.Helper()
	for _, a := range nhsuk.Assets() {
		if a.Name == name {
			return a.Content
		}
	}
	t.Fatalf("there is no %s", name)
	return nil
}
