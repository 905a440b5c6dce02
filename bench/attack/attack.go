// Package attack is Tarn's privacy self-audit: it attacks encodings that the
// product made, of people who do not exist, as an attacker would who knows
// everything but the key, and says how many records are named. Every attack is also
// run against an encoding that must fall to it, so that a weak attack cannot pass
// for a strong encoding: if that one stands, the audit has failed.
//
// The figures follow from the seed, on any number of cores.
package attack

import (
	"context"
	"fmt"
	"slices"
	"time"

	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/encode"
)

// DefaultSeed is the seed of an audit.
const DefaultSeed = 7

// Options say what to attack.
type Options struct {
	Profile  *encode.Profile
	Full     bool // the scale
	Seed     uint64
	NamesDir string // larger frequency tables; empty uses the built-in ones
	Software string
	Clock    func() time.Time
	Progress func(what string)

	size *size // of tests
}

// Limits on the share of records that an attack names, and what it must reach on
// its control.
const (
	limitTable  = 0
	limitPairs  = .005
	limitCohort = .005
	limitHalf   = .03

	mustDictionary = .99
	mustTable      = .9
	mustPairs      = .95
	mustWhole      = .8
	mustHalf       = .5
	mustSeeded     = .9
	mustCohort     = .95
	mustFrequency  = .5
)

// run is one audit.
type run struct {
	Options
	ctx     context.Context
	world   *world
	victim  [secret.Size]byte // the key of what is attacked: known to no attack but the first
	profile *profileScheme
	control *clkScheme
}

// Run attacks a profile. What was found is in the document, also that a limit is
// passed: see [Document.Verdict]. Errors are of a run that did not end, or of kind
// [fault.Usage].
func Run(ctx context.Context, o Options) (*Document, error) {
	z, scale := smallSize, ScaleSmall
	if o.Full {
		z, scale = fullSize, ScaleFull
	}
	if o.size != nil {
		z = *o.size
	}
	r := &run{Options: o, ctx: ctx, profile: newProfileScheme(o.Profile), victim: drawKey(o.Seed, "victim", 0)}
	absent := r.profile.notAttacked()
	if len(absent) == len(r.profile.public) {
		return nil, fault.New(fault.Usage, "attacking the profile "+o.Profile.Name, "synthetic people have a value for none of its fields", "give a profile with names, date of birth, sex or postcode")
	}
	var err error
	if r.control, err = newCLK(clkSchema); err != nil {
		return nil, err
	}
	o.Progress("people")
	if r.world, err = newWorld(ctx, z, o.Seed, o.NamesDir); err != nil {
		return nil, err
	}
	d := &Document{Schema: Schema, Software: o.Software, Created: o.Clock().UTC().Format(time.RFC3339), Profile: Subject{Name: o.Profile.Name, Digest: o.Profile.DigestText()},
		Scale: scale, Seed: o.Seed, NotAttacked: append([]string{}, absent...), Attacks: []Attack{}}
	for _, step := range []struct {
		name string
		do   func() ([]Attack, error)
	}{{"dictionary", r.attackDictionary}, {"table", r.attackTable}, {"pairs and S4", r.attackPairs}, {"S1", r.attackWhole}, {"S2", r.attackHalf}, {"S3", r.attackSeeded}, {"frequency", r.attackFrequency}} {
		o.Progress(step.name)
		some, err := step.do()
		if err != nil {
			return nil, err
		}
		d.Attacks = append(d.Attacks, some...)
	}
	d.judge()
	return d, nil
}

func (r *run) attackDictionary() ([]Attack, error) {
	a := Attack{ID: "1", Name: "dictionary", Has: "the project's key, which leaked; lists of names and dates", Finds: "names, date of birth and sex of a record", Expected: ExpectFall}
	var found score
	var err error
	if r.profile.inLists() {
		found.records, found.right, err = r.dictionary(r.ctx, r.profile)
	} else {
		a.Has, a.Finds = "the project's key, which leaked; the registers", "who a record is of"
		found.records, found.right, err = r.registerLookUp(r.ctx, r.profile)
	}
	if err != nil {
		return nil, err
	}
	a.found(found)
	a.Must = share(mustDictionary)
	var control score
	if control.records, control.right, err = r.registerLookUp(r.ctx, r.control); err != nil {
		return nil, err
	}
	a.Note = "nothing helps once the key is out; shown so that nobody thinks otherwise"
	a.Control = newControl("CLK, its secret known", control, mustDictionary)
	return []Attack{a}, nil
}

