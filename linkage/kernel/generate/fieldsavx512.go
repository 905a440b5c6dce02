//go:build avo

package main

import (
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fieldsAVX512 counts 16 units at a time, each with one VPOPCNTQ, and adds up
// the eight counts of each together: four units are packed into the words of
// one register, and the registers folded until one has 16 sums.
func fieldsAVX512(c *build.Context, common bool) {
	const units = 16
	f := &frame{c: c, common: common, group: units}
	f.open("AVX512")
	all := c.ZMM()
	whole := c.GP64()
	c.MOVQ(U32(8*unit), whole)
	c.VPBROADCASTD(whole.As32(), all)
	f.loop(func(filter, rows, counts Mem) {
		var packed [4]reg.VecVirtual
		for k := range packed {
			packed[k] = pack4(c, common, filter.Offset(4*k*unit), rows.Offset(4*k*unit))
		}
		x, y := fold(c, packed[0], packed[1]), fold(c, packed[2], packed[3])
		z := lanes(c, x, y, 0x88, 0xDD)
		z = lanes(c, z, z, 0x08, 0x0D)
		c.VPMOVZXWD(z.AsY(), z)
		if !common {
			c.VPSUBD(z, all, z)
		}
		c.VMOVDQU64(z, counts)
	})
}

// pack4 counts the words of four units; word i of the result has the counts of
// their words i in its four parts of 16 bits.
func pack4(c *build.Context, common bool, filter, rows Mem) reg.VecVirtual {
	var v [4]reg.VecVirtual
	for i := range v {
		v[i] = c.ZMM()
		c.VMOVDQU64(filter.Offset(i*unit), v[i])
		if common {
			c.VPANDQ(rows.Offset(i*unit), v[i], v[i])
		} else {
			c.VPXORQ(rows.Offset(i*unit), v[i], v[i])
		}
		c.VPOPCNTQ(v[i], v[i])
		if i > 0 {
			c.VPSLLQ(Imm(uint64(16*i)), v[i], v[i])
		}
	}
	const or3 = 0xFE
	c.VPORQ(v[1], v[0], v[0])
	c.VPTERNLOGQ(U8(or3), v[3], v[2], v[0])
	return v[0]
}

// fold adds neighbouring words: those of a, and those of b, in turn.
func fold(c *build.Context, a, b reg.VecVirtual) reg.VecVirtual {
	high := c.ZMM()
	c.VPUNPCKHQDQ(b, a, high)
	c.VPUNPCKLQDQ(b, a, a)
	c.VPADDQ(high, a, a) // no part of 16 bits overflows
	return a
}

// lanes adds two arrangements of the lanes of a and b.
func lanes(c *build.Context, a, b reg.VecVirtual, one, other uint64) reg.VecVirtual {
	x, y := c.ZMM(), c.ZMM()
	c.VSHUFI64X2(Imm(one), b, a, x)
	c.VSHUFI64X2(Imm(other), b, a, y)
	c.VPADDQ(x, y, y)
	return y
}
