// Package tour walks through the key holder's pages in a real browser, as the people do who
// use them: a clinician, colleagues elsewhere, approvers, a doctor in an emergency, a
// guardian, an analyst, operators, and somebody who has not signed in. What they see is
// looked at by whoever takes the tour.
package tour

import (
	"context"
	"fmt"
	"strings"

	"tarn/bench/browser"
	"tarn/bench/clinic"
	"tarn/bench/idp"
)

// Look looks at a page that somebody has come to, under a name of its own. Pages that can be
// had once only are looked at in passing: the browser must be left as it is.
type Look func(name string, p *browser.Person) error

// Guide takes people through the pages of a clinic.
type Guide struct {
	Clinic  *clinic.Clinic
	Browser *browser.Browser
	Look    Look
	Plain   bool // nobody's browser has JavaScript
	Short   bool // what is like something else is left out

	ctx    context.Context
	people map[string]*browser.Person
	used   map[string]int // patients of a practice who were asked for
}

// Tour is the whole way. The first thing that is not as it must be ends it.
func (g *Guide) Tour(ctx context.Context) error {
	g.ctx, g.people, g.used = ctx, map[string]*browser.Person{}, map[string]int{}
	defer func() {
		for _, p := range g.people {
			p.Leave()
		}
	}()
	for _, part := range []struct {
		name string
		walk func() error
		like bool // it is like another
	}{
		{"somebody who has not signed in", g.visitor, false}, {"a clinician", g.clinician, false}, {"a mistyped token", g.mistyped, true}, {"a list", g.list, true}, {"approval", g.approval, false}, {"one's own approval", g.ownApproval, true},
		{"an emergency", g.emergency, false}, {"a worklist", g.worklist, false}, {"a guardian", g.guardian, false}, {"operators", g.operators, false}, {"signing out", g.leaving, true},
	} {
		if err := g.ctx.Err(); err != nil {
			return err
		}
		if g.Short && part.like {
			continue
		}
		if err := part.walk(); err != nil {
			return fmt.Errorf("%s: %w", part.name, err)
		}
	}
	return nil
}

