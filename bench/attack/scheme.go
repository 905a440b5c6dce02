package attack

import (
	"context"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"tarn/bench/synth"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise/clk"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/reason"
)

// project is the name under which records are encoded. It is public, as every
// project's is.
const project = "attack"

// today is the day on which dates of birth are judged.
var today = demographics.Date{Year: 2026, Month: 1, Day: 1}

// scheme is a way of encoding, as far as it is public: what an attacker may know
// of it, and do with keys of his own.
type scheme interface {
	// fields are what a record is encoded to, each on its own.
	fields() []field
	// byDate reports whether each date of birth has keys of its own.
	byDate() bool
	// read normalises a person.
	read(p *synth.Person) individual
	// encode encodes people under a key, in their order. It is the product's own
	// encoder.
	encode(ctx context.Context, key [secret.Size]byte, people []individual) (*encodings, error)
}

// field is one of the things that a record is encoded to.
type field struct {
	name   string
	bits   int    // of a filter; 0 for a tag
	inputs int    // t: how many bits of the filter an output bit is the sum of; 0 without diffusion
	listed string // of what its values can be looked up in a list: names, dates, sexes; empty where not
}

// individual is a normalised person.
type individual struct {
	born   demographics.Date
	record encode.Record // of a profile
	row    []string      // of a CLK
	values []string      // of each field: equal where the encodings are; empty is missing
}

// encodings are records as the linker sees them, without ids and tokens: those
// are random for everybody but the key holder.
type encodings struct {
	n       int
	columns []column // as the scheme's fields
	blocks  []int64  // block tag of each record; nil where the scheme has none
}

// column is a field of all records: width bytes each.
type column struct {
	width   int
	data    []byte
	missing []bool
}

func (c *column) at(i int) []byte { return c.data[i*c.width:][:c.width] }

func newEncodings(fields []field, n int) *encodings {
	e := &encodings{n: n, columns: make([]column, len(fields))}
	for i, f := range fields {
		width := f.bits / 8
		if f.bits == 0 {
			width = tagBytes
		}
		e.columns[i] = column{width: width, data: make([]byte, n*width), missing: make([]bool, n)}
	}
	return e
}

const tagBytes = 8

// profileScheme is an encoding profile.
type profileScheme struct {
	profile *encode.Profile
	public  []field
	// spread, if not nil, does with a filter what the profile leaves out: see
	// oneTable.
	spread func(key [secret.Size]byte, field int) (func(filter []byte), error)
}

// inputsOfPeople are the fields that synthetic people have.
var inputsOfPeople = []string{encode.FieldGivenName, encode.FieldOtherGivenNames, encode.FieldFamilyName, encode.FieldDateOfBirth, encode.FieldSex, encode.FieldPostcode}

func newProfileScheme(p *encode.Profile) *profileScheme {
	s := &profileScheme{profile: p}
	for _, f := range p.Encoding.Fields {
		public := field{name: f.Name, bits: f.Bits}
		if !f.Tag() {
			public.inputs = p.Encoding.Diffusion
		}
		switch f.Normalise {
		case encode.NormaliseName, encode.NormaliseFormal:
			public.listed = listedNames
		case encode.NormaliseDate:
			public.listed = listedDates
		case encode.NormaliseSex:
			public.listed = listedSexes
		}
		s.public = append(s.public, public)
	}
	return s
}

// What the values of a field can be looked up in a list of.
const (
	listedNames = "names"
	listedDates = "dates"
	listedSexes = "sexes"
)

// notAttacked returns the fields that synthetic people have no value for.
func (s *profileScheme) notAttacked() (names []string) {
	for _, f := range s.profile.Encoding.Fields {
		if !slices.ContainsFunc(f.Inputs, func(in string) bool { return slices.Contains(inputsOfPeople, in) }) {
			names = append(names, f.Name)
		}
	}
	return names
}

func (s *profileScheme) fields() []field { return s.public }

