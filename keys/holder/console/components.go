package console

import (
	"bytes"
	"fmt"
	"html/template"
	"sync"
)

// stub templates; replaced by nhsuk.
var stubTemplates = sync.OnceValue(func() *template.Template {
	return template.Must(template.New("").Parse(`
{{define "label"}}<label class="nhsuk-label nhsuk-label--s" for="{{.ID}}">{{.Label}}</label>{{end}}
{{define "hint"}}{{with .Hint}}<div class="nhsuk-hint" id="{{$.ID}}-hint">{{.}}</div>{{end}}{{with .Error}}<span class="nhsuk-error-message" id="{{$.ID}}-error"><span class="nhsuk-u-visually-hidden">Error: </span>{{.}}</span>{{end}}{{end}}
{{define "input"}}<div class="nhsuk-form-group{{if .Error}} nhsuk-form-group--error{{end}}">{{template "label" .}}{{template "hint" .}}<input class="nhsuk-input{{if .Class}} {{.Class}}{{end}}{{if .Error}} nhsuk-input--error{{end}}" id="{{.ID}}" name="{{.Name}}" type="{{.Type}}" value="{{.Value}}" autocomplete="off" spellcheck="false"{{with .Describes}} aria-describedby="{{.}}"{{end}}></div>{{end}}
{{define "textarea"}}<div class="nhsuk-form-group{{if .Error}} nhsuk-form-group--error{{end}}">{{template "label" .}}{{template "hint" .}}<textarea class="nhsuk-textarea{{if .Class}} {{.Class}}{{end}}{{if .Error}} nhsuk-textarea--error{{end}}" id="{{.ID}}" name="{{.Name}}" rows="{{.Rows}}"{{with .Describes}} aria-describedby="{{.}}"{{end}}>{{.Value}}</textarea></div>{{end}}
{{define "file"}}<div class="nhsuk-form-group">{{template "label" .}}{{template "hint" .}}<input class="nhsuk-file-upload__input" id="{{.ID}}" name="{{.Name}}" type="file"{{with .Describes}} aria-describedby="{{.}}"{{end}}></div>{{end}}
{{define "select"}}<div class="nhsuk-form-group{{if .Error}} nhsuk-form-group--error{{end}}">{{template "label" .}}{{template "hint" .}}<select class="nhsuk-select" id="{{.ID}}" name="{{.Name}}"{{with .Describes}} aria-describedby="{{.}}"{{end}}>{{range .Choices}}<option value="{{.Value}}"{{if .Chosen}} selected{{end}}>{{.Text}}</option>{{end}}</select></div>{{end}}
{{define "choices"}}<div class="nhsuk-form-group{{if .Error}} nhsuk-form-group--error{{end}}"><fieldset class="nhsuk-fieldset"{{with .Describes}} aria-describedby="{{.}}"{{end}}>{{with .Label}}<legend class="nhsuk-fieldset__legend nhsuk-fieldset__legend--s">{{.}}</legend>{{end}}{{template "hint" .}}<div class="nhsuk-{{.Kind}}">{{range $i, $c := .Choices}}<div class="nhsuk-{{$.Kind}}__item"><input class="nhsuk-{{$.Kind}}__input" id="{{$.ID}}{{if $i}}-{{$i}}{{end}}" name="{{$.Name}}" type="{{$.Type}}" value="{{.Value}}"{{if .Chosen}} checked{{end}}{{if .Hint}} aria-describedby="{{$.ID}}-{{$i}}-item-hint"{{end}}><label class="nhsuk-label nhsuk-{{$.Kind}}__label" for="{{$.ID}}{{if $i}}-{{$i}}{{end}}">{{.Text}}</label>{{with .Hint}}<div class="nhsuk-hint nhsuk-{{$.Kind}}__hint" id="{{$.ID}}-{{$i}}-item-hint">{{.}}</div>{{end}}</div>{{end}}</div></fieldset></div>{{end}}
{{define "button"}}<button class="nhsuk-button{{with .Class}} {{.}}{{end}}" type="submit" data-prevent-double-click="true">{{.Label}}</button>{{end}}
{{define "link-button"}}<a class="nhsuk-button" href="{{.Value}}" role="button" draggable="false">{{.Label}}</a>{{end}}
{{define "summary"}}{{if .}}<div class="nhsuk-error-summary"><div role="alert"><h2 class="nhsuk-error-summary__heading">There is a problem</h2><div class="nhsuk-error-summary__body"><ul class="nhsuk-list nhsuk-error-summary__list">{{range .}}<li><a href="#{{.Field}}">{{.Text}}</a></li>{{end}}</ul></div></div></div>{{end}}{{end}}
{{define "tag"}}<strong class="nhsuk-tag{{with .Class}} nhsuk-tag--{{.}}{{end}}">{{.Label}}</strong>{{end}}
{{define "row"}}<div class="nhsuk-summary-list__row{{if not .Value}} nhsuk-summary-list__row--no-actions{{end}}"><dt class="nhsuk-summary-list__key">{{.Label}}</dt><dd class="nhsuk-summary-list__value">{{.Hint}}</dd>{{if .Value}}<dd class="nhsuk-summary-list__actions"><a href="{{.Value}}">{{.Kind}}</a></dd>{{end}}</div>{{end}}
{{define "figures"}}<tr class="nhsuk-table__row"><th class="nhsuk-table__header" scope="row">{{.Label}}</th><td class="nhsuk-table__cell nhsuk-table__cell--numeric">{{.Rows}}</td><td class="nhsuk-table__cell nhsuk-table__cell--numeric">{{.Width}}</td></tr>{{end}}
{{define "header"}}<header class="nhsuk-header" role="banner"><div class="nhsuk-header__container nhsuk-width-container"><div class="nhsuk-header__service"><a class="nhsuk-header__service-name" href="/">Tarn{{with .Organisation}}, {{.}}{{end}}</a></div>{{with .Person}}<nav class="nhsuk-header__account" aria-label="Account"><ul class="nhsuk-header__account-list"><li class="nhsuk-header__account-item">{{.Name}}, role {{.Role}} at {{.Organisation}}</li><li class="nhsuk-header__account-item"><form class="nhsuk-header__account-form" action="/sign-out" method="post"><button class="nhsuk-header__account-button">Sign out</button></form></li></ul></nav>{{end}}</div>{{with .Navigation}}<nav class="nhsuk-header__navigation" aria-label="Menu"><div class="nhsuk-header__navigation-container nhsuk-width-container"><ul class="nhsuk-header__navigation-list">{{range .}}<li class="nhsuk-header__navigation-item{{if .Current}} nhsuk-header__navigation-item--current{{end}}"><a class="nhsuk-header__navigation-link" href="{{.Path}}"{{if .Current}} aria-current="page"{{end}}>{{.Text}}</a></li>{{end}}</ul></div></nav>{{end}}</header>{{end}}
{{define "footer"}}<footer class="nhsuk-footer" role="contentinfo"><div class="nhsuk-width-container"><div class="nhsuk-footer__meta"><h2 class="nhsuk-u-visually-hidden">Support links</h2><ul class="nhsuk-footer__list">{{range .}}<li class="nhsuk-footer__list-item"><a class="nhsuk-footer__list-item-link" href="{{.Path}}">{{.Text}}</a></li>{{end}}</ul></div></div></footer>{{end}}
`))
})

