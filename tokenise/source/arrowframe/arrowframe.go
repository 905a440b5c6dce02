// Package arrowframe holds the messages of an Arrow stream that comes from somebody else to
// what is there, before Arrow reads them. Arrow reserves what lengths in a message say
// before it looks for the bytes, and memory that is not to be had ends the process.
package arrowframe

import (
	"encoding/binary"

	flatbuffers "github.com/google/flatbuffers/go"
)

// Kind is what a message holds: format/Message.fbs of Apache Arrow.
type Kind byte

// The kinds of a message that are let through.
const (
	Schema Kind = 1
	Record Kind = 3
)

// Where the tables of a message have their fields: format/Message.fbs and Schema.fbs.
const (
	messageKind, messageHeader, messageBodyLength, messageMetadata   = 6, 8, 10, 12
	schemaFields, schemaMetadata, schemaFeatures                     = 6, 8, 10
	fieldName, fieldType, fieldDictionary, fieldChildren, fieldExtra = 4, 10, 12, 14, 16
	pairKey, pairValue                                               = 4, 6
	recordNodes, recordBuffers, recordCompression, recordVariadic    = 6, 8, 10, 12
	timestampZone, unionTypes                                        = 6, 6 // of a type: text, or numbers of 4 bytes

	deepestField = 64
	mostRead     = 32 << 20 // bytes of all vectors together: several may share theirs
)

// Stream reports whether bytes are an Arrow stream of one schema and any number of
// records, each a message that [Whole] lets through, and its end, which may be missing.
func Stream(b []byte) bool {
	for kind := Schema; ; kind = Record {
		if kind == Record && (len(b) == 0 || len(b) == 8 && binary.LittleEndian.Uint64(b) == 0xffffffff) {
			return true
		}
		n, ok := length(b)
		if !ok || !Whole(b[:n], kind) {
			return false
		}
		b = b[n:]
	}
}

// length returns the length of the message that bytes begin with, body included.
func length(b []byte) (n int, ok bool) {
	defer func() {
		if recover() != nil {
			ok = false
		}
	}()
	if len(b) < 8 || binary.LittleEndian.Uint32(b) != 0xffffffff {
		return 0, false
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size < 8 || uint64(size) > uint64(len(b)-8) {
		return 0, false
	}
	head := b[8 : 8+size : 8+size]
	t := flatbuffers.Table{Bytes: head, Pos: flatbuffers.GetUOffsetT(head)}
	body := t.GetInt64Slot(messageBodyLength, 0)
	if body < 0 || body > int64(len(b)-8-int(size)) {
		return 0, false
	}
	return 8 + int(size) + int(body), true
}

// Whole reports whether bytes are one whole message of an Arrow stream, of a kind, with
// a body as long as it says, uncompressed, and without a vector that is longer than the
// message. Dictionaries are not let through.
func Whole(b []byte, kind Kind) (ok bool) {
	defer func() {
		if recover() != nil { // tables are read without looking at their bounds
			ok = false
		}
	}()
	if len(b) < 8 || binary.LittleEndian.Uint32(b) != 0xffffffff {
		return false
	}
	size := binary.LittleEndian.Uint32(b[4:])
	if size < 8 || uint64(size) > uint64(len(b)-8) {
		return false
	}
	head, body := b[8:8+size:8+size], b[8+size:]
	t := flatbuffers.Table{Bytes: head, Pos: flatbuffers.GetUOffsetT(head)}
	if t.GetByteSlot(messageKind, 0) != byte(kind) || t.GetInt64Slot(messageBodyLength, 0) != int64(len(body)) {
		return false
	}
	c := &lengths{}
	c.pairs(&t, messageMetadata)
	header, there := child(&t, messageHeader)
	switch {
	case !there:
		return false
	case kind == Schema:
		c.each(&header, schemaFields, func(field *flatbuffers.Table) { c.field(field, 0) })
		c.pairs(&header, schemaMetadata)
		c.vector(&header, schemaFeatures, 8)
	case header.Offset(recordCompression) != 0: // lengths of what is compressed would be believed
		return false
	default:
		c.vector(&header, recordNodes, 16)
		c.vector(&header, recordBuffers, 16)
		c.vector(&header, recordVariadic, 8)
	}
	return !c.wrong
}

// child returns the table that a field of another is.
func child(t *flatbuffers.Table, slot flatbuffers.VOffsetT) (of flatbuffers.Table, there bool) {
	at := t.Offset(slot)
	if at == 0 {
		return of, false
	}
	t.Union(&of, flatbuffers.UOffsetT(at))
	return of, true
}

// lengths walks the vectors of a message.
type lengths struct {
	wrong bool
	read  uint64
}

// vector holds the length of a vector, of elements of so many bytes, to the message, and
// returns where its elements begin, and their number.
func (c *lengths) vector(t *flatbuffers.Table, slot flatbuffers.VOffsetT, element uint64) (start flatbuffers.UOffsetT, n int) {
	at := flatbuffers.UOffsetT(t.Offset(slot))
	if at == 0 || c.wrong {
		return 0, 0
	}
	at += t.Pos
	at += flatbuffers.GetUOffsetT(t.Bytes[at:])
	count := uint64(binary.LittleEndian.Uint32(t.Bytes[at:]))
	c.read += count*element + 16
	if uint64(at)+4+count*element > uint64(len(t.Bytes)) || c.read > mostRead {
		c.wrong = true
		return 0, 0
	}
	return at + 4, int(count)
}

// each calls f for every table of a vector of tables.
func (c *lengths) each(t *flatbuffers.Table, slot flatbuffers.VOffsetT, f func(*flatbuffers.Table)) {
	start, n := c.vector(t, slot, 4)
	for i := 0; i < n && !c.wrong; i++ {
		at := start + flatbuffers.UOffsetT(4*i)
		f(&flatbuffers.Table{Bytes: t.Bytes, Pos: at + flatbuffers.GetUOffsetT(t.Bytes[at:])})
	}
}

// pairs walks names and values.
func (c *lengths) pairs(t *flatbuffers.Table, slot flatbuffers.VOffsetT) {
	c.each(t, slot, func(pair *flatbuffers.Table) {
		c.vector(pair, pairKey, 1)
		c.vector(pair, pairValue, 1)
	})
}

// Types whose tables have a vector.
const (
	typeTimestamp = 10
	typeUnion     = 14
)

// field walks a field and those below it. Those of categories are refused.
func (c *lengths) field(t *flatbuffers.Table, depth int) {
	if depth > deepestField || t.Offset(fieldDictionary) != 0 {
		c.wrong = true
		return
	}
	c.vector(t, fieldName, 1)
	c.pairs(t, fieldExtra)
	if of, there := child(t, fieldType); there {
		switch t.GetByteSlot(fieldType-2, 0) {
		case typeTimestamp:
			c.vector(&of, timestampZone, 1)
		case typeUnion:
			c.vector(&of, unionTypes, 4)
		}
	}
	c.each(t, fieldChildren, func(below *flatbuffers.Table) { c.field(below, depth+1) })
}
