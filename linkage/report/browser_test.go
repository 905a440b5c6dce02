package report_test

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

var screenshots = flag.String("screenshots", "", "folder for pictures of the report in each colour scheme and width, and of its print")

// browser starts a headless Chromium whose every connection would go to a proxy
// that is not there.
func browser(t *testing.T) context.Context {
	t.Helper()
	program := os.Getenv("TARN_CHROMIUM")
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil && program == "" {
			program = path
		}
	}
	if program == "" {
		t.Skip("no Chromium: install it (Debian: apt-get install chromium) or name it in TARN_CHROMIUM")
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program), chromedp.NoSandbox, chromedp.DisableGPU,
		chromedp.ProxyServer("127.0.0.1:9"), chromedp.Flag("proxy-bypass-list", "<-loopback>"), chromedp.UserDataDir(t.TempDir()))
	allocator, stop := chromedp.NewExecAllocator(t.Context(), options...)
	t.Cleanup(stop)
	ctx, cancel := chromedp.NewContext(allocator)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("%s does not start: %v", program, err)
	}
	return ctx
}

// axe returns the source of axe-core.
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

// visit is a page in a browser of this width and colour scheme, with what it
// asked for.
type visit struct {
	ctx      context.Context
	mutex    sync.Mutex
	requests []string
	blocked  int // by the page's policy
}

// Widths of screens, in CSS pixels.
const (
	phone = 375
	desk  = 1280
)

func open(t *testing.T, parent context.Context, html, scheme string, width int64) *visit {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, []byte(html), 0o600); err != nil {
		t.Fatal(err)
	}
	tab, cancel := chromedp.NewContext(parent)
	t.Cleanup(cancel)
	v := &visit{}
	var expire context.CancelFunc
	if err := chromedp.Do(tab); err != nil {
		t.Fatal(err)
	}
	v.ctx, expire = context.WithTimeout(tab, 3*time.Minute)
	t.Cleanup(expire)
	err := chromedp.Listen(v.ctx, func(event any) {
		v.mutex.Lock()
		defer v.mutex.Unlock()
		switch e := event.(type) {
		case *network.EventRequestWillBeSent:
			v.requests = append(v.requests, e.Request.URL)
		case *network.EventLoadingFailed:
			if e.BlockedReason == network.BlockedReasonCsp {
				v.blocked++
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	call(t, v, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: 900, DeviceScaleFactor: 1, Mobile: width == phone})
	call(t, v, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}})
	do(t, v, chromedp.Navigate("file://"+path))
	return v
}

func do[T any](t *testing.T, v *visit, action chromedp.Action[T]) T {
	t.Helper()
	got, err := chromedp.Run(v.ctx, action)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func call[P, R any](t *testing.T, v *visit, command cdp.Command[P, R], params P) R {
	t.Helper()
	return do(t, v, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, command, params)
	})
}

