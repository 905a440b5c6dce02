package idp

import (
	"html/template"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

const (
	loginPath = "/login"
	cookie    = "__Host-test-identity"
	maxForm   = 16 << 10 // bytes
)

// The assurance levels, acr, weakest first.
const (
	AAL2 = "AAL2"
	AAL3 = "AAL3"
)

var levels = []string{AAL2, AAL3}

// login is the page on which somebody says who they are, and the sessions of browsers.
type login struct {
	provider op.OpenIDProvider
	storage  *storage
	issuer   string
	users    []User

	mu       sync.Mutex
	sessions map[string]*signIn // by cookie
}

var page = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Test identity provider</title></head>
<body>
<main>
<h1>Test identity provider</h1>
<p><strong>This is a test. It asks for no password, everybody here is made up, and whoever opens this page may be anybody.</strong></p>
{{with .Wrong}}<p role="alert">{{.}}</p>{{end}}
<form method="post" action="` + loginPath + `">
<input type="hidden" name="request" value="{{.Request}}">
<fieldset><legend>How do you sign in?</legend>
{{range $i, $level := .Levels}}<p><label><input type="radio" name="acr" value="{{$level}}"{{if eq $i 0}} checked{{end}}> {{$level}}</label></p>
{{end}}</fieldset>
<fieldset><legend>Who are you?</legend>
{{range $user := .Users}}{{range .Roles}}<p><button name="user" value="{{$user.ID}}/{{.ID}}">{{$user.Name}}: {{.Name}}, {{.Organisation}}</button></p>
{{else}}<p><button name="user" value="{{.ID}}/">{{.Name}}: no role</button></p>
{{end}}{{end}}</fieldset>
</form>
</main>
</body>
</html>
`))

func (l *login) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	request, err := l.storage.request(r.FormValue("request"))
	if err != nil || request.Done() {
		http.Error(w, "Nobody asked you to sign in, or that was long ago. Go back to where you came from.", http.StatusBadRequest)
		return
	}
	switch r.Method {
	case http.MethodGet:
		l.get(w, r, request)
	case http.MethodPost:
		l.post(w, r, request)
	default:
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

// get asks who it is, unless that is known well enough.
func (l *login) get(w http.ResponseWriter, r *http.Request, request *request) {
	_, session := l.session(r)
	switch {
	case session != nil && l.enough(request, session):
		l.finish(w, r, request, session)
	case slices.Contains(request.Prompt, oidc.PromptNone):
		op.AuthRequestError(w, r, request, oidc.ErrLoginRequired(), l.provider)
	default:
		l.show(w, request, "")
	}
}

// enough reports whether a session answers a request: not one for a new sign-in, for one
// that is younger, or for a level that the session has not reached.
func (l *login) enough(request *request, session *signIn) bool {
	if slices.Contains(request.Prompt, oidc.PromptLogin) || slices.Contains(request.Prompt, oidc.PromptSelectAccount) {
		return false
	}
	if request.MaxAge != nil && l.storage.clock().Sub(session.at) > time.Duration(*request.MaxAge)*time.Second {
		return false
	}
	return slices.Contains(wanted(request), session.assurance)
}

// wanted returns the levels that a request takes: all, where it names none that is known.
func wanted(request *request) []string {
	some := slices.DeleteFunc(slices.Clone([]string(request.ACRValues)), func(level string) bool { return !slices.Contains(levels, level) })
	if len(some) == 0 {
		return levels
	}
	return some
}

func (l *login) show(w http.ResponseWriter, request *request, wrong string) {
	header := w.Header()
	header.Set("Content-Type", "text/html; charset=utf-8")
	header.Set("Cache-Control", "no-store")
	header.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	if wrong != "" {
		w.WriteHeader(http.StatusBadRequest)
	}
	_ = page.Execute(w, map[string]any{"Request": request.id, "Levels": wanted(request), "Users": l.users, "Wrong": wrong})
}

// post signs in whom the form names.
func (l *login) post(w http.ResponseWriter, r *http.Request, request *request) {
	id, selected, _ := strings.Cut(r.PostFormValue("user"), "/")
	i := slices.IndexFunc(l.users, func(u User) bool { return u.ID == id })
	switch {
	case i < 0 || !l.users[i].has(selected):
		l.show(w, request, "There is nobody of that name and role.")
		return
	case !slices.Contains(wanted(request), r.PostFormValue("acr")):
		l.show(w, request, "Choose how you sign in.")
		return
	}
	name, before := l.session(r)
	session := &signIn{user: &l.users[i], role: selected, assurance: r.PostFormValue("acr"), at: l.storage.clock(), session: uuid.NewString()}
	if before != nil && before.user == session.user && before.role == session.role {
		session.session = before.session // a step-up goes on with the session
	} else {
		name = uuid.NewString()
	}
	l.mu.Lock()
	l.sessions[name] = session
	l.mu.Unlock()
	http.SetCookie(w, &http.Cookie{Name: cookie, Value: name, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
	l.finish(w, r, request, session)
}

// has reports whether a role is one of the user's; who has none has none selected.
func (u *User) has(role string) bool {
	if len(u.Roles) == 0 {
		return role == nobodySelected
	}
	return slices.ContainsFunc(u.Roles, func(r Role) bool { return r.ID == role })
}

// session returns the browser's.
func (l *login) session(r *http.Request) (name string, s *signIn) {
	c, err := r.Cookie(cookie)
	if err != nil {
		return "", nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return c.Value, l.sessions[c.Value]
}

// finish sends the browser on to where it gets its code.
func (l *login) finish(w http.ResponseWriter, r *http.Request, request *request, as *signIn) {
	l.storage.done(request, as)
	http.Redirect(w, r, op.AuthCallbackURL(l.provider)(op.ContextWithIssuer(r.Context(), l.issuer), request.id), http.StatusSeeOther)
}

// leaving ends the browser's session before the provider sends it on.
func (l *login) leaving(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if name, there := l.session(r); there != nil {
			l.mu.Lock()
			delete(l.sessions, name)
			l.mu.Unlock()
		}
		http.SetCookie(w, &http.Cookie{Name: cookie, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
		next.ServeHTTP(w, r)
	})
}
