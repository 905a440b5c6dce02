package browser_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"html"
	"image/png"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/bench/browser"
	"tarn/keys/trialcert"
)

// page is a page of the test's server.
func page(w io.Writer, title, body string) {
	_, _ = fmt.Fprintf(w, `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,"><title>%s</title></head><body>%s</body></html>`, title, body)
}

const start = `<header><a href="/">Home</a></header><main><h1>Start</h1>
<p><a href="/second">Second <span>page</span></a> <a href="/hidden" style="display:none">Hidden</a></p>
<details><summary>More</summary><p>It is open</p></details>
<form action="/sent" method="post" enctype="multipart/form-data">
<p><label for="who">Who</label> <input id="who" name="name" value="before"></p>
<p><label for="why">Why</label> <textarea id="why" name="why"></textarea></p>
<p><label for="short">Short</label> <input id="short" name="short" maxlength="3"></p>
<fieldset><legend>Which</legend><p><input type="radio" id="one" name="which" value="1" checked> <label for="one">One</label></p><p><input type="radio" id="two" name="which" value="2"> <label for="two">Two</label></p></fieldset>
<p><label for="list">List</label> <select id="list" name="list"><option value="a">Alpha</option><option value="b">Beta</option></select></p>
<p><input type="checkbox" id="sure" name="sure" value="yes"> <label for="sure">Sure</label></p>
<p><label for="file">A file</label> <input type="file" id="file" name="file"></p>
<p><button>Send</button></p></form></main>`

// site serves the test's pages. Each folder of certificates is another server's.
func site(t *testing.T) (address, certificate string) {
	t.Helper()
	folder := t.TempDir()
	if err := trialcert.Make(folder, []string{"127.0.0.1"}, nil, time.Now()); err != nil {
		t.Fatal(err)
	}
	certificate = filepath.Join(folder, trialcert.ServerCert)
	pair, err := tls.LoadX509KeyPair(certificate, filepath.Join(folder, trialcert.ServerKey))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(pages())
	s.TLS = &tls.Config{MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair}}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, certificate
}

func pages() http.Handler {
	routes := http.NewServeMux()
	plain := func(path, title, body string) {
		routes.HandleFunc("GET "+path, func(w http.ResponseWriter, _ *http.Request) { page(w, title, body) })
	}
	plain("/{$}", "Start", start)
	plain("/second", "Second", `<main><h1>Second</h1><p>Here   it
		is.</p></main>`)
	plain("/wide", "Wide", `<main><h1>Wide</h1><div class="far" style="width:50rem">x</div></main>`)
	plain("/pale", "Pale", `<main><h1>Pale</h1><p style="color:#bbb;background:#fff">pale</p></main>`)
	plain("/outside", "Outside", `<main><h1>Outside</h1><img alt="" src="https://192.0.2.1/a.png"><img alt="" src="https://example.org/b.png"></main>`)
	plain("/script", "Script", `<main><h1>Script</h1><script>document.title = "run"; console.log("said", 1); nothing.there()</script></main>`)
	plain("/covered", "Covered", `<main><h1>Covered</h1><a href="/second">Under</a><div style="position:fixed;inset:0;background:#fff"></div></main>`)
	plain("/twice", "Twice", `<main><h1>Twice</h1><a href="/">Same</a> <a href="/">Same</a> <a href="/second">Open</a> <a href="/">Open</a></main>`)
	routes.HandleFunc("GET /policy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; img-src data:")
		page(w, "Policy", `<main><h1>Policy</h1><script>document.title = "run"</script></main>`)
	})
	routes.HandleFunc("GET /in", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "__Host-test", Value: "v", Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, "/cookie", http.StatusSeeOther)
	})
	routes.HandleFunc("GET /cookie", func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie("__Host-test")
		page(w, "Cookie", fmt.Sprintf("<main><h1>Cookie</h1><p>there: %v %v</p></main>", err == nil, c != nil && c.Value == "v"))
	})
	routes.HandleFunc("GET /no", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		page(w, "No", "<main><h1>No</h1></main>")
	})
	routes.HandleFunc("GET /file", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/csv")
		w.Header().Set("Content-Disposition", `attachment; filename="list.csv"`)
		_, _ = io.WriteString(w, "row\r\n1\r\n")
	})
	plain("/files", "Files", `<main><h1>Files</h1><a href="/file">Save the list</a> <a href="/no">No list</a></main>`)
	routes.HandleFunc("POST /sent", sent)
	return routes
}

