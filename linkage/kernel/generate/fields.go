//go:build avo

package main

import (
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	unit      = 64 // bytes of a field of 512 bits
	maxFields = 16 // of a record
	// The longest repetition of a record that a group may start in and run out
	// of: of 15 fields twice, and a group.
)

func name(common bool, path string) string {
	if common {
		return "common512" + path
	}
	return "equal512" + path
}

// frame is what every kernel of fields has: units of 512 bits, of which fields
// make a row, in groups.
type frame struct {
	c                     *build.Context
	common                bool
	group                 int // units
	counts, rows          reg.Register
	buffer                Mem // the record, repeated
	at, repeated, left, p reg.GPVirtual
}

// open loads the parameters and repeats the record until a group can start
// anywhere in it: first so often that a group is no longer than that, and then
// for one more group.
func (f *frame) open(path string) {
	c := f.c
	c.Function(name(f.common, path))
	c.Doc(name(f.common, path)+" counts bits of units of 512 bits, of which fields make a row.", "units is at least one group.")
	c.SignatureExpr("func(counts *uint32, record, rows *uint64, fields, units int)")
	f.buffer = c.AllocLocal((2*max(f.group, maxFields) + f.group) * unit)
	f.counts, f.rows = c.Load(c.Param("counts"), c.GP64()), c.Load(c.Param("rows"), c.GP64())
	record, end := c.Load(c.Param("record"), c.GP64()), c.Load(c.Param("fields"), c.GP64())
	c.SHLQ(Imm(6), end)
	f.repeated = c.GP64()
	c.XORQ(f.repeated, f.repeated)
	c.Label("period")
	c.ADDQ(end, f.repeated)
	c.CMPQ(f.repeated, U32(uint32(f.group*unit)))
	c.JLT(LabelRef("period"))
	length, to, from, a, b := c.GP64(), c.GP64(), c.GP64(), c.YMM(), c.YMM()
	c.LEAQ(Mem{Base: f.repeated, Disp: f.group * unit}, length)
	f.p = c.GP64()
	c.LEAQ(f.buffer, f.p)
	c.XORQ(to, to)
	c.Label("again")
	c.XORQ(from, from)
	c.Label("copy")
	c.VMOVDQU(Mem{Base: record, Index: from, Scale: 1}, a)
	c.VMOVDQU(Mem{Base: record, Index: from, Scale: 1, Disp: 32}, b)
	c.VMOVDQU(a, Mem{Base: f.p, Index: to, Scale: 1})
	c.VMOVDQU(b, Mem{Base: f.p, Index: to, Scale: 1, Disp: 32})
	c.ADDQ(Imm(unit), to)
	c.ADDQ(Imm(unit), from)
	c.CMPQ(to, length)
	c.JGE(LabelRef("copied"))
	c.CMPQ(from, end)
	c.JLT(LabelRef("copy"))
	c.JMP(LabelRef("again"))
	c.Label("copied")
	f.left = c.Load(c.Param("units"), c.GP64()).(reg.GPVirtual)
	f.at = c.GP64()
	c.XORQ(f.at, f.at)
}

// loop runs body for each group; the last one ends where the rows end, and
// counts some units again.
func (f *frame) loop(body func(filter, rows, counts Mem)) {
	c := f.c
	filter := c.GP64()
	c.Label("next")
	c.LEAQ(Mem{Base: f.p, Index: f.at, Scale: 1}, filter)
	body(Mem{Base: filter}, Mem{Base: f.rows}, Mem{Base: f.counts})
	c.ADDQ(U32(uint32(f.group*unit)), f.rows)
	c.ADDQ(U32(uint32(f.group*4)), f.counts)
	wrapped := c.GP64()
	c.ADDQ(U32(uint32(f.group*unit)), f.at)
	c.MOVQ(f.at, wrapped)
	c.SUBQ(f.repeated, wrapped)
	c.CMOVQGE(wrapped, f.at)
	c.SUBQ(Imm(uint64(f.group)), f.left)
	c.CMPQ(f.left, Imm(uint64(f.group)))
	c.JGE(LabelRef("next"))
	c.TESTQ(f.left, f.left)
	c.JLE(LabelRef("end"))
	back, bytes := c.GP64(), c.GP64()
	c.MOVQ(f.left, back)
	c.SUBQ(Imm(uint64(f.group)), back) // below 0
	c.LEAQ(Mem{Base: f.counts, Index: back, Scale: 4}, f.counts)
	c.MOVQ(back, bytes)
	c.SHLQ(Imm(6), bytes)
	c.ADDQ(bytes, f.rows)
	again := c.GP64()
	c.ADDQ(bytes, f.at)
	c.MOVQ(f.at, again)
	c.ADDQ(f.repeated, again)
	c.TESTQ(f.at, f.at)
	c.CMOVQLT(again, f.at)
	c.MOVQ(U32(uint32(f.group)), f.left)
	c.JMP(LabelRef("next"))
	c.Label("end")
	c.VZEROUPPER()
	c.RET()
}
