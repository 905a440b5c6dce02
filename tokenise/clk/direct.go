package clk

import "strconv"

// direct keeps the positions of the tokens that most values are made of, at
// indexes that follow from their characters: ASCII unigrams and bigrams, and
// unigrams at one of the first places. It is bounded in memory, and what does
// not fit is found in the other ways.
type direct struct {
	slots     []uint16 // by index: 1 + where the positions are; 0 is nowhere yet
	positions []uint16 // each the same number; packed, the byte above the bit in it
	packed    bool
	each      int
	used      int

	// masks are filters of tokens at places, whose number of bits is nearly always
	// the same; setting many bits one by one takes longer.
	masks     []byte
	maskBits  []uint16 // the number of bits of each; 0 is none yet
	maskBytes int
}

const (
	directASCII  = 1 << 7
	directPlaces = 1 << 5
	leastMasked  = 8 // bits, from which a mask is quicker
)

// newDirect makes the table of a feature, of about so many bytes; nil where the
// feature has other tokens.
func newDirect(f *feature, length, bytes int) *direct {
	each := f.cachedBits(length)
	if f.ignored || each == 0 || f.gram == 0 || f.gram > 2 || f.positional && f.gram > 1 {
		return nil
	}
	size := directASCII
	if f.positional {
		size *= directPlaces
	} else if f.gram == 2 {
		size *= directASCII
	}
	entry := 2 * each
	if bytes < 4*size {
		return nil
	}
	d := &direct{slots: make([]uint16, size), each: each, packed: filterBytes(length) <= 1<<8}
	if f.positional {
		d.maskBytes = filterBytes(length)
		entry += d.maskBytes
	}
	most := min(size, (bytes-2*size)/entry)
	d.positions, d.masks = make([]uint16, most*each), make([]byte, most*d.maskBytes)
	if f.positional {
		d.maskBits = make([]uint16, most)
	}
	return d
}

// slot returns where the positions of the token of an index are, or -1 where
// there is no room for them.
func (f *featureWorker) slot(index int, token []byte) int {
	d := f.direct
	if slot := int(d.slots[index]); slot > 0 {
		return slot - 1
	}
	if (d.used+1)*d.each > len(d.positions) {
		return -1
	}
	for i, position := range f.hasher.find(token, d.each) {
		if d.packed {
			position = position/8<<8 | 0x80>>(position%8)
		}
		d.positions[d.used*d.each+i] = uint16(position)
	}
	d.used++
	d.slots[index] = uint16(d.used)
	return d.used - 1
}

// addASCII adds the tokens of an ASCII text.
func (f *featureWorker) addASCII(filter, text []byte) {
	n := len(text) + f.gram - 1
	k, more := f.share(n)
	before := byte(' ')
	for i := range n {
		c := byte(' ')
		if i < len(text) {
			c = text[i]
		}
		bits := k
		if i < more {
			bits++
		}
		switch {
		case f.positional:
			f.addAtPlace(filter, i+1, c, bits)
		case f.gram == 1:
			f.addDirect(filter, int(c), bits, c, 0)
		default:
			f.addDirect(filter, int(before)<<7|int(c), bits, before, c)
			before = c
		}
	}
}

// addDirect adds the token of one or two characters.
func (f *featureWorker) addDirect(filter []byte, index, bits int, first, second byte) {
	if slot := int(f.direct.slots[index]); slot > 0 && bits <= f.direct.each {
		f.direct.set(filter, slot-1, bits)
		return
	}
	f.token = append(f.token[:0], first, second)[:f.gram]
	f.addSlot(filter, index, bits)
}

// addSlot adds the token in f.token the first time.
func (f *featureWorker) addSlot(filter []byte, index, bits int) {
	slot := -1
	if bits <= f.direct.each {
		slot = f.slot(index, f.token)
	}
	if slot < 0 {
		f.add(filter, f.token, bits)
		return
	}
	f.direct.set(filter, slot, bits)
}

// set sets the first bits of a slot.
func (d *direct) set(filter []byte, slot, bits int) {
	positions := d.positions[slot*d.each:][:bits]
	if !d.packed {
		for _, position := range positions {
			setBit(filter, uint32(position))
		}
		return
	}
	for _, position := range positions {
		filter[position>>8] |= byte(position)
	}
}

// addAtPlace adds a unigram at its place, from 1.
func (f *featureWorker) addAtPlace(filter []byte, place int, c byte, bits int) {
	d := f.direct
	index := place<<7 | int(c)
	if place < directPlaces && d.slots[index] > 0 && bits >= leastMasked && bits <= d.each {
		or(filter, d.mask(int(d.slots[index])-1, bits))
		return
	}
	f.token = strconv.AppendInt(f.token[:0], int64(place), 10)
	f.token = append(f.token, ' ', c)
	if place < directPlaces {
		f.addSlot(filter, index, bits)
	} else {
		f.add(filter, f.token, bits)
	}
}

// mask returns the filter of a slot's first bits.
func (d *direct) mask(slot, bits int) []byte {
	mask := d.masks[slot*d.maskBytes:][:d.maskBytes]
	if int(d.maskBits[slot]) != bits {
		clear(mask)
		d.set(mask, slot, bits)
		d.maskBits[slot] = uint16(bits)
	}
	return mask
}

// ascii reports whether a text has ASCII only.
func ascii(text []byte) bool {
	var all byte
	for _, c := range text {
		all |= c
	}
	return all < directASCII
}