// sent shows what a form has sent.
func sent(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseMultipartForm(1 << 20); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	var words []string
	for _, name := range []string{"name", "why", "short", "which", "list", "sure"} {
		words = append(words, name+"="+strings.ReplaceAll(r.PostFormValue(name), "\r\n", "|"))
	}
	if f, header, err := r.FormFile("file"); err == nil {
		b, _ := io.ReadAll(f)
		words = append(words, "file="+header.Filename+":"+string(b))
	}
	page(w, "Sent", "<main><h1>Sent</h1><p>"+html.EscapeString(strings.Join(words, " "))+"</p></main>")
}

// begin starts a browser that believes a certificate.
func begin(t *testing.T, certificates ...string) *browser.Browser {
	t.Helper()
	b, err := browser.Start(t.Context(), browser.Options{Certificates: certificates, Step: 20 * time.Second})
	if errors.Is(err, browser.ErrNone) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

func person(t *testing.T, b *browser.Browser, name string) *browser.Person {
	t.Helper()
	p, err := b.Person(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Leave)
	return p
}

func must(t *testing.T, all ...error) {
	t.Helper()
	if err := errors.Join(all...); err != nil {
		t.Fatal(err)
	}
}

// refused fails unless an error says a text.
func refused(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Errorf("it says %v, not %q", err, text)
	}
}

// TestBrowser: in one browser for all, since it takes a second to start.
func TestBrowser(t *testing.T) {
	address, certificate := site(t)
	b := begin(t, certificate)
	for name, f := range map[string]func(*testing.T, *browser.Person, string){
		"walk": walk, "form": form, "misses": misses, "requests": requests, "console": consoleSays, "scripts": scripts, "keyboard": keyboard, "accessible": accessible, "wide": wide, "picture": picture, "download": download,
	} {
		t.Run(name, func(t *testing.T) { f(t, person(t, b, name), address) })
	}
	t.Run("cookies", func(t *testing.T) { cookies(t, b, address) })
	t.Run("certificate", func(t *testing.T) { strangers(t, b, address) })
}

// walk goes through pages, and knows where it is.
func walk(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address+"/?q=1"))
	at := func(title, path string, status int) {
		t.Helper()
		if p.Title() != title || p.Path() != path || p.Status() != status {
			t.Errorf("on %q at %s with %d, not %q at %s with %d", p.Title(), p.Path(), p.Status(), title, path, status)
		}
	}
	at("Start", "/", 200)
	must(t, p.Click("Second page"))
	at("Second", "/second", 200)
	if text, err := p.Text(); err != nil || text != "Second Here it is." || !p.HasText("Here it  is") || p.HasText("Home") {
		t.Errorf("the text is %q: %v", text, err)
	}
	must(t, p.Reload())
	at("Second", "/second", 200)
	must(t, p.Back())
	if p.Title() != "Start" || p.URL() != address+"/?q=1" {
		t.Errorf("back is %q", p.Title())
	}
	if n, err := p.Count("main p"); err != nil || n != 11 {
		t.Errorf("%d paragraphs: %v", n, err)
	}
	must(t, p.Press("More"))
	if !p.HasText("It is open") {
		t.Error("it is not open")
	}
	must(t, p.Open(address+"/no"))
	at("No", "/no", 403)
	if got := p.Header("content-type"); !strings.HasPrefix(got, "text/html") {
		t.Errorf("it has type %q", got)
	}
	must(t, p.Open(address+"/missing"))
	if p.Status() != 404 {
		t.Errorf("status %d", p.Status())
	}
}