// eval returns the value of a script.
func eval[T any](t *testing.T, v *visit, script string) T {
	t.Helper()
	return do(t, v, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

// outside returns what the page asked for besides itself.
func (v *visit) outside() []string {
	v.mutex.Lock()
	defer v.mutex.Unlock()
	return slices.DeleteFunc(slices.Clone(v.requests), func(url string) bool { return strings.HasSuffix(url, "/report.html") })
}

// violations runs axe-core, best practices and WCAG 2.2 AA together.
func (v *visit) violations(t *testing.T, source string) (found []string) {
	t.Helper()
	eval[chromedp.Void](t, v, source+";0")
	report := eval[struct {
		Violations []string `json:"violations"`
		Passes     int      `json:"passes"`
	}](t, v, `axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}).then(r => ({
		violations: r.violations.map(v => v.id + ": " + v.help + " at " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 120)).join(" | ")), passes: r.passes.length}))`)
	if report.Passes < 10 {
		t.Errorf("axe applied %d rules only: the test is blind", report.Passes)
	}
	return report.Violations
}

const openAll = `document.querySelectorAll("details").forEach(d => { d.removeAttribute("name"); d.open = true })`

// TestInABrowser holds the report to what a reader's browser makes of it, in one
// browser for all.
func TestInABrowser(t *testing.T) {
	ctx, source := browser(t), axe(t)
	t.Run("pages", func(t *testing.T) { pages(t, ctx, source) })
	t.Run("control", func(t *testing.T) { control(t, ctx, source) })
	t.Run("keyboard", func(t *testing.T) { keyboard(t, ctx) })
	t.Run("print", func(t *testing.T) { printed(t, ctx) })
}

// pages loads the report from a file with no network there and holds it
// to: no request, no violation by axe-core in either colour scheme at either
// width, closed and with everything opened; nothing wider than the screen.
func pages(t *testing.T, ctx context.Context, source string) {
	for _, c := range []struct {
		name, html, scheme string
		width              int64
	}{
		{"full", full(t), "light", phone}, {"full", full(t), "dark", phone}, {"full", full(t), "light", desk}, {"full", full(t), "dark", desk},
		{"bare", render(t, bare(), nil), "light", phone}, {"clk", clk(t), "dark", phone}, {"row-level", rowLevel(t), "light", phone}, {"cut-over", cutOver(t), "light", desk},
	} {
		t.Run(fmt.Sprintf("%s/%s/%d", c.name, c.scheme, c.width), func(t *testing.T) {
			v := open(t, ctx, c.html, c.scheme, c.width)
			v.picture(t, fmt.Sprintf("%s-%s-%d", c.name, c.scheme, c.width))
			if c.scheme == "light" {
				v.check(t, source, c.width)
			}
			eval[chromedp.Void](t, v, openAll)
			v.check(t, source, c.width)
			if asked := v.outside(); len(asked) > 0 {
				t.Errorf("the page asked for %q", asked)
			}
		})
	}
}

func (v *visit) check(t *testing.T, source string, width int64) {
	t.Helper()
	for _, violation := range v.violations(t, source) {
		t.Error(violation)
	}
	if wider := eval[[]string](t, v, fmt.Sprintf(tooWide, width)); len(wider) > 0 {
		t.Errorf("wider than the screen: %q", wider)
	}
	if cut := eval[[]string](t, v, cutOff); len(cut) > 0 {
		t.Errorf("words of a picture that do not fit or lie on others: %q", cut)
	}
}

// tooWide lists what leaves a screen of a width, if the page can be scrolled
// sideways.
const tooWide = `(width => document.documentElement.scrollWidth <= width ? [] :
	[...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > width + 1).slice(0, 5).map(e => e.outerHTML.slice(0, 100)))(%d)`

// cutOff lists words of pictures that leave the picture or touch other words.
const cutOff = `[...document.querySelectorAll("svg")].flatMap(svg => {
	const frame = svg.getBoundingClientRect();
	if (frame.width === 0) return [];
	const words = [...svg.querySelectorAll("text")].map(e => [e.textContent, e.getBoundingClientRect()]);
	const out = words.filter(([, b]) => b.left < frame.left - 1 || b.right > frame.right + 1 || b.bottom > frame.bottom + 1 || b.top < frame.top - 1).map(([text]) => "outside: " + text);
	words.forEach(([text, a], i) => words.slice(i + 1).forEach(([other, b]) => {
		if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 4 && b.top < a.bottom - 4) out.push(text + " on " + other);
	}));
	return out;
})`

// control is the control of pages: each planted fault must be
// found.
func control(t *testing.T, ctx context.Context, source string) {
	plant := func(markup string) *visit {
		html := strings.Replace(full(t), "</main>", markup+"</main>", 1)
		html = html[:strings.Index(html, `<meta http-equiv`)] + html[strings.Index(html, `<meta name="viewport"`):] // without its policy
		return open(t, ctx, html, "light", phone)
	}
	v := plant(`<img src="http://192.0.2.1/a.png"/><p style="color:#bbb;background:#fff">pale</p><div style="width:50rem">x</div><svg width="60" height="20"><text x="50" y="12">far too long</text><text x="2" y="12">one</text><text x="5" y="12">two</text></svg>`)
	if asked := v.outside(); len(asked) != 1 {
		t.Errorf("a picture from elsewhere: %q", asked)
	}
	found := strings.Join(v.violations(t, source), "\n")
	for _, rule := range []string{"image-alt", "color-contrast"} {
		if !strings.Contains(found, rule) {
			t.Errorf("axe does not see %s: %s", rule, found)
		}
	}
	if len(eval[[]string](t, v, fmt.Sprintf(tooWide, phone))) == 0 {
		t.Error("a page that is too wide is not seen")
	}
	if cut := eval[[]string](t, v, cutOff); len(cut) != 2 {
		t.Errorf("words that do not fit and words on others: %q", cut)
	}
	// With its policy nothing is fetched and nothing runs.
	html := strings.Replace(full(t), "</main>", `<img alt="" src="http://192.0.2.1/a.png"/><script>document.title = "run"</script></main>`, 1)
	v = open(t, ctx, html, "light", phone)
	title := eval[string](t, v, `document.title`)
	if v.mutex.Lock(); v.blocked != 1 || title == "run" {
		t.Errorf("the policy blocked %d requests of 1; title %q", v.blocked, title)
	}
	v.mutex.Unlock()
}

// keyboard reaches every part that opens with the tab key, in order, and
// opens one with the space bar; none of it needs a script.
func keyboard(t *testing.T, ctx context.Context) {
	v := open(t, ctx, full(t), "light", desk)
	call(t, v, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	want := eval[int](t, v, `[...document.querySelectorAll("summary")].filter(e => e.checkVisibility({contentVisibilityAuto: true})).length`)
	if want < 10 {
		t.Fatalf("%d parts to open: the test is blind", want)
	}
	const focused = `(() => { const e = document.activeElement; return e === document.body ? "" : e.tagName + " " + [...document.querySelectorAll(e.tagName)].indexOf(e) })()`
	reached := map[string]bool{}
	for range 300 {
		do(t, v, chromedp.KeyEvent(kb.Tab))
		at := eval[string](t, v, focused)
		if at == "" || reached[at] {
			break
		}
		reached[at] = true
	}
	got := 0
	for at := range reached {
		if strings.HasPrefix(at, "SUMMARY") {
			got++
		}
	}
	if got != want {
		t.Errorf("the tab key reaches %d of %d parts that open", got, want)
	}
	const opened = `document.querySelector(".numbers").open`
	before := eval[bool](t, v, `document.querySelector(".numbers > summary").focus(); `+opened)
	do(t, v, chromedp.KeyEvent(" "))
	if after := eval[bool](t, v, opened); before || !after {
		t.Error("the space bar does not open the numbers")
	}
}

func printed(t *testing.T, ctx context.Context) {
	v := open(t, ctx, full(t), "dark", desk)
	pdf := do(t, v, chromedp.PrintToPDF(chromedp.PDFPaper(chromedp.PaperA4)))
	if pages := len(regexp.MustCompile(`/Type\s*/Page[^s]`).FindAll(pdf, -1)); pages < 3 || pages > 30 {
		t.Errorf("%d pages, %d bytes", pages, len(pdf))
	}
	save(t, "print.pdf", pdf)
}

func (v *visit) picture(t *testing.T, name string) {
	t.Helper()
	if *screenshots != "" {
		save(t, name+".png", do(t, v, chromedp.FullScreenshot(100)))
	}
}

func save(t *testing.T, name string, b []byte) {
	t.Helper()
	if *screenshots == "" {
		return
	}
	if err := os.WriteFile(filepath.Join(*screenshots, name), b, 0o600); err != nil {
		t.Fatal(err)
	}
}
