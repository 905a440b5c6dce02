package oversight

import (
	"tarn/keys/reidentify"
)

// Report is one organisation's calendar month, and the one before it. It names no person
// and no patient.
type Report struct {
	Organisation string        `json:"organisation"` // ODS code
	Month        CalendarMonth `json:"month"`        // as in 2026-11, of London
	Figures      Figures       `json:"figures"`
	MonthBefore  CalendarMonth `json:"month_before"`
	Before       Figures       `json:"before"` // the same of the month before
}

// Figures are what an organisation did in a month. What happens to a request later counts
// in the month in which it happens. A list or a worklist is one request.
type Figures struct {
	Requests int `json:"requests"` // that its people made
	// Outcomes are of these requests, when they were made; Purposes are the same of each purpose,
	// of all purposes that there are.
	Outcomes Outcomes         `json:"outcomes"`
	Purposes []PurposeFigures `json:"purposes"`
	// Refused are the rules by which they were refused when they were made.
	Refused []RefusedFigures `json:"refused"`
	// People is how many people made them.
	People int `json:"people"`
	// Patients is about how many patients, each once, its requests were, refused ones too.
	Patients int `json:"patients"`
	// Opened is how many requests its people began to open, of the organisation's own and of
	// worklists; Released is how many patients they were told, each time.
	Opened   int `json:"opened"`
	Released int `json:"released"`
	// OutOfHours is how many of its requests that were not refused were made at night, or on a
	// day on which it does not work, by the policy of today.
	OutOfHours int               `json:"out_of_hours"`
	Lists      ListFigures       `json:"lists"`
	Approvals  ApprovalFigures   `json:"approvals"`
	BreakGlass BreakGlassFigures `json:"break_glass"`
	// Limits are those that its requests were beyond.
	Limits []LimitFigures `json:"limits"`
}

// Outcomes are what was decided when requests were made.
type Outcomes struct {
	Ready   int `json:"ready"`
	Waited  int `json:"waited"` // for approval, whatever became of it
	Refused int `json:"refused"`
}

// PurposeFigures are the requests of one purpose: Requests is the sum of its outcomes.
type PurposeFigures struct {
	Purpose  reidentify.Purpose `json:"purpose"`
	Requests int                `json:"requests"`
	Outcomes
}

// RefusedFigures are the requests that one rule refused.
type RefusedFigures struct {
	Rule     reidentify.Rule `json:"rule"`
	Limit    string          `json:"limit,omitzero"` // where the rule is one
	Requests int             `json:"requests"`
}

// ListFigures are requests of several patients, and worklists.
type ListFigures struct {
	Lists  int `json:"lists"`  // its requests of more than one patient, without worklists
	Sent   int `json:"sent"`   // worklists that it sent and that were not refused
	Got    int `json:"got"`    // worklists with a patient of its own that were sent, by whomever
	Opened int `json:"opened"` // worklists of which its people opened their own patients
}

// ApprovalFigures are what approvers did with the organisation's requests.
type ApprovalFigures struct {
	Approved int `json:"approved"` // verdicts of single approvers
	Rejected int `json:"rejected"`
	// Decided is how many requests enough have approved, or one has rejected; MedianMinutes
	// how long these waited for it, to the nearest minute, 0 where there are none.
	Decided       int `json:"decided"`
	MedianMinutes int `json:"median_minutes"`
}

// BreakGlassFigures are the emergencies whose opening was begun in the month: Used is the
// sum of the next three, and reviews are of these.
type BreakGlassFigures struct {
	Used           int `json:"used"`
	ReviewedInTime int `json:"reviewed_in_time"`
	ReviewedLate   int `json:"reviewed_late"`
	NotReviewed    int `json:"not_reviewed"` // until now
	Justified      int `json:"justified"`
	NotJustified   int `json:"not_justified"`
	Inconclusive   int `json:"inconclusive"`
}

// LimitFigures say how often a limit fired, by what it did. Whatever is simulated did
// nothing.
type LimitFigures struct {
	Rule      string            `json:"rule"`
	Text      string            `json:"text"`
	Action    reidentify.Action `json:"action"`
	Simulated bool              `json:"simulated,omitzero"`
	Times     int               `json:"times"`
}
