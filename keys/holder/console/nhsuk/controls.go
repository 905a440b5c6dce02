package nhsuk

import (
	"html/template"
	"strconv"
	"strings"
)

// Input is a line of text.
type Input struct {
	ID             string       `json:"id"` // the name unless it is said
	Name           string       `json:"name"`
	Type           string       `json:"type"` // text unless it is said
	InputMode      string       `json:"inputmode"`
	Value          string       `json:"value"`
	Disabled       bool         `json:"disabled"`
	DescribedBy    string       `json:"describedBy"` // ids of further elements
	Label          Label        `json:"label"`
	Hint           Hint         `json:"hint"`
	ErrorMessage   ErrorMessage `json:"errorMessage"`
	Prefix         Content      `json:"prefix"`
	Suffix         Content      `json:"suffix"`
	FormGroup      FormGroup    `json:"formGroup"`
	InputWrapper   Wrapper      `json:"inputWrapper"`
	Large          bool         `json:"large"`
	Code           bool         `json:"code"`  // it is for codes: each character is as wide as the others
	Width          int          `json:"width"` // in characters: 2, 3, 4, 5, 10, 20 or 30
	Autocomplete   string       `json:"autocomplete"`
	Autocapitalize string       `json:"autocapitalize"`
	Pattern        string       `json:"pattern"`
	Placeholder    string       `json:"placeholder"`
	Spellcheck     *bool        `json:"spellcheck"` // as the browser does unless it is said
	Classes        string       `json:"classes"`
	Attributes     Attributes   `json:"attributes"`
}

// affix is what is before or after an input.
type affix struct {
	Kind string
	Content
}

func newAffix(kind string, c Content) affix { return affix{kind, c} }

// Wrapper is around a control that has something beside it.
type Wrapper struct {
	Classes    string     `json:"classes"`
	Attributes Attributes `json:"attributes"`
}

// Render is the input's markup.
func (i Input) Render() template.HTML {
	class := newClasses("nhsuk-input", i.Classes).add("nhsuk-input--large", i.Large).add("nhsuk-input--code", i.Code).
		add("nhsuk-input--error", !i.ErrorMessage.empty()).choose("nhsuk-input--width-", strconv.Itoa(i.Width), "2", "3", "4", "5", "10", "20", "30")
	g := newGroup(i, class.String(), i.ID, i.Name, i.DescribedBy, i.Label, i.Hint, i.ErrorMessage, i.FormGroup)
	return render("input", wrapped{g, newClasses("nhsuk-input-wrapper", i.InputWrapper.Classes).add("nhsuk-input-wrapper--large", i.Large).String(),
		i.FormGroup.beside() || !i.Prefix.empty() || !i.Suffix.empty() || i.InputWrapper.said()})
}

// wrapped is a control with something beside it.
type wrapped struct {
	group
	Wrapper string // classes
	Wraps   bool
}

func (f FormGroup) beside() bool { return !f.BeforeInput.empty() || !f.AfterInput.empty() }

func (w Wrapper) said() bool { return w.Classes != "" || len(w.Attributes) > 0 }

// Textarea is several lines of text.
type Textarea struct {
	ID           string       `json:"id"` // the name unless it is said
	Name         string       `json:"name"`
	Rows         int          `json:"rows"` // 5 unless it is said
	Value        string       `json:"value"`
	Disabled     bool         `json:"disabled"`
	DescribedBy  string       `json:"describedBy"` // ids of further elements
	Label        Label        `json:"label"`
	Hint         Hint         `json:"hint"`
	ErrorMessage ErrorMessage `json:"errorMessage"`
	FormGroup    FormGroup    `json:"formGroup"`
	Autocomplete string       `json:"autocomplete"`
	Spellcheck   *bool        `json:"spellcheck"` // as the browser does unless it is said
	Classes      string       `json:"classes"`
	Attributes   Attributes   `json:"attributes"`
}

// Render is the textarea's markup.
func (t Textarea) Render() template.HTML { return t.in(t.FormGroup.Classes, "") }

// in is the textarea in a group of these classes, with these attributes of the group.
func (t Textarea) in(groupClasses string, own template.HTMLAttr) template.HTML {
	if t.Rows == 0 {
		t.Rows = 5
	}
	class := newClasses("nhsuk-textarea", t.Classes).add("nhsuk-textarea--error", !t.ErrorMessage.empty())
	g := newGroup(t, class.String(), t.ID, t.Name, t.DescribedBy, t.Label, t.Hint, t.ErrorMessage, t.FormGroup)
	g.Class = groupClass(t.ErrorMessage, groupClasses)
	return render("textarea", struct {
		group
		Own template.HTMLAttr
	}{g, own})
}

// CharacterCount is a textarea that says how much may be entered. The script counts
// while it is typed; without it the limit is said.
type CharacterCount struct {
	ID           string       `json:"id"` // the name unless it is said
	Name         string       `json:"name"`
	Rows         int          `json:"rows"` // 5 unless it is said
	Value        string       `json:"value"`
	MaxLength    int          `json:"maxlength"`
	MaxWords     int          `json:"maxwords"`
	Threshold    int          `json:"threshold"` // per cent of the limit from which the script counts
	CountType    string       `json:"countType"` // characters or words
	Disabled     bool         `json:"disabled"`
	Label        Label        `json:"label"`
	Hint         Hint         `json:"hint"`
	ErrorMessage ErrorMessage `json:"errorMessage"`
	FormGroup    FormGroup    `json:"formGroup"`
	CountMessage CountMessage `json:"countMessage"`
	// TextareaDescriptionText says what may be entered, with %{count} for the limit.
	TextareaDescriptionText string     `json:"textareaDescriptionText"`
	Autocomplete            string     `json:"autocomplete"`
	Spellcheck              *bool      `json:"spellcheck"` // as the browser does unless it is said
	Classes                 string     `json:"classes"`
	Attributes              Attributes `json:"attributes"`
}

