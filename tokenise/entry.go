package tokenise

import (
	"encoding/binary"

	"tarn/tokenise/reason"
)

// An entry is what is kept of every row that has an id, in an order of its own:
// by unique_id, then by row. From them come the duplicates, the crosswalk, the
// groups and the digest of the rows.
//
//	0..15  unique_id
//	16..23 number of the input row
//	24..32 the first nine bytes of the packed row
//	33     1 if the row was refused for what is in it, its id taken all the same
//	34     the source id, then each group's value: uvarint length, bytes
const (
	entryID      = 0
	entryNumber  = entryID + 16
	entryBlock   = entryNumber + 8
	entryRefused = entryBlock + 9
	entryRest    = entryRefused + 1
)

// appendEntry appends the entry of the row whose place and texts are given.
func appendEntry(dst, place []byte, refused bool, texts string) []byte {
	dst = append(dst, place[packedID:packedPlace]...)
	dst = append(dst, place[packedBlock:packedID]...)
	dst = append(dst, 0)
	if refused {
		dst[len(dst)-1] = 1
	}
	return append(dst, texts...)
}

// appendPlace appends the place in the cohort of an entry's row.
func appendPlace(dst, entry []byte) []byte {
	dst = append(dst, entry[entryBlock:entryRefused]...)
	return append(dst, entry[entryID:entryBlock]...)
}

func appendText(dst []byte, text string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(text))), text...)
}

// takeText returns the next text, whose bytes b shares, and what is left.
func takeText(b []byte) (text, rest []byte) {
	n, size := binary.Uvarint(b)
	if size <= 0 || n > uint64(len(b)-size) {
		return nil, nil // the chunk's checksum has held, so this cannot be
	}
	return b[size : size+int(n)], b[size+int(n):]
}

// An event is a reason at a row: why it was refused, or why one of its fields
// was not used. Events are kept in the order of the input.
//
//	0..7   number of the input row
//	8      1 if the row was refused
//	9      1 if the row has an id, then 16 bytes of it
//	26     the field and the code: uvarint length, bytes
const (
	eventNumber  = 0
	eventRefused = eventNumber + 8
	eventHasID   = eventRefused + 1
	eventID      = eventHasID + 1
	eventRest    = eventID + 16
)

type event struct {
	number  int64
	refused bool
	hasID   bool
	id      [16]byte
	problem reason.Problem
}

func appendEvent(dst []byte, e *event) []byte {
	dst = binary.BigEndian.AppendUint64(dst, uint64(e.number))
	for _, flag := range []bool{e.refused, e.hasID} {
		if flag {
			dst = append(dst, 1)
		} else {
			dst = append(dst, 0)
		}
	}
	dst = append(dst, e.id[:]...)
	return appendText(appendText(dst, e.problem.Field), string(e.problem.Code))
}

func (e *event) read(b []byte) {
	e.number = int64(binary.BigEndian.Uint64(b[eventNumber:]))
	e.refused, e.hasID = b[eventRefused] == 1, b[eventHasID] == 1
	copy(e.id[:], b[eventID:])
	field, rest := takeText(b[eventRest:])
	code, _ := takeText(rest)
	e.problem = reason.Problem{Field: string(field), Code: reason.Code(code)}
}
