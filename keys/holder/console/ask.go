package console

import (
	"errors"
	"net/http"
	"strings"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/reidentify"
	"tarn/keys/reidentify/oversight/sheet"
)

// askView is the form by which somebody asks.
type askView struct {
	FormID   string
	Purposes []choice
	Purpose  string
	Token    string // of one patient
	Tokens   string // of a list
	Text     string
	Wrong    wrong
	List     bool
	Routed   bool // a worklist: its sender opens none
	Most     int

	Understood bool // of an emergency: what happens was read
}

// fieldsOfAsking are the controls that parts of a request are in.
var fieldsOfAsking = map[string]string{"/items": "token", "/reason": "text", "/purpose": "purpose", "/project": "purpose", "/organisation": "purpose"}

func (v *visit) askOne() error  { return v.askForm(askView{}) }
func (v *visit) askList() error { return v.askForm(askView{List: true}) }
func (v *visit) askWorklist() error {
	return v.askForm(askView{List: true, Routed: true})
}

// askForm shows a form by which somebody asks, with what was filled in and what is wrong.
func (v *visit) askForm(form askView) error {
	may := v.may()
	of := ownPurposes
	if form.Routed {
		of = routes
	}
	chosen := form.Purpose
	if form.Purposes = purposes(may, chosen, of); len(form.Purposes) == 0 {
		if form.Routed {
			return noUse("You cannot send worklists", "Your role may not send worklists.")
		}
		return noUse("You cannot look patients up", "Your role may not ask who patients are, in any project.")
	}
	if form.FormID == "" {
		form.FormID = v.newID()
	}
	form.Most = mostItems(may, of)
	title, name := "Find out who a patient is", "ask"
	switch {
	case form.Routed:
		title = "Send a worklist to practices"
	case form.List:
		title = "Find out who several patients are"
	}
	status := http.StatusOK
	if len(form.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, name, title, form)
	return nil
}

func mostItems(may *reidentify.Abilities, of func(*reidentify.AsksOf) []reidentify.AsksFor) (most int) {
	for i := range may.Asks {
		for _, asks := range of(&may.Asks[i]) {
			most = max(most, asks.MaxItems)
		}
	}
	return most
}

// asked is what a form says but for the patients.
type asked struct {
	project, purpose string
	reason           api.Reason
}

// readAsked reads it.
func (v *visit) readAsked(w *wrong) (a asked) {
	purpose := v.value("purpose")
	var there bool
	if a.purpose, a.project, there = strings.Cut(purpose, " "); !there {
		w.add("purpose", "Choose what you need it for.")
	}
	a.reason = api.Reason{Code: reasonOf(reidentify.Purpose(a.purpose)), Text: v.value("text")}
	switch {
	case a.reason.Text == "":
		w.add("text", "Say in a sentence why you need to know. Write no name and no number.")
	case len([]rune(a.reason.Text)) < reidentify.MinReason:
		w.add("text", "Say a little more: at least 10 characters.")
	}
	return a
}

// reasonOf is the reason that a purpose is: who has chosen the one need not choose the other.
func reasonOf(purpose reidentify.Purpose) string {
	switch purpose {
	case reidentify.Treatment:
		return "care"
	case reidentify.EmergencyTreatment:
		return "emergency"
	case reidentify.CareManagement:
		return "invitation"
	case reidentify.PatientSafety:
		return "safety"
	case reidentify.QualityImprovement:
		return "audit"
	case reidentify.Research:
		return "study"
	case reidentify.Complaint:
		return "patient-asked"
	}
	return "other"
}

// sendOne asks for one patient.
func (v *visit) sendOne() error {
	form := askView{}
	if err := v.readForm(); err != nil {
		return err
	}
	id, err := v.formID()
	if err != nil {
		return err
	}
	form.FormID, form.Purpose, form.Token, form.Text = id, v.value("purpose"), v.token(), v.value("text")
	if text := tokenWrong(form.Token); text != "" {
		form.Wrong.add("token", text)
	}
	a := v.readAsked(&form.Wrong)
	if len(form.Wrong) > 0 {
		return v.askForm(form)
	}
	return v.ask(&form, a, []api.ReidentificationItem{{Row: 1, Token: form.Token}}, false)
}

// token is what was pasted as a token, without blanks and line breaks.
func (v *visit) token() string { return strings.Join(strings.Fields(v.r.PostFormValue("token")), "") }

