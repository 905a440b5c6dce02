package nhsuk

import (
	"html/template"
	"slices"
	"strconv"
)

// Radios are choices of which one is taken.
type Radios struct {
	ID           string        `json:"id"`
	IDPrefix     string        `json:"idPrefix"` // of the items' ids; the name unless it is said
	Name         string        `json:"name"`
	Items        []RadiosItem  `json:"items"`
	Value        string        `json:"value"`    // of the item that is taken; an item may say so itself
	Disabled     bool          `json:"disabled"` // all of them
	Fieldset     *Fieldset     `json:"fieldset"` // around them, its HTML left empty
	Hint         Hint          `json:"hint"`
	ErrorMessage ErrorMessage  `json:"errorMessage"`
	FormGroup    FormGroupOnly `json:"formGroup"`
	Small        bool          `json:"small"`
	Inline       bool          `json:"inline"`
	Classes      string        `json:"classes"`
	Attributes   Attributes    `json:"attributes"`
}

// FormGroupOnly is what is around choices.
type FormGroupOnly struct {
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// RadiosItem is one choice, or a divider.
type RadiosItem struct {
	ID          string        `json:"id"` // of the prefix and its place unless it is said
	Text        string        `json:"text"`
	HTML        template.HTML `json:"html"`
	Value       string        `json:"value"`
	Hint        Hint          `json:"hint"`
	Checked     bool          `json:"checked"`
	Disabled    bool          `json:"disabled"`
	Conditional Conditional   `json:"conditional"`
	Divider     string        `json:"divider"` // a word between choices, and nothing else
	Classes     string        `json:"classes"`
	Attributes  Attributes    `json:"attributes"`
}

// Conditional is what is asked further of those who take a choice. Without the script it
// is always there.
type Conditional struct {
	HTML template.HTML `json:"html"`
}

// Checkboxes are choices of which any number is taken.
type Checkboxes struct {
	ID           string           `json:"id"`
	IDPrefix     string           `json:"idPrefix"` // of the items' ids; the name unless it is said
	Name         string           `json:"name"`
	Items        []CheckboxesItem `json:"items"`
	Values       []string         `json:"values"`   // of the items that are taken; an item may say so itself
	Disabled     bool             `json:"disabled"` // all of them
	DescribedBy  string           `json:"describedBy"`
	Fieldset     *Fieldset        `json:"fieldset"` // around them, its HTML left empty
	Hint         Hint             `json:"hint"`
	ErrorMessage ErrorMessage     `json:"errorMessage"`
	FormGroup    FormGroupOnly    `json:"formGroup"`
	Small        bool             `json:"small"`
	Inline       bool             `json:"inline"`
	Classes      string           `json:"classes"`
	Attributes   Attributes       `json:"attributes"`
}

// CheckboxesItem is one choice, or a divider.
type CheckboxesItem struct {
	ID          string        `json:"id"`   // of the prefix and its place unless it is said
	Name        string        `json:"name"` // that of all unless it is said
	Text        string        `json:"text"`
	HTML        template.HTML `json:"html"`
	Value       string        `json:"value"`
	Hint        Hint          `json:"hint"`
	Checked     bool          `json:"checked"`
	Disabled    bool          `json:"disabled"`
	Conditional Conditional   `json:"conditional"`
	Divider     string        `json:"divider"` // a word between choices, and nothing else
	// Behaviour is what the script does when it is taken: exclusive takes no other of its
	// group, inclusive all of them, for which it is there with the script only.
	Behaviour      string     `json:"behaviour"`
	BehaviourGroup string     `json:"behaviourGroup"`
	Classes        string     `json:"classes"`
	Attributes     Attributes `json:"attributes"`
}

// choices are radios or checkboxes as their template has them.
type choices struct {
	Kind, Type string // the class's part, and the inputs' type
	ID, Class  string
	Top        template.HTML
	Items      []choice
	Attributes Attributes
}

// choice is a radio or a checkbox.
type choice struct {
	CheckboxesItem
	Label          template.HTML
	HintHTML       template.HTML
	ItemDescribed  string
	ConditionalID  string
	NeedsTheScript bool
}

// Render is the radios' markup.
func (r Radios) Render() template.HTML {
	items := make([]CheckboxesItem, len(r.Items))
	for i, item := range r.Items {
		item.Checked = item.Checked || r.Value != "" && item.Value == r.Value
		items[i] = CheckboxesItem{ID: item.ID, Text: item.Text, HTML: item.HTML, Value: item.Value, Hint: item.Hint, Checked: item.Checked,
			Disabled: item.Disabled, Conditional: item.Conditional, Divider: item.Divider, Classes: item.Classes, Attributes: item.Attributes}
	}
	return Checkboxes{ID: r.ID, IDPrefix: r.IDPrefix, Name: r.Name, Items: items, Disabled: r.Disabled, Fieldset: r.Fieldset, Hint: r.Hint,
		ErrorMessage: r.ErrorMessage, FormGroup: r.FormGroup, Small: r.Small, Inline: r.Inline, Classes: r.Classes, Attributes: r.Attributes}.
		in("radios", "radio")
}

// Render is the checkboxes' markup.
func (c Checkboxes) Render() template.HTML { return c.in("checkboxes", "checkbox") }

func (c Checkboxes) in(kind, inputs string) template.HTML {
	describedBy := c.DescribedBy
	if c.Fieldset != nil {
		describedBy = first(c.Fieldset.DescribedBy, describedBy)
	}
	prefix := first(c.IDPrefix, c.Name)
	top, describedBy := described(prefix, describedBy, c.Hint, c.ErrorMessage)
	base := "nhsuk-" + kind
	all := choices{Kind: kind, Type: inputs, ID: c.ID, Top: top, Attributes: c.Attributes,
		Class: newClasses(base, c.Classes).add(base+"--small", c.Small).add(base+"--inline", c.Inline).String()}
	each := describedBy
	if c.Fieldset != nil || kind == "radios" {
		each = "" // the fieldset says it once for all
	}
	for i, item := range c.Items {
		all.Items = append(all.Items, c.item(item, i, kind, prefix, each))
	}
	inner := render("choices", all)
	if c.Fieldset != nil {
		around := *c.Fieldset
		around.DescribedBy, around.HTML = describedBy, inner
		inner = around.Render()
	}
	return open("div", groupClass(c.ErrorMessage, c.FormGroup.Classes), "", c.FormGroup.Attributes) + inner + "</div>"
}

func (c Checkboxes) item(item CheckboxesItem, i int, kind, prefix, describedBy string) choice {
	if item.ID == "" {
		item.ID = prefix
		if i > 0 {
			item.ID += "-" + strconv.Itoa(i+1)
		}
	}
	item.Name = first(item.Name, c.Name)
	item.Checked = item.Checked || slices.Contains(c.Values, item.Value)
	item.Disabled = item.Disabled || c.Disabled
	of := choice{CheckboxesItem: item, ConditionalID: "conditional-" + item.ID, NeedsTheScript: item.Behaviour == "inclusive",
		Label: Label{Text: item.Text, HTML: item.HTML, For: item.ID, Classes: "nhsuk-" + kind + "__label"}.Render()}
	if !item.Hint.empty() {
		item.Hint.ID = first(item.Hint.ID, item.ID+"-item-hint")
		item.Hint.Classes = joined("nhsuk-"+kind+"__hint", item.Hint.Classes)
		describedBy = joined(describedBy, item.Hint.ID)
		of.HintHTML = item.Hint.Render()
	}
	of.ItemDescribed = describedBy
	return of
}
