package console

import (
	"strings"

	"tarn/keys/api"
)

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
	return "Yes, for: " + strings.Join(all, "; ")
}
