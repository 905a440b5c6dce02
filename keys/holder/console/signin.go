package console

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"tarn/keys/fault"
	"tarn/keys/reidentify"
	"tarn/keys/signin"
	"tarn/keys/signin/codeflow"
)

// home is the first page: what somebody can do here, or how to sign in.
func (v *visit) home() error {
	if !v.in {
		return v.signInPage()
	}
	if _, err := v.mayNow(); err != nil {
		return err
	}
	v.render(http.StatusOK, "home", "What do you need to do?", v.tasks())
	return nil
}

// local returns a page of ours to go to: a path that a browser takes for nothing else.
func local(next string) string { return codeflow.Local(next) }

type signInView struct {
	Start string // where signing in begins
	Ended bool   // a session has ended
	Idle  string
}

func (v *visit) signInPage() error {
	next := local(v.r.URL.Query().Get("next"))
	if v.in {
		v.redirect(next)
		return nil
	}
	v.render(http.StatusOK, "sign-in", "Sign in", signInView{
		Start: "/sign-in/start?" + url.Values{"next": {next}}.Encode(), Ended: v.was, Idle: span(v.console.sessions.idle),
	})
	return nil
}

// beginSignIn sends the browser to the provider. With step=emergency it asks for a new and
// stronger sign-in, as break-glass needs.
func (v *visit) beginSignIn() error {
	query := v.r.URL.Query()
	want := codeflow.Want{ReturnTo: local(query.Get("next"))}
	if query.Get("step") == "emergency" {
		want.Fresh = true
		if needs := glassNeeds(v.may()); needs != nil {
			want.ACR = needs.Assurances
		}
	}
	redirect, cookie, err := v.console.options.SignIn.Begin(want)
	if err != nil {
		return err
	}
	setCookie(v.w, signingCookie, cookie)
	v.redirect(redirect)
	return nil
}

// glassNeeds is what break-glass needs of a sign-in; nil where the person may not use it.
func glassNeeds(may *reidentify.Abilities) *reidentify.BreakGlassNeeds {
	for i := range may.Asks {
		if may.Asks[i].Glass {
			return &may.Asks[i].Needs
		}
	}
	return nil
}

// finishSignIn takes what the browser brings back from the provider. The session is new, and
// its cookie: what the browser had before ends.
func (v *visit) finishSignIn() error {
	cookie, err := v.r.Cookie(signingCookie)
	dropCookie(v.w, signingCookie)
	if err != nil {
		return &shown{Status: http.StatusBadRequest, Title: "You were not signed in", Text: "The sign-in did not begin in this browser, or too long ago.", Next: "Sign in again.", Link: "/sign-in", LinkText: "Sign in"}
	}
	result, err := v.console.options.SignIn.Finish(v.r.Context(), cookie.Value, v.r.URL.Query())
	if err != nil {
		return v.signInRefused(err)
	}
	if v.in {
		v.console.sessions.end(v.id)
	}
	name, there := v.console.sessions.begin(result.Person, result.Shown)
	if !there {
		return &shown{Status: http.StatusServiceUnavailable, Title: "The service is busy", Text: "Too many people are signed in.", Next: "Try again in a few minutes."}
	}
	setCookie(v.w, sessionCookie, name)
	v.console.options.Logger.Info("somebody has signed in", "client", result.Person.Subject)
	v.redirect(local(result.ReturnTo))
	return nil
}

// signInRefused says why somebody was not signed in. The provider's own words are not
// repeated.
func (v *visit) signInRefused(err error) error {
	s := &shown{Status: http.StatusForbidden, Title: "You were not signed in", Text: "The sign-in was not accepted.", Next: "Sign in again. If that does not help, tell the organisation that runs the service what you read here.", Link: "/sign-in", LinkText: "Sign in"}
	var why *signin.Error
	switch {
	case fault.KindOf(err) == fault.Unavailable:
		s.Status, s.Title, s.Text, s.Next = http.StatusServiceUnavailable, "The sign-in service does not answer", "It is another organisation's, and could not be reached.", "Try again in a minute."
	case errors.As(err, &why):
		s.Text = sentence(strings.TrimPrefix(why.Error(), "signin: "))
		v.console.options.Logger.Warn("a sign-in was refused", "code", string(why.Reason))
	default:
		v.console.options.Logger.Warn("a sign-in was refused", "error", err)
	}
	return s
}

// signOut ends the session here, and then at the provider.
func (v *visit) signOut() error {
	if v.in {
		v.console.sessions.end(v.id)
	}
	dropCookie(v.w, sessionCookie)
	v.redirect("/signed-out")
	return nil
}

func (v *visit) signedOut() error {
	v.render(http.StatusOK, "signed-out", "You are signed out", v.console.options.SignIn.Leave(strings.TrimSuffix(v.console.options.PublicURL, "/")+"/signed-out"))
	return nil
}
