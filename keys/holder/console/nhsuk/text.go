package nhsuk

import (
	"html/template"
	"slices"
	"strings"
)

// ErrorSummary says at the top of a page what is wrong on it.
type ErrorSummary struct {
	ID               string             `json:"id"`
	Heading          Heading            `json:"heading"` // "There is a problem" as a rule
	Description      Content            `json:"description"`
	ErrorList        []ErrorSummaryItem `json:"errorList"`
	DisableAutoFocus *bool              `json:"disableAutoFocus"` // the script moves there unless it is true
	Classes          string             `json:"classes"`
	Attributes       Attributes         `json:"attributes"`
}

// ErrorSummaryItem is one thing that is wrong, with the address of its control.
type ErrorSummaryItem struct {
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Href       string        `json:"href"`
	Attributes Attributes    `json:"attributes"`
}

// Render is the error summary's markup.
func (e ErrorSummary) Render() template.HTML {
	heading := Heading{ID: e.Heading.ID, Text: e.Heading.Text, HTML: e.Heading.HTML, Level: 2, Attributes: e.Heading.Attributes}
	return render("error-summary", view{C: e, Class: joined("nhsuk-error-summary", e.Classes), Inner: heading.in(headingStyle{class: "nhsuk-error-summary__heading"})})
}

// InsetText sets a paragraph apart.
type InsetText struct {
	ID                 string        `json:"id"`
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"` // "Information" unless it is said
	Classes            string        `json:"classes"`
	Attributes         Attributes    `json:"attributes"`
}

// Render is the inset text's markup.
func (i InsetText) Render() template.HTML {
	i.VisuallyHiddenText = first(i.VisuallyHiddenText, "Information")
	return render("inset-text", view{C: i, Class: joined("nhsuk-inset-text", i.Classes)})
}

