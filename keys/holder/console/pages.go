package console

import (
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io"
	"path"
	"strings"
	"time"

	"tarn/keys/api"
	"tarn/keys/reidentify"
)

//go:embed templates/*.html
var templates embed.FS

// Each page is a template of its own that fills the frame; parts.html is what pages share.
const (
	frameFile = "templates/frame.html"
	partsFile = "templates/parts.html"
)

// pages are the templates, by page.
type pages map[string]*template.Template

// parsePages reads every page. They are in the program: what cannot be read is a mistake in
// it.
func parsePages() pages {
	base := template.Must(template.New("").Funcs(functions()).ParseFS(templates, frameFile, partsFile))
	files, err := templates.ReadDir("templates")
	if err != nil {
		panic("console: the pages that are in this program cannot be read")
	}
	all := pages{}
	for _, file := range files {
		if name := "templates/" + file.Name(); name != frameFile && name != partsFile {
			page := template.Must(base.Clone())
			page.Funcs(template.FuncMap{"part": partOf(page)})
			all[strings.TrimSuffix(path.Base(name), ".html")] = template.Must(page.ParseFS(templates, name))
		}
	}
	return all
}

// partOf makes a part of a page, which goes into a component.
func partOf(page *template.Template) func(string, any) (template.HTML, error) {
	return func(name string, data any) (template.HTML, error) {
		var b strings.Builder
		err := page.ExecuteTemplate(&b, name, data)
		return template.HTML(b.String()), err
	}
}

// write makes a page.
func (p pages) write(w io.Writer, name string, f *frame) error {
	page := p[name]
	if page == nil {
		return fmt.Errorf("console: there is no page of this name")
	}
	return page.ExecuteTemplate(w, "frame", f)
}

// frame is what every page has around its content.
type frame struct {
	Title        string
	Organisation string // who runs the key holder
	Person       *personView
	Navigation   []navigation
	Back         *link
	Content      any
}

// personView is who has signed in, as the header says it.
type personView struct {
	Name, Role, Organisation string
	Ends                     time.Time // when the session ends by itself
}

type link struct{ Text, Path string }

type navigation struct {
	link
	Current bool
}

// sections are the parts of the console, by which their pages' addresses begin.
var sections = []string{"/ask", "/emergency", "/requests", "/worklists", "/approvals", "/reviews", "/who-asked", "/log", "/reports", "/limits", "/operators"}

func (v *visit) frame(title string, content any) *frame {
	f := &frame{Title: title, Organisation: v.console.options.Organisation, Content: content}
	here := v.r.URL.Path
	if v.in {
		p := &v.session.person
		f.Person = &personView{Name: v.session.shown.Name, Role: v.session.shown.Role, Organisation: p.Organisation}
		if f.Person.Name == "" {
			f.Person.Name = p.Subject
		}
		f.Person.Ends, _ = v.console.sessions.ends(&v.session)
		f.Navigation = v.navigation(here)
	}
	f.Back = back(here)
	return f
}

// navigation is what the person can do, without what waits.
func (v *visit) navigation(here string) (all []navigation) {
	may := v.may()
	asks, routes, glass := false, false, glassNeeds(may) != nil
	for i := range may.Asks {
		asks, routes = asks || len(may.Asks[i].Purposes) > 0, routes || len(may.Asks[i].Routes) > 0
	}
	for _, one := range []struct {
		when       bool
		text, path string
	}{
		{asks, "Ask", "/ask"}, {glass, "Emergency", "/emergency"}, {asks || routes || glass, "Your requests", "/requests"}, {len(may.Receives) > 0 || routes, "Worklists", worklistsOf(may)},
		{len(may.Approves) > 0, "Approvals", "/approvals"}, {len(may.Reviews) > 0, "Reviews", "/reviews"}, {may.Guardian, "Who asked", "/who-asked"}, {may.Guardian, "Log", "/log"},
		{may.Guardian, "Reports", "/reports"}, {asks || glass || may.Guardian, "Limits", "/limits"}, {may.Operator, "Projects and clients", "/operators"},
	} {
		if one.when {
			all = append(all, navigation{link{one.text, one.path}, under(here, one.path)})
		}
	}
	return all
}

func worklistsOf(may *reidentify.Abilities) string {
	if len(may.Receives) > 0 {
		return "/worklists"
	}
	return "/worklists/send"
}

func under(here, section string) bool {
	return here == section || strings.HasPrefix(here, section+"/")
}

