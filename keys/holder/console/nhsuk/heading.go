package nhsuk

import (
	"html/template"
	"strconv"
)

// view is what most templates are given: the component, its classes and what it holds.
type view struct {
	C     any
	Class string
	Inner template.HTML
}

// Caption is a smaller line that belongs to a heading, a label or a legend.
type Caption struct {
	ID   string        `json:"id"`
	Text string        `json:"text"`
	HTML template.HTML `json:"html"`
	// Placement is before or after the heading, or start or end: in it. It is start
	// unless it is said.
	Placement string `json:"placement"`
	// Size is m, l, xl or xxl, and the heading's unless it is said.
	Size       string     `json:"size"`
	Element    string     `json:"element"` // span unless it is said
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

func (c Caption) empty() bool { return c.Text == "" && c.HTML == "" }

func (c Caption) markup() template.HTML {
	if c.empty() {
		return ""
	}
	class := "nhsuk-caption"
	switch c.Size {
	case "m", "l", "xl", "xxl":
		class += "-" + c.Size
	}
	if c.Placement == "after" || c.Placement == "end" {
		class += " nhsuk-caption--bottom"
	}
	element := first(c.Element, "span")
	return open(element, joined(class, c.Classes), c.ID, c.Attributes) + " " + body(c.Text, c.HTML) + " " + closeTag(element)
}

// Heading is a heading of a page, or of a component, which says what it is unless it is
// said here.
type Heading struct {
	ID                 string        `json:"id"`
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"` // it is read out after the text
	Caption            Caption       `json:"caption"`
	Href               string        `json:"href"`
	Level              int           `json:"level"` // 1 to 6
	Size               string        `json:"size"`  // xxs, xs, s, m, l or xl
	Element            string        `json:"element"`
	Classes            string        `json:"classes"`
	Attributes         Attributes    `json:"attributes"`
}

func (h Heading) empty() bool { return h.Text == "" && h.HTML == "" }

// Render is the heading by itself.
func (h Heading) Render() template.HTML { return h.in(headingStyle{class: "nhsuk-heading"}) }

// headingStyle is how a component wants its headings.
type headingStyle struct {
	class  string
	prefix string   // of the class of a size; class and a hyphen unless it is said
	sizes  []string // permitted; all unless it is said
	level  int      // unless the heading has one
	of     string   // the id of the control that this labels
}

var (
	allSizes   = []string{"xxs", "xs", "s", "m", "l", "xl"}
	labelSizes = []string{"s", "m", "l", "xl"}
)

// sized is the classes of a heading. The size of a plain heading takes the place of its
// class, that of a component's is beside it.
func (s headingStyle) sized(size, extra string) string {
	if s.sizes == nil {
		s.sizes = allSizes
	}
	prefix := first(s.prefix, s.class+"-")
	c := newClasses("", extra).choose(prefix, size, s.sizes...)
	if len(c.list) == 1 || prefix != s.class+"-" {
		c.list[0] = s.class
	}
	return c.String()
}

// in is the heading as a component has it; nothing if it says nothing.
func (h Heading) in(style headingStyle) template.HTML {
	if h.empty() {
		return ""
	}
	level := h.Level
	if level == 0 {
		level = max(style.level, 1)
	}
	h.Caption.Size = first(h.Caption.Size, h.Size)
	element := first(h.Element, "h"+strconv.Itoa(level))
	start := open(element, style.sized(h.Size, h.Classes), h.ID, h.Attributes, own{"for", style.of})
	return placed(h.Caption, start, h.inner(), closeTag(element))
}

func (h Heading) inner() template.HTML {
	inner := body(h.Text, h.HTML)
	if h.Href != "" {
		inner = render("heading-link", view{C: h, Inner: inner})
	}
	if h.VisuallyHiddenText != "" {
		inner += `<span class="nhsuk-u-visually-hidden"> ` + escape(h.VisuallyHiddenText) + `</span>`
	}
	return inner
}

// placed puts a caption where it goes: before or after the element, or in it.
func placed(caption Caption, start, inner, end template.HTML) template.HTML {
	c := caption.markup()
	if c == "" {
		return start + inner + end
	}
	switch caption.Placement {
	case "before":
		return c + "\n" + start + inner + end
	case "after":
		return start + inner + end + "\n" + c
	case "end":
		return start + inner + " " + c + end
	default:
		return start + c + " " + inner + end
	}
}
