package console

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"time"

	"tarn/keys/api"
	"tarn/keys/reidentify"
)

// visit is one page on its way to a browser.
type visit struct {
	console *Console
	w       http.ResponseWriter
	r       *http.Request
	arrived time.Time

	session session // of pages for people who have signed in
	id      [sha256.Size]byte
	in      bool // somebody has signed in
	was     bool // somebody had, and the session has ended
	status  int

	abilities *reidentify.Abilities // once they were asked for
}

// page answers a visit. What it returns is shown as a page of its own.
type page func(*visit) error

const (
	maxForm   = 1_200_000 // bytes that a browser may send; a list of 1,000 tokens has 75,000
	usualPage = 128 << 10 // bytes; a page has fewer, but for long lists
)

// policy is what pages may load and do: what this origin has, and no script in a page. No
// other site shows them in a frame, and forms go nowhere else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// guard sets what every answer carries, and refuses what another site's page has a browser
// send.
func (c *Console) guard(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.open("cross-origin", func(*visit) error {
			return &shown{Status: http.StatusForbidden, Title: "This did not come from a page of ours", Text: "Another website, or an old copy of a page, tried to send something in your name. Nothing was done.",
				Next: "If you meant to do this, go to the page and do it there."}
		}).ServeHTTP(w, r)
	}))
	inner := protection.Handler(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Content-Security-Policy", policy)
		header.Set("Cross-Origin-Opener-Policy", "same-origin")
		header.Set("Cross-Origin-Resource-Policy", "same-origin")
		header.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()")
		header.Set("Referrer-Policy", "same-origin")
		header.Set("Strict-Transport-Security", "max-age=63072000")
		header.Set("X-Content-Type-Options", "nosniff")
		header.Set("X-Frame-Options", "DENY")
		inner.ServeHTTP(w, r)
	})
}

// open is a page that anybody may see.
func (c *Console) open(pattern string, page page) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := &visit{console: c, w: w, r: r, arrived: c.options.Clock(), status: http.StatusOK}
		v.session, v.id, v.in, v.was = c.sessions.of(r)
		defer v.ended(pattern)
		v.show(page)
	})
}

// signedIn is a page for people who have signed in. Others are asked to, and come back.
func (c *Console) signedIn(pattern string, page page) http.Handler {
	return c.open(pattern, func(v *visit) error {
		if v.in {
			if _, err := v.mayNow(); err != nil {
				return err // what somebody may do cannot be known: while it is sealed
			}
			return page(v)
		}
		back := v.r.URL.Path
		if v.r.Method != http.MethodGet {
			return &shown{Status: http.StatusUnauthorized, Title: "You were signed out", Text: "Nothing was sent: your session had ended. This happens after " + span(c.sessions.idle) + " in which you do nothing here, so that nobody else acts in your name.",
				Next: "Sign in again, and do it once more.", Link: "/sign-in?" + url.Values{"next": {formOf(back)}}.Encode(), LinkText: "Sign in"}
		}
		v.redirect("/sign-in?" + url.Values{"next": {v.r.URL.RequestURI()}}.Encode())
		return nil
	})
}

// formOf is the page of a form that was sent to a path.
func formOf(path string) string {
	for _, last := range []string{"/open", "/cancel", "/code"} {
		path = strings.TrimSuffix(path, last)
	}
	return path
}

// show answers with a page, and where that fails with why.
func (v *visit) show(page page) {
	defer func() {
		if value := recover(); value != nil {
			// The value may hold anything: only where it happened is said.
			v.console.options.Logger.Error("a page ended in a panic", "code", place())
			v.fail(api.Refuse(api.CodeInternal, "", ""))
		}
	}()
	v.r.Body = http.MaxBytesReader(v.w, v.r.Body, maxForm)
	if err := page(v); err != nil {
		v.fail(err)
	}
}

