//go:build heavy

package cmd_test

import (
	"errors"
	"flag"
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

// pictures says that the documents' pictures are made anew, of what is seen now: make
// pictures.
var pictures = flag.Bool("pictures", false, "put the pictures that documents show into docs")

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
	for _, name := range documentPictureNames(t) {
		picture, err := os.ReadFile(filepath.Join(folder, name+"-1280.png"))
		if err != nil {
			t.Errorf("a document shows %s, which no page of the tour is", name)
			continue
		}
		if *pictures {
			must(t, os.WriteFile(filepath.Join(repository(t), documentPictures, name+".png"), picture, 0o644))
		}
	}
}

// TestConsoleWithoutScripts takes the tour in browsers without JavaScript.
func TestConsoleWithoutScripts(t *testing.T) {
	bin := t.TempDir()
	build(t, bin)
	c, b := openClinic(t, filepath.Join(bin, "keyholder"))
	seen := 0
	g := tour.Guide{Clinic: c, Browser: b, Plain: true, Look: func(string, *browser.Person) error { seen++; return nil }}
	if err := g.Tour(t.Context()); err != nil {
		t.Fatal(err)
	}
	if seen < 50 {
		t.Errorf("%d pages were seen", seen)
	}
}

// askFor fills in the form for one patient, and sends it by pressing its button.
func askFor(t *testing.T, c *clinic.Clinic, p *browser.Person, token string, press func() error) {
	t.Helper()
	must(t, p.Open(c.Console+"/ask"))
	must(t, p.Fill("Token", token))
	must(t, p.Choose("Direct care of this patient"))
	must(t, p.Fill("Why do you need to know?", "Called back about a blood result."))
	must(t, press())
}

// doctor is somebody of practice A who has signed in.
func doctor(t *testing.T, c *clinic.Clinic, b *browser.Browser, plain bool) *browser.Person {
	t.Helper()
	p, err := b.Person("doctor")
	must(t, err)
	t.Cleanup(p.Leave)
	if plain {
		must(t, p.SetJavaScript(false))
	}
	must(t, p.Open(c.Console+"/sign-in"))
	must(t, p.Click("Sign in"))
	must(t, p.Choose("AAL2"))
	must(t, p.Click("Dr Ada Example: General practitioner, Z00001"))
	return p
}

// requestsOf are how many requests somebody has made.
func requestsOf(t *testing.T, c *clinic.Clinic, p *browser.Person) int {
	t.Helper()
	must(t, p.Open(c.Console+"/requests"))
	n, err := p.Count("main tbody tr")
	must(t, err)
	return n
}

// TestConsolePressedTwice: a button that is pressed twice, a form that is sent again from
// the page before, and an answer that is loaded again do what pressing once does.
func TestConsolePressedTwice(t *testing.T) {
	bin := t.TempDir()
	build(t, bin)
	c, b := openClinic(t, filepath.Join(bin, "keyholder"))
	patients := c.Of("Z00001")
	p := doctor(t, c, b, false)
	askFor(t, c, p, patients[0].Token, func() error {
		_, err := p.Evaluate(`(() => { const b = document.querySelector("main form button"); b.click(); b.click(); return "" })()`)
		if err != nil {
			return err
		}
		return arrives(p, "/requests/")
	})
	if n := requestsOf(t, c, p); n != 1 {
		t.Errorf("pressed twice it is %d requests", n)
	}
	// The same by going back and sending the form again, where no script hinders it.
	plain := doctor(t, c, b, true)
	askFor(t, c, plain, patients[1].Token, plain.Submit)
	must(t, plain.Back())
	if plain.Path() != "/ask" {
		t.Fatalf("going back leads to %s", plain.Path())
	}
	must(t, plain.Submit()) // the browser shows what was filled in, with the form's number
	if n := requestsOf(t, c, plain); n != 2 {
		t.Errorf("going back makes it %d requests", n)
	}
	must(t, p.Open(c.Console+"/requests"))
	must(t, p.ClickAt("main tbody tr:last-child a"))
	must(t, p.Click("Show who it is"))
	for range 2 { // it is shown twice more to the session that opened it
		must(t, p.Reload())
		if !p.HasText(patients[0].Number) {
			t.Error("loaded again, the answer is gone")
		}
	}
	must(t, p.Reload())
	if p.HasText(patients[0].Number) || p.Status() != 410 || !p.HasText("This was shown already") {
		t.Errorf("a fourth time: status %d", p.Status())
	}
	must(t, p.Open(c.Console+"/"))
	_ = p.Back() // the browser has not kept what was sent for it, and says so
	if p.HasText(patients[0].Number) {
		t.Error("going back shows the patient")
	}
}

// arrives waits until somebody is at a path.
func arrives(p *browser.Person, prefix string) error {
	for begun := time.Now(); !strings.HasPrefix(p.Path(), prefix); time.Sleep(50 * time.Millisecond) {
		if time.Since(begun) > 20*time.Second {
			return fmt.Errorf("%s is at %s and not at %s", p.Name, p.Path(), prefix)
		}
	}
	return nil
}

// TestConsoleTimes: what is not decided in time ends, and what is not reviewed in time is
// seen, with a key holder to which a day is less than a second.
func TestConsoleTimes(t *testing.T) {
	binary := plantFor(t, t.TempDir(), "keyholder",
		patch{"keys/reidentify/request.go", "Lifetime          = 72 * time.Hour", "Lifetime          = 8 * time.Second"},
		patch{"keys/reidentify/policyread.go", `ReviewWithin: "72h"`, `ReviewWithin: "8s"`})
	c, b := openClinic(t, binary)
	becomes := func(p *browser.Person, path, text string) {
		t.Helper()
		for begun := time.Now(); ; time.Sleep(250 * time.Millisecond) {
			must(t, p.Open(c.Console+path))
			if p.HasText(text) {
				return
			}
			if time.Since(begun) > 30*time.Second {
				t.Fatalf("%s does not come to say %q", path, text)
			}
		}
	}
	p := doctor(t, c, b, false)
	askFor(t, c, p, c.Of("Z00002")[0].Token, p.Submit)
	if !p.HasText("Waiting for approval") {
		t.Fatal("it does not wait")
	}
	request := p.Path()
	becomes(p, request, "It was not opened in time")
	// An emergency that nobody reviews.
	must(t, p.Click("Sign out"))
	d, err := b.Person("emergency")
	must(t, err)
	defer d.Leave()
	must(t, d.Open(c.Console+"/emergency"))
	must(t, d.Click("Sign in"))
	const farah = "Dr Farah Example: Emergency clinician, RZZ01"
	must(t, d.Choose("AAL3"))
	must(t, d.Click(farah))
	if d.HasText("First, sign in again") {
		t.Fatal("a sign-in of just now is not fresh")
	}
	glass := func(token string) {
		t.Helper()
		must(t, d.Open(c.Console+"/emergency"))
		must(t, d.Fill("Token", token))
		must(t, d.Fill("What is the emergency?", "Unconscious, allergies not known."))
		must(t, d.Check("I have read what happens, and go on"))
		must(t, d.Submit())
	}
	glass(c.Of("")[0].Token)
	must(t, d.Click("Show who it is"))
	must(t, d.Click("Hide it now"))
	becomes(d, d.Path(), "Review overdue")
	glass(c.Of("")[1].Token)
	if !d.HasText("was not reviewed in time") {
		t.Error("whoever is not reviewed may go on")
	}
}
