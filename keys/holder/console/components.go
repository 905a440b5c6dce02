package console

import (
	"html/template"

	"tarn/keys/holder/console/nhsuk"
)

// components are what templates make of the design system's components, by the names that
// they have there.
func components() template.FuncMap {
	type html = template.HTML
	return template.FuncMap{
		"skipLink": func() html { return nhsuk.SkipLink{}.Render() },
		"header":   headerHTML, "footer": footerHTML,
		"backLink": func(text, path string) html { return nhsuk.BackLink{Text: text, Href: path}.Render() },

		"button":          func(text string) html { return buttonHTML(text, "") },
		"secondaryButton": func(text string) html { return buttonHTML(text, "secondary") },
		"warningButton":   func(text string) html { return buttonHTML(text, "warning") },
		"linkButton":      func(text, path string) html { return nhsuk.Button{Text: text, Href: path}.Render() },

		"input": inputHTML, "dateInput": dateInputHTML, "tokenInput": tokenInputHTML, "textarea": textareaHTML, "upload": uploadHTML,
		"radios": radiosHTML, "checkboxes": checkboxesHTML, "checkbox": checkboxHTML, "selectOf": selectHTML, "errorSummary": errorSummaryHTML,

		"tag":         tagHTML,
		"row":         func(key, value string) nhsuk.SummaryRow { return row(key, nhsuk.Cell{Text: value}) },
		"rowLink":     rowLink,
		"summaryList": summaryListHTML,
		"inset":       func(text string) html { return nhsuk.InsetText{HTML: paragraph(text)}.Render() },
		"warning": func(heading string, content html) html {
			return nhsuk.WarningCallout{Heading: nhsuk.Heading{Text: heading, Level: 2}, HTML: content}.Render()
		},
		"details": func(summary string, content html) html {
			return nhsuk.Details{Summary: nhsuk.Content{Text: summary}, HTML: content}.Render()
		},
		"expander": func(summary string, content html) html {
			return nhsuk.Details{Summary: nhsuk.Content{Text: summary}, HTML: content}.Expander().Render()
		},
		"card": func(content html) html { return nhsuk.Card{Description: nhsuk.Content{HTML: content}}.Render() },
		"taskCard": func(t task) html {
			return taskCard(t).Render()
		},

		"requestTable": requestTable, "eventTable": eventTable, "standingTable": standingTable, "firedTable": firedTable, "projectTable": projectTable, "clientTable": clientTable,
		"figures": figures, "figureTable": figureTable, "countTable": countTable, "answerTable": answerTable,
	}
}

func paragraph(text string) template.HTML {
	return template.HTML("<p>" + template.HTMLEscapeString(text) + "</p>")
}

func headerHTML(f *frame) template.HTML {
	h := nhsuk.Header{Service: nhsuk.HeaderService{Text: "Tarn", Href: "/"}}
	if f.Organisation != "" {
		h.Service.Text += ", " + f.Organisation
	}
	if p := f.Person; p != nil {
		who := p.Name
		if p.Role != "" {
			who += ", " + p.Role
		}
		h.Account.Items = []nhsuk.AccountItem{{Text: who + " at " + p.Organisation}, {Text: "Sign out", Action: "/sign-out", Method: "post"}}
	}
	for _, one := range f.Navigation {
		h.Navigation.Items = append(h.Navigation.Items, nhsuk.NavigationItem{Text: one.Text, Href: one.Path, Current: one.Current})
	}
	return h.Render()
}

func footerHTML(*frame) template.HTML {
	return nhsuk.Footer{Meta: nhsuk.FooterMeta{Items: []nhsuk.FooterItem{
		{Text: "Help", Href: "/help"}, {Text: "Register of projects", Href: "/register"}, {Text: "Privacy and cookies", Href: "/privacy"}, {Text: "Accessibility statement", Href: "/accessibility"},
	}}}.Render()
}

func buttonHTML(text, variant string) template.HTML {
	return nhsuk.Button{Text: text, Variant: variant, PreventDoubleClick: true}.Render()
}

// asWritten keeps browsers from helping: what is typed here is in no dictionary, and is to be
// kept by no browser.
var asWritten = func() *bool { no := false; return &no }()

func label(text string) nhsuk.Label { return nhsuk.Label{Text: text, Size: "s"} }

func inputHTML(name, text, value, hint, wrong string, width int) template.HTML {
	return nhsuk.Input{Name: name, ID: name, Label: label(text), Value: value, Hint: nhsuk.Hint{Text: hint}, ErrorMessage: nhsuk.ErrorMessage{Text: wrong}, Width: width, Autocomplete: "off", Spellcheck: asWritten}.Render()
}

func dateInputHTML(name, text, value, wrong string) template.HTML {
	return nhsuk.Input{Name: name, ID: name, Type: "date", Label: label(text), Value: value, ErrorMessage: nhsuk.ErrorMessage{Text: wrong}, Width: 10, Autocomplete: "off"}.Render()
}

