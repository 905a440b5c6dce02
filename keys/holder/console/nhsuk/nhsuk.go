// Package nhsuk is the NHS design system (nhsuk-frontend 10.6.1, MIT licence) as Go:
// its style sheet and script as assets to serve, its components as values that render
// themselves.
//
// A component is a struct whose fields are the options of the design system's macro of
// that name, and Render gives its markup, which is held to the design system's own
// fixtures. A component goes into another by what it renders, in Go or in a page's
// template:
//
//	{{.Header.Render}} {{.Form.Reason.Render}}
//
// What is in a field of type string is text and is escaped, wherever it goes; a field of
// type template.HTML goes out as it is, so put nothing there but what a template or a
// component made. Addresses of another scheme than http, https, mailto or tel become
// "#ZgotmplZ".
//
// The pages need no script and no inline style, so that they can be served with
// default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'.
//
// Where it departs from the design system, on purpose:
//   - There is no NHS logo, a trade mark: a header begins with the name of the
//     organisation or of the service. There is no search in the header either.
//   - The Frutiger typeface comes from a public host: its @font-face is left out, and
//     what the style sheet falls back to, Arial, is used.
//   - Attributes beyond a component's own are a list: see Attributes.
//   - Options that the design system calls deprecated are not taken.
package nhsuk

import (
	"embed"
	"html/template"
	"strings"
	"sync"
)

// Component is what every component is.
type Component interface {
	// Render is its markup.
	Render() template.HTML
}

//go:embed templates
var files embed.FS

// templates are parsed at the first use: most commands make no page.
var templates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("nhsuk").Funcs(template.FuncMap{
		"attrs": Attributes.html,
		"body":  body,
		"open":  open,
		"close": closeTag,
		"icon":  iconHTML,
		"affix": newAffix,
		"word":  newWord,
	}).ParseFS(files, "templates/*.html"))
})

// render runs one of the package's templates. These have no way to fail that depends on
// what they are given, so that an error is a defect of this package.
func render(name string, data any) template.HTML {
	var b strings.Builder
	if err := templates().ExecuteTemplate(&b, name, data); err != nil {
		panic("nhsuk: the template " + name + " is wrong")
	}
	return template.HTML(b.String())
}

// Content is text, or markup, which goes before text.
type Content struct {
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

func (c Content) empty() bool { return c.Text == "" && c.HTML == "" }

// body is markup if there is some, and otherwise the text.
func body(text string, html template.HTML) template.HTML {
	if html != "" {
		return template.HTML(strings.TrimSpace(string(html)))
	}
	return escape(strings.TrimSpace(text))
}

func escape(text string) template.HTML { return template.HTML(template.HTMLEscapeString(text)) }

// first is the first that is not empty.
func first[S ~string](candidates ...S) S {
	for _, s := range candidates {
		if s != "" {
			return s
		}
	}
	return ""
}
