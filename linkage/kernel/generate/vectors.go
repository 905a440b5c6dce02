//go:build avo

package main

import (
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// avx2 adds with xor and and: five operations a full adder, of which two or
// three take their plane from memory.
type avx2 struct{ c *build.Context }

func (v *avx2) name() string                        { return "AVX2" }
func (v *avx2) bytes() int                          { return 32 }
func (v *avx2) register() reg.VecVirtual            { return v.c.YMM() }
func (v *avx2) zero(r reg.Register)                 { v.c.VPXOR(r, r, r) }
func (v *avx2) broadcast(from Mem, to reg.Register) { v.c.VPBROADCASTQ(from, to) }
func (v *avx2) or(from, to reg.Register)            { v.c.VPOR(from, to, to) }
func (v *avx2) move(from, to reg.Register)          { v.c.VMOVDQA(from, to) }
func (v *avx2) store(from reg.Register, to Mem)     { v.c.VMOVDQU(from, to) }
func (v *avx2) done()                               { v.c.VZEROUPPER() }

func (v *avx2) planes(sum reg.VecVirtual, a, b Mem) (newSum, carry reg.VecVirtual) {
	x := v.c.YMM()
	v.c.VMOVDQU(a, x)
	return v.adder(sum, x, b)
}

func (v *avx2) full(sum, a, b reg.VecVirtual) (newSum, carry reg.VecVirtual) {
	return v.adder(sum, a, b)
}

// adder overwrites a. What has to wait for the sum of the adder before is as
// little as can be.
func (v *avx2) adder(sum, a reg.VecVirtual, b Op) (newSum, carry reg.VecVirtual) {
	differ, t := v.c.YMM(), v.c.YMM()
	v.c.VPXOR(b, a, differ)
	v.c.VPXOR(a, sum, t)
	v.c.VPXOR(differ, sum, sum)
	v.c.VPAND(differ, t, t)
	v.c.VPXOR(t, a, a) // the majority
	return sum, a
}

func (v *avx2) half(sum Op, carry reg.VecVirtual) (newCarry reg.VecVirtual) {
	newCarry = v.c.YMM()
	v.c.VPAND(sum, carry, newCarry)
	if r, ok := sum.(reg.Register); ok {
		v.c.VPXOR(r, carry, r)
	} else {
		v.c.VPXOR(sum, carry, carry)
		v.c.VMOVDQU(carry, sum)
	}
	return newCarry
}

func (v *avx2) alive(dead reg.Register, mask reg.GPVirtual) {
	ones, t := v.c.YMM(), v.c.YMM()
	v.c.VPCMPEQD(ones, ones, ones)
	v.c.VPCMPEQB(ones, dead, t)
	v.c.VPMOVMSKB(t, mask)
	v.c.NOTL(mask)
}

func (v *avx2) storeAlive(dead reg.Register, to Mem) {
	ones := v.c.YMM()
	v.c.VPCMPEQD(ones, ones, ones)
	v.c.VPXOR(ones, dead, ones)
	v.c.VMOVDQU(ones, to)
}

// avx512 adds with two three-way functions: the sum, and the carry from the
// sum, the counter bit before and one of the addends.
type avx512 struct{ c *build.Context }

// Truth tables of VPTERNLOGQ.
const (
	parity   = 0x96
	majority = 0xB2 // of the first, the third and the bit that makes the second their parity
	not      = 0x55
)

func (v *avx512) name() string                        { return "AVX512" }
func (v *avx512) bytes() int                          { return 64 }
func (v *avx512) register() reg.VecVirtual            { return v.c.ZMM() }
func (v *avx512) zero(r reg.Register)                 { v.c.VPXORQ(r, r, r) }
func (v *avx512) broadcast(from Mem, to reg.Register) { v.c.VPBROADCASTQ(from, to) }
func (v *avx512) or(from, to reg.Register)            { v.c.VPORQ(from, to, to) }
func (v *avx512) move(from, to reg.Register)          { v.c.VMOVDQA64(from, to) }
func (v *avx512) store(from reg.Register, to Mem)     { v.c.VMOVDQU64(from, to) }
func (v *avx512) done()                               { v.c.VZEROUPPER() }

func (v *avx512) planes(sum reg.VecVirtual, a, b Mem) (newSum, carry reg.VecVirtual) {
	x, y := v.c.ZMM(), v.c.ZMM()
	v.c.VMOVDQU64(a, x)
	v.c.VMOVDQU64(b, y)
	return v.full(sum, x, y)
}

func (v *avx512) full(sum, a, b reg.VecVirtual) (newSum, carry reg.VecVirtual) {
	v.c.VPTERNLOGQ(U8(parity), b, sum, a)
	v.c.VPTERNLOGQ(U8(majority), b, a, sum)
	return a, sum
}

func (v *avx512) half(sum Op, carry reg.VecVirtual) (newCarry reg.VecVirtual) {
	newCarry = v.c.ZMM()
	v.c.VPANDQ(sum, carry, newCarry)
	v.c.VPXORQ(sum, carry, sum)
	return newCarry
}

func (v *avx512) alive(dead reg.Register, mask reg.GPVirtual) {
	ones, k := v.c.ZMM(), v.c.K()
	v.c.VPTERNLOGQ(U8(0xFF), ones, ones, ones)
	v.c.VPCMPEQD(ones, dead, k)
	v.c.KMOVW(k, mask)
	v.c.XORL(U32(0xFFFF), mask)
}

func (v *avx512) storeAlive(dead reg.Register, to Mem) {
	v.c.VPTERNLOGQ(U8(not), dead, dead, dead)
	v.c.VMOVDQU64(dead, to)
}
