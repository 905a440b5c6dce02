package cmd_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"
)

var (
	fence   = regexp.MustCompile("(?ms)^```.*?^```$")
	code    = regexp.MustCompile("`[^`\n]*`")
	link    = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
)

// documents returns every Markdown file of a checkout, and nothing built or
// fetched into it.
func documents(t *testing.T, root string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && slices.Contains([]string{".git", ".venv", "bin", "build", "node_modules"}, entry.Name()) {
			return fs.SkipDir
		}
		if strings.HasSuffix(path, ".md") {
			files = append(files, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// anchor returns the name that a heading gets on the usual code hosts.
func anchor(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.ReplaceAll(heading, "`", "")) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	return b.String()
}

func hasAnchor(t *testing.T, file, name string) bool {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(string(text), ""), -1) {
		if anchor(m[1]) == name {
			return true
		}
	}
	return false
}

// brokenLinks returns the links of a document that lead nowhere inside the
// checkout, and how many it looked at. Addresses elsewhere are not tried.
func brokenLinks(t *testing.T, root, file string) (broken []string, checked int) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	prose := code.ReplaceAllString(fence.ReplaceAllString(string(text), ""), "")
	for _, m := range link.FindAllStringSubmatch(prose, -1) {
		target := m[1]
		if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
			continue
		}
		checked++
		path, name, _ := strings.Cut(target, "#")
		to := file
		if path != "" {
			to = filepath.Join(filepath.Dir(file), filepath.FromSlash(path))
		}
		inside, err := filepath.Rel(root, to)
		if err != nil || strings.HasPrefix(inside, "..") {
			broken = append(broken, target+" (outside the repository)")
			continue
		}
		info, err := os.Stat(to)
		switch {
		case err != nil:
			broken = append(broken, target)
		case name != "" && (info.IsDir() || !hasAnchor(t, to, name)):
			broken = append(broken, target+" (no such heading)")
		}
	}
	return broken, checked
}

func TestLinksOfDocuments(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	total := 0
	for _, file := range documents(t, root) {
		broken, checked := brokenLinks(t, root, file)
		total += checked
		for _, target := range broken {
			t.Errorf("%s: broken link %s", strings.TrimPrefix(file, root+"/"), target)
		}
	}
	if total == 0 {
		t.Fatal("checked no link: the test is blind")
	}
	t.Logf("checked %d links", total)
}

func TestLinksOfDocumentsFindsPlantedOnes(t *testing.T) {
	root := t.TempDir()
	file := filepath.Join(root, "a.md")
	text := "# A heading: `x` & more\n" +
		"[whole](a.md) [self](#a-heading-x--more) [other](b.md) [gone](a.md#no-such) [self](#gone) [out](../a.md)\n" +
		"[web](https://example.org/b.md) `[code](c.md)`\n```\n[fenced](d.md)\n# fenced heading\n```\n[fenced](#fenced-heading)\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	broken, checked := brokenLinks(t, root, file)
	want := []string{"b.md", "a.md#no-such (no such heading)", "#gone (no such heading)", "../a.md (outside the repository)", "#fenced-heading (no such heading)"}
	if !slices.Equal(broken, want) || checked != 7 {
		t.Errorf("checked %d, broken %q, want 7 and %q", checked, broken, want)
	}
}

// TestDocumentsNameTargetsThatExist holds the commands the documents tell
// people to type to the Makefile.
func TestDocumentsNameTargetsThatExist(t *testing.T) {
	makefile, err := os.ReadFile("../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	target := regexp.MustCompile("(?m)(?:`|^)make ([a-z][a-z-]*)")
	checked := 0
	for _, name := range []string{"README.md", "CONTRIBUTING.md"} {
		text, err := os.ReadFile(filepath.Join("..", name))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range target.FindAllStringSubmatch(string(text), -1) {
			checked++
			if !regexp.MustCompile(`(?m)^` + m[1] + `:`).Match(makefile) {
				t.Errorf("%s names `make %s`, which does not exist", name, m[1])
			}
		}
	}
	if checked == 0 {
		t.Fatal("checked no target: the test is blind")
	}
}
