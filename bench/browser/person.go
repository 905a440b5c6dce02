package browser

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/storage"
	"github.com/chromedp/chromedp"
)

// Widths of screens, in CSS pixels.
const (
	Desk  = 1280
	Phone = 375
)

const height = 900

// Person is somebody with a browser of their own: other cookies than anybody else's, and one
// tab. One goroutine may use it.
type Person struct {
	Name string

	browser *Browser
	ctx     context.Context
	cancel  context.CancelFunc
	seen    seen
	scripts bool
}

// Person is a new one, at a desk.
func (b *Browser) Person(name string) (*Person, error) {
	p := &Person{Name: name, browser: b, scripts: true}
	p.ctx, p.cancel = chromedp.NewContext(b.ctx, chromedp.WithNewBrowserContext())
	err := chromedp.Do(p.ctx)
	if err == nil {
		err = chromedp.Listen(p.ctx, p.seen.event)
	}
	if err == nil {
		err = p.Width(Desk)
	}
	if err != nil {
		p.cancel()
		return nil, fmt.Errorf("browser: no tab for %s: %w", name, err)
	}
	return p, nil
}

// Leave closes the person's browser, and forgets their cookies.
func (p *Person) Leave() { p.cancel() }

// within runs an action in its time.
func within[T any](p *Person, action chromedp.Action[T]) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.browser.step)
	defer cancel()
	return chromedp.Run(ctx, action)
}

func call[P, R any](p *Person, command cdp.Command[P, R], params P) (R, error) {
	return within(p, func(ctx context.Context, target *chromedp.Target) (R, error) {
		return cdp.Call(ctx, target, command, params)
	})
}

func eval[T any](p *Person, script string) (T, error) {
	return within(p, chromedp.Evaluate[T](script, chromedp.EvalAwaitPromise))
}

// quoted is a text as scripts have it.
func quoted(s string) string {
	b, _ := json.Marshal(s) // a text always can
	return string(b)
}

// fail says what went wrong, and where.
func (p *Person) fail(format string, values ...any) error {
	return fmt.Errorf("browser: %s: %w, on %s", p.Name, fmt.Errorf(format, values...), p.where())
}

// where names the page.
func (p *Person) where() string {
	title, path := p.Title(), p.Path()
	if title == "" && path == "" {
		return "no page"
	}
	return fmt.Sprintf("the page %q at %s", title, path)
}

// Width is how wide the screen is, in CSS pixels; a phone's makes it one.
func (p *Person) Width(pixels int) error {
	_, err := call(p, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: int64(pixels), Height: height, DeviceScaleFactor: 1, Mobile: pixels <= Phone})
	if err != nil {
		return p.fail("the screen cannot be %d pixels wide: %w", pixels, err)
	}
	return nil
}

// SetJavaScript says whether pages may run scripts, from the next page on.
func (p *Person) SetJavaScript(on bool) error {
	if _, err := call(p, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: !on}); err != nil {
		return p.fail("scripts cannot be switched: %w", err)
	}
	p.scripts = on
	return nil
}

// Title is the page's.
func (p *Person) Title() string {
	title, _ := eval[string](p, "document.title") // without a page there is none
	return title
}

// URL is the page's address.
func (p *Person) URL() string {
	address, _ := eval[string](p, "document.location.href") // without a page there is none
	return address
}

// Path is that of the page's address, without origin and query.
func (p *Person) Path() string {
	address, err := url.Parse(p.URL())
	if err != nil {
		return ""
	}
	return address.Path
}

// Status is the HTTP status of the page, 0 where there was no answer.
func (p *Person) Status() int { return p.seen.lastStatus() }

// Header is a header of the answer that the page came with.
func (p *Person) Header(name string) string { return p.seen.header(http.CanonicalHeaderKey(name)) }

// Text is the text of the page's main part, as it is seen; of all of it where it has none.
// White space is one space.
func (p *Person) Text() (string, error) {
	text, err := eval[string](p, `(document.querySelector("main") || document.body).innerText`)
	if err != nil {
		return "", p.fail("the text cannot be read: %w", err)
	}
	return squash(text), nil
}

func squash(s string) string { return strings.Join(strings.Fields(s), " ") }

// HasText reports whether the page's main part has a text.
func (p *Person) HasText(text string) bool {
	all, err := p.Text()
	return err == nil && strings.Contains(all, squash(text))
}

// Count is how many elements a CSS selector selects.
func (p *Person) Count(selector string) (int, error) {
	n, err := eval[int](p, "document.querySelectorAll("+quoted(selector)+").length")
	if err != nil {
		return 0, p.fail("%s selects nothing that can be counted: %w", selector, err)
	}
	return n, nil
}

// Evaluate runs a script in the page, whatever the page's policy, and returns what it gives
// as JSON: for what a person cannot do, such as what an attacker's page tries.
func (p *Person) Evaluate(script string) (string, error) {
	value, err := eval[string](p, "Promise.resolve("+script+").then(v => JSON.stringify(v === undefined ? null : v))")
	if err != nil {
		return "", p.fail("a script of the test fails: %w", err)
	}
	return value, nil
}

// Screenshot is a picture of the whole page, PNG.
func (p *Person) Screenshot() ([]byte, error) {
	b, err := within(p, chromedp.FullScreenshot(100))
	if err != nil {
		return nil, p.fail("no picture: %w", err)
	}
	return b, nil
}

// Save writes a picture of the whole page into a file.
func (p *Person) Save(path string) error {
	b, err := p.Screenshot()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		return p.fail("the picture cannot be written: %w", err)
	}
	return nil
}

// Cookie is one that the browser keeps.
type Cookie struct {
	Name, Value, Domain, Path string
	Secure, HTTPOnly, Session bool
	SameSite                  string // Strict, Lax or None; empty where nothing is said
}

// Cookies are all that the person's browser has, of every server, by name.
func (p *Person) Cookies() ([]Cookie, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.browser.step)
	defer cancel()
	found, err := chromedp.CallBrowser(ctx, storage.GetCookies, storage.GetCookiesParams{BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID})
	if err != nil {
		return nil, p.fail("the cookies cannot be read: %w", err)
	}
	all := make([]Cookie, len(found.Cookies))
	for i, c := range found.Cookies {
		all[i] = Cookie{Name: c.Name, Value: c.Value, Domain: c.Domain, Path: c.Path, Secure: c.Secure, HTTPOnly: c.HTTPOnly, Session: c.Session, SameSite: string(c.SameSite)}
	}
	slices.SortFunc(all, func(a, b Cookie) int { return strings.Compare(a.Name+a.Domain+a.Path, b.Name+b.Domain+b.Path) })
	return all, nil
}

// SetCookie puts a cookie of the page's origin into the browser, as somebody who attacks it
// might.
func (p *Person) SetCookie(c Cookie) error {
	_, err := call(p, network.SetCookie, network.SetCookieParams{Name: c.Name, Value: c.Value, URL: p.URL(), Path: c.Path, Secure: new(c.Secure), HTTPOnly: new(c.HTTPOnly)})
	if err != nil {
		return p.fail("the cookie is not taken: %w", err)
	}
	return nil
}
