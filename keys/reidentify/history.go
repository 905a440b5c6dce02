package reidentify

import "time"

// Occasion is one request for re-identification as limits count it.
type Occasion struct {
	At           time.Time
	Person       Person
	Project      string
	Organisation string
	Purpose      Purpose
	Subjects     []string // subject_h, each once
	BreakGlass   bool
}

// Fired is a limit that a request is beyond.
type Fired struct {
	Rule   string `json:"rule"`
	Action Action `json:"action"`
	// Simulated says that it was not acted upon.
	Simulated bool `json:"simulated,omitzero"`
}
