package nhsuk

import (
	"html/template"
	"strings"
)

// Table is rows and columns.
type Table struct {
	ID                string        `json:"id"`
	Caption           Heading       `json:"caption"` // sizes s, m, l and xl
	Head              []TableHead   `json:"head"`
	Rows              [][]TableCell `json:"rows"`
	FirstCellIsHeader bool          `json:"firstCellIsHeader"` // of each row
	Responsive        bool          `json:"responsive"`        // on a narrow screen each row stands by itself
	Scroll            bool          `json:"scroll"`            // it moves sideways where it is too wide
	Compact           bool          `json:"compact"`
	Striped           bool          `json:"striped"`
	Border            *bool         `json:"border"`        // rows have one below unless it is false
	LastRowBorder     *bool         `json:"lastRowBorder"` // of the last row only
	Card              *Card         `json:"card"`          // around it, its description left empty
	Variant           string        `json:"variant"`       // reverse
	Classes           string        `json:"classes"`
	Attributes        Attributes    `json:"attributes"`
}

// Sort is how a table is in the order of a column.
type Sort string

// The orders of a column.
const (
	Ascending  Sort = "ascending"
	Descending Sort = "descending"
	Unsorted   Sort = "none" // it could be
)

// TableHead is the head of a column.
type TableHead struct {
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"` // it is read out after the text
	Format             string        `json:"format"`             // of the column: numeric, or text
	// Sort makes the table one in the order of a column; the script sorts it unless there
	// is an address of the table in that order. SortNext is the order that a press gives.
	Sort       Sort       `json:"sort"`
	SortNext   Sort       `json:"sortNext"`
	Href       string     `json:"href"`
	Colspan    string     `json:"colspan"`
	Rowspan    string     `json:"rowspan"`
	Align      string     `json:"align"` // left, centre or right
	Width      string     `json:"width"` // one-half, one-third and so on
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// TableCell is a cell. Format and Align are the column's unless they are said.
type TableCell struct {
	Text               string        `json:"text"`
	HTML               template.HTML `json:"html"`
	VisuallyHiddenText string        `json:"visuallyHiddenText"` // it is read out after the text
	Format             string        `json:"format"`
	Href               string        `json:"href"`
	SortValue          string        `json:"sortValue"` // what the script sorts by
	Colspan            string        `json:"colspan"`
	Rowspan            string        `json:"rowspan"`
	Align              string        `json:"align"`
	Width              string        `json:"width"`
	Classes            string        `json:"classes"`
	Attributes         Attributes    `json:"attributes"`
}

// Render is the table's markup.
func (t Table) Render() template.HTML {
	sorts, links := t.sortable()
	class := t.class(sorts)
	if sorts && !links {
		t.Attributes = t.Attributes.with(Attributes{"data-module": "nhsuk-table"})
	}
	if t.Responsive {
		t.Attributes = t.Attributes.with(Attributes{"role": "table"})
	}
	caption := t.caption(class)
	v := table{view: view{C: t, Class: class, Inner: caption.in(headingStyle{class: "nhsuk-table__caption", prefix: "nhsuk-table__caption--", sizes: labelSizes})}}
	for _, head := range t.Head {
		v.Head = append(v.Head, t.head(head, sorts, links))
	}
	for _, row := range t.Rows {
		var cells []template.HTML
		for i, cell := range row {
			cells = append(cells, t.cell(cell, i))
		}
		v.Rows = append(v.Rows, cells)
	}
	all := render("table", v)
	if t.Scroll {
		all = render("scroll", view{C: caption, Class: modified("nhsuk-scroll", t.Variant, "", "reverse"), Inner: all})
	}
	if t.Card != nil {
		all = t.Card.around(all)
	}
	return all
}

// table is a table as its template has it.
type table struct {
	view
	Head []template.HTML
	Rows [][]template.HTML
}

// sortable is whether the table can be put in the order of a column, and whether links
// do so.
func (t Table) sortable() (sorts, links bool) {
	for _, head := range t.Head {
		sorts = sorts || head.Sort != ""
		links = links || sorts && head.Href != ""
	}
	return sorts, links
}

func (t Table) class(sorts bool) string {
	c := newClasses("nhsuk-table", t.Classes).add("nhsuk-table--reverse", t.Variant == "reverse").add("nhsuk-table--compact", t.Compact).
		add("nhsuk-table--responsive", t.Responsive).add("nhsuk-table--no-border", no(t.Border)).
		add("nhsuk-table--no-last-row-border", !no(t.Border) && no(t.LastRowBorder)).add("nhsuk-table--sortable", sorts).add("nhsuk-table--striped", t.Striped)
	return c.String()
}

// caption is the caption as a heading. What scrolls is named by it, so that it needs an
// id then.
func (t Table) caption(class string) Heading {
	c := t.Caption
	c.Element = "caption"
	if t.Scroll && c.ID == "" {
		c.ID = captionID(t.ID, c.Text)
	}
	if strings.Contains(class, "nhsuk-table--sortable") {
		c.VisuallyHiddenText = first(c.VisuallyHiddenText, "Column headers are sortable")
	}
	if c.VisuallyHiddenText != "" {
		c.VisuallyHiddenText = "(" + c.VisuallyHiddenText + ")"
	}
	if p := c.Caption.Placement; p == "before" || p == "after" {
		c.Caption.Placement = "" // nothing of a table can be beside its caption
	}
	return c
}

func captionID(table, text string) string {
	if table != "" {
		return table + "-caption"
	}
	if text == "" {
		return ""
	}
	words := []rune(strings.ToLower(strings.ReplaceAll(text, " ", "-")))
	return "table-" + string(words[:min(len(words), 40)]) + "-caption"
}

func (t Table) head(h TableHead, sorts, links bool) template.HTML {
	role := ""
	if t.Responsive {
		role, h.Colspan = "columnheader", ""
	}
	own := Attributes{}
	if sorts && h.Sort != "" {
		own["data-sort"] = ""
		if h.Sort != Unsorted {
			own["aria-sort"] = string(h.Sort)
		}
	}
	if sorts && !links && h.SortNext != "" {
		own["data-sort-next"] = string(h.SortNext)
	}
	class := cellClass("nhsuk-table__header", h.Format, h.Align, h.Width, h.Classes)
	return open("th", class, "", own.with(h.Attributes), cellOwn("col", role, h.Colspan, h.Rowspan)...) + linked(h.Href, worth(h.Text, h.HTML, h.VisuallyHiddenText)) + "</th>"
}

func cellOwn(scope, role, colspan, rowspan string) []own {
	return []own{{"scope", scope}, {"role", role}, {"colspan", colspan}, {"rowspan", rowspan}}
}

func cellClass(base, format, align, width, extra string) string {
	return newClasses(base, extra).add(base+"--numeric", format == "numeric").choose("nhsuk-u-text-align-", align, "left", "centre", "right").
		add("nhsuk-u-width-"+width, width != "").String()
}

// cell is the i-th cell of a row.
func (t Table) cell(c TableCell, i int) template.HTML {
	var head TableHead
	if i < len(t.Head) {
		head = t.Head[i]
	}
	element, base, scope, role := "td", "nhsuk-table__cell", "", "cell"
	if i == 0 && t.FirstCellIsHeader {
		element, base, scope, role = "th", "nhsuk-table__header", "row", "rowheader"
	}
	if t.Responsive {
		c.Colspan = ""
	} else {
		role = ""
	}
	align := head.Align
	if c.Format == "string" && head.Format == "numeric" {
		align = "right"
	}
	class := cellClass(base, first(c.Format, head.Format), first(c.Align, align), c.Width, c.Classes)
	own := Attributes{}
	if c.SortValue != "" {
		own["data-sort-value"] = c.SortValue
	}
	return open(element, class, "", own.with(c.Attributes), cellOwn(scope, role, c.Colspan, c.Rowspan)...) + t.inner(c, head) + closeTag(element)
}

// inner is what is in a cell: on a narrow screen its column's head is said before it.
func (t Table) inner(c TableCell, head TableHead) template.HTML {
	inner := linked(c.Href, worth(c.Text, c.HTML, c.VisuallyHiddenText))
	said := worth(head.Text, head.HTML, head.VisuallyHiddenText)
	if !t.Responsive || said == "" {
		return inner
	}
	if c.HTML != "" {
		inner = "<span>" + inner + "</span>"
	}
	return `<span class="nhsuk-table__heading" aria-hidden="true">` + said + " </span>" + inner
}

func worth(text string, html template.HTML, hidden string) template.HTML {
	all := body(text, html)
	if hidden == "" {
		return all
	}
	space := template.HTML(" ")
	if all == "" {
		space = ""
	}
	return all + `<span class="nhsuk-u-visually-hidden">` + space + escape(hidden) + `</span>`
}

func linked(href string, inner template.HTML) template.HTML {
	if href == "" {
		return inner
	}
	return render("heading-link", view{C: Heading{Href: href}, Inner: inner})
}
