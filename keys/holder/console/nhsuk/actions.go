package nhsuk

import "html/template"

// Button sends a form, or is a link that looks so.
type Button struct {
	ID   string        `json:"id"`
	Text string        `json:"text"`
	HTML template.HTML `json:"html"`
	// Name and Value are sent where the form was sent by this button.
	Name  string `json:"name"`
	Value string `json:"value"`
	// Type is submit unless it is said, button or reset. With it an address is ignored.
	Type string `json:"type"`
	// Href makes it a link.
	Href string `json:"href"`
	// Variant is brand, login, reverse, secondary, secondary-solid or warning.
	Variant  string `json:"variant"`
	Small    bool   `json:"small"`
	Disabled bool   `json:"disabled"`
	Icon     Icon   `json:"icon"`
	// PreventDoubleClick has the script send a form once where it is pressed twice.
	PreventDoubleClick bool       `json:"preventDoubleClick"`
	AriaLabel          string     `json:"ariaLabel"`
	Classes            string     `json:"classes"`
	Attributes         Attributes `json:"attributes"`
}

// Render is the button's markup.
func (b Button) Render() template.HTML {
	class := newClasses("nhsuk-button", b.Classes).choose("nhsuk-button--", b.Variant, "brand", "login", "reverse", "secondary", "secondary-solid", "warning").
		add("nhsuk-button--icon", b.Icon.Name != "").add("nhsuk-button--small", b.Small)
	inner := body(b.Text, b.HTML)
	if iconHTML(b.Icon.Name) != "" && inner != "" {
		inner = b.Icon.at("start") + ` <span class="nhsuk-button__content">` + inner + "</span> " + b.Icon.at("end")
	}
	return render("button", view{C: b, Class: class.String(), Inner: inner})
}

// BackLink leads to the page before.
type BackLink struct {
	ID   string        `json:"id"`
	Text string        `json:"text"` // "Back" unless it is said
	HTML template.HTML `json:"html"`
	// VisuallyHiddenText is read out before the text.
	VisuallyHiddenText string     `json:"visuallyHiddenText"`
	Href               string     `json:"href"`
	Type               string     `json:"type"`    // with it, or without an address, it is a button of this type
	Variant            string     `json:"variant"` // reverse
	Classes            string     `json:"classes"`
	Attributes         Attributes `json:"attributes"`
}

// Render is the back link's markup.
func (b BackLink) Render() template.HTML {
	return render("back-link", view{C: b, Class: modified("nhsuk-back-link", b.Variant, b.Classes, "reverse"), Inner: body(first(b.Text, "Back"), b.HTML)})
}

// ActionLink leads to where something is begun.
type ActionLink struct {
	ID              string        `json:"id"`
	Text            string        `json:"text"`
	HTML            template.HTML `json:"html"`
	Href            string        `json:"href"`
	Type            string        `json:"type"` // with it, or without an address, it is a button of this type
	OpenInNewWindow bool          `json:"openInNewWindow"`
	Variant         string        `json:"variant"` // reverse
	Classes         string        `json:"classes"`
	Attributes      Attributes    `json:"attributes"`
}

// Render is the action link's markup.
func (a ActionLink) Render() template.HTML {
	return render("action-link", view{C: a, Class: modified("nhsuk-action-link", a.Variant, a.Classes, "reverse"),
		Inner: iconHTML("arrow-right-circle") + ` <span class="nhsuk-action-link__text"> ` + body(a.Text, a.HTML) + " </span>"})
}

// SkipLink leads those who use the keyboard past the header.
type SkipLink struct {
	ID         string        `json:"id"`
	Text       string        `json:"text"` // "Skip to main content" unless it is said
	HTML       template.HTML `json:"html"`
	Href       string        `json:"href"` // "#maincontent" unless it is said
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

// Render is the skip link's markup.
func (s SkipLink) Render() template.HTML {
	s.Href = first(s.Href, "#maincontent")
	return render("skip-link", view{C: s, Class: joined("nhsuk-skip-link", s.Classes), Inner: body(first(s.Text, "Skip to main content"), s.HTML)})
}

// Breadcrumb says where a page is. On a narrow screen it is a link to the last item.
type Breadcrumb struct {
	ID         string           `json:"id"`
	Items      []BreadcrumbItem `json:"items"`
	AriaLabel  string           `json:"ariaLabel"` // "Breadcrumb" unless it is said
	BackLink   BackLink         `json:"backLink"`  // of the last item unless it is said
	Variant    string           `json:"variant"`   // reverse
	Classes    string           `json:"classes"`
	Attributes Attributes       `json:"attributes"`
}

// BreadcrumbItem is a page above.
type BreadcrumbItem struct {
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Href       string        `json:"href"`
	Attributes Attributes    `json:"attributes"`
}

// Render is the breadcrumb's markup.
func (b Breadcrumb) Render() template.HTML {
	b.AriaLabel = first(b.AriaLabel, "Breadcrumb")
	back := b.BackLink
	back.VisuallyHiddenText = first(back.VisuallyHiddenText, "Back to")
	back.Variant = first(back.Variant, b.Variant)
	if n := len(b.Items); n > 0 {
		last := b.Items[n-1]
		if back.Text == "" && back.HTML == "" {
			back.Text = last.Text
		}
		back.Href = first(back.Href, last.Href)
		if back.Attributes == nil {
			back.Attributes = last.Attributes
		}
	}
	return render("breadcrumb", view{C: b, Class: modified("nhsuk-breadcrumb", b.Variant, b.Classes, "reverse"), Inner: back.Render()})
}

// Action is a link beside a card's heading or a row of a summary list; without an
// address, or with a type, it is a button.
type Action struct {
	ID                 string        `json:"id"`
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"` // it is read out after the text
	Href               string        `json:"href"`
	Type               string        `json:"type"`
	Name               string        `json:"name"`
	Value              string        `json:"value"`
	Classes            string        `json:"classes"`
	Attributes         Attributes    `json:"attributes"`
}

// Actions are the links of a card or a row.
type Actions struct {
	ID         string     `json:"id"`
	Items      []Action   `json:"items"`
	Width      string     `json:"width"` // of the column in a summary list: one-half, one-third and so on
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// in is the action of what has this heading.
func (a Action) in(heading Heading) template.HTML {
	inner := body(a.Text, a.HTML)
	if a.VisuallyHiddenText != "" || !heading.empty() {
		inner += `<span class="nhsuk-u-visually-hidden">`
		if a.VisuallyHiddenText != "" {
			inner += " " + escape(a.VisuallyHiddenText)
		}
		if !heading.empty() {
			inner += " (" + body(heading.Text, heading.HTML) + ")"
		}
		inner += "</span>"
	}
	return render("action", view{C: a, Class: joined("nhsuk-link", a.Classes), Inner: inner})
}

// of is the actions, each by itself.
func (a Actions) of(heading Heading) []template.HTML {
	var all []template.HTML
	for _, action := range a.Items {
		all = append(all, action.in(heading))
	}
	return all
}
