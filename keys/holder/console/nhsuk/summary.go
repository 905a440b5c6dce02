package nhsuk

import (
	"html/template"
	"strings"
)

// SummaryList says what is known of something, a row for each of its properties.
type SummaryList struct {
	ID            string       `json:"id"`
	Rows          []SummaryRow `json:"rows"`
	Card          *Card        `json:"card"`          // around it, its description left empty
	Border        *bool        `json:"border"`        // rows have one below unless it is false
	LastRowBorder *bool        `json:"lastRowBorder"` // of the last row only
	Classes       string       `json:"classes"`
	Attributes    Attributes   `json:"attributes"`
}

// SummaryRow is a property.
type SummaryRow struct {
	ID         string     `json:"id"`
	Key        Cell       `json:"key"`
	Value      Cell       `json:"value"`
	Actions    Actions    `json:"actions"`
	Border     *bool      `json:"border"` // it has one below unless it is false
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// Cell is the name of a property, or what it is.
type Cell struct {
	ID         string        `json:"id"`
	Text       string        `json:"text"`
	HTML       template.HTML `json:"html"`
	Width      string        `json:"width"` // of the column: one-half, one-third and so on
	Classes    string        `json:"classes"`
	Attributes Attributes    `json:"attributes"`
}

// summaryRow is a row as its template has it.
type summaryRow struct {
	SummaryRow
	Class, KeyClass, ValueClass, ActionsClass string
	Links                                     []template.HTML
}

// Render is the summary list's markup.
func (s SummaryList) Render() template.HTML {
	class := newClasses("nhsuk-summary-list", s.Classes).add("nhsuk-summary-list--no-border", no(s.Border)).
		add("nhsuk-summary-list--no-last-row-border", !no(s.Border) && no(s.LastRowBorder))
	actions := false
	for _, row := range s.Rows {
		actions = actions || len(row.Actions.Items) > 0
	}
	rows := make([]summaryRow, len(s.Rows))
	for i, row := range s.Rows {
		rows[i] = s.row(row, actions, i == len(s.Rows)-1)
	}
	list := render("summary-list", struct {
		view
		Rows []summaryRow
	}{view{C: s, Class: class.String()}, rows})
	if s.Card != nil {
		return s.Card.around(list)
	}
	return list
}

// row is a row of a list of which some rows have actions.
func (s SummaryList) row(row SummaryRow, actions, last bool) summaryRow {
	const base = "nhsuk-summary-list__"
	elsewhere := strings.Contains(s.Classes, "nhsuk-summary-list--no-border") || strings.Contains(s.Classes, "nhsuk-summary-list--no-last-row-border") ||
		last && no(s.LastRowBorder)
	class := newClasses(base+"row", row.Classes).add(base+"row--no-actions", actions && len(row.Actions.Items) == 0).
		add(base+"row--no-border", no(row.Border) && !elsewhere)
	var heading Heading
	if s.Card != nil {
		heading = s.Card.Heading
	}
	return summaryRow{SummaryRow: row, Class: class.String(), KeyClass: wide(base+"key", row.Key.Width, row.Key.Classes),
		ValueClass: wide(base+"value", row.Value.Width, row.Value.Classes), ActionsClass: wide(base+"actions", row.Actions.Width, row.Actions.Classes),
		Links: row.Actions.of(heading)}
}

// wide is the classes of a cell of this width.
func wide(base, width, extra string) string {
	return newClasses(base, extra).add("nhsuk-u-width-"+width, width != "").String()
}