// form: what is filled in arrives, and what was there before does not.
func form(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address))
	must(t, p.Fill("Who", "Ada <b>"), p.Fill("why", "two\nlines"), p.Fill("Why", "other\nlines"), p.Choose("Two"), p.Choose("Beta"), p.Check("Sure"), p.Upload("A file", "a list.csv", []byte("token\nx")))
	must(t, p.Submit())
	if want := "name=Ada <b> why=other|lines short= which=2 list=b sure=yes file=a list.csv:token x"; !p.HasText(want) {
		text, _ := p.Text()
		t.Errorf("what arrived is %q", text)
	}
	must(t, p.Back(), p.Fill("Who", ""), p.Choose("One"), p.Uncheck("Sure"), p.Click("Send"))
	if !p.HasText("name= why") || !p.HasText("which=1") || !p.HasText("sure= ") {
		text, _ := p.Text()
		t.Errorf("what arrived is %q", text)
	}
	if all := p.Requests(); !slices.Contains(all, browser.Request{URL: address + "/sent", Method: "POST", Type: "Document"}) {
		t.Errorf("it asked for %v", all)
	}
}

// misses: what is not there is not found, and the error says what, and where.
func misses(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address))
	err := p.Click("Third page")
	refused(t, err, `misses: looking for the link or button "Third page": there is none, on the page "Start" at /`)
	if strings.Contains(err.Error(), "Alpha") {
		t.Errorf("it tells of the page: %v", err)
	}
	refused(t, p.Click("Hidden"), "there is none")
	refused(t, p.Fill("Which", "x"), "there is none")
	refused(t, p.Fill("Short", "longer"), "did not take all")
	refused(t, p.Choose("Three"), "there is none")
	refused(t, p.Check("Two"), "there is none")
	refused(t, p.Upload("Who", "f", nil), "there is none")
	must(t, p.Open(address+"/covered"))
	refused(t, p.Click("Under"), "something lies over it")
	must(t, p.Open(address+"/twice"))
	refused(t, p.Click("Open"), "there are 2")
	refused(t, p.Submit(), "there is none")
	must(t, p.ClickAt(`a[href="/second"]`))
	must(t, p.Back(), p.Click("Same"))
	if p.Title() != "Start" {
		t.Errorf("on %q", p.Title())
	}
	refused(t, p.Open("https://127.0.0.1:9/"), "net::ERR")
	must(t, p.Open(address+"/second"))
	if p.Title() != "Second" || p.Status() != 200 {
		t.Errorf("after a page that did not come, on %q with %d", p.Title(), p.Status())
	}
}

// requests: everything that a page asks for is seen, and nothing leaves this machine.
func requests(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address+"/second"))
	if got := browser.Elsewhere(p.Requests(), address); len(got) != 0 {
		t.Errorf("a page of its own asked for %q", got)
	}
	must(t, p.Open(address+"/outside"))
	all := p.Requests()
	want := []string{"https://192.0.2.1/a.png", "https://example.org/b.png"}
	if got := browser.Elsewhere(all, address); !reflect.DeepEqual(slices.Sorted(slices.Values(got)), want) {
		t.Errorf("it asked for %q, not %q", got, want)
	}
	if len(all) != 3 || all[0] != (browser.Request{URL: address + "/outside", Method: "GET", Type: "Document"}) || all[1].Type != "Image" {
		t.Errorf("it asked for %v", all)
	}
	if again := p.Requests(); len(again) != 0 {
		t.Errorf("told twice: %v", again)
	}
	if got := browser.Elsewhere([]browser.Request{{URL: address + "0/"}}, address); len(got) != 1 {
		t.Error("an origin that begins alike is taken for it")
	}
}

// consoleSays: what a page's scripts say, where they fail, and what its policy forbids.
func consoleSays(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address+"/second"))
	if all := p.Complaints(); len(all) != 0 {
		t.Errorf("a quiet page says %v", all)
	}
	must(t, p.Open(address+"/script"))
	all := p.Complaints()
	if len(all) != 2 || all[0] != (browser.Complaint{Kind: browser.FromConsole, Text: "log: said 1"}) || all[1].Kind != browser.FromException || !strings.Contains(all[1].Text, "nothing is not defined") {
		t.Errorf("it says %q", all)
	}
	must(t, p.Open(address+"/policy"))
	all = p.Complaints()
	if len(all) != 1 || all[0].Kind != browser.FromPolicy || p.Title() != "Policy" {
		t.Errorf("it says %q", all)
	}
	if got, err := p.Evaluate("1 + 1"); err != nil || got != "2" {
		t.Errorf("a script of the test gives %q: %v", got, err)
	}
}

