package nhsuk

import (
	"html/template"
	"slices"
	"strconv"
)

// Header is the top of every page. It has no logo, which is a trade mark: it begins with
// the names of the organisation and of the service.
type Header struct {
	ID      string        `json:"id"`
	Service HeaderService `json:"service"`
	// Logo is the link that the design system has around its logo, here around the names.
	Logo             HeaderLogo       `json:"logo"`
	Organisation     Organisation     `json:"organisation"`
	Account          HeaderAccount    `json:"account"`
	Navigation       HeaderNavigation `json:"navigation"`
	Colour           string           `json:"colour"` // white, or the design system's blue
	Inline           bool             `json:"inline"` // service and account on one line
	ContainerClasses string           `json:"containerClasses"`
	Classes          string           `json:"classes"`
	Attributes       Attributes       `json:"attributes"`
}

// HeaderService names the service.
type HeaderService struct {
	Text string `json:"text"`
	Href string `json:"href"`
}

// HeaderLogo is where the organisation's name leads.
type HeaderLogo struct {
	Href string `json:"href"`
	// AriaLabel is what is read out; the names and "homepage" unless it is said.
	AriaLabel string `json:"ariaLabel"`
}

// Organisation names who runs the service.
type Organisation struct {
	Name       string `json:"name"`
	Split      string `json:"split"`      // a second line of the name
	Descriptor string `json:"descriptor"` // a line below it
}

