// Package online is the pipeline for rows that are answered at once: each row that
// comes in goes out in the same order, as token and encodings or with the reason why
// not, and nothing of it is kept. A record gets the values that tokeniser run gives it.
package online

import (
	"context"
	"encoding/base64"
	"slices"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
	"tarn/tokenise"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/reason"
)

// Field is the place of a canonical field in a [Row].
type Field int

// Fields are the canonical fields, in the order of their places. UniqueID is the first.
var Fields = [...]string{
	encode.FieldUniqueID, encode.FieldNHSNumber, encode.FieldGivenName, encode.FieldOtherGivenNames, encode.FieldFamilyName,
	encode.FieldPreviousFamilyName, encode.FieldDateOfBirth, encode.FieldSex, encode.FieldPostcode, encode.FieldGPPracticeCode,
}

// Places of fields that are looked at by name.
const (
	UniqueID Field = iota
	NHSNumber
)

// FieldOf returns the place of a field, and false where there is none of this name.
func FieldOf[T string | []byte](name T) (Field, bool) {
	for i, field := range Fields {
		if string(name) == field {
			return Field(i), true
		}
	}
	return 0, false
}

// Row is one row of a request. Its texts may share memory with the request, and are not
// kept beyond it.
type Row struct {
	// ID is the caller's own reference, echoed as it came.
	ID string
	// Values are the fields' texts without white space around them, empty where there
	// is none; that of UniqueID is not used.
	Values [len(Fields)]string
	// Problem says that the row could not be read.
	Problem reason.Code
}

// Asked says what a request asks for.
type Asked struct{ Tokens, Encodings bool }

// maxID is the longest row reference, in bytes, as in a batch: a longer one is a column
// that was split wrongly.
const maxID = 1024

// Engine answers rows of one project under one set of keys. It is safe for concurrent
// use; the work is done by Workers.
type Engine struct {
	project *keys.Project
	profile *encode.Profile
	encoder *encode.Encoder
	tokens  *tokenise.TokenKeys
	layout  cohort.Layout
	test    bool
	text    keys.TokenWriter
	context Context
	token   int // bytes of an answer's token, and of its encodings, as text
	encoded int
}

// Context is what all rows of an answer have in common.
type Context struct {
	Project       string
	Domain        string
	Scheme        string
	Profile       string
	ProfileDigest string
	TokenEpoch    uint32
	EncodingEpoch uint32
	TokenKCV      string
	EncodingKCV   string
}

// Options are what an engine is made of.
type Options struct {
	Project *keys.Project
	Keys    *keys.KeyFile // without row keys; zeros once the lease is ended, and then of no use
	Profile *encode.Profile
	// CachedDates bounds the dates of birth whose keys and tables are kept, some 12 KiB
	// each under the default profile; 0 is a century's.
	CachedDates int
}

// NewEngine returns the engine of a project. Keys other than those that its record pins
// are refused with kind [fault.Disagreement].
func NewEngine(o Options) (*Engine, error) {
	p := o.Project
	e := &Engine{project: p, profile: o.Profile, layout: o.Profile.Layout(), test: o.Keys.Test}
	var err error
	if e.tokens, err = tokenise.NewTokenKeys(p, o.Keys); err != nil {
		return nil, err
	}
	if e.encoder, err = encode.NewCachedEncoder(o.Profile, o.Keys.EncodingKey, p.Name, p.Keys.EncodingEpoch, o.CachedDates); err != nil {
		return nil, fault.Wrap(fault.Internal, "setting up the encoder of project "+p.Name, err, "")
	}
	kcv, err := e.encoder.KeyCheckValue()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "computing the key check value of project "+p.Name, err, "")
	}
	if pinned := p.Keys.EncodingKCV; pinned != nil && *pinned != kcv {
		return nil, fault.New(fault.Disagreement, "comparing the keys of project "+p.Name+" with its record",
			"the key check value of the encoding key is "+kcv+" here and "+*pinned+" in the record", "use the keys and the profile that the project was made with")
	}
	scheme, err := keys.SchemeNo(p.Scheme, e.tokens.Release())
	if err != nil {
		return nil, err
	}
	e.text = keys.NewTokenWriter(scheme, p.Keys.DomainNo, uint16(p.Keys.TokenEpoch))
	e.context = Context{
		Project: p.Name, Domain: p.Domain, Scheme: p.Scheme, Profile: o.Profile.Name, ProfileDigest: o.Profile.DigestText(),
		TokenEpoch: p.Keys.TokenEpoch, EncodingEpoch: p.Keys.EncodingEpoch, TokenKCV: e.tokens.KCV(), EncodingKCV: kcv,
	}
	e.token, e.encoded = overhead+len(e.AppendToken(nil, new([keys.TokenSize]byte))), 0
	for _, f := range e.layout.Filters {
		e.encoded += overhead + len(f.Name) + base64.StdEncoding.EncodedLen(f.Bytes)
	}
	for _, name := range slices.Concat(e.layout.Blocks, e.layout.Tags) {
		e.encoded += overhead + len(name) + len("-9223372036854775808")
	}
	return e, nil
}