// scripts are switched off and on, and all else works without.
func scripts(t *testing.T, p *browser.Person, address string) {
	must(t, p.SetJavaScript(false), p.Open(address+"/script"))
	if p.Title() != "Script" {
		t.Error("a script has run")
	}
	must(t, p.Open(address), p.Fill("Who", "Ada"), p.Choose("Two"), p.Submit())
	if !p.HasText("name=Ada") || !p.HasText("which=2") {
		t.Error("a form needs scripts")
	}
	if _, err := p.Axe("0"); err == nil {
		t.Error("axe-core looks without scripts")
	}
	must(t, p.SetJavaScript(true), p.Open(address+"/script"))
	if p.Title() != "run" {
		t.Error("no script has run")
	}
}

// keyboard: the tab key reaches what can be used, in the page's order.
func keyboard(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address), p.Fill("Why", "x")) // the focus is somewhere else
	got, err := p.Tabs()
	must(t, err)
	want := []string{"a Home", "a Second page", "summary More", "input Who", "textarea Why", "input Short", "input One", "select List", "input Sure", "input A file", "button Send"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("the tab key reaches %q, not %q", got, want)
	}
	must(t, p.Open(address))
	must(t, p.Key("\t"), p.Key("\t"), p.Enter())
	if p.Title() != "Second" {
		t.Errorf("the enter key leads to %q", p.Title())
	}
}

// axe is the source of axe-core.
func axe(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("TARN_NODE_MODULES")
	if folder == "" {
		folder = "../../build/node/node_modules"
	}
	b, err := os.ReadFile(filepath.Join(folder, "axe-core", "axe.min.js"))
	if err != nil {
		t.Skip("no axe-core: run npm ci with testdata/node/package.json and name its node_modules in TARN_NODE_MODULES")
	}
	return string(b)
}

func accessible(t *testing.T, p *browser.Person, address string) {
	source := axe(t)
	must(t, p.Open(address+"/pale"))
	found, err := p.Axe(source)
	must(t, err)
	if len(found) != 1 || found[0].Rule != "color-contrast" || len(found[0].At) != 1 {
		t.Errorf("axe-core sees %v", found)
	}
	must(t, p.Open(address+"/second"))
	if found, err := p.Axe(source); err != nil || len(found) != 0 {
		t.Errorf("axe-core sees %v: %v", found, err)
	}
	if _, err := p.Axe(`window.axe = {run: () => Promise.resolve({violations: [], passes: []})}`); err == nil || !strings.Contains(err.Error(), "it is blind") {
		t.Errorf("one that looks at nothing: %v", err)
	}
}

func wide(t *testing.T, p *browser.Person, address string) {
	must(t, p.Width(browser.Phone), p.Open(address+"/wide"))
	if got, err := p.TooWide(browser.Phone); err != nil || !slices.Contains(got, "div.far") {
		t.Errorf("too wide is %q: %v", got, err)
	}
	must(t, p.Open(address+"/second"))
	if got, err := p.TooWide(browser.Phone); err != nil || len(got) != 0 {
		t.Errorf("too wide is %q: %v", got, err)
	}
}

func picture(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address))
	for _, width := range []int{browser.Desk, browser.Phone} {
		must(t, p.Width(width))
		b, err := p.Screenshot()
		must(t, err)
		config, err := png.DecodeConfig(bytes.NewReader(b))
		if err != nil || config.Width != width || config.Height < 500 {
			t.Errorf("a picture of %d x %d: %v", config.Width, config.Height, err)
		}
	}
}