// CountMessage is what says how much may be entered.
type CountMessage struct {
	Classes string `json:"classes"`
}

// Render is the character count's markup.
func (c CharacterCount) Render() template.HTML {
	id := first(c.ID, c.Name)
	info := id + "-info"
	t := Textarea{ID: id, Name: c.Name, Rows: c.Rows, Value: c.Value, Disabled: c.Disabled, DescribedBy: info, Label: c.Label, Hint: c.Hint,
		ErrorMessage: c.ErrorMessage, FormGroup: c.FormGroup, Autocomplete: c.Autocomplete, Spellcheck: c.Spellcheck,
		Classes: joined("nhsuk-js-character-count", c.Classes), Attributes: c.Attributes}
	message := Hint{ID: info, Classes: joined("nhsuk-character-count__message", c.CountMessage.Classes), Text: c.message()}
	if message.empty() {
		message.Attributes = Attributes{"hidden": ""}
	}
	after := body(c.FormGroup.AfterInput.Text, c.FormGroup.AfterInput.HTML)
	t.FormGroup.AfterInput = Content{HTML: message.Render() + after}
	return t.in(joined(c.FormGroup.Classes, "nhsuk-character-count"), c.options().html())
}

func (c CharacterCount) words() bool {
	return c.CountType == "words" || c.CountType == "" && c.MaxWords > 0
}

// message says what may be entered, if there is a limit.
func (c CharacterCount) message() string {
	limit := c.MaxLength
	if c.MaxWords > 0 {
		limit = c.MaxWords
	}
	if limit == 0 {
		return ""
	}
	unit := "characters"
	if c.words() {
		unit = "words"
	}
	return strings.ReplaceAll(first(c.TextareaDescriptionText, "You can enter up to %{count} "+unit), "%{count}", strconv.Itoa(limit))
}

// options are what the script reads.
func (c CharacterCount) options() Attributes {
	own := Attributes{"data-module": "nhsuk-character-count"}
	for name, n := range map[string]int{"data-maxlength": c.MaxLength, "data-maxwords": c.MaxWords, "data-threshold": c.Threshold} {
		if n > 0 {
			own[name] = strconv.Itoa(n)
		}
	}
	if kind := first(c.CountType, map[bool]string{true: "words"}[c.words()]); kind != "" {
		own["data-count-type"] = kind
	}
	if c.message() == "" && c.TextareaDescriptionText != "" {
		own["data-i18n.textarea-description.other"] = c.TextareaDescriptionText
	}
	return own
}

// Select is a list of which one is chosen.
type Select struct {
	ID           string       `json:"id"` // the name unless it is said
	Name         string       `json:"name"`
	Items        []SelectItem `json:"items"`
	Value        string       `json:"value"` // of the item that is chosen; an item may say so itself
	Disabled     bool         `json:"disabled"`
	DescribedBy  string       `json:"describedBy"` // ids of further elements
	Label        Label        `json:"label"`
	Hint         Hint         `json:"hint"`
	ErrorMessage ErrorMessage `json:"errorMessage"`
	FormGroup    FormGroup    `json:"formGroup"`
	InputWrapper Wrapper      `json:"inputWrapper"`
	Classes      string       `json:"classes"`
	Attributes   Attributes   `json:"attributes"`
}

// SelectItem is an item of a select.
type SelectItem struct {
	Value      string     `json:"value"`
	Text       string     `json:"text"`
	Selected   bool       `json:"selected"`
	Disabled   bool       `json:"disabled"`
	Divider    bool       `json:"divider"` // it is a line and no item
	Attributes Attributes `json:"attributes"`
}

// Render is the select's markup.
func (s Select) Render() template.HTML {
	items := make([]SelectItem, len(s.Items))
	for i, item := range s.Items {
		item.Selected = item.Selected || s.Value != "" && item.Value == s.Value
		items[i] = item
	}
	s.Items = items
	class := newClasses("nhsuk-select", s.Classes).add("nhsuk-select--error", !s.ErrorMessage.empty())
	g := newGroup(s, class.String(), s.ID, s.Name, s.DescribedBy, s.Label, s.Hint, s.ErrorMessage, s.FormGroup)
	return render("select", wrapped{g, joined("nhsuk-input-wrapper", s.InputWrapper.Classes), s.FormGroup.beside() || s.InputWrapper.said()})
}

// FileUpload is a choice of a file, or of several.
type FileUpload struct {
	ID           string       `json:"id"` // the name unless it is said
	Name         string       `json:"name"`
	Multiple     bool         `json:"multiple"`
	Disabled     bool         `json:"disabled"`
	DescribedBy  string       `json:"describedBy"` // ids of further elements
	Label        Label        `json:"label"`
	Hint         Hint         `json:"hint"`
	ErrorMessage ErrorMessage `json:"errorMessage"`
	FormGroup    FormGroup    `json:"formGroup"`
	Classes      string       `json:"classes"`
	Attributes   Attributes   `json:"attributes"`
}

// Render is the file upload's markup.
func (f FileUpload) Render() template.HTML {
	g := newGroup(f, joined("nhsuk-file-upload__input", f.Classes), f.ID, f.Name, f.DescribedBy, f.Label, f.Hint, f.ErrorMessage, f.FormGroup)
	g.Class += " nhsuk-file-upload"
	return render("file-upload", g)
}
