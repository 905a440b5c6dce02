//go:build avo

package main

import (
	"fmt"

	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// chunk is the number of planes that are added up at a time, and low the bits
// of the counters that they go through.
const (
	chunk = 16
	low   = 4
)

// fewAlive is the number of parts of a register with lanes alive that are not
// worth another chunk.
const fewAlive = 0

// spreadTable holds, for every value of four bits, each of them spread over a
// word.
func spreadTable(c *build.Context) Mem {
	table := c.StaticGlobal("spread")
	c.DataAttributes(attr.RODATA | attr.NOPTR)
	for value := range 16 {
		for bit := range 4 {
			c.AppendDatum(U64(-uint64(value >> bit & 1)))
		}
	}
	return table
}

// vectors is a set of instructions on registers of lanes.
type vectors interface {
	name() string
	bytes() int
	register() reg.VecVirtual
	zero(r reg.Register)
	broadcast(from Mem, to reg.Register)
	// planes adds two planes to a counter bit and returns its new register, and
	// the carry.
	planes(sum reg.VecVirtual, a, b Mem) (newSum, carry reg.VecVirtual)
	// full adds two carries likewise; it may overwrite them.
	full(sum, a, b reg.VecVirtual) (newSum, carry reg.VecVirtual)
	// half adds a carry to a counter bit in place, which may be in memory, and
	// returns the new carry.
	half(sum Op, carry reg.VecVirtual) (newCarry reg.VecVirtual)
	store(from reg.Register, to Mem)
	or(from, to reg.Register)
	move(from, to reg.Register)
	// alive sets a mask of the parts in which not all lanes are dead.
	alive(dead reg.Register, mask reg.GPVirtual)
	// storeAlive stores the lanes that are not dead.
	storeAlive(dead reg.Register, to Mem)
	done()
}

// scan passes n left rows over a tile: see scanPortable, which does the same.
func scan(c *build.Context, v vectors, spread Mem, depth int) {
	c.Function(fmt.Sprintf("scan%d%s", depth, v.name()))
	c.Doc(fmt.Sprintf("scan%d%s passes n rows over a tile of %d lanes, with counters of %d bits.", depth, v.name(), 8*v.bytes(), low+depth))
	c.Attributes(attr.NOSPLIT)
	c.SignatureExpr("func(tile *uint64, places *uint16, chunks, first, n int, allowed *int32, rows *uint32, lanes *uint64) (count, done int)")
	tile, list := c.Load(c.Param("tile"), c.GP64()), c.Load(c.Param("places"), c.GP64())
	allowed, rows, lanes := c.Load(c.Param("allowed"), c.GP64()), c.Load(c.Param("rows"), c.GP64()), c.Load(c.Param("lanes"), c.GP64())
	chunks, first := c.Load(c.Param("chunks"), c.GP64()), c.Load(c.Param("first"), c.GP64())
	n, _ := c.Param("n").Resolve()
	table, row, done := c.GP64(), c.GP64(), c.GP64()
	c.LEAQ(spread, table)
	c.XORQ(row, row)
	c.XORQ(done, done)
	s := scanner{c: c, v: v, tile: tile.(reg.GPVirtual), depth: depth}
	s.counters()

	c.Label("nextrow")
	c.CMPQ(row, n.Addr)
	c.JGE(LabelRef("end"))
	s.start(allowed, row, table)
	c.XORQ(s.at, s.at)
	next := c.GP64()
	c.MOVQ(list, next) // the list of the row is walked, its start kept
	c.Label("nextchunk")
	s.chunk(next)
	c.ADDQ(Imm(2*chunk), next)
	c.INCQ(s.at)
	c.CMPQ(s.at, first)
	c.JLT(LabelRef("nextchunk"))
	mask, parts := c.GP32(), c.GP32()
	v.alive(s.dead, mask)
	c.POPCNTL(mask, parts)
	c.CMPL(parts, Imm(fewAlive))
	c.JLE(LabelRef("look"))
	c.CMPQ(s.at, chunks)
	c.JLT(LabelRef("nextchunk"))
	c.Label("look")
	c.ADDQ(s.at, done)
	c.TESTL(mask, mask)
	c.JZ(LabelRef("rowdone"))
	c.MOVL(row.As32(), Mem{Base: rows})
	c.ADDQ(Imm(4), rows)
	v.storeAlive(s.dead, Mem{Base: lanes})
	c.ADDQ(U32(uint32(v.bytes())), lanes)
	c.Label("rowdone")
	c.INCQ(row)
	stride := c.GP64()
	c.MOVQ(chunks, stride)
	c.SHLQ(Imm(5), stride)
	c.ADDQ(stride, list)
	c.JMP(LabelRef("nextrow"))

	c.Label("end")
	begin := c.Load(c.Param("rows"), c.GP64())
	c.SUBQ(begin, rows)
	c.SHRQ(Imm(2), rows)
	c.Store(rows, c.ReturnIndex(0))
	c.Store(done, c.ReturnIndex(1))
	v.done()
	c.RET()
}

type scanner struct {
	c     *build.Context
	v     vectors
	tile  reg.GPVirtual
	at    reg.GPVirtual
	depth int
	home  [low]reg.VecVirtual // of the low bits of the counters, between chunks
	low   [low]reg.VecVirtual
	high  []Op
	dead  reg.VecVirtual
}

// inRegisters is how many high bits AVX2 has registers for.
const inRegisters = 3

// counters reserves registers, and memory for the bits that seldom change.
func (s *scanner) counters() {
	for i := range s.home {
		s.home[i] = s.v.register()
	}
	local := Mem{}
	if s.v.bytes() == 32 && s.depth > inRegisters {
		local = s.c.AllocLocal((s.depth - inRegisters) * s.v.bytes())
	}
	for i := range s.depth {
		if s.v.bytes() == 32 && i >= inRegisters {
			s.high = append(s.high, local.Offset((i-inRegisters)*s.v.bytes()))
		} else {
			s.high = append(s.high, s.v.register())
		}
	}
	s.dead, s.at = s.v.register(), s.c.GP64()
}

// start sets the counters of a row, or goes on to the next one that can match.
func (s *scanner) start(allowed, row, table reg.Register) {
	c, value := s.c, s.c.GP64()
	c.MOVLQSX(Mem{Base: allowed, Index: row, Scale: 4}, value)
	c.TESTQ(value, value)
	c.JS(LabelRef("rowdone"))
	c.NEGQ(value)
	c.ADDQ(U32(16<<s.depth-1), value)
	var all []Op
	for _, home := range s.home {
		all = append(all, home)
	}
	all = append(all, s.high...)
	for i := 0; i < len(all); i += 4 {
		nibble := c.GP64()
		c.MOVQ(value, nibble)
		c.ANDQ(Imm(15), nibble)
		c.SHLQ(Imm(5), nibble)
		c.ADDQ(table, nibble)
		c.SHRQ(Imm(4), value)
		for j, counter := range all[i:min(i+4, len(all))] {
			s.broadcast(Mem{Base: nibble, Disp: 8 * j}, counter)
		}
	}
	s.v.zero(s.dead)
}

func (s *scanner) broadcast(from Mem, to Op) {
	if r, ok := to.(reg.Register); ok {
		s.v.broadcast(from, r)
		return
	}
	r := s.v.register()
	s.v.broadcast(from, r)
	s.v.store(r, to.(Mem))
}

// chunk adds 16 planes to the counters.
func (s *scanner) chunk(list reg.Register) {
	s.low = s.home
	carry := s.sum(low, 0, Mem{Base: list})
	for _, high := range s.high {
		carry = s.v.half(high, carry)
	}
	s.v.or(carry, s.dead)
	s.goHome() // only now: the carry may have been in the home of a low bit
}

// goHome moves the low bits back to where a chunk expects them. One may be in
// the home of another, so each leaves before its place is taken.
func (s *scanner) goHome() {
	for i, home := range s.home {
		if s.low[i] == home {
			continue
		}
		for j := i + 1; j < low; j++ {
			if s.low[j] == home {
				away := s.v.register()
				s.v.move(home, away)
				s.low[j] = away
			}
		}
		s.v.move(s.low[i], home)
	}
}

// sum adds 1<<level planes, the i-th so many, to the low bits and returns their
// carry.
func (s *scanner) sum(level, i int, list Mem) (carry reg.VecVirtual) {
	if level == 1 {
		s.low[0], carry = s.v.planes(s.low[0], s.plane(list.Offset(4*i)), s.plane(list.Offset(4*i+2)))
		return carry
	}
	a := s.sum(level-1, 2*i, list)
	b := s.sum(level-1, 2*i+1, list)
	s.low[level-1], carry = s.v.full(s.low[level-1], a, b)
	return carry
}

func (s *scanner) plane(entry Mem) Mem {
	place := s.c.GP64()
	s.c.MOVWQZX(entry, place)
	return Mem{Base: s.tile, Index: place, Scale: 8}
}