func tokenInputHTML(value, wrong string) template.HTML {
	// Two lines, so that all of it is seen.
	return nhsuk.Textarea{Name: "token", ID: "token", Rows: 3, Classes: "tarn-token", Label: label("Token"), Value: value, Hint: nhsuk.Hint{Text: "74 characters that begin with tarn1. Copy and paste it whole."}, ErrorMessage: nhsuk.ErrorMessage{Text: wrong},
		Autocomplete: "off", Spellcheck: asWritten}.Render()
}

func textareaHTML(name, text, value, hint, wrong string, rows int, id string) template.HTML {
	return nhsuk.Textarea{Name: name, ID: id, Label: label(text), Value: value, Hint: nhsuk.Hint{Text: hint}, ErrorMessage: nhsuk.ErrorMessage{Text: wrong}, Rows: rows, Autocomplete: "off"}.Render()
}

func uploadHTML(name, text, hint string) template.HTML {
	return nhsuk.FileUpload{Name: name, ID: name, Label: label(text), Hint: nhsuk.Hint{Text: hint}}.Render()
}

func legend(text string) *nhsuk.Fieldset {
	return &nhsuk.Fieldset{Legend: nhsuk.Legend{Text: text, Size: "s"}}
}

func radiosHTML(name, text string, choices []choice, wrong, hint string) template.HTML {
	r := nhsuk.Radios{Name: name, IDPrefix: name, Fieldset: legend(text), Hint: nhsuk.Hint{Text: hint}, ErrorMessage: nhsuk.ErrorMessage{Text: wrong}}
	for _, c := range choices {
		r.Items = append(r.Items, nhsuk.RadiosItem{Text: c.Text, Value: c.Value, Hint: nhsuk.Hint{Text: c.Hint}, Checked: c.Chosen})
	}
	return r.Render()
}

func checkboxesHTML(name, text string, choices []choice, wrong, hint string) template.HTML {
	b := nhsuk.Checkboxes{Name: name, IDPrefix: name, Fieldset: legend(text), Hint: nhsuk.Hint{Text: hint}, ErrorMessage: nhsuk.ErrorMessage{Text: wrong}}
	for _, c := range choices {
		b.Items = append(b.Items, nhsuk.CheckboxesItem{Text: c.Text, Value: c.Value, Hint: nhsuk.Hint{Text: c.Hint}, Checked: c.Chosen})
	}
	return b.Render()
}

func checkboxHTML(name, text, wrong string, chosen bool) template.HTML {
	return nhsuk.Checkboxes{Name: name, IDPrefix: name, ErrorMessage: nhsuk.ErrorMessage{Text: wrong}, Items: []nhsuk.CheckboxesItem{{Text: text, Value: "yes", Checked: chosen}}}.Render()
}

func selectHTML(name, text string, choices []choice, wrong string) template.HTML {
	s := nhsuk.Select{Name: name, ID: name, Label: label(text), ErrorMessage: nhsuk.ErrorMessage{Text: wrong}}
	for _, c := range choices {
		s.Items = append(s.Items, nhsuk.SelectItem{Text: c.Text, Value: c.Value, Selected: c.Chosen})
	}
	return s.Render()
}

func errorSummaryHTML(w wrong) template.HTML {
	if len(w) == 0 {
		return ""
	}
	e := nhsuk.ErrorSummary{Heading: nhsuk.Heading{Text: "There is a problem"}}
	for _, one := range w {
		e.ErrorList = append(e.ErrorList, nhsuk.ErrorSummaryItem{Text: one.Text, Href: "#" + one.Field})
	}
	return e.Render()
}

func tagHTML(text, colour string) template.HTML {
	return nhsuk.Tag{Text: text, Colour: colour}.Render()
}

func row(key string, value nhsuk.Cell) nhsuk.SummaryRow {
	return nhsuk.SummaryRow{Key: nhsuk.Cell{Text: key}, Value: value}
}

func rowLink(key, value, text, path string) nhsuk.SummaryRow {
	if value == "" {
		return nhsuk.SummaryRow{}
	}
	r := row(key, nhsuk.Cell{Text: value})
	r.Actions.Items = []nhsuk.Action{{Text: text, Href: path}}
	return r
}

// summaryListHTML lists what is known of something. A row without a value is left out.
func summaryListHTML(rows ...nhsuk.SummaryRow) template.HTML {
	list := nhsuk.SummaryList{}
	for _, r := range rows {
		if r.Value.Text != "" || r.Value.HTML != "" {
			list.Rows = append(list.Rows, r)
		}
	}
	return list.Render()
}

func taskCard(t task) nhsuk.Card {
	c := nhsuk.Card{Heading: nhsuk.Heading{Text: t.Title, Level: 2, Size: "m"}, Href: t.Path, Clickable: true, Description: nhsuk.Content{Text: t.Text}}
	if t.Waiting > 0 {
		c.Description = nhsuk.Content{HTML: template.HTML(`<p class="tarn-card__waiting">`) + tagHTML(itoa(t.Waiting)+" waiting", "yellow") + template.HTML(`</p><p class="nhsuk-card__description">`+template.HTMLEscapeString(t.Text)+`</p>`)}
	}
	if t.Urgent {
		c.Classes = "tarn-card--urgent"
	}
	return c
}