// hasNames reports whether a field can be looked up in a list of names.
func (s *profileScheme) hasNames() bool {
	return slices.ContainsFunc(s.public, func(f field) bool { return f.listed == listedNames })
}

// inLists reports whether names can be looked up field by field: a field of several
// names has as many values as there are pairs of names.
func (s *profileScheme) inLists() bool {
	for i, f := range s.profile.Encoding.Fields {
		if s.public[i].listed == listedNames && len(f.Inputs) > 1 {
			return false
		}
	}
	return s.hasNames()
}

func (r *run) attackTable() ([]Attack, error) {
	a := Attack{ID: "2", Name: "diffusion table", Has: "encodings only", Finds: "outputs of an input bit of the table, of all", Limit: share(limitTable), Expected: ExpectHold}
	a.Floor = share(0)
	filters, open := 0, 0
	for _, public := range r.profile.public {
		if public.bits > 0 {
			filters++
			if public.inputs < 2 {
				open = max(open, public.bits)
			}
		}
	}
	truth, err := newOneTable(r.Profile)
	if err != nil {
		return nil, err
	}
	dates := func(f, i int) (table, error) {
		t, _, err := truth.tableOf(r.victim, r.world.days[i].Format(time.DateOnly), f)
		return t, err
	}
	switch {
	case open > 0:
		a.found(score{open, open})
		a.Note = "there is no diffusion: every bit lies open"
	case filters == 0:
		a.found(score{})
		a.Note = "there is no filter"
	default:
		best, err := r.recoverPooled(r.ctx, r.profile, func(f int) (tables []table, err error) {
			if !r.profile.byDate() {
				t, _, err := truth.tableOf(r.victim, "", f)
				return []table{t}, err
			}
			for i := range min(r.world.tables, len(r.world.days)) {
				t, err := dates(f, i)
				if err != nil {
					return nil, err
				}
				tables = append(tables, t)
			}
			return tables, nil
		})
		if err != nil {
			return nil, err
		}
		a.Note = fmt.Sprintf("of %d different filters of all dates (%s)", best.records, best.field)
		if r.profile.byDate() {
			one, err := r.recoverBlocks(r.ctx, r.profile, dates)
			if err != nil {
				return nil, err
			}
			a.Note = fmt.Sprintf("of %d different filters of all dates, and of whole registers of %d dates", best.records, min(r.world.tables, len(r.world.days)))
			if one.share() > best.share() {
				best = one
			}
		}
		a.found(score{best.columns, best.right})
	}
	if filters == 0 {
		return []Attack{a}, nil
	}
	// Fuller filters hide even one table for longer. What the attack must break is the
	// same for all profiles, so that it says what the attack can do.
	usual, err := encode.LoadProfile(encode.DefaultPreset, ".")
	if err != nil {
		return nil, err
	}
	variant, err := newOneTable(usual)
	if err != nil {
		return nil, err
	}
	control, err := r.recoverPooled(r.ctx, variant, func(f int) ([]table, error) {
		t, _, err := variant.tableOf(r.victim, "", f)
		return []table{t}, err
	})
	if err != nil {
		return nil, err
	}
	a.Control = newControl(usual.Name+" with one table for all records", score{control.columns, control.right}, mustTable)
	return []Attack{a}, nil
}

