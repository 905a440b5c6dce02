package reidentify

import "slices"

// The limits, by the names that the log and the policy have for them.
const (
	LimitNight             = "night"
	LimitNonWorkingDay     = "non_working_day"
	LimitRequestsDay       = "requests_a_day"
	LimitPatientsDay       = "patients_a_day"
	LimitPatientsWeek      = "patients_a_week"
	LimitPatientsMonth     = "patients_a_month"
	LimitOrganisation      = "organisation_patients"
	LimitOrganisationShare = "organisation_share"
	LimitSamePatient       = "same_patient"
)

// The caps of break-glass, which no mode simulates.
const (
	CapUser         = "break_glass_user"
	CapOrganisation = "break_glass_organisation"
)

// organisationLimits are those that one user could use up for all of an organisation.
var organisationLimits = []string{LimitNonWorkingDay, LimitOrganisation, LimitOrganisationShare, LimitSamePatient}

// limitTexts says in plain words what is beyond each limit.
var limitTexts = map[string]string{
	LimitNight:             "this person has asked more often in one night, 21:00 to 06:00, than is usual",
	LimitNonWorkingDay:     "the organisation does not work today",
	LimitRequestsDay:       "this person has made more requests in 24 hours than is usual",
	LimitPatientsDay:       "this person has asked for more patients in 24 hours than is usual",
	LimitPatientsWeek:      "this person has asked for more patients in 7 days than is usual",
	LimitPatientsMonth:     "this person has asked for more patients in 30 days than is usual",
	LimitOrganisation:      "the organisation has asked for more patients in 30 days than is usual",
	LimitOrganisationShare: "the organisation has asked for a larger share of its patients in 30 days than is usual",
	LimitSamePatient:       "the organisation has asked for the same patient more often in 30 days than is usual",
	CapUser:                "this person has used break-glass as often in 24 hours as one may",
	CapOrganisation:        "the organisation has used break-glass as often in 24 hours as one may",
}

// LimitRules returns the names of the limits, in the order in which they are looked at.
func LimitRules() []string {
	return []string{LimitNight, LimitNonWorkingDay, LimitRequestsDay, LimitPatientsDay, LimitPatientsWeek, LimitPatientsMonth, LimitOrganisation, LimitOrganisationShare, LimitSamePatient}
}

// LimitText says in plain words what is beyond a limit, or a cap of break-glass; empty for
// a name that is none.
func LimitText(rule string) string { return limitTexts[rule] }

// limit is one of Limits, by its name.
type limit struct {
	rule   string
	action Action
	most   int
	share  float64 // per cent, of LimitOrganisationShare
}

// all returns the limits, in the order of LimitRules.
func (l *Limits) all() []limit {
	of := func(rule string, l Limit) limit { return limit{rule: rule, action: l.Action, most: l.Most} }
	return []limit{
		of(LimitNight, l.Night), of(LimitNonWorkingDay, l.NonWorking), of(LimitRequestsDay, l.Requests),
		of(LimitPatientsDay, l.PatientsDay), of(LimitPatientsWeek, l.PatientsWeek), of(LimitPatientsMonth, l.PatientsMonth),
		of(LimitOrganisation, l.Organisation),
		{rule: LimitOrganisationShare, action: l.Share.Action, share: l.Share.Most},
		of(LimitSamePatient, l.SamePatient),
	}
}

// weakened returns what a limit does to a request: an emergency is recorded and goes on,
// since break-glass has its own caps, and no limit of an organisation refuses direct care.
func weakened(rule string, action Action, o *Occasion) Action {
	switch {
	case o.emergency():
		return ActionWarn
	case o.Purpose.DirectCare() && action == ActionRefuse && slices.Contains(organisationLimits, rule):
		return ActionApproval
	}
	return action
}

// emergency reports whether it is break-glass.
func (o *Occasion) emergency() bool { return o.BreakGlass || o.Purpose == EmergencyTreatment }
