package console

import (
	"net/http"
	"strings"

	"tarn/keys/api"
	"tarn/keys/reidentify/oversight"
)

// registerView is what anybody may read: projects, each with how often somebody was named.
type registerView struct {
	*api.Register
	Shown []registerProject
}

type registerProject struct {
	api.RegisterProject
	Counts []oversight.ProjectCount
	Months []string // those of the counts
}

// register is the public register. It needs no sign-in.
func (v *visit) register() error {
	register, err := v.console.options.Registrar.Register(v.r.Context())
	if err != nil {
		return err
	}
	counts, err := v.console.options.Registrar.Counts(v.r.Context())
	if err != nil {
		return err
	}
	page := registerView{Register: register}
	for _, project := range register.Projects {
		one := registerProject{RegisterProject: project}
		for _, c := range counts {
			if c.Project == project.Name {
				one.Counts = append(one.Counts, c)
			}
		}
		if len(one.Counts) > 0 {
			for _, m := range one.Counts[0].Months {
				one.Months = append(one.Months, monthText(m.Month))
			}
		}
		page.Shown = append(page.Shown, one)
	}
	v.render(http.StatusOK, "register", "Register of projects", &page)
	return nil
}

// What the register says in words.

func partiesText(parties []api.RegisterParty) string {
	all := []string{}
	for _, p := range parties {
		text := p.SourceDataset
		if p.Organisation != "" {
			text += " (" + p.Organisation + ")"
		}
		all = append(all, text)
	}
	if len(all) == 0 {
		return "not stated"
	}
	return strings.Join(all, ", ")
}

func optOutsText(p api.RegisterProject) string {
	all := []string{}
	if p.NationalOptOut {
		all = append(all, "national data opt-out")
	}
	if p.Type1OptOut {
		all = append(all, "type 1 opt-out")
	}
	if p.LocalOptOut {
		all = append(all, "local opt-outs")
	}
	text := strings.Join(all, ", ")
	if text == "" {
		text = "none"
	}
	if p.OptOutReason != "" {
		text += ": " + p.OptOutReason
	}
	return text
}

func lookUpsText(p api.RegisterProject) string {
	if p.Reidentify != "direct" {
		return "No: nobody can be told who a patient is"
	}
	all := []string{}
	for _, purpose := range p.Purposes {
		all = append(all, strings.ToLower(purposeText(purpose)[:1])+purposeText(purpose)[1:])
	}
	if len(all) == 0 {
		return "Yes, where the policy allows it"
	}
	return "Yes, for: " + strings.Join(all, "; ") + "; and in an emergency, where the policy allows it"
}