// Details are shown when they are asked for. With the class nhsuk-expander they are an
// expander: see Expander.
type Details struct {
	ID         string        `json:"id"`
	Summary    Content       `json:"summary"`
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Open       bool          `json:"open"`
	Variant    string        `json:"variant"` // reverse
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

// Render is the details' markup.
func (d Details) Render() template.HTML {
	return render("details", view{C: d, Class: modified("nhsuk-details", d.Variant, d.Classes, "reverse"), Inner: body(d.Text, d.HTML)})
}

// Expander is the details as an expander.
func (d Details) Expander() Details {
	d.Classes = newClasses("nhsuk-expander", d.Classes).String()
	return d
}

// Tag is a state in a word or two.
type Tag struct {
	ID   string        `json:"id"`
	Text string        `json:"text"`
	HTML template.HTML `json:"html"`
	// Colour is white, grey, green, aqua-green, blue, purple, pink, red, orange or yellow.
	Colour     string     `json:"colour"`
	Border     *bool      `json:"border"` // it has one unless it is false
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// TagColours are the colours of tags.
func TagColours() []string {
	return []string{"white", "grey", "green", "aqua-green", "blue", "purple", "pink", "red", "orange", "yellow"}
}

// Render is the tag's markup.
func (t Tag) Render() template.HTML {
	class := newClasses("nhsuk-tag", t.Classes).choose("nhsuk-tag--", t.Colour, TagColours()...).add("nhsuk-tag--no-border", no(t.Border))
	return open("strong", class.String(), t.ID, t.Attributes) + body(t.Text, t.HTML) + "</strong>"
}

// no is whether it is said to be false.
func no(b *bool) bool { return b != nil && !*b }

// NotificationBanner says what happened, or what to know, beside the page's own subject.
type NotificationBanner struct {
	ID               string        `json:"id"`
	Variant          string        `json:"variant"` // success, or important
	Title            Heading       `json:"title"`   // "Success" or "Important" unless it is said
	Heading          Heading       `json:"heading"`
	Text             string        `json:"text"`
	HTML             template.HTML `json:"html"`
	Role             string        `json:"role"`             // alert for success, region otherwise, unless it is said
	DisableAutoFocus *bool         `json:"disableAutoFocus"` // the script moves to an alert unless it is true
	Classes          string        `json:"classes"`
	Attributes       Attributes    `json:"attributes"`
}

// banner is a notification banner as its template has it.
type banner struct {
	view
	TitleID, Role string
	Title         template.HTML
}

// Render is the notification banner's markup.
func (n NotificationBanner) Render() template.HTML {
	role, word := "region", "Important"
	if n.Variant == "success" {
		role, word = "alert", "Success"
	}
	title := n.Title
	title.ID = first(title.ID, "nhsuk-notification-banner-title")
	if title.empty() {
		title.Text = word
	}
	class := joined("nhsuk-notification-banner", n.Classes)
	if !strings.Contains(n.Classes, "nhsuk-notification-banner--success") && n.Variant == "success" {
		class += " nhsuk-notification-banner--success"
	}
	return render("notification-banner", banner{
		view: view{C: n, Class: class,
			Inner: n.Heading.in(headingStyle{class: "nhsuk-notification-banner__heading", level: 3})},
		TitleID: title.ID, Role: first(n.Role, role), Title: title.in(headingStyle{class: "nhsuk-notification-banner__title", level: 2})})
}

// Panel says that something is done.
type Panel struct {
	ID         string        `json:"id"`
	Heading    Heading       `json:"heading"`
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Variant    string        `json:"variant"` // interruption
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

// Render is the panel's markup.
func (p Panel) Render() template.HTML {
	inner := p.Heading.in(headingStyle{class: "nhsuk-panel__heading", prefix: "nhsuk-panel__heading--", sizes: []string{"m", "l", "xl"}})
	if p.Text != "" || p.HTML != "" {
		inner += `<div class="nhsuk-panel__body">` + body(p.Text, p.HTML) + "</div>"
	}
	return open("div", modified("nhsuk-panel", p.Variant, p.Classes, "interruption"), p.ID, p.Attributes) + inner + "</div>"
}

// WarningCallout is a warning that must not be overlooked.
type WarningCallout struct {
	ID      string        `json:"id"`
	Heading Heading       `json:"heading"`
	Text    string        `json:"text"`
	HTML    template.HTML `json:"html"`
	// VisuallyHiddenText is read out before a heading that does not say "important"
	// itself; "Important" unless it is said.
	VisuallyHiddenText string     `json:"visuallyHiddenText"`
	Actions            Actions    `json:"actions"`
	Classes            string     `json:"classes"`
	Attributes         Attributes `json:"attributes"`
}

// Render is the warning callout's markup.
func (w WarningCallout) Render() template.HTML {
	h := w.Heading
	heading := Heading{ID: h.ID, Text: h.Text, HTML: h.HTML, Level: max(h.Level, 0), Classes: h.Classes, Attributes: h.Attributes}
	if heading.Level == 0 {
		heading.Level = 3
	}
	if h.Text != "" && !strings.Contains(strings.ToLower(h.Text), "important") {
		heading.VisuallyHiddenText = first(h.VisuallyHiddenText, w.VisuallyHiddenText, "Important")
	}
	return Card{ID: w.ID, Variant: "warning", Heading: heading, Description: Content{Text: w.Text, HTML: w.HTML}, Actions: w.Actions,
		Classes: w.Classes, Attributes: w.Attributes}.Render()
}

// Card is a part of a page with a heading of its own.
type Card struct {
	ID          string  `json:"id"`
	Heading     Heading `json:"heading"`
	Description Content `json:"description"`
	// Variant is feature, primary, secondary or warning; non-urgent, urgent or emergency
	// are what the design system has for care.
	Variant    string     `json:"variant"`
	Href       string     `json:"href"`      // of the heading
	Clickable  bool       `json:"clickable"` // all of the card, where its heading is a link
	Actions    Actions    `json:"actions"`
	Image      CardImage  `json:"image"`
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// CardImage is a picture at the top of a card.
type CardImage struct {
	Src  string        `json:"src"`
	Alt  string        `json:"alt"`
	HTML template.HTML `json:"html"`
}

// card is a card as its template has it.
type card struct {
	view
	Top     bool // heading and actions are above the content
	Actions []template.HTML
	Primary bool
}

// Render is the card's markup.
func (c Card) Render() template.HTML { return c.around("") }

// around is the card with this in it, or its description where it is empty.
func (c Card) around(inner template.HTML) template.HTML {
	class := newClasses("nhsuk-card", c.Classes).add("nhsuk-card--clickable", c.Clickable).
		choose("nhsuk-card--", c.Variant, "feature", "primary", "secondary", "warning")
	care := !c.Heading.empty() && slices.Contains([]string{"non-urgent", "urgent", "emergency"}, c.Variant)
	if care {
		class.add("nhsuk-card--care", true).choose("nhsuk-card--care--", c.Variant, "non-urgent", "urgent", "emergency")
	}
	if inner == "" {
		inner = c.Description.paragraph("nhsuk-card__description")
	}
	v := card{view: view{C: c, Class: class.String(), Inner: c.heading(class.String(), care)}, Top: care || len(c.Actions.Items) > 0,
		Actions: c.Actions.of(c.Heading), Primary: strings.Contains(class.String(), "nhsuk-card--primary")}
	return render("card", struct {
		card
		Body template.HTML
	}{v, inner})
}

// paragraph is markup if there is some, and otherwise the text as a paragraph.
func (c Content) paragraph(class string) template.HTML {
	if c.HTML == "" && c.Text != "" {
		return open("p", class, "", nil) + body(c.Text, "") + "</p>"
	}
	return body("", c.HTML)
}

// careWords are what is read out before the heading of a card for care.
var careWords = map[string]string{"emergency": "Immediate action required", "urgent": "Urgent advice", "non-urgent": "Non-urgent advice"}

func (c Card) heading(class string, care bool) template.HTML {
	h := c.Heading
	if care {
		h.VisuallyHiddenText = first(h.VisuallyHiddenText, careWords[c.Variant])
	}
	var all template.HTML
	switch {
	case h.Text == "":
	case c.Href != "" && !strings.Contains(class, "nhsuk-card--feature"):
		h.HTML, h.VisuallyHiddenText = render("card-link", view{C: c}), ""
		all = h.in(cardHeading)
	case h.VisuallyHiddenText != "":
		h.HTML = `<span role="text"><span class="nhsuk-u-visually-hidden">` + escape(h.VisuallyHiddenText) + `: </span>` + body(h.Text, "") + ` </span>`
		h.VisuallyHiddenText = ""
		all = h.in(cardHeading)
	default:
		h.HTML = ""
		all = h.in(cardHeading)
	}
	all += body("", c.Heading.HTML)
	if care {
		all += `<span class="nhsuk-card--care__arrow" aria-hidden="true"></span>`
	}
	return all
}

var cardHeading = headingStyle{class: "nhsuk-card__heading", prefix: "nhsuk-heading-", level: 2}
