package console

import (
	"html/template"

	"tarn/keys/api"
	"tarn/keys/holder/console/nhsuk"
	"tarn/keys/reidentify/oversight"
)

// Tables. On a narrow screen each row of one stands by itself.

func heads(texts ...string) (all []nhsuk.TableHead) {
	for _, text := range texts {
		all = append(all, nhsuk.TableHead{Text: text})
	}
	return all
}

// numeric makes columns after the first ones of numbers.
func numeric(heads []nhsuk.TableHead) []nhsuk.TableHead {
	for i := 1; i < len(heads); i++ {
		heads[i].Format = "numeric"
	}
	return heads
}

func text(s string) nhsuk.TableCell          { return nhsuk.TableCell{Text: s} }
func markup(h template.HTML) nhsuk.TableCell { return nhsuk.TableCell{HTML: h} }

// table is one whose caption is for those who do not see it.
func table(caption string, head []nhsuk.TableHead, rows [][]nhsuk.TableCell) template.HTML {
	return nhsuk.Table{Caption: nhsuk.Heading{Text: caption, Classes: "nhsuk-u-visually-hidden"}, Head: head, Rows: rows, Responsive: true}.Render()
}

func stateTag(state string) template.HTML { return tagHTML(stateText(state), stateColours[state]) }

func requestTable(requests []*requestView) template.HTML {
	var rows [][]nhsuk.TableCell
	for _, r := range requests {
		what := r.Patients()
		if r.BreakGlass {
			what += ", emergency"
		}
		if r.Worklist() {
			what += ", worklist"
		}
		rows = append(rows, []nhsuk.TableCell{
			{Text: londonTime(r.Created), Href: r.Path()}, text(what), text(purposeText(r.Purpose) + ", project " + r.Reidentification.Project), markup(stateTag(r.State)), text(londonTime(r.Expires)),
		})
	}
	return table("Requests", heads("Asked", "For", "Purpose", "State", "Until"), rows)
}

func eventTable(events []eventView) template.HTML {
	var rows [][]nhsuk.TableCell
	for i := range events {
		e := &events[i]
		rows = append(rows, []nhsuk.TableCell{
			text(londonTime(e.When)), text(e.What), text(e.Who()), text(e.For()), {Text: itoa(int(e.Index)), VisuallyHiddenText: "of the log", Href: "/log/" + itoa(int(e.Index))},
		})
	}
	return table("Entries of the log", heads("When", "What", "Who", "For", "Entry"), rows)
}

func standingTable(standings []standingView) template.HTML {
	var rows [][]nhsuk.TableCell
	for i := range standings {
		s := &standings[i]
		count := template.HTML(template.HTMLEscapeString(s.Count))
		if s.Beyond && s.Action != "off" {
			count += " " + tagHTML("Beyond", "red")
		}
		if s.Overdue > 0 {
			count += " " + tagHTML(itoa(s.Overdue)+" overdue", "red")
		}
		picture := s.Plot
		if picture == "" {
			picture = "–"
		}
		rows = append(rows, []nhsuk.TableCell{text(s.Name), markup(count), text(s.Does), markup(picture)})
	}
	return table("Limits", heads("Limit", "Now", "Beyond it", "Last 30 days"), rows)
}

// firedTable has the limits that have fired; others are not worth a line.
func firedTable(fired []oversight.LimitFired) template.HTML {
	var rows [][]nhsuk.TableCell
	for _, l := range fired {
		if l.Fired > 0 {
			rows = append(rows, []nhsuk.TableCell{text(sentence(l.Text)), text(itoa(l.Fired)), text(itoa(l.Warned)), text(itoa(l.Approval)), text(itoa(l.Refused)), text(itoa(l.Simulated))})
		}
	}
	if rows == nil {
		return paragraph("None has.")
	}
	return table("How often each limit fired", numeric(heads("Limit", "Fired", "Warned", "Sent to approval", "Refused", "Tried out")), rows)
}

func projectTable(projects []api.Project) template.HTML {
	var rows [][]nhsuk.TableCell
	for i := range projects {
		rows = append(rows, []nhsuk.TableCell{text(projects[i].Name), text(londonDay(projects[i].Created))})
	}
	return table("Projects", heads("Name", "Added"), rows)
}

func clientTable(clients []api.Client) template.HTML {
	var rows [][]nhsuk.TableCell
	for i := range clients {
		c, end := &clients[i], "–"
		if c.CertificateEnd != nil {
			end = londonDay(*c.CertificateEnd)
		}
		rows = append(rows, []nhsuk.TableCell{{Text: c.Name, Href: "/operators/clients/" + c.Name}, text(string(c.Role)), text(c.Organisation), text(c.State), text(end)})
	}
	return table("Clients", heads("Name", "Role", "Organisation", "State", "Certificate ends"), rows)
}

// figure is a row of a report: a month, and the month before.
type figureRow struct {
	What        string
	Now, Before int
}

func figures(what string, now, before int) figureRow { return figureRow{what, now, before} }

func figureTable(caption, what, now, before string, all ...figureRow) template.HTML {
	t := nhsuk.Table{Caption: nhsuk.Heading{Text: caption, Size: "s"}, Head: numeric(heads(what, now, before)), FirstCellIsHeader: true}
	for _, f := range all {
		t.Rows = append(t.Rows, []nhsuk.TableCell{text(f.What), text(itoa(f.Now)), text(itoa(f.Before))})
	}
	return t.Render()
}

// countTable says how often somebody was named in a project: for each purpose in all, and
// by month to whoever asks for it.
func countTable(project string, counts []oversight.ProjectCount) template.HTML {
	t := nhsuk.Table{Caption: nhsuk.Heading{Text: "Patients who were named in project " + project + ", by purpose", Classes: "nhsuk-u-visually-hidden"}, Head: numeric(heads("Purpose", "Last 12 months")), FirstCellIsHeader: true}
	for _, c := range counts {
		months := template.HTML(`<ul class="nhsuk-list">`)
		for _, m := range c.Months {
			months += template.HTML("<li>" + template.HTMLEscapeString(monthText(m.Month)+": "+m.Openings.String()) + "</li>")
		}
		purpose := purposeText(string(c.Purpose))
		details := nhsuk.Details{Summary: nhsuk.Content{HTML: template.HTML(`Each month<span class="nhsuk-u-visually-hidden"> of ` + template.HTMLEscapeString(purpose) + `</span>`)}, HTML: months + "</ul>"}.Render()
		t.Rows = append(t.Rows, []nhsuk.TableCell{markup(template.HTML(template.HTMLEscapeString(purpose)) + details), text(c.Total.String())})
	}
	return t.Render()
}

// answerTable is who the patients of a list are.
func answerTable(a *answerView) template.HTML {
	number := "Your number"
	if a.Request.Worklist() {
		number = "Number in the list"
	}
	t := nhsuk.Table{Caption: nhsuk.Heading{Text: itoa(a.Named()) + " of " + count(len(a.Items), "patient"), Size: "s"}, Head: heads(number, "NHS number")}
	for i := range a.Items {
		item, who := &a.Items[i], text("Not available")
		switch {
		case item.Identity != nil:
			who = markup(`<span class="tarn-number tarn-number--small">` + numberHTML(item.Identity.NHSNumber) + `</span>`)
		case item.Reference != nil:
			who = text(item.Reference.SourceDataset + ", record " + item.Reference.UniqueID)
		}
		t.Rows = append(t.Rows, []nhsuk.TableCell{text(itoa(item.Row)), who})
	}
	return t.Render()
}