// overhead is what a member has beside its name and value, in bytes.
const overhead = 8

// AnswerSize returns how many bytes the answer of a row takes as text, about: its reference
// not counted.
func (e *Engine) AnswerSize(asked Asked) int {
	const status = 128 // with a warning
	size := status
	if asked.Tokens {
		size += e.token
	}
	if asked.Encodings {
		size += e.encoded
	}
	return size
}

// Context returns what all answers have in common.
func (e *Engine) Context() *Context { return &e.context }

// Layout returns the columns of encodings.
func (e *Engine) Layout() cohort.Layout { return e.layout }

// Project returns the record that the engine goes by.
func (e *Engine) Project() *keys.Project { return e.project }

// Evaluated reports whether the key holder makes the tokens.
func (e *Engine) Evaluated() bool { return keys.Evaluated(e.project.Scheme) }

// AppendToken appends the text form of a token, specification (f).
func (e *Engine) AppendToken(to []byte, value *[keys.TokenSize]byte) []byte {
	return e.text.Append(to, value)
}

// Warm makes the tables of the dates from newest back, as many as are kept, until the
// context ends: rows that come before are answered as well, more slowly.
func (e *Engine) Warm(ctx context.Context, newest demographics.Date) error {
	return e.encoder.Warm(ctx, newest)
}

// Answer is what became of a row. Its slices are used again for the next one.
type Answer struct {
	Refused  bool
	HasToken bool
	Token    [keys.TokenSize]byte
	Number   nhsnumber.Number // of whom the token is; zero where it has none
	Encoded  encode.Encoded   // of rows that are not refused
	// Errors are why the row is refused, one or none; Warnings the fields that were not
	// used. A refused row's warnings say why nothing in it can be linked.
	Errors, Warnings []reason.Problem
	Canary           bool // it has an NHS number of the test range
}

// Worker answers rows one after another, without allocating once its memory has grown.
// It is not for concurrent use.
type Worker struct {
	engine     *Engine
	tokens     *tokenise.Tokens
	encoder    *encode.Worker
	normaliser *encode.Normaliser
	today      demographics.Date
	record     encode.Record
	row        *Row
	answer     *Answer
	raw        func(field string) string
	report     func(field string, code reason.Code)
}

// NewWorker returns a worker with memory of its own.
func (e *Engine) NewWorker() *Worker {
	w := &Worker{engine: e, tokens: e.tokens.NewTokens(), encoder: e.encoder.NewWorker()}
	w.raw, w.report = w.field, w.warn
	return w
}

// Judge sets the day on which dates of birth are judged.
func (w *Worker) Judge(today demographics.Date) {
	if w.normaliser == nil || w.today != today {
		w.normaliser, w.today = w.engine.profile.NewNormaliser(today), today
	}
}

func (w *Worker) field(name string) string {
	at, ok := FieldOf(name)
	if !ok {
		return ""
	}
	return w.row.Values[at]
}