type control struct {
	ID, Name, Label, Hint, Error, Value, Class, Type, Kind string
	Rows, Width                                            int
	Choices                                                []choice
}

func (c control) Describes() string {
	switch {
	case c.Hint != "" && c.Error != "":
		return c.ID + "-hint " + c.ID + "-error"
	case c.Hint != "":
		return c.ID + "-hint"
	case c.Error != "":
		return c.ID + "-error"
	}
	return ""
}

func made(name string, data any) (template.HTML, error) {
	var b bytes.Buffer
	err := stubTemplates().ExecuteTemplate(&b, name, data)
	return template.HTML(b.String()), err
}

// Of is wrong.of for templates.
func (w wrong) Of(field string) string { return w.of(field) }

func components() template.FuncMap {
	type html = template.HTML
	return template.FuncMap{
		"skipLink": func() html { return `<a class="nhsuk-skip-link" href="#maincontent">Skip to main content</a>` },
		"header":   func(f *frame) (html, error) { return made("header", f) },
		"footer": func(f *frame) (html, error) {
			return made("footer", []link{{"Help", "/help"}, {"Register of projects", "/register"}, {"Privacy and cookies", "/privacy"}, {"Accessibility statement", "/accessibility"}})
		},
		"backLink": func(text, path string) html {
			return html(fmt.Sprintf(`<a class="nhsuk-back-link" href="%s">%s</a>`, template.HTMLEscapeString(path), template.HTMLEscapeString(text)))
		},
		"button": func(text string) (html, error) { return made("button", control{Label: text}) },
		"secondaryButton": func(text string) (html, error) {
			return made("button", control{Label: text, Class: "nhsuk-button--secondary"})
		},
		"warningButton": func(text string) (html, error) {
			return made("button", control{Label: text, Class: "nhsuk-button--warning"})
		},
		"linkButton": func(text, path string) (html, error) { return made("link-button", control{Label: text, Value: path}) },
		"input": func(name, label, value, hint, wrong string, width int) (html, error) {
			class := ""
			if width > 0 {
				class = fmt.Sprintf("nhsuk-input--width-%d", width)
			}
			return made("input", control{ID: name, Name: name, Label: label, Value: value, Hint: hint, Error: wrong, Class: class, Type: "text"})
		},
		"dateInput": func(name, label, value, wrong string) (html, error) {
			return made("input", control{ID: name, Name: name, Label: label, Value: value, Error: wrong, Class: "nhsuk-input--width-10", Type: "date"})
		},
		"tokenInput": func(value, wrong string) (html, error) {
			return made("input", control{ID: "token", Name: "token", Label: "Token", Value: value, Hint: "74 characters that begin with tarn1. Copy and paste it whole.", Error: wrong, Class: "tarn-token", Type: "text"})
		},
		"textarea": func(name, label, value, hint, wrong string, rows int, id string) (html, error) {
			return made("textarea", control{ID: id, Name: name, Label: label, Value: value, Hint: hint, Error: wrong, Rows: rows})
		},
		"upload": func(name, label, hint string) (html, error) {
			return made("file", control{ID: name, Name: name, Label: label, Hint: hint})
		},
		"radios": func(name, legend string, choices []choice, wrong, hint string) (html, error) {
			return made("choices", control{ID: name, Name: name, Label: legend, Choices: choices, Error: wrong, Hint: hint, Type: "radio", Kind: "radios"})
		},
		"checkboxes": func(name, legend string, choices []choice, wrong, hint string) (html, error) {
			return made("choices", control{ID: name, Name: name, Label: legend, Choices: choices, Error: wrong, Hint: hint, Type: "checkbox", Kind: "checkboxes"})
		},
		"checkbox": func(name, text, wrong string) (html, error) {
			return made("choices", control{ID: name, Name: name, Choices: []choice{{Value: "yes", Text: text}}, Error: wrong, Type: "checkbox", Kind: "checkboxes"})
		},
		"selectOf": func(name, label string, choices []choice, wrong string) (html, error) {
			return made("select", control{ID: name, Name: name, Label: label, Choices: choices, Error: wrong})
		},
		"errorSummary": func(w wrong) (html, error) { return made("summary", w) },
		"tag":          func(text, colour string) (html, error) { return made("tag", control{Label: text, Class: colour}) },
		"row":          func(key, value string) (html, error) { return made("row", control{Label: key, Hint: value}) },
		"rowLink": func(key, value, text, path string) (html, error) {
			return made("row", control{Label: key, Hint: value, Kind: text, Value: path})
		},
		"figures": func(label string, now, before int) (html, error) {
			return made("figures", control{Label: label, Rows: now, Width: before})
		},
	}
}