func (s *profileScheme) byDate() bool {
	return s.profile.Encoding.RecordKey == encode.KeyedByDateOfBirth
}

// raw returns the text of an input field of a person.
func raw(p *synth.Person, input string) string {
	switch input {
	case encode.FieldGivenName:
		return p.Given
	case encode.FieldOtherGivenNames:
		return p.Middle
	case encode.FieldFamilyName:
		return p.Family
	case encode.FieldDateOfBirth:
		return p.Birth.Format(time.DateOnly)
	case encode.FieldSex:
		if p.Female {
			return "F"
		}
		return "M"
	case encode.FieldPostcode:
		return p.Postcode
	}
	return ""
}

func (s *profileScheme) read(p *synth.Person) (x individual) {
	s.profile.NewNormaliser(today).Normalise(func(input string) string { return raw(p, input) }, &x.record, func(string, reason.Code) {})
	x.born = x.record.DateOfBirth
	for i := range x.record.Values {
		x.values = append(x.values, textOf(&x.record.Values[i]))
	}
	return x
}

// textOf is the text of a value, equal where values are.
func textOf(v *encode.Value) string {
	if !v.Date.IsZero() {
		return v.Date.String()
	}
	return strings.Join(v.Parts, " ")
}

func (s *profileScheme) encode(ctx context.Context, key [secret.Size]byte, people []individual) (*encodings, error) {
	encoder, err := encode.NewEncoder(s.profile, secret.New(key), project, 1)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
	}
	e := newEncodings(s.public, len(people))
	if len(s.profile.Encoding.Blocks) > 0 {
		e.blocks = make([]int64, len(people))
	}
	spreads := make([]func([]byte), len(s.public))
	for i := range s.public {
		if s.spread != nil && s.public[i].bits > 0 {
			if spreads[i], err = s.spread(key, i); err != nil {
				return nil, err
			}
		}
	}
	return e, inParallel(ctx, len(people), func(from, to int) error {
		worker := encoder.NewWorker()
		var out encode.Encoded
		for i := from; i < to; i++ {
			if err := worker.Encode(&people[i].record, &out); err != nil {
				return err
			}
			if e.blocks != nil {
				e.blocks[i] = out.Blocks[0].Value
			}
			filter, tag := 0, 0
			for f := range s.public {
				c := &e.columns[f]
				if s.public[f].bits == 0 {
					binary.BigEndian.PutUint64(c.at(i), uint64(out.Tags[tag].Value))
					c.missing[i] = !out.Tags[tag].Present
					tag++
					continue
				}
				c.missing[i] = out.Filters[filter] == nil
				copy(c.at(i), out.Filters[filter])
				if spreads[f] != nil && !c.missing[i] {
					spreads[f](c.at(i))
				}
				filter++
			}
			if i%1024 == 0 && ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
}

//go:embed clk.schema.json
var clkSchema []byte

// clkScheme is the negative control: one CLK a record, as clkhash makes it from a
// schema, without anything that differs from record to record.
type clkScheme struct {
	schema *clk.Schema
	inputs []string
	public []field
}

// newCLK returns the control of a schema whose identifiers are input fields.
func newCLK(document []byte) (*clkScheme, error) {
	schema, err := clk.Parse(document)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "reading the control's linkage schema", err, "")
	}
	return &clkScheme{schema: schema, inputs: schema.Identifiers(), public: []field{{name: "clk", bits: schema.Bits()}}}, nil
}

func (s *clkScheme) fields() []field { return s.public }
func (s *clkScheme) byDate() bool    { return false }

func (s *clkScheme) read(p *synth.Person) (x individual) {
	x.born = demographics.Date{Year: p.Birth.Year(), Month: int(p.Birth.Month()), Day: p.Birth.Day()}
	for _, input := range s.inputs {
		x.row = append(x.row, strings.ToLower(raw(p, input)))
	}
	x.values = []string{strings.Join(x.row, "\x00")}
	return x
}

