package console

import (
	"net/http"
	"slices"
	"time"

	"tarn/keys/api"
	"tarn/keys/reidentify"
)

// emergencyView is the page of break-glass: its consequences, then the form.
type emergencyView struct {
	askView
	Needs  *reidentify.BreakGlassNeeds
	Review string    // within which somebody reviews it
	Fresh  bool      // the sign-in is what break-glass needs
	Until  time.Time // until when it is
	Start  string    // where to sign in again
}

func (v *visit) emergency() error { return v.emergencyForm(askView{}) }

// emergencyForm shows what break-glass means, and its form to whoever has signed in as it
// needs. Whether they have is decided anew when it is sent.
func (v *visit) emergencyForm(form askView) error {
	may := v.may()
	needs := glassNeeds(may)
	if needs == nil {
		return &shown{Status: http.StatusForbidden, Title: "You cannot use break-glass", Text: "Your role may not find out who a patient is without approval, in any project.", Who: sentence(reidentify.Refuse(reidentify.RuleBreakGlassRole).Who()),
			Next: "In danger to life, telephone the organisation that knows the patient. If you care for the patient, ask in the usual way: that is answered at once where your organisation is known to.", Link: "/ask", LinkText: "Ask in the usual way"}
	}
	page := emergencyView{askView: form, Needs: needs, Review: duration(needs.Review), Start: "/sign-in/start?next=%2Femergency&step=emergency"}
	if page.FormID == "" {
		page.FormID = v.newID()
	}
	person := &v.session.person
	if within, err := time.ParseDuration(needs.Within); err == nil {
		page.Until = person.SignedIn.Add(within)
		page.Fresh = slices.Contains(needs.Assurances, person.Assurance) && v.arrived.Before(page.Until)
	}
	page.Purposes = emergencies(may, form.Purpose)
	title, status := "Emergency: break-glass", http.StatusOK
	if len(form.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, "emergency", title, &page)
	return nil
}

// emergencies are the projects in which somebody may use break-glass.
func emergencies(may *reidentify.Abilities, chosen string) []choice {
	all := []choice{}
	for i := range may.Asks {
		if may.Asks[i].Glass {
			value := projectPurpose(may.Asks[i].Project, reidentify.EmergencyTreatment)
			all = append(all, choice{Value: value, Text: may.Asks[i].Project, Chosen: value == chosen})
		}
	}
	if len(all) == 1 {
		all[0].Chosen = true
	}
	return all
}

func duration(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	return span(d)
}

// breakGlass asks in an emergency.
func (v *visit) breakGlass() error {
	if err := v.readForm(); err != nil {
		return err
	}
	id, err := v.formID()
	if err != nil {
		return err
	}
	form := askView{FormID: id, Purpose: v.value("purpose"), Token: v.token(), Text: v.value("text"), Understood: v.value("understood") != ""}
	if text := tokenWrong(form.Token); text != "" {
		form.Wrong.add("token", text)
	}
	a := v.readAsked(&form.Wrong)
	if !form.Understood {
		form.Wrong.add("understood", "Say that you have read what happens.")
	}
	if len(form.Wrong) > 0 {
		return v.emergencyForm(form)
	}
	return v.ask(&form, a, []api.ReidentificationItem{{Row: 1, Token: form.Token}}, true)
}
