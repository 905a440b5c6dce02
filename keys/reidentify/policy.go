package reidentify

import "time"

// PolicySchema is the schema member of a policy.
const PolicySchema = "tarn.policy/1"

// Mode says what a policy's limits do.
type Mode string

// The modes. Whatever the mode, who may ask for what is decided as the policy says: a
// simulation is of limits only.
const (
	Enforce  Mode = "enforce"
	Simulate Mode = "simulate" // limits are counted, and what would have fired is recorded
)

// Policy is policy.toml: who may re-identify for what. Two operators set it.
type Policy struct {
	Schema string `toml:"schema"`
	// Mode is enforce (default) or simulate.
	Mode Mode `toml:"mode"`

	Projects      []ProjectPolicy `toml:"project"`
	Organisations []Organisation  `toml:"organisation"`
	Limits        Limits          `toml:"limits"`
	BreakGlass    BreakGlassRules `toml:"break_glass"`

	// Guardians read who asked about whom, and the log.
	Guardians []Group `toml:"guardian"`
	// Operators are the people, by their subject or user id, who run the key holder: they
	// approve and review nothing.
	Operators []string `toml:"operators"`
	// Linkers are the people, by their subject or user id, who link this project's data:
	// they ask for nobody.
	Linkers []string `toml:"linkers"`

	digest        string
	organisations map[string]*Organisation // by code; nil for a policy that was not parsed
}

// Group is some people, by the role in which they have signed in.
type Group struct {
	// Roles are role codes; one must be the person's.
	Roles []string `toml:"roles"`
	// Organisations are ODS codes, of which one must be the person's; any if empty.
	Organisations []string `toml:"organisations"`
	// Activities are activity codes, of which the person's role must have one; none is
	// needed if empty.
	Activities []string `toml:"activities"`
}

// ProjectPolicy is what may be asked of one project's tokens. A project without one may
// not be asked.
type ProjectPolicy struct {
	Name string `toml:"name"`
	// Issuer is who vouches for everybody who asks, approves and reviews: one for each
	// project, so that one person is not two.
	Issuer string `toml:"issuer"`
	// Controllers are the ODS codes of the data controllers: one approver at least is of
	// one of them.
	Controllers []string `toml:"controllers"`
	// Approvals is how many people have to approve what needs approval (default 1); the
	// project's record may ask for more.
	Approvals int `toml:"approvals"`

	Allow      []Allow `toml:"allow"`
	Approvers  []Group `toml:"approver"`
	Reviewers  []Group `toml:"reviewer"`
	BreakGlass []Group `toml:"break_glass"`
}

// When says what is needed beside role and purpose.
type When string

// What may be needed.
const (
	// WhenRelationship: the region says that the organisation has to do with the patient
	// now.
	WhenRelationship When = "relationship"
	// WhenApproved: others approve.
	WhenApproved When = "approval"
	// WhenRouted: who asks sees nobody; each patient's own practice opens its own.
	WhenRouted When = "route"
)

// Absent says what becomes of a request for a patient with whom the organisation has
// nothing to do.
type Absent string

// What may become of it.
const (
	AbsentApproval Absent = "approval" // others decide
	AbsentRefuse   Absent = "refuse"
)

// Allow is what people of a group may ask for.
type Allow struct {
	Group
	Purposes []Purpose `toml:"purposes"`
	When     When      `toml:"when"`
	// Absent is for when = "relationship": approval (default) or refuse.
	Absent Absent `toml:"absent"`
	// MaxItems is how many patients one request may name (default 100, at most 1000).
	MaxItems int `toml:"max_items"`
}

// Organisation is what limits need to know of an organisation.
type Organisation struct {
	Code string `toml:"code"`
	// ListSize is how many patients are registered with it; 0 is not known.
	ListSize int `toml:"list_size"`
	// Nights says that it works at night, such as NHS 111 and hospitals do.
	Nights bool `toml:"nights"`
	// WorkingDays are of mon tue wed thu fri sat sun (default mon to fri).
	WorkingDays []string `toml:"working_days"`
	// Holidays are days, as 2006-01-02, on which it does not work.
	Holidays []string `toml:"holidays"`
}

// Action is what a limit does that fires.
type Action string

// The actions.
const (
	ActionOff      Action = "off"
	ActionWarn     Action = "warn" // it is recorded, and whoever asks is told
	ActionApproval Action = "approval"
	ActionRefuse   Action = "refuse"
)

// Limit is a count beyond which something happens.
type Limit struct {
	Most   int    `toml:"most"`
	Action Action `toml:"action"`
}

// Limits are the thresholds of NHS England (2017), all counted on subject_h. Those of an
// organisation never refuse direct care, so that no one user can stop it.
type Limits struct {
	Night         Limit   `toml:"night"`                 // occasions of one user in a night, 21:00 to 06:00 (default 1)
	NonWorking    Limit   `toml:"non_working_day"`       // occasions of an organisation on a day on which it does not work (default 0)
	Requests      Limit   `toml:"requests_a_day"`        // successful requests of one user in 24 hours (default 100)
	PatientsDay   Limit   `toml:"patients_a_day"`        // distinct patients of one user in 24 hours (default 300)
	PatientsWeek  Limit   `toml:"patients_a_week"`       // in 7 days (default 500)
	PatientsMonth Limit   `toml:"patients_a_month"`      // in 30 days (default 1000)
	Organisation  Limit   `toml:"organisation_patients"` // distinct patients of one organisation in 30 days (default 750)
	Share         Percent `toml:"organisation_share"`    // of its list, in 30 days (default 6)
	SamePatient   Limit   `toml:"same_patient"`          // times that one organisation asks for one patient in 30 days (default 2)
	// Pending is how many requests of one user may wait at once (default 20). It refuses.
	Pending int `toml:"pending"`
}

// Percent is a share of an organisation's list beyond which something happens.
type Percent struct {
	Most   float64 `toml:"most"` // per cent
	Action Action  `toml:"action"`
}

// BreakGlassRules bound what is opened in an emergency, before anybody else has looked.
type BreakGlassRules struct {
	Assurances   []string `toml:"assurances"`     // acr values of a stepped-up sign-in, of which one is needed
	SignInWithin string   `toml:"sign_in_within"` // how fresh the sign-in must be (default 5m)
	User         int      `toml:"user"`           // of one user in 24 hours (default 5)
	Organisation int      `toml:"organisation"`   // of one organisation in 24 hours (default 20)
	ReviewWithin string   `toml:"review_within"`  // (default 72h); then the user's is suspended
	Unwitnessed  int      `toml:"unwitnessed"`    // that the witness has not signed yet, outstanding (default 3)

	signIn, review time.Duration // of the two texts, once they were read
}
