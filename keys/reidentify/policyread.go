package reidentify

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/BurntSushi/toml"

	"tarn/keys/fault"
	"tarn/keys/strict"
)

// MaxPolicy is how many bytes a policy may have: all practices of a region, with their
// holidays, fit many times over.
const MaxPolicy = 4 << 20

// The defaults of a policy.
const (
	DefaultApprovals = 1
	DefaultMaxItems  = 100
	defaultSignIn    = 5 * time.Minute
	defaultReview    = 72 * time.Hour
)

// defaultWorkingDays are those of an organisation that names none.
var defaultWorkingDays = []string{"mon", "tue", "wed", "thu", "fri"}

// maxTold is how many errors one refusal tells.
const maxTold = 20

const readingPolicy = "reading the policy"

// DefaultLimits returns the thresholds of NHS England (2017). Each of them warns.
func DefaultLimits() Limits {
	warn := func(most int) Limit { return Limit{Most: most, Action: ActionWarn} }
	return Limits{
		Night: warn(1), NonWorking: warn(0), Requests: warn(100),
		PatientsDay: warn(300), PatientsWeek: warn(500), PatientsMonth: warn(1000),
		Organisation: warn(750), Share: Percent{Most: 6, Action: ActionWarn}, SamePatient: warn(2),
		Pending: 20,
	}
}

// ParsePolicy reads policy.toml, fills in what it leaves out and refuses what contradicts
// itself; what is only unwise is for [CheckPolicy] to say. The error is of kind
// [fault.Usage] and repeats no value of the document.
func ParsePolicy(document []byte) (*Policy, error) {
	p, err := readPolicy(document)
	if err != nil {
		return nil, err
	}
	var wrong []string
	for _, f := range p.Check() {
		if f.Severity == SeverityError {
			wrong = append(wrong, f.Error())
		}
	}
	if n := len(wrong); n > maxTold {
		wrong = append(wrong[:maxTold], fmt.Sprintf("and %d more", n-maxTold))
	}
	if wrong != nil {
		return nil, fault.New(fault.Usage, readingPolicy, strings.Join(wrong, "; "), "correct it: keyholder policy check lists everything")
	}
	return p, nil
}

// CheckPolicy reads a policy and returns all that is wrong or unwise in it. The error, of
// kind [fault.Usage], is of a document that cannot be read as a policy at all.
func CheckPolicy(document []byte) ([]Finding, error) {
	p, err := readPolicy(document)
	if err != nil {
		return nil, err
	}
	return p.Check(), nil
}

func readPolicy(document []byte) (*Policy, error) {
	if len(document) > MaxPolicy {
		return nil, fault.New(fault.Usage, readingPolicy, fmt.Sprintf("it has more than %d bytes", MaxPolicy), "give the policy.toml, docs/policy.md")
	}
	p := &Policy{
		Mode: Enforce, Limits: DefaultLimits(),
		BreakGlass: BreakGlassRules{SignInWithin: "5m", User: 5, Organisation: 20, ReviewWithin: "72h", Unwitnessed: 3},
	}
	if err := strict.TOML(document, p); err != nil {
		return nil, fault.Wrap(fault.Usage, readingPolicy, err, "correct it; docs/policy.md has every key")
	}
	var given givenPolicy
	if err := toml.Unmarshal(document, &given); err != nil {
		return nil, fault.New(fault.Usage, readingPolicy, "it cannot be read twice", "") // its text could repeat a value
	}
	p.fill(&given)
	sum := sha256.Sum256(document)
	p.digest = hex.EncodeToString(sum[:])
	return p, nil
}

// givenPolicy is what tells a number that is left out, which has a default, from a nought,
// which is a mistake.
type givenPolicy struct {
	Projects []struct {
		Approvals *int `toml:"approvals"`
		Allow     []struct {
			MaxItems *int `toml:"max_items"`
		} `toml:"allow"`
	} `toml:"project"`
}

