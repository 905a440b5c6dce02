package idp

// User is a test person. All of them, and where they work, are made up.
type User struct {
	ID      string // for SignIn, and in the page's form
	Name    string
	Subject string // sub: the account
	UserID  string // nhsid_useruid: the person, whatever accounts they have
	Roles   []Role // the first is selected unless another is
}

// Role is one of a person's roles, as CIS2 has them in nhsid_nrbac_roles.
type Role struct {
	ID           string   `json:"person_roleid"`
	Organisation string   `json:"org_code"` // ODS code
	Code         string   `json:"role_code"`
	Name         string   `json:"role_name"`
	Activities   []string `json:"activity_codes"`
}

// Where the test users work.
const (
	PracticeA = "Z00001"
	PracticeB = "Z00002"
	ICB       = "QZZ"   // the controller
	Trust     = "RZZ01" // has an A&E department
	Holder    = "ZH001" // runs the key holder
)

// The codes of their roles, in the national form: job role group, sub-group, role.
const (
	RoleGP        = "S0030:G0100:R0260"
	RoleApprover  = "S0080:G0450:R5080"
	RoleReviewer  = "S0080:G0450:R5090"
	RoleAnalyst   = "S0080:G0440:R1980"
	RoleClinician = "S8000:G8000:R8000"
	RoleOperator  = "S8001:G8005:R8015"
)

// The codes of activities that the test users have. They have the form of the national
// ones; what each means is the project's policy to say.
const (
	ActivityDirectCare = "B9901"
	ActivityApprove    = "B9902"
	ActivityReview     = "B9903"
	ActivityBreakGlass = "B9904"
	ActivityWorklist   = "B9905"
)

// The test users' names for SignIn.
const (
	GPOfA          = "gp-a"
	OtherGPOfA     = "gp-a-other"
	GPOfB          = "gp-b"
	Approver       = "approver"
	OtherApprover  = "approver-other"
	Guardian       = "guardian"
	Analyst        = "analyst"
	Emergency      = "emergency"
	FirstOfTwo     = "two-accounts-first"  // asks, as a GP of practice A
	SecondOfTwo    = "two-accounts-second" // the same person approves, with another account
	WithoutRole    = "no-role"
	FirstOperator  = "operator-one" // of the key holder
	SecondOperator = "operator-two"
	nobodySelected = ""
)

func role(id, organisation, code, name string, activities ...string) Role {
	return Role{ID: id, Organisation: organisation, Code: code, Name: name, Activities: activities}
}

// Users returns the test users.
func Users() []User {
	gp := func(id, organisation string) Role {
		return role(id, organisation, RoleGP, "General practitioner", ActivityDirectCare)
	}
	approver := func(id string) Role {
		return role(id, ICB, RoleApprover, "Approver for the controller", ActivityApprove)
	}
	return []User{
		{GPOfA, "Dr Ada Example", "910000000001", "555000000001", []Role{gp("600000000001", PracticeA)}},
		{OtherGPOfA, "Dr Alan Example", "910000000002", "555000000002", []Role{gp("600000000002", PracticeA)}},
		{GPOfB, "Dr Beatrix Example", "910000000003", "555000000003", []Role{gp("600000000003", PracticeB)}},
		{Approver, "Carol Example", "910000000004", "555000000004", []Role{approver("600000000004")}},
		{OtherApprover, "Chidi Example", "910000000005", "555000000005", []Role{approver("600000000005")}},
		{Guardian, "Dr Dorothy Example", "910000000006", "555000000006", []Role{role("600000000006", ICB, RoleReviewer, "Caldicott Guardian", ActivityReview, ActivityApprove)}},
		{Analyst, "Edgar Example", "910000000007", "555000000007", []Role{
			role("600000000007", ICB, RoleAnalyst, "Population health analyst", ActivityWorklist),
			role("600000000017", Trust, RoleAnalyst, "Audit analyst", ActivityWorklist),
		}},
		{Emergency, "Dr Farah Example", "910000000008", "555000000008", []Role{role("600000000008", Trust, RoleClinician, "Emergency clinician", ActivityDirectCare, ActivityBreakGlass)}},
		{FirstOfTwo, "Dr Gwen Example", "910000000009", "555000000009", []Role{gp("600000000009", PracticeA)}},
		{SecondOfTwo, "Gwen Example (second account)", "910000000010", "555000000009", []Role{approver("600000000010")}},
		{FirstOperator, "Ivy Example", "910000000012", "555000000012", []Role{role("600000000012", Holder, RoleOperator, "Key holder's operator")}},
		{SecondOperator, "Jamal Example", "910000000013", "555000000013", []Role{role("600000000013", Holder, RoleOperator, "Key holder's operator")}},
		{WithoutRole, "Harry Example", "910000000011", "555000000011", nil},
	}
}
