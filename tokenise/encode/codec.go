package encode

import (
	"encoding/binary"

	"tarn/tokenise/demographics"
)

// Comparable reports whether a record's encoding has anything by which a person
// can be told from another: a filter, or, in a profile without filters, a tag.
func (p *Profile) Comparable(record *Record) bool {
	if p.Encoding.RecordKey == KeyedByDateOfBirth && record.DateOfBirth.IsZero() {
		return false
	}
	filters, anyFilter, anyTag := false, false, false
	for i := range p.Encoding.Fields {
		present := !record.Values[i].Missing()
		if p.Encoding.Fields[i].Tag() {
			anyTag = anyTag || present
		} else {
			filters, anyFilter = true, anyFilter || present
		}
	}
	return anyFilter || !filters && anyTag
}

// Append appends a record to dst in a form that Read reads: records wait in
// memory like this until those of one date are encoded together.
func (r *Record) Append(dst []byte) []byte {
	dst = appendDate(dst, r.DateOfBirth)
	for i := range r.Values {
		v := &r.Values[i]
		dst = appendDate(dst, v.Date)
		dst = binary.AppendUvarint(dst, uint64(len(v.Parts)))
		for _, part := range v.Parts {
			dst = append(binary.AppendUvarint(dst, uint64(len(part))), part...)
		}
	}
	return dst
}

// Read fills a record of so many fields from what Append made, whose bytes it
// shares.
func (r *Record) Read(text string, fields int) {
	for len(r.Values) < fields {
		r.Values = append(r.Values, Value{})
	}
	r.Values = r.Values[:fields]
	r.DateOfBirth, text = takeDate(text)
	for i := range r.Values {
		v := &r.Values[i]
		v.Date, text = takeDate(text)
		var parts, length int
		parts, text = takeNumber(text)
		v.Parts = v.Parts[:0]
		for range parts {
			length, text = takeNumber(text)
			v.Parts = append(v.Parts, text[:length])
			text = text[length:]
		}
	}
}

func appendDate(dst []byte, d demographics.Date) []byte {
	return binary.BigEndian.AppendUint32(dst, d.Ordinal())
}

func takeDate(text string) (demographics.Date, string) {
	n := uint32(text[0])<<24 | uint32(text[1])<<16 | uint32(text[2])<<8 | uint32(text[3])
	return demographics.DateOfOrdinal(n), text[4:]
}

// takeNumber reads a uvarint.
func takeNumber(text string) (int, string) {
	n := 0
	for i := 0; ; i++ {
		b := text[i]
		n |= int(b&0x7f) << (7 * i)
		if b < 0x80 {
			return n, text[i+1:]
		}
	}
}