// download: a file is had, as often as wanted, and the page stays; a page is no file.
func download(t *testing.T, p *browser.Person, address string) {
	must(t, p.Open(address+"/files"))
	for range 2 {
		name, content, err := p.Download("Save the list")
		if err != nil || name != "list.csv" || string(content) != "row\r\n1\r\n" || p.Path() != "/files" {
			t.Errorf("%q is %q on %s: %v", name, content, p.Path(), err)
		}
	}
	_, _, err := p.Download("No list")
	refused(t, err, "a page came instead")
	must(t, p.Open(address+"/second"))
}

// cookies: two people in one browser have nothing of each other's.
func cookies(t *testing.T, b *browser.Browser, address string) {
	ada, other := person(t, b, "ada"), person(t, b, "other")
	must(t, ada.Open(address+"/in"), other.Open(address+"/cookie"))
	if !ada.HasText("there: true true") || ada.Path() != "/cookie" || !other.HasText("there: false false") {
		t.Error("the cookie is not where it belongs")
	}
	got, err := ada.Cookies()
	want := []browser.Cookie{{Name: "__Host-test", Value: "v", Domain: "127.0.0.1", Path: "/", Secure: true, HTTPOnly: true, Session: true, SameSite: "Lax"}}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("the cookies are %+v: %v", got, err)
	}
	if got, err := other.Cookies(); err != nil || len(got) != 0 {
		t.Errorf("the other's cookies are %+v: %v", got, err)
	}
	must(t, other.SetCookie(browser.Cookie{Name: "__Host-test", Value: "planted", Path: "/", Secure: true}), other.Reload())
	if !other.HasText("there: true false") {
		t.Error("a planted cookie is not sent")
	}
}

// strangers: a server with another certificate is not believed, and after that all goes on.
func strangers(t *testing.T, b *browser.Browser, address string) {
	p := person(t, b, "walker")
	another, _ := site(t)
	refused(t, p.Open(another), "ERR_CERT")
	if p.Status() != 0 {
		t.Errorf("status %d of a server that is not believed", p.Status())
	}
	must(t, p.Open(address+"/second"))
	if p.Title() != "Second" {
		t.Errorf("on %q", p.Title())
	}
}

// TestBrowserBelievesNobody: without certificates, no server of this machine is believed.
func TestBrowserBelievesNobody(t *testing.T) {
	address, _ := site(t)
	refused(t, person(t, begin(t), "walker").Open(address), "ERR_CERT")
}

// TestStepsEnd: a page that does not come is an error when the step's time is up.
func TestStepsEnd(t *testing.T) {
	address, certificate := site(t)
	b, err := browser.Start(t.Context(), browser.Options{Certificates: []string{certificate}, Step: 2 * time.Second})
	if errors.Is(err, browser.ErrNone) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { _ = b.Close() })
	p := person(t, b, "walker")
	must(t, p.Open(address))
	refused(t, p.Click("More"), "no page came in time")
	must(t, p.Click("Second page"))
}

// TestWhatIsNoBrowser: a program or a certificate that cannot be used is told.
func TestWhatIsNoBrowser(t *testing.T) {
	t.Setenv("TARN_CHROMIUM", "")
	t.Setenv("PATH", t.TempDir())
	if _, err := browser.Start(t.Context(), browser.Options{}); !errors.Is(err, browser.ErrNone) {
		t.Errorf("without one: %v", err)
	}
	if _, err := browser.Start(t.Context(), browser.Options{Program: filepath.Join(t.TempDir(), "none")}); err == nil || errors.Is(err, browser.ErrNone) {
		t.Errorf("with one that is none: %v", err)
	}
	empty := filepath.Join(t.TempDir(), "empty.pem")
	must(t, os.WriteFile(empty, nil, 0o600))
	for _, one := range []string{empty, filepath.Join(t.TempDir(), "none.pem")} {
		if _, err := browser.Start(context.Background(), browser.Options{Program: "x", Certificates: []string{one}}); err == nil || !strings.Contains(err.Error(), "certificate") {
			t.Errorf("with %s: %v", filepath.Base(one), err)
		}
	}
}
