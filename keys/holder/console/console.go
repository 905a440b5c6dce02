// Package console is the key holder's pages: where somebody who may know finds out who a
// patient is, where others approve and review, and where information governance reads who
// asked.
//
// The pages are made here and need no JavaScript. They have no rule of their own: what they
// ask, the key holder's interface is asked, too, and its answer is shown. What they keep is
// who has signed in, in memory. No token of a sign-in, no token of a patient and no identity
// is kept, and neither is in an address: those are in forms, and in answers that no browser
// keeps.
package console

import (
	"context"
	"crypto/sha256"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"tarn/keys/signin/codeflow"
)

// The times of sessions unless they are given.
const (
	DefaultIdle    = 15 * time.Minute
	DefaultLongest = 8 * time.Hour
)

// SignIn signs people in at their provider; see package codeflow.
type SignIn interface {
	// Begin returns where the browser is sent, and what its cookie holds meanwhile.
	Begin(codeflow.Want) (redirect, cookie string, err error)
	// Finish returns who has signed in, of what the browser brings back.
	Finish(ctx context.Context, cookie string, query url.Values) (*codeflow.Result, error)
	// Leave returns where the browser is sent to sign out there, too; empty is nowhere.
	Leave(back string) string
}

// Meter takes what is counted.
type Meter interface {
	// Request counts a page that was answered.
	Request(method string, status int, took time.Duration)
}

// Options are what the console is given.
type Options struct {
	SignIn    SignIn
	Asker     Asker
	Reader    Reader
	Decider   Decider
	Auditor   Auditor
	Overseer  Overseer
	Operators Operators
	Registrar Registrar

	Organisation string        // who runs the key holder, for people to read
	PublicURL    string        // https://host[:port], by which people come
	Idle         time.Duration // after which a session ends that nobody uses; 0 is DefaultIdle
	Longest      time.Duration // after which any session ends; 0 is DefaultLongest

	Clock  func() time.Time
	Rand   io.Reader
	Logger *slog.Logger
	Meter  Meter
}

// Console is the pages. It is safe for concurrent use.
type Console struct {
	options  Options
	sessions *sessions
	pages    pages
	routes   http.Handler
}

// New makes the console.
func New(o Options) *Console {
	if o.Idle == 0 {
		o.Idle = DefaultIdle
	}
	if o.Longest == 0 {
		o.Longest = DefaultLongest
	}
	c := &Console{options: o, pages: parsePages(),
		sessions: &sessions{idle: o.Idle, longest: o.Longest, clock: o.Clock, rand: o.Rand, all: map[[sha256.Size]byte]*session{}}}
	c.routes = c.guard(c.mux())
	return c
}

// ServeHTTP implements [http.Handler].
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.routes.ServeHTTP(w, r) }

// Sessions is how many people have signed in.
func (c *Console) Sessions() int { return c.sessions.count() }

// mux is every page there is.
func (c *Console) mux() *http.ServeMux {
	mux := http.NewServeMux()
	anybody := func(pattern string, page page) { mux.Handle(pattern, c.open(pattern, page)) }
	person := func(pattern string, page page) { mux.Handle(pattern, c.signedIn(pattern, page)) }

	anybody("GET /{$}", (*visit).home)
	anybody("GET /sign-in", (*visit).signInPage)
	anybody("GET /sign-in/start", (*visit).beginSignIn)
	anybody("GET /sign-in/callback", (*visit).finishSignIn)
	anybody("POST /sign-out", (*visit).signOut)
	anybody("GET /signed-out", (*visit).signedOut)
	anybody("GET /register", (*visit).register)
	anybody("GET /accessibility", (*visit).accessibility)
	anybody("GET /privacy", (*visit).privacy)
	anybody("GET /help", (*visit).help)

	person("GET /ask", (*visit).askOne)
	person("POST /ask", (*visit).sendOne)
	person("GET /ask/list", (*visit).askList)
	person("POST /ask/list", (*visit).sendList)
	person("GET /requests", (*visit).myRequests)
	person("GET /requests/{id}", (*visit).request)
	person("POST /requests/{id}/open", (*visit).openRequest)
	person("POST /requests/{id}/cancel", (*visit).cancelRequest)
	person("GET /requests/{id}/receipt", (*visit).receipt)
	person("GET /worklists", (*visit).worklists)
	person("GET /worklists/send", (*visit).askWorklist)
	person("POST /worklists/send", (*visit).sendWorklist)
	person("GET /emergency", (*visit).emergency)
	person("POST /emergency", (*visit).breakGlass)

	person("GET /approvals", (*visit).approvals)
	person("GET /approvals/{id}", (*visit).approval)
	person("POST /approvals/{id}", (*visit).decide)
	person("GET /reviews", (*visit).reviews)
	person("GET /reviews/{id}", (*visit).review)
	person("POST /reviews/{id}", (*visit).sendReview)

	person("GET /who-asked", (*visit).whoAskedForm)
	person("POST /who-asked", (*visit).whoAsked)
	person("GET /log", (*visit).log)
	person("GET /log/{index}", (*visit).entry)
	person("GET /log/{index}/receipt", (*visit).entryReceipt)
	person("GET /limits", (*visit).limits)
	person("GET /reports", (*visit).reports)
	person("GET /reports/table.csv", (*visit).reportTable)

	person("GET /operators", (*visit).operators)
	person("GET /operators/project", (*visit).projectForm)
	person("POST /operators/project", (*visit).sendProject)
	person("GET /operators/client", (*visit).clientForm)
	person("POST /operators/client", (*visit).sendClient)
	person("GET /operators/clients/{name}", (*visit).clientPage)
	person("POST /operators/clients/{name}", (*visit).changeClient)
	person("GET /operators/changes/{id}", (*visit).change)
	person("POST /operators/changes/{id}", (*visit).decideChange)
	person("POST /operators/changes/{id}/code", (*visit).collectCode)

	mux.HandleFunc("GET /assets/{name}", c.asset)
	anybody("/", (*visit).nothingThere)
	return mux
}