func (r *run) attackPairs() ([]Attack, error) {
	pairs := fmt.Sprintf("%d known pairs over all dates", r.world.pairs)
	three := Attack{ID: "3", Name: "learning from pairs", Has: pairs + "; the register of the record's date (each record by itself)", Finds: "who a record is of", Limit: share(limitPairs), Expected: ExpectHold}
	four := Attack{ID: "4 S4", Name: "a cohort's records of a date", Has: fmt.Sprintf("%s; the register of the date; which block it is (%d records of it)", pairs, r.world.size.cohort), Finds: "who a record is of", Limit: share(limitCohort), Expected: ExpectHold}
	alone, together, err := r.cohorts(r.ctx, r.profile, r.world.dates)
	if err != nil {
		return nil, err
	}
	three.figures(alone)
	four.figures(together)
	if alone, together, err = r.cohorts(r.ctx, r.control, r.world.learnt); err != nil {
		return nil, err
	}
	three.Control = newControl(controlName, alone.score, mustPairs)
	four.Control = newControl(controlName, together.score, mustCohort)
	return []Attack{three, four}, nil
}

const controlName = "CLK of the whole record"

func (r *run) attackWhole() ([]Attack, error) {
	a := Attack{ID: "4 S1", Name: "the whole of a date", Has: fmt.Sprintf("the register of the date (%d people), all of whom are encoded; which block it is", r.world.block), Finds: "who a record is of", Expected: ExpectReport}
	return r.inside(a, r.world.whole, false, 0, mustWhole)
}

func (r *run) attackHalf() ([]Attack, error) {
	a := Attack{ID: "4 S2", Name: "half of a date", Has: fmt.Sprintf("the register of the date (%d people), half of whom are encoded; which block it is", r.world.block), Finds: "who a record is of", Limit: share(limitHalf), Expected: ExpectHold}
	return r.inside(a, r.world.half, true, 0, mustHalf)
}

func (r *run) attackSeeded() ([]Attack, error) {
	a := Attack{ID: "4 S3", Name: "half of a date and pairs", Has: fmt.Sprintf("as S2, and %d known pairs of the date", seedPairs), Finds: "who a record is of", Expected: ExpectReport}
	return r.inside(a, r.world.seeded, true, seedPairs, mustSeeded)
}

func (r *run) inside(a Attack, blocks int, half bool, seeds int, must float64) ([]Attack, error) {
	found, err := r.closed(r.ctx, r.profile, blocks, half, seeds)
	if err != nil {
		return nil, err
	}
	a.figures(found)
	control, err := r.closed(r.ctx, r.control, min(blocks, r.world.controls), half, seeds)
	if err != nil {
		return nil, err
	}
	a.Control = newControl(controlName, control.score, must)
	return []Attack{a}, nil
}

func (r *run) attackFrequency() ([]Attack, error) {
	a := Attack{ID: "5", Name: "frequency alignment", Has: "encodings, and how frequent names are", Finds: "the name in a record's most telling name field", Expected: ExpectReport}
	found := aligned{}
	for f, public := range r.profile.public {
		if public.listed != listedNames {
			continue
		}
		of, err := r.frequencies(r.ctx, r.profile, f)
		if err != nil {
			return nil, err
		}
		if of.records > 0 && (found.records == 0 || of.right*found.records > found.right*of.records) {
			found = of
			a.Note = "field " + public.name
		}
	}
	a.found(found.score)
	if found.records > 0 {
		a.Floor = share(float64(found.floor) / float64(found.records))
		a.Chance = share(float64(found.usual) / float64(found.records))
		a.Note += "; chance is naming the most frequent name each time"
	}
	if !r.profile.hasNames() {
		a.Note = "no field can be looked up in a list of names"
	}
	names, err := newCLK([]byte(clkNameSchema))
	if err != nil {
		return nil, err
	}
	control, err := r.frequencies(r.ctx, names, 0)
	if err != nil {
		return nil, err
	}
	a.Control = newControl("CLK of the given name alone", control.score, mustFrequency)
	return []Attack{a}, nil
}

// clkNameSchema makes a CLK of one field, as where each field has one of its own.
const clkNameSchema = `{"version": 3, "clkConfig": {"l": 1024, "kdf": {"type": "HKDF", "hash": "SHA256", "keySize": 64}},
 "features": [{"identifier": "given_name", "format": {"type": "string", "encoding": "utf-8"},
  "hashing": {"comparison": {"type": "ngram", "n": 2}, "strategy": {"bitsPerFeature": 200}, "hash": {"type": "doubleHash"}}}]}`
