package cmd_test

import (
	"bytes"
	"image/png"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

const documentPictures = "docs/images/console"

var pictureOf = regexp.MustCompile(`\]\(images/console/([a-z0-9-]+)\.png\)`)

// documentPictureNames are the names of the pages of which documents show pictures.
func documentPictureNames(t *testing.T) (names []string) {
	t.Helper()
	documents, err := filepath.Glob(filepath.Join(repository(t), "docs", "*.md"))
	must(t, err)
	for _, path := range documents {
		b, err := os.ReadFile(path)
		must(t, err)
		for _, m := range pictureOf.FindAllStringSubmatch(string(b), -1) {
			names = append(names, m[1])
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestDocumentPictures: every picture that a document shows is there, and each that is
// there is shown. That they are of the pages as they are, make pictures sees to.
func TestDocumentPictures(t *testing.T) {
	names := documentPictureNames(t)
	if len(names) < 10 {
		t.Errorf("documents show %q", names)
	}
	for _, name := range names {
		b, err := os.ReadFile(filepath.Join(repository(t), documentPictures, name+".png"))
		if err != nil {
			t.Errorf("a document shows %s, which is not there: make pictures", name)
			continue
		}
		if c, err := png.DecodeConfig(bytes.NewReader(b)); err != nil || c.Width != 1280 {
			t.Errorf("%s is no picture of a page at 1280: %v", name, err)
		}
	}
	files, err := filepath.Glob(filepath.Join(repository(t), documentPictures, "*"))
	must(t, err)
	if len(files) != len(names) {
		t.Errorf("%d pictures are there, and %d are shown", len(files), len(names))
	}
}