// HeaderAccount is who has signed in, and how they sign out.
type HeaderAccount struct {
	AriaLabel  string        `json:"ariaLabel"` // "Account" unless it is said
	Items      []AccountItem `json:"items"`
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

// AccountItem is text, a link or, with Action, a form with one button, for signing out.
type AccountItem struct {
	Text   string        `json:"text"`
	HTML   template.HTML `json:"html"`
	Href   string        `json:"href"`
	Action string        `json:"action"` // where the form is sent
	Method string        `json:"method"` // post unless it is said
	// Fields go into the form as they are: hidden inputs, against forgery for instance.
	Fields  template.HTML `json:"-"`
	Icon    bool          `json:"icon"`
	Classes string        `json:"classes"`
}

// HeaderNavigation leads to the parts of the service.
type HeaderNavigation struct {
	AriaLabel  string           `json:"ariaLabel"` // "Menu" unless it is said
	Items      []NavigationItem `json:"items"`
	Colour     string           `json:"colour"` // white, or the design system's blue
	Justified  bool             `json:"justified"`
	Classes    string           `json:"classes"`
	Attributes Attributes       `json:"attributes"`
}

// NavigationItem is a part of the service.
type NavigationItem struct {
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Href       string        `json:"href"`
	Current    bool          `json:"current"` // this is its page
	Active     bool          `json:"active"`  // the page is in it
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

// header is the header as its template has it.
type header struct {
	Header
	Class, NavigationClass string
	Logo                   HeaderLogo
	Combined               bool // one link around both names
}

// Render is the header's markup.
func (h Header) Render() template.HTML {
	v := header{Header: h, Logo: h.Logo,
		Class: newClasses("nhsuk-header", h.Classes).choose("nhsuk-header--", h.Colour, "white").add("nhsuk-header--inline", h.Inline).
			add("nhsuk-header--organisation", h.Organisation != Organisation{}).String(),
		NavigationClass: newClasses("nhsuk-header__navigation", h.Navigation.Classes).choose("nhsuk-header__navigation--", h.Navigation.Colour, "white").
			add("nhsuk-header__navigation--justified", h.Navigation.Justified).String(),
		Combined: h.Service.Text != "" && h.Service.Href != "" && (h.Logo.Href == "" || h.Logo.Href == h.Service.Href)}
	service := ""
	if v.Combined {
		v.Logo.Href, service = h.Service.Href, h.Service.Text
	}
	v.Logo.AriaLabel = first(v.Logo.AriaLabel, joined(h.Organisation.Name, h.Organisation.Split, service, "homepage"))
	return render("header", v)
}

// Footer is the end of every page.
type Footer struct {
	ID         string             `json:"id"`
	Navigation []FooterNavigation `json:"navigation"`
	Columns    int                `json:"columns"` // 1, 2, 3 or 4, and 4 unless it is said
	Meta       FooterMeta         `json:"meta"`
	// Copyright is said only where there is some: the design system has "© NHS England"
	// in its place, which is not ours to say.
	Copyright        Content    `json:"copyright"`
	ContainerClasses string     `json:"containerClasses"`
	Classes          string     `json:"classes"`
	Attributes       Attributes `json:"attributes"`
}

// FooterNavigation is a group of links.
type FooterNavigation struct {
	Heading Heading       `json:"heading"`
	Width   string        `json:"width"` // of its column, one-half for instance
	Text    string        `json:"text"`
	HTML    template.HTML `json:"html"`
	Items   []FooterItem  `json:"items"`
}

// FooterMeta is the links and text of the last line.
type FooterMeta struct {
	VisuallyHiddenText string        `json:"visuallyHiddenText"` // "Support links" unless it is said
	Items              []FooterItem  `json:"items"`
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
}

// FooterItem is a link.
type FooterItem struct {
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Href       string        `json:"href"`
	Attributes Attributes    `json:"attributes"`
}

// footer is the footer as its template has it.
type footer struct {
	Footer
	Class string
	Rows  [][]footerColumn
}

type footerColumn struct {
	FooterNavigation
	HeadingHTML template.HTML
}

// Render is the footer's markup.
func (f Footer) Render() template.HTML {
	columns, width := f.Columns, "one-quarter"
	switch columns {
	case 1:
		width = "full"
	case 2:
		width = "one-half"
	case 3:
		width = "one-third"
	default:
		columns = 4
	}
	v := footer{Footer: f, Class: joined("nhsuk-footer", f.Classes)}
	for row := range slices.Chunk(f.Navigation, columns) {
		var cells []footerColumn
		for _, n := range row {
			n.Width = first(n.Width, width)
			n.Heading.Level, n.Heading.Size = 2, "s"
			cells = append(cells, footerColumn{n, n.Heading.in(headingStyle{class: "nhsuk-footer__heading", prefix: "nhsuk-heading-"})})
		}
		v.Rows = append(v.Rows, cells)
	}
	return render("footer", v)
}

// Pagination leads to the pages before and after, and with items to others by their
// number.
type Pagination struct {
	ID         string           `json:"id"`
	AriaLabel  string           `json:"ariaLabel"` // "Pagination" unless it is said
	Previous   PaginationLink   `json:"previous"`
	Next       PaginationLink   `json:"next"`
	Items      []PaginationItem `json:"items"`
	Classes    string           `json:"classes"`
	Attributes Attributes       `json:"attributes"`
}

// PaginationLink leads to the page before or after.
type PaginationLink struct {
	Href       string        `json:"href"`
	Text       string        `json:"text"` // "Previous page" or "Next page" unless it is said
	HTML       template.HTML `json:"html"`
	Label      Content       `json:"label"` // the title of that page; not with items
	Attributes Attributes    `json:"attributes"`
}

// worded is a link with the word that it has unless another is said.
type worded struct {
	PaginationLink
	Word string
}

func newWord(word string, link PaginationLink) worded { return worded{link, word} }

// PaginationItem is a page, or the gap between pages.
type PaginationItem struct {
	Number     int        `json:"number"`
	Href       string     `json:"href"`
	Current    bool       `json:"current"`
	Ellipsis   bool       `json:"ellipsis"`
	AriaLabel  string     `json:"ariaLabel"` // "Page" and its number unless it is said
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// Render is the pagination's markup.
func (p Pagination) Render() template.HTML {
	p.AriaLabel = first(p.AriaLabel, "Pagination")
	items := slices.Clone(p.Items)
	for i := range items {
		items[i].AriaLabel = first(items[i].AriaLabel, "Page "+strconv.Itoa(items[i].Number))
	}
	p.Items = items
	return render("pagination", view{C: p, Class: newClasses("nhsuk-pagination", p.Classes).add("nhsuk-pagination--numbered", len(items) > 0).String()})
}

// ContentsList leads to the pages of a guide.
type ContentsList struct {
	ID                 string         `json:"id"`
	AriaLabel          string         `json:"ariaLabel"`          // "Pages in this guide" unless it is said
	VisuallyHiddenText string         `json:"visuallyHiddenText"` // "Contents" unless it is said
	Items              []ContentsItem `json:"items"`
	Classes            string         `json:"classes"`
	Attributes         Attributes     `json:"attributes"`
}

// ContentsItem is a page, with those below it.
type ContentsItem struct {
	Text       string         `json:"text"`
	HTML       template.HTML  `json:"html"`
	Href       string         `json:"href"`
	Current    bool           `json:"current"`
	Items      []ContentsItem `json:"items"`
	Classes    string         `json:"classes"`
	Attributes Attributes     `json:"attributes"`
}

// Render is the contents list's markup.
func (c ContentsList) Render() template.HTML {
	c.AriaLabel = first(c.AriaLabel, "Pages in this guide")
	c.VisuallyHiddenText = first(c.VisuallyHiddenText, "Contents")
	return render("contents-list", view{C: c, Class: joined("nhsuk-contents-list", c.Classes)})
}

// Tabs are parts of a page of which the script shows one. Without it they stand one
// below the other.
type Tabs struct {
	ID                 string     `json:"id"`
	IDPrefix           string     `json:"idPrefix"`           // of the items' ids; the id unless it is said
	VisuallyHiddenText string     `json:"visuallyHiddenText"` // "Contents" unless it is said
	Items              []TabsItem `json:"items"`
	Classes            string     `json:"classes"`
	Attributes         Attributes `json:"attributes"`
}

// TabsItem is a part.
type TabsItem struct {
	ID         string     `json:"id"` // of the prefix and its place unless it is said
	Label      string     `json:"label"`
	Panel      Content    `json:"panel"`
	Attributes Attributes `json:"attributes"`
}

// Render is the tabs' markup.
func (t Tabs) Render() template.HTML {
	items := slices.Clone(t.Items)
	for i := range items {
		items[i].ID = first(items[i].ID, first(t.IDPrefix, t.ID)+"-"+strconv.Itoa(i+1))
	}
	t.Items, t.VisuallyHiddenText = items, first(t.VisuallyHiddenText, "Contents")
	return render("tabs", view{C: t, Class: joined("nhsuk-tabs", t.Classes)})
}
