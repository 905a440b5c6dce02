package nhsuk_test

import (
	"fmt"
	"html/template"
	"strings"

	"tarn/keys/holder/console/nhsuk"
)

// A page is a template of whoever serves it, into which components go.
var page = template.Must(template.New("page").Parse(`<!DOCTYPE html>
<html lang="en-GB">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1, viewport-fit=cover">
<title>{{.Title}}</title>
<link rel="stylesheet" href="/assets/{{.Stylesheet}}">
</head>
<body>
{{.SkipLink.Render}}
{{.Header.Render}}
<div class="nhsuk-width-container">
<main class="nhsuk-main-wrapper" id="maincontent">
{{.Errors.Render}}
<form method="post" action="/requests">
{{range .Form}}{{.Render}}
{{end}}</form>
</main>
</div>
{{.Footer.Render}}
</body>
</html>
`))

type example struct {
	Title, Stylesheet string
	SkipLink          nhsuk.SkipLink
	Header            nhsuk.Header
	Errors            nhsuk.ErrorSummary
	Form              []nhsuk.Component
	Footer            nhsuk.Footer
}

func newExample() example {
	number := nhsuk.Input{Name: "case", Label: nhsuk.Label{Text: "Case number"}, Width: 20, Code: true, Spellcheck: new(false)}
	return example{
		Title: "Error: Ask for an opening", Stylesheet: nhsuk.Stylesheet(),
		Header: nhsuk.Header{
			Organisation: nhsuk.Organisation{Name: "Anywhere Trust"},
			Service:      nhsuk.HeaderService{Text: "Key holder", Href: "/"},
			Account: nhsuk.HeaderAccount{Items: []nhsuk.AccountItem{
				{Text: "A. Person", Icon: true},
				{Text: "Sign out", Action: "/sign-out"},
			}},
			Navigation: nhsuk.HeaderNavigation{Items: []nhsuk.NavigationItem{
				{Text: "Requests", Href: "/requests", Current: true},
				{Text: "Policy", Href: "/policy"},
			}},
		},
		Errors: nhsuk.ErrorSummary{
			Heading:   nhsuk.Heading{Text: "There is a problem"},
			ErrorList: []nhsuk.ErrorSummaryItem{{Text: "Say why", Href: "#reason"}},
		},
		Form: []nhsuk.Component{
			nhsuk.Radios{
				Name:         "reason",
				Fieldset:     &nhsuk.Fieldset{Legend: nhsuk.Legend{Text: "Why?", Size: "m", IsPageHeading: true}},
				ErrorMessage: nhsuk.ErrorMessage{Text: "Say why"},
				Items: []nhsuk.RadiosItem{
					{Text: "Care", Value: "care", Conditional: nhsuk.Conditional{HTML: number.Render()}},
					{Divider: "or"},
					{Text: "Something else", Value: "else"},
				},
			},
			nhsuk.Button{Text: "Ask", PreventDoubleClick: true},
		},
		Footer: nhsuk.Footer{Meta: nhsuk.FooterMeta{Items: []nhsuk.FooterItem{{Text: "Accessibility", Href: "/accessibility"}}}},
	}
}

func Example() {
	var b strings.Builder
	if err := page.Execute(&b, newExample()); err != nil {
		fmt.Println(err)
	}
	for _, part := range []string{
		`<a class="nhsuk-skip-link" data-module="nhsuk-skip-link" href="#maincontent">`,
		`<span class="nhsuk-header__organisation-name">Anywhere Trust</span>`,
		`<li><a href="#reason">Say why</a></li>`,
		`<input class="nhsuk-input nhsuk-input--code nhsuk-input--width-20" id="case" name="case" type="text" spellcheck="false">`,
		`<footer class="nhsuk-footer" role="contentinfo">`,
	} {
		fmt.Println(strings.Contains(b.String(), part))
	}
	// Output:
	// true
	// true
	// true
	// true
	// true
}
