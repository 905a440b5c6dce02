//go:build heavy

package cmd_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/bench/browser"
	"tarn/bench/clinic"
	"tarn/bench/tour"
)

// The key holder's pages, as people use them: the program itself, a real provider of
// sign-ins, and a real browser.

// openClinic opens a clinic, with a browser that believes it.
func openClinic(t *testing.T, binary string) (*clinic.Clinic, *browser.Browser) {
	t.Helper()
	c, err := clinic.Open(t.Context(), clinic.Options{Folder: t.TempDir(), Binary: binary, Software: "test", Clock: time.Now})
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	b, err := browser.Start(t.Context(), browser.Options{Certificates: []string{c.Certificate}})
	if errors.Is(err, browser.ErrNone) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { must(t, b.Close()) })
	return c, b
}

// axeCore is the source of axe-core.
func axeCore(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("TARN_NODE_MODULES")
	if folder == "" {
		folder = filepath.Join(repository(t), "build", "node", "node_modules")
	}
	b, err := os.ReadFile(filepath.Join(folder, "axe-core", "axe.min.js"))
	if err != nil {
		t.Skip("no axe-core: make node, or name its node_modules in TARN_NODE_MODULES")
	}
	return string(b)
}

// judge holds every page of a tour to what all pages have to be, and keeps its picture.
type judge struct {
	t       *testing.T
	axe     string
	origins []string
	folder  string
	seen    []string
}

// once are pages that are not asked for again: what they show was had once.
func (j *judge) look(name string, p *browser.Person) error {
	if slices.Contains(j.seen, name) {
		return fmt.Errorf("%s was seen before", name)
	}
	j.seen = append(j.seen, name)
	for _, width := range []int{browser.Phone, browser.Desk} {
		if err := p.Width(width); err != nil {
			return err
		}
		if err := p.Save(filepath.Join(j.folder, fmt.Sprintf("%s-%d.png", name, width))); err != nil {
			return err
		}
		violations, err := p.Axe(j.axe)
		if err != nil {
			return err
		}
		for _, v := range violations {
			j.t.Errorf("%s at %d: %s", name, width, v)
		}
		wide, err := p.TooWide(width)
		if err != nil {
			return err
		}
		if len(wide) > 0 {
			j.t.Errorf("%s is wider than %d: %q", name, width, wide)
		}
	}
	if policy := p.Header("Content-Security-Policy"); !strings.Contains(policy, "default-src 'none'") {
		j.t.Errorf("%s has the policy %q", name, policy)
	}
	if elsewhere := browser.Elsewhere(p.Requests(), j.origins...); len(elsewhere) > 0 {
		j.t.Errorf("%s asks elsewhere: %q", name, elsewhere)
	}
	for _, c := range p.Complaints() {
		if !strings.Contains(fmt.Sprint(c), "status of 4") { // the page itself was refused
			j.t.Errorf("%s: the browser complains: %v", name, c)
		}
	}
	return nil
}

// TestConsole takes the tour: every page at the width of a desk and of a telephone.
func TestConsole(t *testing.T) {
	axe := axeCore(t)
	bin := t.TempDir()
	build(t, bin)
	c, b := openClinic(t, filepath.Join(bin, "keyholder"))
	folder := filepath.Join(repository(t), "build", "console")
	must(t, os.RemoveAll(folder))
	must(t, os.MkdirAll(folder, 0o755))
	j := &judge{t: t, axe: axe, origins: []string{c.Console, c.Provider.URL}, folder: folder}
	g := tour.Guide{Clinic: c, Browser: b, Look: j.look}
	if err := g.Tour(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !c.Duty.Wait("break-glass") {
		t.Error("nobody was told of the emergency")
	}
	if len(j.seen) < 50 {
		t.Errorf("%d pages were seen", len(j.seen))
	}
}
