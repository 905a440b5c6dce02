package browser

import (
	"fmt"
	"net/http"
	"strings"
	"sync"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
)

// Request is something that a page asked for, whether it came or not.
type Request struct {
	URL    string
	Method string
	Type   string // Document, Stylesheet, Image, Script, Font and so on
}

// Kinds of complaints.
const (
	FromConsole   = "console"   // a script of the page has said something
	FromException = "exception" // a script of the page has failed
	FromPolicy    = "policy"    // the page's content security policy has forbidden something
	FromBrowser   = "browser"   // the browser's own, such as that a resource is not there
)

// Complaint is something that the browser's console shows.
type Complaint struct{ Kind, Text string }

// seen is what events have told of a tab.
type seen struct {
	mu         sync.Mutex
	requests   []Request
	complaints []Complaint

	main     cdp.FrameID       // of the tab, once it is known
	document network.RequestID // of the main frame's last document
	status   int
	headers  http.Header
	going    *going // nil while nobody waits for a page
}

// going is a page that is waited for.
type going struct {
	arrived bool // the page has begun
	failed  string
	done    chan struct{}
	ended   bool
}

func (g *going) end() {
	if !g.ended {
		g.ended = true
		close(g.done)
	}
}

// begin waits for the next page.
func (s *seen) begin() *going {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.going = &going{done: make(chan struct{})}
	return s.going
}

func (s *seen) stop() (failed string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	failed, s.going = s.going.failed, nil
	return failed
}

// has reports whether the page that is waited for has come.
func (s *seen) has(g *going) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return g.arrived
}

func (s *seen) lastStatus() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

func (s *seen) header(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headers.Get(name)
}

// event takes what the browser tells, in its order.
func (s *seen) event(event any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		s.asked(e)
	case *network.EventResponseReceived:
		s.answered(e)
	case *network.EventLoadingFailed:
		s.failed(e)
	case *page.EventFrameNavigated:
		s.arrived(e)
	case *page.EventLoadEventFired:
		s.loaded()
	case *page.EventFrameStoppedLoading:
		if e.FrameID == s.main {
			s.loaded()
		}
	case *page.EventNavigatedWithinDocument:
		if s.going != nil && e.FrameID == s.main {
			s.going.end()
		}
	default:
		s.complained(event)
	}
}

func (s *seen) asked(e *network.EventRequestWillBeSent) {
	if strings.HasPrefix(e.Request.URL, "data:") {
		return // nobody is asked
	}
	s.requests = append(s.requests, Request{URL: e.Request.URL, Method: e.Request.Method, Type: string(e.Type)})
	// A frame's first document has its loader's name; so has every later one.
	if e.Type == network.ResourceTypeDocument && string(e.RequestID) == string(e.LoaderID) && (s.main == "" || e.FrameID == s.main) {
		s.document, s.status, s.headers = e.RequestID, 0, nil
	}
}

func (s *seen) answered(e *network.EventResponseReceived) {
	if e.RequestID != s.document {
		return
	}
	s.status, s.headers = int(e.Response.Status), http.Header{}
	for name, value := range e.Response.Headers {
		s.headers.Add(name, fmt.Sprint(value))
	}
}

// failed ends waiting for a page that does not come. Where the browser shows its own instead,
// that one is waited for.
func (s *seen) failed(e *network.EventLoadingFailed) {
	if e.RequestID != s.document || s.going == nil {
		return
	}
	if s.going.failed = e.ErrorText; e.Canceled {
		s.going.end()
	}
}

func (s *seen) arrived(e *page.EventFrameNavigated) {
	if e.Frame.ParentID != "" {
		return
	}
	s.main = e.Frame.ID
	if s.going == nil {
		return
	}
	s.going.arrived = true
	if e.Type == page.NavigationTypeBackForwardCacheRestore {
		s.going.end() // nothing more is loaded
	}
}

func (s *seen) loaded() {
	if s.going != nil && s.going.arrived {
		s.going.end()
	}
}

func (s *seen) complained(event any) {
	var c Complaint
	switch e := event.(type) {
	case *runtime.EventConsoleAPICalled:
		c = Complaint{FromConsole, said(e)}
	case *runtime.EventExceptionThrown:
		c = Complaint{FromException, e.ExceptionDetails.Text}
		if e.ExceptionDetails.Exception != nil {
			first, _, _ := strings.Cut(e.ExceptionDetails.Exception.Description, "\n")
			c.Text += " " + first
		}
	case *log.EventEntryAdded:
		c = Complaint{FromBrowser, e.Entry.Text}
		if strings.Contains(c.Text, "Content Security Policy") {
			c.Kind = FromPolicy
		}
	default:
		return
	}
	s.complaints = append(s.complaints, c)
}

// said is what a script has written.
func said(e *runtime.EventConsoleAPICalled) string {
	words := []string{string(e.Type) + ":"}
	for _, one := range e.Args {
		word := one.Description
		if word == "" {
			word = strings.Trim(string(one.Value), `"`)
		}
		words = append(words, word)
	}
	return strings.Join(words, " ")
}

// Requests are what the person's pages have asked for since the last time.
func (p *Person) Requests() []Request {
	p.seen.mu.Lock()
	defer p.seen.mu.Unlock()
	all := p.seen.requests
	p.seen.requests = nil
	return all
}

// Elsewhere are the addresses of requests that are not of these origins (https://host:port).
func Elsewhere(requests []Request, origins ...string) []string {
	var all []string
	for _, r := range requests {
		if !ofOrigins(r.URL, origins) {
			all = append(all, r.URL)
		}
	}
	return all
}

func ofOrigins(address string, origins []string) bool {
	for _, origin := range origins {
		if address == origin || strings.HasPrefix(address, strings.TrimSuffix(origin, "/")+"/") {
			return true
		}
	}
	return false
}

// Complaints are what the browser's console has shown since the last time.
func (p *Person) Complaints() []Complaint {
	p.seen.mu.Lock()
	defer p.seen.mu.Unlock()
	all := p.seen.complaints
	p.seen.complaints = nil
	return all
}