func (w *Worker) warn(field string, code reason.Code) {
	w.answer.Warnings = append(w.answer.Warnings, reason.Problem{Field: field, Code: code})
}

// Number returns the NHS number of a row that is to be evaluated, and false where the
// row gets no token.
func (w *Worker) Number(row *Row) (nhsnumber.Number, bool) {
	if refusal(row) != nil {
		return nhsnumber.Number{}, false
	}
	number, state, _ := nhsnumber.Parse(row.Values[NHSNumber])
	return number, state.Identifies(w.engine.test)
}

// Reasons why a row is refused before it is looked at.
var (
	idEmpty   = []reason.Problem{{Field: encode.FieldUniqueID, Code: reason.UniqueIDEmpty}}
	malformed = []reason.Problem{{Code: reason.RowMalformed}}
	encoding  = []reason.Problem{{Code: reason.RowEncoding}}
	tooLong   = []reason.Problem{{Code: reason.RowTooLong}}
	nothing   = []reason.Problem{{Code: reason.RowNothingLinkable}}
)

// refusal returns why a row cannot be looked at, or nil.
func refusal(row *Row) []reason.Problem {
	switch {
	case row.Problem == reason.RowEncoding:
		return encoding
	case row.Problem == reason.RowTooLong:
		return tooLong
	case row.Problem != "", len(row.ID) > maxID:
		return malformed
	case row.ID == "":
		return idEmpty
	}
	return nil
}

// Answer answers a row. evaluated is its token where the key holder makes tokens and
// [Worker.Number] gave a number; else nil. What was not asked for is not looked at: a row
// is refused when nothing that was asked for can be made of it.
func (w *Worker) Answer(row *Row, asked Asked, evaluated *[keys.TokenSize]byte, a *Answer) error {
	a.Refused, a.HasToken, a.Canary, a.Number = false, false, false, nhsnumber.Number{}
	a.Warnings, a.Errors = a.Warnings[:0], nil
	if a.Errors = refusal(row); a.Errors != nil {
		a.Refused = true
		return nil
	}
	w.row, w.answer = row, a
	number, state, problem := nhsnumber.Parse(row.Values[NHSNumber])
	a.Canary = state == nhsnumber.Test
	if problem != nhsnumber.None {
		w.warn(encode.FieldNHSNumber, reason.Code(problem.String()))
	}
	if asked.Tokens && state.Identifies(w.engine.test) {
		a.HasToken, a.Number = true, number
		switch {
		case evaluated != nil:
			a.Token = w.tokens.Released(*evaluated)
		case w.engine.Evaluated():
			return fault.New(fault.Internal, "answering a row", "its token was not evaluated", "")
		default:
			a.Token = w.tokens.Of(number)
		}
	}
	comparable := false
	if asked.Encodings {
		w.normaliser.Normalise(w.raw, &w.record, w.report)
		comparable = w.engine.profile.Comparable(&w.record)
	}
	if !a.HasToken && !comparable {
		a.Refused, a.Errors = true, nothing
		return nil
	}
	if asked.Encodings {
		return w.encoder.Encode(&w.record, &a.Encoded)
	}
	return nil
}

// keptWords is how many words of names a worker remembers, which waits for the next request:
// some 300 KiB.
const keptWords = 1 << 12

// Clear forgets the last row, and the words of names where they have become many.
func (w *Worker) Clear() {
	w.row, w.answer = nil, nil
	if w.normaliser != nil {
		w.normaliser.Forget(keptWords)
	}
	clear(w.record.Values[:cap(w.record.Values)])
}

// LooksLikeNumbers reports whether the row references of a request are NHS numbers:
// an answer of that kind would list whose token is whose.
func LooksLikeNumbers(rows []Row, d interface {
	Add(string)
	LooksLikeNHSNumbers() bool
}) bool {
	for i := range rows {
		d.Add(rows[i].ID)
	}
	return d.LooksLikeNHSNumbers()
}
