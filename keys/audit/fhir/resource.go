package fhir

// These types are what is used here of the R4 resource AuditEvent, in the order of its
// definition (http://hl7.org/fhir/R4/auditevent.html). There is no extension among them.

type auditEvent struct {
	ResourceType   string    `json:"resourceType"`
	ID             string    `json:"id"`
	Meta           *meta     `json:"meta,omitzero"`
	Type           coding    `json:"type"`
	Subtype        []coding  `json:"subtype"`
	Action         string    `json:"action"`
	Recorded       string    `json:"recorded"`
	Outcome        string    `json:"outcome"`
	OutcomeDesc    string    `json:"outcomeDesc,omitzero"`
	PurposeOfEvent []concept `json:"purposeOfEvent,omitempty"`
	Agent          []agent   `json:"agent"`
	Source         source    `json:"source"`
	Entity         []entity  `json:"entity"`
}

type meta struct {
	Tag []coding `json:"tag"`
}

type coding struct {
	System  string `json:"system"`
	Code    string `json:"code"`
	Display string `json:"display,omitzero"`
}

type concept struct {
	Coding []coding `json:"coding"`
}

type identifier struct {
	System string `json:"system"`
	Value  string `json:"value"`
}

// reference names something by its identifier: none of it is a resource anywhere.
type reference struct {
	Identifier identifier `json:"identifier"`
}

type agent struct {
	Role      []concept `json:"role,omitempty"`
	Who       reference `json:"who"`
	Requestor bool      `json:"requestor"`
}

type source struct {
	Site     string    `json:"site"`
	Observer reference `json:"observer"`
	Type     []coding  `json:"type"`
}

type entity struct {
	What          reference `json:"what"`
	Type          coding    `json:"type"`
	Role          coding    `json:"role"`
	SecurityLabel []coding  `json:"securityLabel,omitempty"`
	Detail        []detail  `json:"detail,omitempty"`
}

type detail struct {
	Type        string `json:"type"`
	ValueString string `json:"valueString"`
}
