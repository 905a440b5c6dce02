package console

import (
	"bytes"
	"html/template"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tarn/keys/reidentify"
	"tarn/keys/reidentify/oversight"
)

// standingView is how far somebody has come towards one limit, in words and as a plot.
type standingView struct {
	oversight.Standing
	Name, Count, Does string
	Plot              template.HTML
}

// limitNames name limits as pages do.
var limitNames = map[string]string{
	reidentify.LimitNight: "At night", reidentify.LimitNonWorkingDay: "On days off", reidentify.LimitRequestsDay: "Requests in 24 hours",
	reidentify.LimitPatientsDay: "Patients in 24 hours", reidentify.LimitPatientsWeek: "Patients in 7 days", reidentify.LimitPatientsMonth: "Patients in 30 days",
	reidentify.LimitOrganisation: "Patients in 30 days", reidentify.LimitOrganisationShare: "Share of the organisation's list in 30 days",
	reidentify.LimitSamePatient: "The same patient in 30 days", reidentify.CapUser: "Emergencies in 24 hours", reidentify.CapOrganisation: "Emergencies in 24 hours",
	oversight.RulePending: "Waiting for approval now", oversight.RuleReviews: "Emergencies not reviewed yet",
}

func limitName(rule string) string {
	if name := limitNames[rule]; name != "" {
		return name
	}
	return rule
}

var actionWords = map[string]string{"off": "counted only", "warn": "a warning is recorded", "approval": "approval is needed", "refuse": "refused"}

func standingsOf(all []oversight.Standing) (views []standingView) {
	for _, s := range all {
		v := standingView{Standing: s, Name: limitName(s.Rule), Does: actionWords[s.Action]}
		unit := ""
		if s.Unit == oversight.UnitPercent {
			unit = "%"
		}
		v.Count = figure(s.Now) + unit
		if s.Rule != oversight.RuleReviews {
			v.Count += " of " + figure(s.Most) + unit
		}
		if s.Simulated {
			v.Does += ", being tried out"
		}
		most := 0
		if s.Rule == reidentify.LimitRequestsDay || s.Rule == reidentify.LimitPatientsDay {
			most = int(s.Most)
		}
		v.Plot = plot(s.Days, most, v.Name)
		views = append(views, v)
	}
	return views
}

// figure writes a count without a fraction, and a share with at most two digits of one.
func figure(n float64) string {
	return strings.TrimSuffix(strings.TrimRight(strconv.FormatFloat(n, 'f', 2, 64), "0"), ".")
}

// limitsView is where a person stands, and for a guardian everybody.
type limitsView struct {
	Own, Organisation []standingView
	Code              string
	Asks              bool
	Overview          *overviewView
}

type overviewView struct {
	*oversight.Overview
	Shown []askerView
	Who   []askerView
}

type askerView struct {
	Name      string
	Near      string
	Beyond    bool
	Standings []standingView
}

func (v *visit) limits() error {
	own, organisation, err := v.console.options.Overseer.Standings(v.r.Context(), v.caller(""))
	if err != nil {
		return err
	}
	may := v.may()
	page := limitsView{Own: standingsOf(own), Organisation: standingsOf(organisation), Code: v.session.person.Organisation, Asks: len(may.Asks) > 0}
	if may.Guardian {
		overview, err := v.console.options.Overseer.Overview(v.r.Context(), v.caller(""))
		if err != nil {
			return err
		}
		page.Overview = overviewOf(overview)
	}
	v.render(http.StatusOK, "limits", "Limits", &page)
	return nil
}

func overviewOf(o *oversight.Overview) *overviewView {
	page := &overviewView{Overview: o}
	for _, one := range o.Organisations {
		page.Shown = append(page.Shown, askerOf(one.Organisation, one.Near, one.Standings))
	}
	for _, one := range o.People {
		page.Who = append(page.Who, askerOf(one.Person.Subject+", role "+one.Person.Role+" at "+one.Person.Organisation, one.Near, one.Standings))
	}
	return page
}

func askerOf(name string, near float64, standings []oversight.Standing) askerView {
	return askerView{Name: name, Near: figure(near), Standings: standingsOf(standings), Beyond: slices.ContainsFunc(standings, func(s oversight.Standing) bool { return s.Beyond && s.Action != "off" })}
}

// reportView is a month of an organisation, and the choice of another.
type reportView struct {
	Organisation  string
	Month         string
	Organisations []choice
	Months        []choice
	Report        *oversight.Report
	Table         string // where it is as a table for spreadsheets
	Wrong         wrong
}

var odsText = regexp.MustCompile(`^[A-Z0-9]{3,10}$`)

// monthsOffered is how many months a report can be of: as long as requests are kept.
const monthsOffered = 14

// readReport reads which report is meant.
func (v *visit) readReport() (*reportView, oversight.CalendarMonth, error) {
	query := v.r.URL.Query()
	page := &reportView{Organisation: strings.ToUpper(strings.TrimSpace(query.Get("organisation"))), Month: query.Get("month")}
	now := oversight.MonthOf(v.arrived)
	month := now
	if page.Month != "" {
		var err error
		if month, err = oversight.ParseMonth(page.Month); err != nil {
			page.Wrong.add("month", "Choose a month.")
			month = now
		}
	}
	page.Month = month.String()
	for i := range monthsOffered {
		m := now.Add(-i)
		page.Months = append(page.Months, choice{Value: m.String(), Text: monthText(m), Chosen: m == month})
	}
	organisations, err := v.console.options.Overseer.Organisations(v.r.Context(), v.caller(""))
	if err != nil {
		return nil, month, err
	}
	if own := v.session.person.Organisation; !slices.Contains(organisations, own) {
		organisations = append(organisations, own)
	}
	if page.Organisation == "" {
		page.Organisation = organisations[0]
	}
	if !odsText.MatchString(page.Organisation) {
		page.Wrong.add("organisation", "Choose an organisation.")
	}
	for _, code := range organisations {
		page.Organisations = append(page.Organisations, choice{Value: code, Text: code, Chosen: code == page.Organisation})
	}
	if len(page.Wrong) == 0 {
		if page.Report, err = v.console.options.Overseer.Report(v.r.Context(), v.caller(""), page.Organisation, month); err != nil {
			return nil, month, err
		}
		page.Table = "/reports/table.csv?" + url.Values{"organisation": {page.Organisation}, "month": {page.Month}}.Encode()
	}
	return page, month, nil
}

func monthText(m oversight.CalendarMonth) string {
	return time.Date(m.Year, m.Month, 1, 0, 0, 0, 0, time.UTC).Format("January 2006")
}

func (v *visit) reports() error {
	page, _, err := v.readReport()
	if err != nil {
		return err
	}
	title, status := "Monthly report", http.StatusOK
	if len(page.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, "report", title, page)
	return nil
}

// reportTable is a report for spreadsheets, none of whose cells is run as a formula.
func (v *visit) reportTable() error {
	page, month, err := v.readReport()
	switch {
	case err != nil:
		return err
	case page.Report == nil:
		return &shown{Status: http.StatusUnprocessableEntity, Title: "There is no such report", Text: "The organisation or the month was not understood.", Next: "Choose both on the page of reports.", Link: "/reports", LinkText: "Monthly reports"}
	}
	var table bytes.Buffer
	if err := page.Report.WriteCSV(&table); err != nil {
		return err
	}
	return v.file("tarn-"+page.Organisation+"-"+month.String()+".csv", "text/csv; charset=utf-8", table.Bytes())
}