// ended counts a page that was answered.
func (v *visit) ended(pattern string) {
	o := &v.console.options
	o.Meter.Request("page "+pattern, v.status, o.Clock().Sub(v.arrived))
	o.Logger.Info("answered", "route", pattern, "method", v.r.Method, "status", v.status, "client", v.session.person.Subject)
}

// place returns where a panic came from: a function and a line.
func place() string {
	var frames [16]uintptr
	n := runtime.Callers(4, frames[:])
	for found := runtime.CallersFrames(frames[:n]); ; {
		frame, more := found.Next()
		if !more || frame.Func != nil && frame.Function != "runtime.gopanic" {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
	}
}

// caller is who asks, for a request of an id; empty draws one.
func (v *visit) caller(id string) Caller {
	if id == "" {
		id = v.newID()
	}
	return Caller{Person: v.session.person, RequestID: id, Arrived: v.arrived}
}

// newID draws a UUID for a request.
func (v *visit) newID() string {
	var b [16]byte
	if _, err := io.ReadFull(v.console.options.Rand, b[:]); err != nil {
		panic("console: no random bytes can be had")
	}
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	text := hex.EncodeToString(b[:])
	return text[:8] + "-" + text[8:12] + "-" + text[12:16] + "-" + text[16:20] + "-" + text[20:]
}

var uuidText = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)

// formID is the id that a form was given when it was shown: sent twice, by a double click or
// by going back, it is one request.
func (v *visit) formID() (string, error) {
	if id := v.r.PostFormValue("form_id"); uuidText.MatchString(id) {
		return id, nil
	}
	return "", &shown{Status: http.StatusBadRequest, Title: "The form came without its number", Text: "Nothing was sent.", Next: "Go to the page again, and fill it in there."}
}

// readForm reads what a browser has sent. Files stay in memory: nothing of them is written.
func (v *visit) readForm() error {
	err := v.r.ParseForm()
	if err == nil && strings.HasPrefix(v.r.Header.Get("Content-Type"), "multipart/form-data") {
		err = v.r.ParseMultipartForm(2 * maxForm)
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return &shown{Status: http.StatusRequestEntityTooLarge, Title: "That is too large", Text: "Nothing was sent. A list may have 1,000 patients.", Next: "Go back, and send fewer at once."}
	case err != nil:
		return &shown{Status: http.StatusBadRequest, Title: "The form cannot be read", Text: "Nothing was sent.", Next: "Go back, and send it again."}
	}
	return nil
}

func (v *visit) redirect(to string) {
	v.status = http.StatusSeeOther
	v.w.Header().Set("Location", to)
	v.w.WriteHeader(http.StatusSeeOther)
}

// shown is something that went wrong, as people are told of it.
type shown struct {
	Status            int
	Title, Text, Next string
	Who               string // who could allow it
	Link, LinkText    string // where to go on
}

// Error implements error.
func (s *shown) Error() string { return s.Title }

// explain turns an error into what people are told.
func (v *visit) explain(err error) *shown {
	var known *shown
	if errors.As(err, &known) {
		return known
	}
	var refused *api.Error
	if !errors.As(err, &refused) {
		v.console.options.Logger.Error("a page failed", "kind", fmt.Sprintf("%T", err))
		refused = api.Refuse(api.CodeInternal, "", "")
	}
	problem := refused.Problem("")
	s := &shown{Status: problem.Status, Title: problem.Title, Text: sentence(refused.Detail), Next: sentence(refused.Next), Who: sentence(problem.Who)}
	if words, there := codeWords[refused.Code]; there {
		words.Status = s.Status
		if words.Who == "" && s.Who != "Nobody." {
			words.Who = s.Who
		}
		if words.Text == "" {
			words.Text = s.Text
		}
		if words.Next == "" {
			words.Next = s.Next
		}
		return &words
	}
	return s
}