// back is the page above: of one request the list, and of a list none.
func back(here string) *link {
	for _, section := range sections {
		if here != section && under(here, section) {
			return &link{"Back", section}
		}
	}
	if here == "/" || here == "/sign-in" || here == "/signed-out" {
		return nil
	}
	return &link{"Start page", "/"}
}

// functions are what templates call.
func functions() template.FuncMap {
	all := template.FuncMap{
		"part":  func(string, any) (template.HTML, error) { return "", errors.New("console: a part outside of a page") }, // each page has its own
		"asset": assetPath, "stylesheet": stylesheetPath,
		"purpose": purposeText, "reason": reasonText, "stateText": stateText, "stateColour": func(s string) string { return stateColours[s] }, "sentence": sentence,
		"when": whenText, "lastDay": lastDay, "day": londonDay, "clock": func(t time.Time) string { return t.In(reidentify.London()).Format("3:04pm") }, "until": until, "within": duration,
		"number": numberHTML, "hash": hashHTML, "numbers": numbers, "list": func(all []string) string { return strings.Join(all, ", ") }, "hashSearch": hashSearch,
		"parties": partiesText, "optOuts": optOutsText, "lookUps": lookUpsText, "text": func(p reidentify.Purpose) string { return string(p) }, "role": func(r api.Role) string { return string(r) }, "text2": func(s api.OperationState) string { return string(s) },
		"limitText": reidentify.LimitText, "limitAction": limitAction, "changeDecisions": changeDecisions, "month": monthText, "limitName": limitName, "plotOf": plot, "outcome": func(o string) string { return outcomeWords[o] }, "decisions": decisions, "outcomes": outcomes,
	}
	for name, f := range components() {
		all[name] = f
	}
	return all
}

// numberHTML is an NHS number in its groups: the gaps are the style sheet's, so that what is
// copied is ten digits.
func numberHTML(number string) template.HTML {
	var b strings.Builder
	for _, group := range groups(number) {
		b.WriteString(`<span class="tarn-number__group">` + template.HTMLEscapeString(group) + `</span>`)
	}
	return template.HTML(b.String())
}

// hashHTML is a hash that may be broken into lines, for narrow pages, and is copied whole.
func hashHTML(hash string) template.HTML {
	var b strings.Builder
	for i := 0; i < len(hash); i += 8 {
		if i > 0 {
			b.WriteString("<wbr>")
		}
		b.WriteString(template.HTMLEscapeString(hash[i:min(i+8, len(hash))]))
	}
	return template.HTML(b.String())
}

// numbers writes the first few of many numbers.
func numbers(all []int) string {
	const few = 20
	text := []string{}
	for _, n := range all[:min(len(all), few)] {
		text = append(text, itoa(n))
	}
	if len(all) > few {
		text = append(text, "and "+itoa(len(all)-few)+" more")
	}
	return strings.Join(text, ", ")
}

func decisions(chosen string) []choice {
	return []choice{
		{Value: string(reidentify.Approve), Text: "Approve", Hint: "The person may know who these patients are, for this reason.", Chosen: chosen == string(reidentify.Approve)},
		{Value: string(reidentify.Reject), Text: "Reject", Hint: "Nobody is told. The person reads your comment, and can ask again.", Chosen: chosen == string(reidentify.Reject)},
	}
}

func outcomes(chosen string) []choice {
	of := func(o reidentify.ReviewOutcome, text, hint string) choice {
		return choice{Value: string(o), Text: text, Hint: hint, Chosen: chosen == string(o)}
	}
	return []choice{
		of(reidentify.Justified, "Justified", "There was an emergency, and asking was the way to meet it."),
		of(reidentify.NotJustified, "Not justified", "There was none, or asking did not help to meet it. Follow your organisation's procedure as well."),
		of(reidentify.Inconclusive, "Inconclusive", "You cannot tell."),
	}
}

func changeDecisions(chosen string) []choice {
	return []choice{
		{Value: api.DecisionApprove, Text: "Approve", Chosen: chosen == api.DecisionApprove},
		{Value: api.DecisionReject, Text: "Reject", Chosen: chosen == api.DecisionReject},
	}
}

// limitAction says what a limit did.
func limitAction(action reidentify.Action, simulated bool) string {
	if simulated {
		return actionWords[string(action)] + ", being tried out"
	}
	return actionWords[string(action)]
}
