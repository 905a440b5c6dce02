//go:build avo

package main

import (
	"github.com/mmcloughlin/avo/attr"
	"github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// fieldsAVX2 counts ten units at a time: eight by looking up halves of bytes in
// vector registers, and two, at the same time, with POPCNT, whose ports the
// others do not need.
func fieldsAVX2(c *build.Context, common bool) {
	const inVectors, inWords = 8, 2
	f := &frame{c: c, common: common, group: inVectors + inWords}
	f.open("AVX2")
	k := &nibbles{c: c, common: common, table: c.YMM(), mask: c.YMM()}
	c.VMOVDQU(k.lookup(), k.table)
	c.VPCMPEQD(k.mask, k.mask, k.mask)
	c.VPSRLW(Imm(12), k.mask, k.mask)
	c.VPACKUSWB(k.mask, k.mask, k.mask) // 15 in every byte
	f.loop(func(filter, rows, counts Mem) {
		var sums [inVectors]reg.VecVirtual
		var words [inWords]reg.GPVirtual
		for i := range sums {
			sums[i] = k.unit(filter.Offset(i*unit), rows.Offset(i*unit))
			for w := 2 * i; w < 2*i+2; w++ { // 16 words beside 8 units
				u, at := w/8, (inVectors+w/8)*unit+8*(w%8)
				words[u] = k.word(words[u], filter.Offset(at), rows.Offset(at))
			}
			if i%2 == 1 {
				sums[i/2] = k.pair(sums[i-1], sums[i])
			}
		}
		first, second := k.quad(sums[0], sums[2]), k.quad(sums[1], sums[3])
		c.VSHUFPS(Imm(0x88), second, first, first)
		c.VMOVDQU(first, counts)
		for i, count := range words {
			if !common {
				equal := c.GP64()
				c.MOVQ(U32(8*unit), equal)
				c.SUBQ(count, equal)
				count = equal
			}
			c.MOVL(count.As32(), counts.Offset(4*(inVectors+i)))
		}
	})
}

// nibbles counts the bits of halves of bytes by looking them up.
type nibbles struct {
	c           *build.Context
	common      bool
	table, mask reg.VecVirtual
}

// lookup is the table: the bits that are set in a number of four bits, or, of
// what differs, those that are not.
func (k *nibbles) lookup() Mem {
	table := k.c.StaticGlobal(name(k.common, "table"))
	k.c.DataAttributes(attr.RODATA | attr.NOPTR)
	for range 2 {
		for half := range 2 {
			var word uint64
			for i := range 8 {
				count := 0
				for bit := range 4 {
					if (8*half+i)>>bit&1 == 1 == k.common {
						count++
					}
				}
				word |= uint64(count) << (8 * i)
			}
			k.c.AppendDatum(U64(word))
		}
	}
	return table
}

// unit leaves in every byte the count of two bytes of the filter.
func (k *nibbles) unit(filter, row Mem) reg.VecVirtual {
	c := k.c
	var sum reg.VecVirtual
	for half := range 2 {
		v, high := c.YMM(), c.YMM()
		c.VMOVDQU(filter.Offset(32*half), v)
		if k.common {
			c.VPAND(row.Offset(32*half), v, v)
		} else {
			c.VPXOR(row.Offset(32*half), v, v)
		}
		c.VPSRLW(Imm(4), v, high)
		c.VPAND(k.mask, v, v)
		c.VPAND(k.mask, high, high)
		c.VPSHUFB(v, k.table, v)
		c.VPSHUFB(high, k.table, high)
		c.VPADDB(v, high, high)
		if half == 0 {
			sum = high
		} else {
			c.VPADDB(high, sum, sum)
		}
	}
	return sum
}

// pair adds the halves of two units: words of 64 bits hold the first and the
// second in turn.
func (k *nibbles) pair(a, b reg.VecVirtual) reg.VecVirtual {
	high := k.c.YMM()
	k.c.VPUNPCKHQDQ(b, a, high)
	k.c.VPUNPCKLQDQ(b, a, a)
	k.c.VPADDB(high, a, a)
	return a
}

// quad adds two pairs: one word of 64 bits for each of four units.
func (k *nibbles) quad(a, b reg.VecVirtual) reg.VecVirtual {
	c := k.c
	high, zero := c.YMM(), c.YMM()
	c.VPERM2I128(Imm(0x31), b, a, high)
	c.VPERM2I128(Imm(0x20), b, a, a)
	c.VPADDB(high, a, a)
	c.VPXOR(zero, zero, zero)
	c.VPSADBW(zero, a, a)
	return a
}

// word adds the count of one word; the first one starts the sum.
func (k *nibbles) word(sum reg.GPVirtual, filter, row Mem) reg.GPVirtual {
	c := k.c
	v := c.GP64()
	c.MOVQ(filter, v)
	if k.common {
		c.ANDQ(row, v)
	} else {
		c.XORQ(row, v)
	}
	c.POPCNTQ(v, v)
	if sum == nil {
		return v
	}
	c.ADDQ(v, sum)
	return sum
}
