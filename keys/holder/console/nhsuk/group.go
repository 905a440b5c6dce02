package nhsuk

import "html/template"

// FormGroup is what is around a control.
type FormGroup struct {
	Classes     string     `json:"classes"`
	Attributes  Attributes `json:"attributes"`
	BeforeInput Content    `json:"beforeInput"` // just before the control
	AfterInput  Content    `json:"afterInput"`  // just after it, a button for instance
}

// group is a control with its label, hint and error message.
type group struct {
	ID          string
	DescribedBy string // what is before the control
	Top         template.HTML
	Class       string
	Control     string // classes
	Group       FormGroup
	C           any // the component
}

// described says what is before the control, and adds the ids of it to describedBy.
func described(id, describedBy string, hint Hint, wrong ErrorMessage) (template.HTML, string) {
	var top template.HTML
	if !hint.empty() {
		hint.ID = first(hint.ID, id+"-hint")
		describedBy = joined(describedBy, hint.ID)
		top += hint.Render() + "\n"
	}
	if !wrong.empty() {
		wrong.ID = first(wrong.ID, id+"-error")
		describedBy = joined(describedBy, wrong.ID)
		top += wrong.Render() + "\n"
	}
	return top, describedBy
}

// newGroup is the group of a control of this class. Of an id that is not said the name
// takes the place.
func newGroup(c any, class, id, name, describedBy string, label Label, hint Hint, wrong ErrorMessage, around FormGroup) group {
	g := group{C: c, ID: first(id, name), Group: around, Control: class}
	label.For = first(label.For, g.ID)
	top, by := described(g.ID, describedBy, hint, wrong)
	g.Top, g.DescribedBy = label.Render()+"\n"+top, by
	g.Class = groupClass(wrong, around.Classes)
	return g
}

func groupClass(wrong ErrorMessage, extra string) string {
	class := "nhsuk-form-group"
	if !wrong.empty() {
		class += " nhsuk-form-group--error"
	}
	return joined(class, extra)
}
