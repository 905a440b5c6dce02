package clk

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"
)

// cache keeps a value of fixed size for each of the keys that were asked for
// often or lately, in a fixed amount of memory and without allocating. A key is
// the number of a feature and bytes. It is not for concurrent use.
//
// It is a table of sets of four entries. A new entry takes the place of one that
// was not asked for again, so that what comes once does not push out what comes
// often.
type cache struct {
	// memory holds the sets, setBytes each: a line with the entries' tags, 4 bytes
	// each, and which were asked for again; then the entries, stride bytes each:
	// the length of the key's bytes, a code, the feature in 2 bytes, the key's
	// bytes, the value. All of a set lies together because most of the time goes
	// by waiting for memory.
	memory   []byte
	setBytes int
	stride   int
	sets     int // a power of 2, or 0
	keySize  int
	size     int
	spare    []byte // an entry for keys that do not fit
}

const (
	ways       = 4
	allWays    = 1<<ways - 1
	lineBytes  = 64
	askedAgain = 4 * ways // of a set: where the byte lies that says which were
	entryStart = 4
)

// newCache makes a cache of about so many bytes for keys of at most keySize
// bytes and values of size bytes. Where not even one set fits, it keeps nothing.
func newCache(bytes, keySize, size int) *cache {
	stride := (entryStart + keySize + size + lineBytes - 1) / lineBytes * lineBytes
	c := &cache{setBytes: lineBytes + ways*stride, stride: stride, keySize: keySize, size: size, spare: make([]byte, stride)}
	if fit := bytes / c.setBytes; fit > 0 {
		c.sets = 1 << (bits.Len(uint(fit)) - 1)
		c.memory = make([]byte, c.sets*c.setBytes)
	}
	return c
}

// hashOf returns the hash of a key.
func hashOf[K string | []byte](seed maphash.Seed, feature uint16, key K) uint64 {
	return maphash.String(seed, string(key)) ^ uint64(feature+1)*0x9e3779b97f4a7c15
}

// place is where a key may be.
type place struct {
	set  int    // where the set begins
	tag  uint32 // of the key's hash; 0 is an empty entry
	ways uint8  // those with this tag, a bit each
}

// find returns where the key with a hash may be. It neither branches on what it
// reads nor changes anything, so that several finds wait for memory at once.
func (c *cache) find(hash uint64) place {
	if c.sets == 0 {
		return place{}
	}
	p := place{set: int(hash&uint64(c.sets-1)) * c.setBytes, tag: uint32(hash>>32) | 1}
	tags := c.memory[p.set : p.set+4*ways]
	for way := range ways {
		var same uint8
		if binary.LittleEndian.Uint32(tags[4*way:]) == p.tag {
			same = 1
		}
		p.ways |= same << way
	}
	return p
}

// touch reads from the entry that find found, so that it is on its way.
func (c *cache) touch(p place) byte {
	if c.sets == 0 {
		return 0
	}
	return c.memory[p.set+lineBytes+bits.TrailingZeros8(p.ways|1<<(ways-1))*c.stride]
}

// slot is where the value of a key is or belongs.
type slot struct {
	value  []byte
	code   *byte
	filled bool // else the value is all zeros and so is the code, both to be set
}

// at returns the slot of a key that find has looked for, valid until the next
// call.
func at[K string | []byte](c *cache, p place, feature uint16, key K) slot {
	if c.sets == 0 || len(key) > c.keySize {
		return c.empty(c.spare)
	}
	set := c.memory[p.set : p.set+c.setBytes]
	for found := p.ways; found != 0; found &= found - 1 {
		way := bits.TrailingZeros8(found)
		e := c.entry(set, way)
		if binary.LittleEndian.Uint16(e[2:]) == feature && string(e[entryStart:entryStart+int(e[0])]) == string(key) {
			if set[askedAgain]&(1<<way) == 0 {
				set[askedAgain] |= 1 << way
			}
			return slot{value: c.valueOf(e), code: &e[1], filled: true}
		}
	}
	way := victim(set)
	binary.LittleEndian.PutUint32(set[4*way:], p.tag)
	e := c.entry(set, way)
	e[0] = byte(len(key))
	binary.LittleEndian.PutUint16(e[2:], feature)
	copy(e[entryStart:], key)
	return c.empty(e)
}

// victim returns the entry of a set that gives way: an empty one, else one that
// was not asked for again. If all were, they have to be asked for anew.
func victim(set []byte) int {
	for way := range ways {
		if binary.LittleEndian.Uint32(set[4*way:]) == 0 {
			return way
		}
	}
	if set[askedAgain] == allWays {
		set[askedAgain] = 0
	}
	return bits.TrailingZeros8(^set[askedAgain])
}

func (c *cache) entry(set []byte, way int) []byte {
	start := lineBytes + way*c.stride
	return set[start : start+c.stride]
}

func (c *cache) valueOf(entry []byte) []byte {
	return entry[entryStart+c.keySize:][:c.size]
}

func (c *cache) empty(entry []byte) slot {
	value := c.valueOf(entry)
	clear(value)
	entry[1] = 0
	return slot{value: value, code: &entry[1]}
}
