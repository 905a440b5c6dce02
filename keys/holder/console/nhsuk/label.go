package nhsuk

import (
	"html/template"
	"strconv"
)

// Label names a control.
type Label struct {
	ID                 string        `json:"id"`
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"`
	Caption            Caption       `json:"caption"`
	For                string        `json:"for"`  // the control's id, which a control gives itself
	Size               string        `json:"size"` // s, m, l or xl
	// Heading is the label as a heading: it has the text, or with a level and no text the
	// label's own is the heading. IsPageHeading makes it the page's.
	Heading       Heading    `json:"heading"`
	IsPageHeading bool       `json:"isPageHeading"`
	Classes       string     `json:"classes"`
	Attributes    Attributes `json:"attributes"`
}

// Render is the label's markup.
func (l Label) Render() template.HTML {
	h, isHeading := resolved(Heading{ID: l.ID, Text: l.Text, HTML: l.HTML, VisuallyHiddenText: l.VisuallyHiddenText, Caption: l.Caption,
		Size: l.Size, Element: "label", Classes: l.Classes, Attributes: l.Attributes}, l.Heading, l.IsPageHeading)
	if h.empty() {
		return ""
	}
	style := headingStyle{class: "nhsuk-label", prefix: "nhsuk-label--", sizes: labelSizes, of: l.For}
	if !isHeading {
		return h.in(style)
	}
	outside := h.Caption
	if outside.Placement == "before" || outside.Placement == "after" {
		outside.Size = first(outside.Size, h.Size)
		h.Caption = Caption{}
	} else {
		outside = Caption{}
	}
	element := "h" + strconv.Itoa(max(l.Heading.Level, 1))
	start := open(element, "nhsuk-label-wrapper", l.Heading.ID, l.Heading.Attributes)
	return placed(outside, start, h.in(style), closeTag(element))
}

// resolved is a label or legend with what its heading says in the place of its own, and
// whether it is a heading.
func resolved(h, heading Heading, isPageHeading bool) (Heading, bool) {
	is := isPageHeading || heading.Level > 0 || !heading.empty()
	if is {
		h.VisuallyHiddenText = first(heading.VisuallyHiddenText, h.VisuallyHiddenText)
		h.Size = first(heading.Size, h.Size)
		if !heading.Caption.empty() {
			h.Caption = heading.Caption
		}
	}
	if !heading.empty() {
		h.Text, h.HTML = heading.Text, heading.HTML
	}
	return h, is
}

// Legend names a fieldset.
type Legend struct {
	ID                 string        `json:"id"`
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"`
	Caption            Caption       `json:"caption"`
	Size               string        `json:"size"` // s, m, l or xl
	// Heading is the legend as a heading: it has the text, or with a level and no text the
	// legend's own is the heading. IsPageHeading makes it the page's.
	Heading       Heading    `json:"heading"`
	IsPageHeading bool       `json:"isPageHeading"`
	Classes       string     `json:"classes"`
	Attributes    Attributes `json:"attributes"`
}

// Render is the legend's markup.
func (l Legend) Render() template.HTML {
	h, isHeading := resolved(Heading{ID: l.ID, Text: l.Text, HTML: l.HTML, VisuallyHiddenText: l.VisuallyHiddenText, Caption: l.Caption,
		Size: l.Size, Element: "legend", Classes: l.Classes, Attributes: l.Attributes}, l.Heading, l.IsPageHeading)
	if h.empty() {
		return ""
	}
	h.Caption.Size = first(h.Caption.Size, h.Size)
	after := Caption{}
	switch h.Caption.Placement {
	case "before": // nothing can be before a legend
		h.Caption.Placement = "start"
	case "after":
		after, h.Caption = h.Caption, Caption{}
	}
	const class = "nhsuk-fieldset__legend"
	style := headingStyle{class: class, prefix: class + "--", sizes: labelSizes}
	if !isHeading {
		return placed(after, "", h.in(style), "")
	}
	inner := Heading{ID: l.Heading.ID, Text: h.Text, HTML: h.HTML, VisuallyHiddenText: h.VisuallyHiddenText, Caption: h.Caption,
		Level: l.Heading.Level, Attributes: l.Heading.Attributes}.in(headingStyle{class: "nhsuk-fieldset__heading"})
	return placed(after, open("legend", style.sized(h.Size, h.Classes), l.ID, l.Attributes), inner, "</legend>")
}

// Fieldset groups controls.
type Fieldset struct {
	ID          string        `json:"id"`
	Role        string        `json:"role"`
	Legend      Legend        `json:"legend"`
	DescribedBy string        `json:"describedBy"` // ids of elements
	HTML        template.HTML `json:"html"`        // the controls
	Classes     string        `json:"classes"`
	Attributes  Attributes    `json:"attributes"`
}

// Render is the fieldset's markup.
func (f Fieldset) Render() template.HTML {
	return render("fieldset", view{C: f, Class: joined("nhsuk-fieldset", f.Classes), Inner: f.Legend.Render()})
}

// Hint says how to fill in a control.
type Hint struct {
	ID         string        `json:"id"`
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

func (h Hint) empty() bool { return h.Text == "" && h.HTML == "" }

// Render is the hint's markup.
func (h Hint) Render() template.HTML {
	return open("div", joined("nhsuk-hint", h.Classes), h.ID, h.Attributes) + body(h.Text, h.HTML) + "</div>"
}

// ErrorMessage says what is wrong with a control.
type ErrorMessage struct {
	ID                 string        `json:"id"`
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"` // "Error" unless it is said
	Classes            string        `json:"classes"`
	Attributes         Attributes    `json:"attributes"`
}

func (e ErrorMessage) empty() bool { return e.Text == "" && e.HTML == "" }

// Render is the error message's markup.
func (e ErrorMessage) Render() template.HTML {
	return open("span", joined("nhsuk-error-message", e.Classes), e.ID, e.Attributes) +
		` <span class="nhsuk-u-visually-hidden">` + escape(first(e.VisuallyHiddenText, "Error")) + `: </span>` + body(e.Text, e.HTML) + " </span>"
}
