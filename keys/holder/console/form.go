package console

import (
	"errors"
	"net/http"
	"strconv"
	"strings"

	"tarn/keys/api"
	"tarn/keys/reidentify"
)

// wrong is what is wrong with a form: the fields, in the order of the page.
type wrong []fieldError

// fieldError is what is wrong with one field, by the id of its control.
type fieldError struct{ Field, Text string }

func (w *wrong) add(field, text string) { *w = append(*w, fieldError{field, text}) }

// Of returns what is wrong with a field, or nothing.
func (w wrong) Of(field string) string {
	for _, e := range w {
		if e.Field == field {
			return e.Text
		}
	}
	return ""
}

// value is a field's text, without blanks around it.
func (v *visit) value(name string) string { return strings.TrimSpace(v.r.PostFormValue(name)) }

// ofForm turns a refusal of a form's content into what is wrong with its fields; false where
// it is another error. fields say which control a JSON pointer's beginning means.
func ofForm(err error, fields map[string]string, w *wrong) bool {
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != api.CodeMalformed || len(refused.Errors) != 1 {
		return false
	}
	pointer := refused.Errors[0].Pointer
	text := strings.TrimPrefix(refused.Detail, pointer+": ")
	for begin, field := range fields {
		if strings.HasPrefix(pointer, begin) {
			if begin == "/items" {
				text = itemText(pointer, text)
			}
			w.add(field, sentence(text))
			return true
		}
	}
	return false
}

// itemText says which patient of a list is meant.
func itemText(pointer, text string) string {
	parts := strings.Split(pointer, "/")
	if len(parts) < 3 {
		return text
	}
	n, err := strconv.Atoi(parts[2])
	if err != nil {
		return text
	}
	return "patient " + strconv.Itoa(n+1) + " of the list: " + text
}

// choice is one of several that a form offers.
type choice struct {
	Value, Text, Hint string
	Chosen            bool
}

// projectPurpose is a choice of a form: for what one asks, and of which project's tokens.
func projectPurpose(project string, purpose reidentify.Purpose) string {
	return string(purpose) + " " + project
}

// purposes are what a person may ask for, as a form offers them.
func purposes(may *reidentify.Abilities, chosen string, of func(*reidentify.AsksOf) []reidentify.AsksFor) []choice {
	all := []choice{}
	for i := range may.Asks {
		for _, asks := range of(&may.Asks[i]) {
			c := choice{Value: projectPurpose(may.Asks[i].Project, asks.Purpose), Text: purposeText(string(asks.Purpose)), Hint: "Project " + may.Asks[i].Project}
			switch asks.When {
			case reidentify.WhenRelationship:
				c.Hint += ". You are told at once if your organisation cares for the patient now."
			case reidentify.WhenApproved:
				c.Hint += ". Somebody else has to approve it first."
			case reidentify.WhenRouted:
				c.Hint += ". You are not told who the patients are."
			}
			c.Chosen = c.Value == chosen
			all = append(all, c)
		}
	}
	if len(all) == 1 {
		all[0].Chosen = true
	}
	return all
}

func ownPurposes(of *reidentify.AsksOf) []reidentify.AsksFor { return of.Purposes }
func routes(of *reidentify.AsksOf) []reidentify.AsksFor      { return of.Routes }

// refusedPage is for pages that are of no use to a person: it says so, and what is.
func noUse(title, text string) *shown {
	return &shown{Status: http.StatusForbidden, Title: title, Text: text, Next: "If you need this for your work, ask information governance of your organisation. If you have another role, sign out, and sign in with it."}
}
