package api

import "time"

// EventFilter says which entries of the log a guardian looks for. What is empty is any.
type EventFilter struct {
	Kind         string    `json:"kind,omitzero"`
	Project      string    `json:"project,omitzero"`
	Organisation string    `json:"organisation,omitzero"` // of who did it
	Subject      string    `json:"subject,omitzero"`      // of who did it
	Request      string    `json:"request,omitzero"`      // the hash of a request
	From         time.Time `json:"from,omitzero"`         // that moment, or later
	Before       time.Time `json:"before,omitzero"`
	Most         int       `json:"most,omitzero"` // how many are given; the newest
}

// EventsFound are entries of the log that a filter lets through, newest first.
type EventsFound struct {
	Items    []Event `json:"items"`
	Found    int     `json:"found"`    // how many there are, of which Items are the newest
	Searched uint64  `json:"searched"` // how many entries of the log were looked at
}

// Register is what anybody may read: what is linked, on what basis, by whom, and how often
// somebody was re-identified.
type Register struct {
	Projects    []RegisterProject    `json:"projects"`
	Conversions []RegisterConversion `json:"conversions"`
	Entries     uint64               `json:"entries"` // of the log
}

// RegisterProject is a project as the register has it.
type RegisterProject struct {
	Name            string          `json:"name"`
	Purpose         string          `json:"purpose"`
	Article6        string          `json:"article6,omitzero"`
	Article9        string          `json:"article9,omitzero"`
	Confidentiality string          `json:"confidentiality,omitzero"`
	References      []string        `json:"refs,omitzero"`
	Controllers     []string        `json:"controllers"`
	Parties         []RegisterParty `json:"parties"`
	NationalOptOut  bool            `json:"ndoo"`
	Type1OptOut     bool            `json:"type1"`
	LocalOptOut     bool            `json:"local"`
	OptOutReason    string          `json:"opt_out_reason,omitzero"`
	// Reidentify is none or direct, Purposes are those for which somebody may ask.
	Reidentify string    `json:"reidentify"`
	Purposes   []string  `json:"purposes,omitzero"`
	Ends       time.Time `json:"ends"`
	Ended      bool      `json:"ended"`
}

// RegisterParty is a source of a project's records.
type RegisterParty struct {
	SourceDataset string `json:"source_dataset"`
	Organisation  string `json:"ods,omitzero"`
}

// RegisterConversion is a grant by which tokens of one domain become another's.
type RegisterConversion struct {
	From       string    `json:"from"`
	To         string    `json:"to"`
	Purpose    string    `json:"purpose"`
	LegalBasis string    `json:"legal_basis"`
	OptOuts    string    `json:"opt_outs"`
	Expires    time.Time `json:"expires"`
	State      string    `json:"state"`
}

// OperatorsSee is what operators who have signed in see: the changes that people may ask
// for, oldest first, and what there is.
type OperatorsSee struct {
	Operations []Operation `json:"operations"`
	Projects   []Project   `json:"projects"`
	Clients    []Client    `json:"clients"`
}