// codeWords are what people read instead of what programs do. What is empty is as the
// refusal says it.
var codeWords = map[api.Code]shown{
	api.CodeNotFound:         {Title: "Page not found", Text: "There is no such page, or it is about something that you have nothing to do with.", Next: "If you followed a link, check with whoever gave it to you."},
	api.CodeSealed:           {Title: "The service is locked", Text: "After a restart the organisation that runs it has to unlock it. Nothing can be looked up meanwhile.", Next: "Try again in a few minutes. If a patient may come to harm, telephone the organisation that knows them."},
	api.CodeStopping:         {Title: "The service is restarting", Text: "Nothing was done.", Next: "Try again in a minute."},
	api.CodeBusy:             {Title: "The service is busy", Text: "It could not answer in time.", Next: "Try again in a minute: if you had sent something, sending the same form again does it once."},
	api.CodeInternal:         {Title: "Sorry, there is a problem with the service", Text: "It is not your fault, and it was noted.", Next: "Try again later. If it goes on, tell the organisation that runs the service when it happened."},
	api.CodeLogUnavailable:   {Title: "The log cannot be written", Text: "Nobody is looked up while it cannot be written down who asked.", Next: "Try again in a few minutes. If a patient may come to harm, telephone the organisation that knows them."},
	api.CodeNoSpace:          {Title: "The log cannot be written", Text: "Nobody is looked up while it cannot be written down who asked.", Next: "Try again in a few minutes. If a patient may come to harm, telephone the organisation that knows them."},
	api.CodeReidentification: {Title: "You cannot do this"},
	api.CodeApproverIsAsker:  {Title: "You cannot approve your own request"},
	api.CodeGone:             {Title: "This was shown already", Next: "If you still need to know who it is, ask again.", Link: "/ask", LinkText: "Ask again"},
	api.CodeConflict:         {Title: "This cannot be done now"},
	api.CodeHashDiffers:      {Title: "The request is not what you read", Text: "What you decided on is not what is asked now. Nothing was decided.", Next: "Read it again, and decide on what you see then."},
	api.CodeRegion:           {Title: "The region does not answer", Text: "The data service that knows which organisation cares for whom does not answer, and without it nothing is opened."},
	api.CodeWitness:          {Title: "The second record does not answer", Text: "Another organisation countersigns every look-up before it is made, and does not answer. Nothing was opened, and your request is as it was."},
	api.CodeTooManyTries:     {Title: "You have asked very often"},
	api.CodeRole:             {Title: "You cannot do this"},
	api.CodeForbidden:        {Title: "You cannot do this"},
}

// fail shows what went wrong.
func (v *visit) fail(err error) {
	s := v.explain(err)
	v.render(s.Status, "problem", s.Title, s)
}

// render writes a page.
func (v *visit) render(status int, name, title string, content any) {
	var out bytes.Buffer
	out.Grow(usualPage) // what it grows out of is not cleared
	err := v.console.pages.write(&out, name, v.frame(title, content))
	defer clear(out.Bytes())
	if err != nil {
		v.console.options.Logger.Error("a page could not be made", "kind", name)
		status = http.StatusInternalServerError
		out.Reset()
		out.WriteString("<!doctype html><title>Sorry, there is a problem with the service</title><h1>Sorry, there is a problem with the service</h1>")
	}
	v.status = status
	header := v.w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	v.w.WriteHeader(status)
	_, _ = v.w.Write(out.Bytes()) // the browser has gone: nothing to tell it
}

// mayNow is what the person may do, or why that cannot be known.
func (v *visit) mayNow() (*reidentify.Abilities, error) {
	switch {
	case v.abilities != nil:
		return v.abilities, nil
	case !v.in:
		return &reidentify.Abilities{}, nil
	}
	may, err := v.console.options.Reader.May(v.r.Context(), v.caller(""))
	if err == nil {
		v.abilities = may
	}
	return may, err
}

// may is what the person may do; nothing where that cannot be known.
func (v *visit) may() *reidentify.Abilities {
	may, err := v.mayNow()
	if err != nil {
		return &reidentify.Abilities{}
	}
	return may
}