// fill puts the defaults where nothing is given, and prepares what decisions look up.
func (p *Policy) fill(given *givenPolicy) {
	for i := range p.Projects {
		project := &p.Projects[i]
		if given.Projects[i].Approvals == nil {
			project.Approvals = DefaultApprovals
		}
		for j := range project.Allow {
			a := &project.Allow[j]
			if given.Projects[i].Allow[j].MaxItems == nil {
				a.MaxItems = DefaultMaxItems
			}
			if a.When == WhenRelationship {
				a.Absent = cmp.Or(a.Absent, AbsentApproval)
			}
		}
	}
	p.organisations = make(map[string]*Organisation, len(p.Organisations))
	for i := range p.Organisations {
		o := &p.Organisations[i]
		if o.WorkingDays == nil {
			o.WorkingDays = defaultWorkingDays
		}
		p.organisations[o.Code] = o
	}
	// What is no duration stays nought: Check refuses it.
	p.BreakGlass.signIn, _ = time.ParseDuration(p.BreakGlass.SignInWithin)
	p.BreakGlass.review, _ = time.ParseDuration(p.BreakGlass.ReviewWithin)
}

// Digest returns the SHA-256 of the document's bytes, in lower-case hex; empty for a policy
// that was not parsed from a document.
func (p *Policy) Digest() string { return p.digest }

// Project returns what may be asked of a project's tokens; nil where the policy does not
// speak of it, and nothing may.
func (p *Policy) Project(name string) *ProjectPolicy {
	for i := range p.Projects {
		if p.Projects[i].Name == name {
			return &p.Projects[i]
		}
	}
	return nil
}

// organisation returns what limits need to know of an organisation: the defaults of one
// that the policy does not name.
func (p *Policy) organisation(code string) Organisation {
	if o := p.organisations[code]; o != nil {
		return *o
	}
	for i := range p.Organisations {
		if p.organisations == nil && p.Organisations[i].Code == code {
			o := p.Organisations[i]
			if o.WorkingDays == nil {
				o.WorkingDays = defaultWorkingDays
			}
			return o
		}
	}
	return Organisation{Code: code, WorkingDays: defaultWorkingDays}
}

// Has reports whether a person is of the group, in the role in which they have signed in.
func (g *Group) Has(p *Person) bool {
	return slices.Contains(g.Roles, p.Role) &&
		(len(g.Organisations) == 0 || slices.Contains(g.Organisations, p.Organisation)) &&
		(len(g.Activities) == 0 || p.Does(g.Activities))
}

// names reports whether a person is one of those who are named by subject or user id.
func names(list []string, p *Person) bool {
	return p.Subject != "" && slices.Contains(list, p.Subject) || p.UserID != "" && slices.Contains(list, p.UserID)
}

// IsOperator reports whether a person runs the key holder, and so approves and reviews
// nothing.
func (p *Policy) IsOperator(person *Person) bool { return names(p.Operators, person) }

// IsLinker reports whether a person links the data, and so asks for nobody.
func (p *Policy) IsLinker(person *Person) bool { return names(p.Linkers, person) }

// IsGuardian reports whether a person may read who asked about whom.
func (p *Policy) IsGuardian(person *Person) bool {
	return slices.ContainsFunc(p.Guardians, func(g Group) bool { return g.Has(person) })
}

// signInWithin is how long ago the sign-in of an emergency may be.
func (b *BreakGlassRules) signInWithin() time.Duration {
	return b.duration(b.signIn, b.SignInWithin, defaultSignIn)
}

// reviewWithin is how long others have to review an emergency.
func (b *BreakGlassRules) reviewWithin() time.Duration {
	return b.duration(b.review, b.ReviewWithin, defaultReview)
}

// duration returns a duration of a policy that was parsed, or else of its text.
func (b *BreakGlassRules) duration(parsed time.Duration, text string, otherwise time.Duration) time.Duration {
	if parsed > 0 {
		return parsed
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return otherwise
	}
	return d
}
