// Package table keeps the table of who has to do with whom, as immutable sorted files, one
// for each scheme, domain and token epoch, which are replaced together and at once.
//
// Looking up holds an index of bounded size in memory and reads a block or two. Every byte
// that an answer rests on is under a digest: of a block in the index, of the index in the
// file's trailer, of the trailer in the document that names the files, and of that
// document in itself. A byte that has changed, or is gone, is ErrDamaged and never an
// answer. (A whole older folder in place of a newer one is not found out.)
package table

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"
	_ "time/tzdata" // days are London's, on machines without zone files, too

	"tarn/keys"
)

// Key says whose tokens a table has: those of a scheme's number, a domain and an epoch of
// its key.
type Key struct {
	Scheme     uint8
	DomainNo   uint32
	TokenEpoch uint16
}

// KeyOf returns whose table a token is in.
func KeyOf(t *keys.Token) Key {
	return Key{Scheme: t.Scheme, DomainNo: t.DomainNo, TokenEpoch: t.TokenEpoch}
}

const keySize = 1 + 4 + 2

func (k Key) append(b []byte) []byte {
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint32(append(b, k.Scheme), k.DomainNo), k.TokenEpoch)
}

func keyFrom(b []byte) Key {
	return Key{Scheme: b[0], DomainNo: binary.BigEndian.Uint32(b[1:]), TokenEpoch: binary.BigEndian.Uint16(b[5:])}
}

// Kind is what an organisation has to do with a patient.
type Kind uint8

// The kinds.
const (
	Registered Kind = 0 // it is the practice that the patient is registered with
	Other      Kind = 1
)

// Day is a calendar day, counted from 1 January of the year 1 on, which is day 0.
type Day uint32

// NoEnd is the last day of what has no end.
const NoEnd Day = 1<<32 - 1

// maxDay is 31 December 9999.
const maxDay Day = 3652058

// daysBefore1970 from the year 1 on.
const daysBefore1970 = 719162

const dayLayout = "2006-01-02"

// ErrDay says that a text is no day.
var ErrDay = errors.New("not a day: write it as 2006-01-02")

// ParseDay reads 2006-01-02.
func ParseDay(text string) (Day, error) {
	t, err := time.Parse(dayLayout, text)
	if err != nil || t.Year() < 1 {
		return 0, ErrDay
	}
	return civil(t), nil
}

// civil returns the day that a time's own clock shows.
func civil(t time.Time) Day {
	year, month, day := t.Date()
	return Day(time.Date(year, month, day, 0, 0, 0, 0, time.UTC).Unix()/(24*60*60) + daysBefore1970)
}

// london is the time zone of days, summer time and all.
var london = func() *time.Location {
	zone, err := time.LoadLocation("Europe/London")
	if err != nil {
		panic("table: the zones that are in this program cannot be read")
	}
	return zone
}()

// DayOf returns the day in Europe/London.
func DayOf(t time.Time) Day { return civil(t.In(london)) }

// OrganisationSize is the longest ODS code, in bytes.
const OrganisationSize = 10

// Row is one relationship.
type Row struct {
	Token        [keys.TokenSize]byte
	Kind         Kind
	Organisation [OrganisationSize]byte // ODS code, then zeros
	From, To     Day                    // both inclusive; To may be NoEnd
}

// Organisation returns an ODS code of at most OrganisationSize bytes as rows have it.
func Organisation(code string) (o [OrganisationSize]byte) {
	copy(o[:], code)
	return o
}

// On reports whether the relationship holds on a day.
func (r *Row) On(day Day) bool { return r.From <= day && day <= r.To }

const (
	tokenKindSize = keys.TokenSize + 1
	prefixSize    = tokenKindSize + OrganisationSize // what is looked up
	rowSize       = prefixSize + 4 + 4
)

// append appends a row as files hold it: numbers are big-endian, so that the order of bytes
// is that of token, kind, organisation and days.
func (r *Row) append(b []byte) []byte {
	b = appendPrefix(b, &r.Token, r.Kind, &r.Organisation)
	return binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(b, uint32(r.From)), uint32(r.To))
}

func appendPrefix(b []byte, token *[keys.TokenSize]byte, kind Kind, organisation *[OrganisationSize]byte) []byte {
	return append(append(append(b, token[:]...), byte(kind)), organisation[:]...)
}

// rowFrom reads a row of rowSize bytes.
func rowFrom(b []byte) (r Row) {
	r.Token, r.Kind = [keys.TokenSize]byte(b), Kind(b[keys.TokenSize])
	r.Organisation = [OrganisationSize]byte(b[tokenKindSize:])
	r.From, r.To = Day(binary.BigEndian.Uint32(b[prefixSize:])), Day(binary.BigEndian.Uint32(b[prefixSize+4:]))
	return r
}

// Code returns the organisation's ODS code.
func (r *Row) Code() string { return string(bytes.TrimRight(r.Organisation[:], "\x00")) }

// RecordSize is the length in bytes of a row with its table's key before it.
const RecordSize = keySize + rowSize

// Record is a row with its table's key: in the order of bytes, rows of one table follow one
// another.
type Record [RecordSize]byte

// RecordOf packs a row.
func RecordOf(k Key, r *Row) (record Record) {
	r.append(k.append(record[:0]))
	return record
}

// Split returns what a record was made of.
func (r *Record) Split() (Key, Row) { return keyFrom(r[:]), rowFrom(r[keySize:]) }