// tokenWrong says what is wrong with a token, where its own letters tell; empty is nothing.
// It is asked before anything is sent or written down.
func tokenWrong(token string) string {
	if token == "" {
		return "Paste the token. It has 74 characters and begins with tarn1."
	}
	if number, _, _ := nhsnumber.Parse(token); number != (nhsnumber.Number{}) {
		return "This looks like an NHS number. Paste the token, which begins with tarn1."
	}
	if err := keys.ExplainToken(token); err != nil {
		return sentence(err.Error())
	}
	return ""
}

// ask sends a request that a form has made, and goes to its page.
func (v *visit) ask(form *askView, a asked, items []api.ReidentificationItem, glass bool) error {
	var request *api.Reidentification
	var err error
	asker, who := v.console.options.Asker, v.caller(form.FormID)
	organisation := v.session.person.Organisation
	if form.Routed {
		request, err = asker.Worklist(v.r.Context(), who, &api.WorklistRequest{Project: a.project, Purpose: a.purpose, Reason: a.reason, Organisation: organisation, Items: items, Route: string(reidentify.ToPractice)})
	} else {
		request, err = asker.Reidentify(v.r.Context(), who, &api.ReidentificationRequest{Project: a.project, Purpose: a.purpose, Reason: a.reason, Organisation: organisation, Items: items, BreakGlass: glass})
	}
	switch {
	case err == nil:
		v.redirect("/requests/" + request.ID)
		return nil
	case ofForm(err, fieldsOfAsking, &form.Wrong):
		if glass {
			return v.emergencyForm(*form)
		}
		return v.askForm(*form)
	case sentBefore(err):
		return &shown{Status: http.StatusConflict, Title: "This form was sent already", Text: "It was sent with something else in it. That request is in your list.", Next: "To ask for something else, begin with a new form.", Link: "/requests", LinkText: "Your requests"}
	}
	return err
}

// sentBefore reports whether a form of this number was sent with another content.
func sentBefore(err error) bool {
	var refused *api.Error
	return errors.As(err, &refused) && refused.Code == api.CodeConflict
}

// sendList asks for several patients.
func (v *visit) sendList() error { return v.sendSeveral(askView{List: true}) }

// sendWorklist sends several patients to their practices.
func (v *visit) sendWorklist() error { return v.sendSeveral(askView{List: true, Routed: true}) }

func (v *visit) sendSeveral(form askView) error {
	if err := v.readForm(); err != nil {
		return err
	}
	id, err := v.formID()
	if err != nil {
		return err
	}
	form.FormID, form.Purpose, form.Tokens, form.Text = id, v.value("purpose"), v.value("tokens"), v.value("text")
	items := v.readList(&form)
	a := v.readAsked(&form.Wrong)
	if len(form.Wrong) > 0 {
		return v.askForm(form)
	}
	return v.ask(&form, a, items, false)
}

// readList reads the patients of a list, of the file where one was chosen. What is no token
// goes no further, and is told by its line.
func (v *visit) readList(form *askView) (items []api.ReidentificationItem) {
	if form.Tokens == "" && !v.hasFile() {
		form.Wrong.add("token", "Paste tokens, one on each line, or choose a file.")
		return nil
	}
	rows, err := v.rowsOfList(form.Tokens)
	if err != nil {
		form.Wrong.add("token", listWrong(err))
		return nil
	}
	for _, row := range rows {
		items = append(items, api.ReidentificationItem{Row: row.Row, Token: row.Token})
	}
	return items
}

// listWrong says what is wrong with a list, and what to do.
func listWrong(err error) string {
	var known *fault.Error
	if !errors.As(err, &known) {
		return "The list cannot be read. Nothing was sent."
	}
	return "The list cannot be used, and nothing was sent: " + known.Wrong + ". " + sentence(known.Next)
}

// hasFile reports whether a file was chosen that is not empty.
func (v *visit) hasFile() bool {
	_, header, err := v.r.FormFile("file")
	return err == nil && header.Size > 0
}

func (v *visit) rowsOfList(pasted string) ([]sheet.Row, error) {
	if !v.hasFile() {
		return sheet.Tokens(strings.NewReader(pasted), reidentify.MaxItems)
	}
	file, _, err := v.r.FormFile("file")
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }() // it lies in memory
	return sheet.Tokens(file, reidentify.MaxItems)
}