func (s *clkScheme) encode(ctx context.Context, key [secret.Size]byte, people []individual) (*encodings, error) {
	password, err := clk.NewSecret([]byte(hex.EncodeToString(key[:])))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "making the control's secret", err, "")
	}
	encoder, err := clk.NewEncoder(s.schema, password)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "setting up the control's encoder", err, "")
	}
	e := newEncodings(s.public, len(people))
	return e, inParallel(ctx, len(people), func(from, to int) error {
		worker := encoder.NewWorker(clkCache)
		for i := from; i < to; i++ {
			filter, problems := worker.Encode(people[i].row)
			if len(problems) > 0 {
				return fault.New(fault.Internal, "encoding a synthetic person as CLK", "it is refused", "")
			}
			copy(e.columns[0].at(i), filter)
		}
		return ctx.Err()
	})
}

// clkCache bounds the caches of a worker, which lives for one call only.
const clkCache = 4 << 20

// tokens returns what a filter of a field is made of, as docs/encoding.md and
// clkhash's documentation have it. An attacker writes this himself.
func (s *profileScheme) tokens(x *individual, f int) (tokens []string) {
	v := &x.record.Values[f]
	switch s.profile.Encoding.Fields[f].Tokens {
	case encode.TokensBigrams:
		for _, part := range v.Parts {
			tokens = appendBigrams(tokens, "", "_"+part+"_")
		}
	case encode.TokensWords:
		tokens = append(tokens, v.Parts...)
	case encode.TokensPostcode:
		if len(v.Parts) == 1 {
			outward, inward, _ := strings.Cut(v.Parts[0], " ")
			tokens = append(tokens, "o"+outward)
			tokens = appendPositions(tokens, "a", outward)
			tokens = appendPositions(tokens, "b", inward)
		}
	case encode.TokensPositional:
		if len(v.Parts) == 1 {
			tokens = appendPositions(append(tokens, "w"+v.Parts[0]), "c", v.Parts[0])
		}
	case encode.TokensDate:
		if d := v.Date; !d.IsZero() {
			tokens = append(tokens, "d"+strconv.Itoa(d.Day), "m"+strconv.Itoa(d.Month), "y"+strconv.Itoa(d.Year), "e"+strconv.Itoa(d.Year/10), "l"+strconv.Itoa(d.Year%10))
		}
	}
	slices.Sort(tokens)
	return slices.Compact(tokens)
}

// tokens of a CLK are those of all its columns.
func (s *clkScheme) tokens(x *individual, _ int) (tokens []string) {
	for i, text := range x.row {
		column := strconv.Itoa(i) + "/"
		switch s.inputs[i] {
		case encode.FieldGivenName, encode.FieldFamilyName:
			tokens = appendBigrams(tokens, column, " "+text+" ")
		default:
			tokens = appendPositions(tokens, column, text)
		}
	}
	slices.Sort(tokens)
	return slices.Compact(tokens)
}

func appendBigrams(tokens []string, prefix, text string) []string {
	for i := 0; i+1 < len(text); i++ {
		tokens = append(tokens, prefix+text[i:i+2])
	}
	return tokens
}

func appendPositions(tokens []string, prefix, text string) []string {
	for i := range len(text) {
		tokens = append(tokens, prefix+strconv.Itoa(i)+text[i:i+1])
	}
	return tokens
}

// tokenised is a scheme whose tokens are known.
type tokenised interface {
	scheme
	tokens(x *individual, field int) []string
}

// inParallel divides 0..n among the cores. What is done for a number must not
// depend on how they are divided.
func inParallel(ctx context.Context, n int, do func(from, to int) error) error {
	threads := max(min(runtime.GOMAXPROCS(0), n), 1)
	group, ctx := errgroup.WithContext(ctx)
	for i := range threads {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return do(n*i/threads, n*(i+1)/threads)
		})
	}
	return group.Wait()
}