// steps does one after another, until one fails.
func steps(all ...func() error) error {
	for _, step := range all {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// person is somebody's browser, signed in if they are a user of the provider.
func (g *Guide) person(user string) (*browser.Person, error) {
	if p := g.people[user]; p != nil {
		return p, nil
	}
	p, err := g.Browser.Person(user)
	if err != nil {
		return nil, err
	}
	g.people[user] = p
	if g.Plain {
		if err := p.SetJavaScript(false); err != nil {
			return nil, err
		}
	}
	if user == "" {
		return p, nil
	}
	return p, steps(func() error { return p.Open(g.Clinic.Console + "/sign-in") }, func() error { return p.Click("Sign in") }, func() error { return identify(p, user, idp.AAL2) })
}

// identify answers the provider's page.
func identify(p *browser.Person, user, acr string) error {
	for _, u := range idp.Users() {
		if u.ID != user || len(u.Roles) == 0 {
			continue
		}
		r := u.Roles[0]
		return steps(func() error { return p.Choose(acr) }, func() error { return p.Click(u.Name + ": " + r.Name + ", " + r.Organisation) })
	}
	return fmt.Errorf("there is no user %s", user)
}

// see opens a page of somebody's, holds it to what it has to say, and looks at it.
func (g *Guide) see(p *browser.Person, path, name string, texts ...string) error {
	if err := p.Open(g.Clinic.Console + path); err != nil {
		return err
	}
	return g.sees(p, name, texts...)
}

// sees holds the page that somebody is on to what it has to say, and looks at it. Without a
// name nobody looks.
func (g *Guide) sees(p *browser.Person, name string, texts ...string) error {
	for _, text := range texts {
		if !p.HasText(text) {
			said, _ := p.Text()
			return fmt.Errorf("%s, status %d, does not say %q but %.600q", p.Path(), p.Status(), text, said)
		}
	}
	if name == "" {
		return nil
	}
	return g.Look(name, p)
}

// token is that of a patient of a practice who was not asked for yet, with their number.
func (g *Guide) token(practice string) (token, number string) {
	patients := g.Clinic.Of(practice)
	one := patients[g.used[practice]%len(patients)]
	g.used[practice]++
	return one.Token, one.Number
}

func (g *Guide) visitor() error {
	p, err := g.person("")
	if err != nil {
		return err
	}
	return steps(
		func() error { return g.see(p, "/", "sign-in", "Find out who a patient is", "section 171") },
		func() error { return g.see(p, "/register", "register", "Register of projects", "6(1)(e) public task") },
		func() error { return g.see(p, "/help", "help", "What is a token?") },
		func() error { return g.see(p, "/accessibility", "accessibility", "Accessibility statement") },
		func() error { return g.see(p, "/privacy", "privacy", "Cookies") },
		func() error { return g.see(p, "/nothing", "not-found", "Page not found") },
		func() error { return g.see(p, "/requests", "", "Sign in") },
	)
}

// asks fills in the form for one patient.
func asks(p *browser.Person, token, text string) error {
	return steps(func() error { return p.Fill("Token", token) }, func() error { return p.Choose("Direct care of this patient") }, func() error { return p.Fill("Why do you need to know?", text) })
}

// clinician asks for a patient of their own, and is told at once.
func (g *Guide) clinician() error {
	p, err := g.person(idp.GPOfA)
	if err != nil {
		return err
	}
	token, number := g.token(idp.PracticeA)
	grouped := number[:3] + number[3:6] + number[6:]
	return steps(
		func() error { return g.sees(p, "home", "What do you need to do?") },
		func() error { return g.see(p, "/requests", "requests-none", "You have not asked for anybody yet") },
		func() error { return g.see(p, "/worklists", "worklists-none", "There is no worklist") },
		func() error { return g.see(p, "/ask", "ask", "What do you need it for?") },
		func() error { return asks(p, token, "Called back about a blood result.") },
		func() error { return p.Click("Ask who it is") },
		func() error { return g.sees(p, "request-ready", "Ready to open", "Show who it is") },
		func() error { return p.Click("Show who it is") },
		func() error { return g.sees(p, "answer", grouped, "Check it is the right patient") },
		func() error { return p.Click("Hide it now") },
		func() error { return g.hidden(p, grouped) },
		func() error { return g.sees(p, "request-opened", "Opened", "Show it again") },
		func() error { return p.Click("Show it again") },
		func() error { return g.sees(p, "", grouped) },
		func() error { return p.Back() },
		func() error { return g.hidden(p, grouped) },
		func() error { return g.see(p, "/requests", "requests", "1 patient", "Opened") },
		func() error { return g.see(p, "/limits", "limits-own", "Requests in 24 hours", "Your organisation") },
	)
}

// hidden fails if a page names a patient.
func (g *Guide) hidden(p *browser.Person, number string) error {
	if p.HasText(number) || p.HasText(number[:3]+" "+number[3:6]+" "+number[6:]) {
		return fmt.Errorf("%s still names the patient", p.Path())
	}
	return nil
}

// mistyped mistypes a token, and corrects it.
func (g *Guide) mistyped() error {
	p, err := g.person(idp.GPOfA)
	if err != nil {
		return err
	}
	token, _ := g.token(idp.PracticeA)
	other := "q"
	if token[40] == 'q' {
		other = "p"
	}
	return steps(
		func() error { return g.see(p, "/ask", "", "Token") },
		func() error { return asks(p, token[:40]+other+token[41:], "Called back about a blood result.") },
		func() error { return p.Click("Ask who it is") },
		func() error {
			return g.sees(p, "ask-mistyped", "There is a problem", "One character is wrong, probably the 41st")
		},
		func() error { return p.Fill("Token", token) },
		func() error { return p.Click("Ask who it is") },
		func() error { return g.sees(p, "", "Ready to open") },
		func() error { return p.Click("Withdraw the request") },
		func() error { return g.sees(p, "request-void", "It was taken back") },
	)
}

// list asks for three patients by a file.
func (g *Guide) list() error {
	p, err := g.person(idp.GPOfA)
	if err != nil {
		return err
	}
	file := "row,token\r\n"
	for i := range 3 {
		token, _ := g.token(idp.PracticeA)
		file += fmt.Sprintf("%d,%s\r\n", 101+i, token)
	}
	return steps(
		func() error { return g.see(p, "/ask/list", "ask-list", "Tokens, one on each line") },
		func() error { return p.Upload("Or choose a file", "patients.csv", []byte(file)) },
		func() error { return p.Choose("Direct care of this patient") },
		func() error { return p.Fill("Why do you need to know?", "Recall of patients on this medicine.") },
		func() error { return p.Click("Ask who they are") },
		func() error { return g.sees(p, "", "Request for 3 patients") },
		func() error { return p.Click("Show who they are") },
		func() error { return g.sees(p, "answer-list", "3 of 3 patients", "101", "103") },
	)
}

// approval is of a patient with whom the practice has nothing to do.
func (g *Guide) approval() error {
	asker, err := g.person(idp.GPOfB)
	if err != nil {
		return err
	}
	approver, err := g.person(idp.Approver)
	if err != nil {
		return err
	}
	token, number := g.token(idp.PracticeA)
	request := ""
	return steps(
		func() error {
			return g.see(approver, "/approvals", "approvals-none", "Nothing waits for your decision")
		},
		func() error { return g.see(asker, "/ask", "", "Token") },
		func() error { return asks(asker, token, "Moved here last week, not registered yet.") },
		func() error { return asker.Click("Ask who it is") },
		func() error {
			return g.sees(asker, "request-waiting", "Waiting for approval", "An approver has to agree first")
		},
		func() error { request = asker.Path(); return nil },
		func() error {
			return g.see(approver, "/approvals", "approvals", "Direct care of this patient: 1 patient")
		},
		func() error { return approver.Click("Direct care of this patient: 1 patient") },
		func() error {
			return g.sees(approver, "approval", "does not say that "+idp.PracticeB, "direct care: implied consent", "Its hash is")
		},
		func() error { return approver.Click("Send your decision") },
		func() error { return g.sees(approver, "approval-error", "There is a problem") },
		func() error { return approver.Choose("Approve") },
		func() error { return approver.Fill("Comment (optional)", "Seen the referral.") },
		func() error { return approver.Click("Send your decision") },
		func() error { return g.sees(approver, "approval-decided", "It is decided: Ready to open") },
		func() error { return g.see(asker, request, "request-approved", "Ready to open", "Seen the referral.") },
		func() error { return asker.Click("Show who it is") },
		func() error { return g.sees(asker, "", number) },
	)
}

// ownApproval: somebody with two accounts asks with one of them and approves with none.
func (g *Guide) ownApproval() error {
	asker, err := g.person(idp.FirstOfTwo)
	if err != nil {
		return err
	}
	alias, err := g.person(idp.SecondOfTwo)
	if err != nil {
		return err
	}
	token, _ := g.token(idp.PracticeB)
	return steps(
		func() error { return g.see(asker, "/ask", "", "Token") },
		func() error { return asks(asker, token, "Moved here last week, not registered yet.") },
		func() error { return asker.Click("Ask who it is") },
		func() error { return g.sees(asker, "", "Waiting for approval") },
		func() error {
			return g.see(alias, "/approvals/"+strings.TrimPrefix(asker.Path(), "/requests/"), "approval-own", "You have asked for this yourself")
		},
		func() error {
			if n, err := alias.Count("input[name=decision]"); err != nil || n > 0 {
				return fmt.Errorf("there is a form to decide on one's own: %v", err)
			}
			return nil
		},
		func() error { return g.ownForm(alias) },
	)
}

// ownForm approves by a form of one's own making, which is refused, too.
func (g *Guide) ownForm(alias *browser.Person) error {
	if g.Plain {
		return nil // such a form needs a script
	}
	return steps(
		func() error {
			_, err := alias.Evaluate(`(() => { const f = document.createElement("form"); f.method = "post"; f.id = "own"; for (const [k, v] of Object.entries({decision: "approve", hash: document.querySelector(".tarn-hash").textContent.trim()})) { const i = document.createElement("input"); i.name = k; i.value = v; f.append(i) } const b = document.createElement("button"); b.textContent = "Approve it all the same"; f.append(b); document.querySelector("main").append(f); return "" })()`)
			return err
		},
		func() error { return alias.Click("Approve it all the same") },
		func() error { return g.sees(alias, "refused-own", "You cannot approve your own request") },
	)
}

// emergency is break-glass, and its review.
func (g *Guide) emergency() error {
	doctor, err := g.person(idp.Emergency)
	if err != nil {
		return err
	}
	guardian, err := g.person(idp.Guardian)
	if err != nil {
		return err
	}
	token, number := g.token("")
	return steps(
		func() error { return g.see(guardian, "/reviews", "reviews-none", "Nobody has used break-glass") },
		func() error {
			return g.see(doctor, "/emergency", "emergency", "What happens if you go on", "First, sign in again")
		},
		func() error { return doctor.Click("Sign in again") },
		func() error { return identify(doctor, idp.Emergency, idp.AAL3) },
		func() error { return g.sees(doctor, "emergency-form", "Send this before") },
		func() error { return doctor.Fill("Token", token) },
		func() error { return doctor.Fill("What is the emergency?", "Unconscious, allergies not known.") },
		func() error { return doctor.Check("I have read what happens, and go on") },
		func() error { return doctor.Click("Break the glass") },
		func() error { return g.sees(doctor, "emergency-ready", "Show who it is") },
		func() error { return doctor.Click("Show who it is") },
		func() error { return g.sees(doctor, "", number) },
		func() error { return doctor.Click("Hide it now") },
		func() error { return g.sees(doctor, "emergency-opened", "Somebody else reviews it by") },
		func() error { return g.see(guardian, "/", "home-guardian", "1 waiting") },
		func() error { return g.see(guardian, "/reviews", "reviews", "To review", "by ") },
		func() error { return guardian.ClickAt(".tarn-queue a") },
		func() error {
			return g.sees(guardian, "review", "Unconscious, allergies not known.", "What did you find?")
		},
		func() error { return guardian.Choose("Justified") },
		func() error { return guardian.Fill("Comment (optional)", "Spoken to the doctor on duty.") },
		func() error { return guardian.Click("Send your review") },
		func() error { return g.sees(guardian, "review-done", "Reviewed", "justified") },
	)
}

// worklist goes to two practices, each of which opens its own.
func (g *Guide) worklist() error {
	analyst, err := g.person(idp.Analyst)
	if err != nil {
		return err
	}
	list := []string{}
	for _, practice := range []string{idp.PracticeA, idp.PracticeA, idp.PracticeB, ""} {
		token, _ := g.token(practice)
		list = append(list, token)
	}
	if err := steps(
		func() error {
			return g.see(analyst, "/worklists/send", "worklist-send", "You are not told who they are")
		},
		func() error { return analyst.Fill("Tokens, one on each line", strings.Join(list, "\n")) },
		func() error { return analyst.Fill("Why do you need to know?", "Frail, and not reviewed for a year.") },
		func() error { return analyst.Click("Send the worklist") },
		func() error { return g.sees(analyst, "worklist-sent", "Each patient's own practice finds it") },
	); err != nil {
		return err
	}
	for user, own := range map[string]int{idp.OtherGPOfA: 2, idp.GPOfB: 1} {
		gp, err := g.person(user)
		if err != nil {
			return err
		}
		text, name := "2 patients of yours", "worklist-opened"
		if own == 1 {
			text, name = "1 patient of yours", ""
		}
		listName, pageName := "worklists", "worklist"
		if own == 1 {
			listName, pageName = "", ""
		}
		if err := steps(
			func() error { return g.see(gp, "/worklists", listName, "worklist") },
			func() error { return gp.ClickAt("main table tbody tr:first-child a") },
			func() error { return g.sees(gp, pageName, text) },
			func() error { return gp.Click("Show who they are") },
			func() error { return g.sees(gp, name, "NHS number") },
			func() error {
				if n, err := gp.Count(".tarn-number"); err != nil || n != own {
					return fmt.Errorf("%d of %d patients are named: %v", n, own, err)
				}
				return nil
			},
		); err != nil {
			return err
		}
	}
	return nil
}

// guardian reads who asked, and all that guardians read.
func (g *Guide) guardian() error {
	p, err := g.person(idp.Guardian)
	if err != nil {
		return err
	}
	asked := g.Clinic.Of(idp.PracticeA)[0].Token
	last := g.Clinic.Of("")
	return steps(
		func() error { return g.see(p, "/who-asked", "who-asked-form", "Token") },
		func() error { return p.Fill("Token", asked) },
		func() error { return p.Click("Search") },
		func() error {
			return g.sees(p, "who-asked", "the patient was named", "that is all of them", "910000000001")
		},
		func() error { return p.Fill("Token", last[len(last)-1].Token) },
		func() error { return p.Click("Search") },
		func() error { return g.sees(p, "who-asked-none", "Nobody has asked about this patient") },
		func() error { return g.see(p, "/log", "log-all", "newest first") },
		func() error { return g.see(p, "/log?kind=reid-outcome", "log", "the patient was named") },
		func() error { return p.ClickAt("main table tbody tr:first-child a") },
		func() error { return g.sees(p, "entry", "Save the receipt") },
		func() error { return g.see(p, "/log?request=abc", "log-error", "There is a problem") },
		func() error { return g.see(p, "/log?from=2999-01-01", "log-none", "No entry fits") },
		func() error { return g.see(p, "/reports?organisation="+idp.PracticeA, "report", "Patients named") },
		func() error { return g.see(p, "/limits", "limits", "Organisations", "People") },
		func() error { return g.see(p, "/ask", "refused-role", "You cannot look patients up") },
	)
}

// operators add a client, two by two.
func (g *Guide) operators() error {
	one, err := g.person(idp.FirstOperator)
	if err != nil {
		return err
	}
	two, err := g.person(idp.SecondOperator)
	if err != nil {
		return err
	}
	change := ""
	return steps(
		func() error { return g.see(one, "/operators", "operators", "Projects and clients", "None") },
		func() error { return g.see(one, "/operators/project", "project", "project.json") },
		func() error { return one.Fill("The project's record, project.json", "{") },
		func() error { return one.Click("Ask for it") },
		func() error { return g.sees(one, "project-error", "There is a problem") },
		func() error {
			return g.see(one, "/operators/client", "client-add", "Another operator has to approve it")
		},
		func() error { return one.Fill("Name", "hospital-pipeline") },
		func() error { return one.Fill("Organisation that runs it (ODS code)", idp.Trust) },
		func() error { return one.Check("care") },
		func() error { return one.Fill("Source data sets that it encodes", "hospital") },
		func() error { return one.Click("Ask for it") },
		func() error {
			return g.sees(one, "change-own", "Add client hospital-pipeline", "You have asked for this yourself")
		},
		func() error { change = one.Path(); return nil },
		func() error { return g.see(two, "/operators", "operators-waiting", "Waiting for another operator") },
		func() error { return two.Click("Add client hospital-pipeline") },
		func() error { return g.sees(two, "change", "Your decision") },
		func() error { return two.Choose("Approve") },
		func() error { return two.Click("Send your decision") },
		func() error { return g.sees(two, "", "Approved: its code is to be collected") },
		func() error { return g.see(one, change, "change-approved", "Show the code") },
		func() error { return one.Click("Show the code") },
		func() error { return g.sees(one, "code", "Enrolment code") },
		func() error { return g.see(one, "/operators/clients/hospital-pipeline", "client", "invited") },
	)
}

// leaving signs out; what was seen cannot be had by going back.
func (g *Guide) leaving() error {
	p, err := g.person(idp.GPOfA)
	if err != nil {
		return err
	}
	token, number := g.token(idp.PracticeA)
	return steps(
		func() error { return g.see(p, "/ask", "", "Token") },
		func() error { return asks(p, token, "Called back about a blood result.") },
		func() error { return p.Click("Ask who it is") },
		func() error { return p.Click("Show who it is") },
		func() error { return g.sees(p, "", number) },
		func() error { return p.Click("Sign out") },
		func() error { return g.sees(p, "signed-out", "You are signed out") },
		func() error { _ = p.Back(); return g.hidden(p, number) },
		func() error { return g.see(p, "/requests", "", "Sign in") },
	)
}
