package ristretto

import (
	"filippo.io/edwards25519/field"
)

// affine is a point as what is added many times: y+x, y-x and 2dxy, with z = 1.
type affine struct{ sum, difference, product field.Element }

// accumulator is a point in extended coordinates: x/z, y/z, and t = xy/z.
type accumulator struct{ x, y, z, t field.Element }

func (a *accumulator) setIdentity() {
	a.x.Zero()
	a.y.One()
	a.z.One()
	a.t.Zero()
}

func (a *accumulator) set(e *Element) {
	x, y, z, t := e.point.ExtendedCoordinates()
	a.x, a.y, a.z, a.t = *x, *y, *z, *t
}

// into sets an element to the accumulated point, which is on the curve as long as what
// was added is.
func (a *accumulator) into(e *Element) {
	if _, err := e.point.SetExtendedCoordinates(&a.x, &a.y, &a.z, &a.t); err != nil {
		panic("ristretto: a sum of points is no point")
	}
}

// add adds an affine point: eight multiplications (Hisil, Wong, Carter, Dawson 2008,
// section 3.1, with z2 = 1).
func (a *accumulator) add(p *affine) {
	var pp, mm, tt, zz, e, f, g, h, s field.Element
	pp.Multiply(s.Add(&a.y, &a.x), &p.sum)
	mm.Multiply(s.Subtract(&a.y, &a.x), &p.difference)
	tt.Multiply(&a.t, &p.product)
	zz.Add(&a.z, &a.z)
	e.Subtract(&pp, &mm)
	f.Subtract(&zz, &tt)
	g.Add(&zz, &tt)
	h.Add(&pp, &mm)
	a.x.Multiply(&e, &f)
	a.y.Multiply(&g, &h)
	a.z.Multiply(&f, &g)
	a.t.Multiply(&e, &h)
}

// subtract subtracts an affine point.
func (a *accumulator) subtract(p *affine) {
	var n affine
	n.sum, n.difference = p.difference, p.sum
	n.product.Negate(&p.product)
	a.add(&n)
}

// toAffine turns points into affine ones, with one inversion for all.
func toAffine(points []accumulator, out []affine) {
	products := make([]field.Element, len(points))
	product := *one
	for i := range points {
		products[i] = product
		product.Multiply(&product, &points[i].z)
	}
	var inverse field.Element
	inverse.Invert(&product)
	for i := len(points) - 1; i >= 0; i-- {
		var zi, x, y field.Element
		zi.Multiply(&inverse, &products[i])
		inverse.Multiply(&inverse, &points[i].z)
		x.Multiply(&points[i].x, &zi)
		y.Multiply(&points[i].y, &zi)
		out[i].sum.Add(&y, &x)
		out[i].difference.Subtract(&y, &x)
		out[i].product.Multiply(&x, &y)
		out[i].product.Multiply(&out[i].product, d2)
	}
}

const (
	tableDigits = 64 // of a scalar, in base 16
	tableWidth  = 8  // multiples of each digit's place: digits are -8 to 7
)

// Table holds multiples of an element by which it is multiplied in a third of the
// time. It is for an element that is used often, such as a public key: 60 KB.
type Table struct {
	multiples [tableDigits][tableWidth]affine // of 16^i: 1 to 8
}

// NewTable makes a table of an element.
func NewTable(e *Element) *Table {
	points := make([]accumulator, 0, tableDigits*tableWidth)
	place := *e
	for range tableDigits {
		multiple := place
		for j := range tableWidth {
			if j > 0 {
				multiple.Add(&multiple, &place)
			}
			var a accumulator
			a.set(&multiple)
			points = append(points, a)
		}
		place.Add(&multiple, &multiple) // 8 and 8
	}
	out := make([]affine, len(points))
	toAffine(points, out)
	t := new(Table)
	for i := range t.multiples {
		copy(t.multiples[i][:], out[i*tableWidth:])
	}
	return t
}

// Multiply sets e to k times the table's element, in constant time: every multiple is
// read, whichever is taken.
func (t *Table) Multiply(e *Element, k *Scalar) *Element {
	var digits [tableDigits]int8
	signedDigits(&digits, k)
	var a accumulator
	a.setIdentity()
	for i := range digits {
		// The sign and the size of a digit, without a branch.
		sign := int(uint8(digits[i]) >> 7)
		size := (int(digits[i]) ^ -sign) + sign
		var p, n affine
		p.sum, p.difference = *one, *one // the identity: 1, 1, 0
		for j := range t.multiples[i] {
			m, taken := &t.multiples[i][j], equal(size, j+1)
			p.sum.Select(&m.sum, &p.sum, taken)
			p.difference.Select(&m.difference, &p.difference, taken)
			p.product.Select(&m.product, &p.product, taken)
		}
		n.sum.Select(&p.difference, &p.sum, sign)
		n.difference.Select(&p.sum, &p.difference, sign)
		p.sum.Negate(&p.product)
		n.product.Select(&p.sum, &p.product, sign)
		a.add(&n)
	}
	a.into(e)
	return e
}

// equal is 1 where two small numbers are the same and 0 where not, in constant time.
func equal(a, b int) int { return int((uint32(a^b) - 1) >> 31) }

// signedDigits writes a scalar in base 16 with digits from -8 to 7, and the last up to 8.
func signedDigits(digits *[tableDigits]int8, k *Scalar) {
	b := k.Bytes()
	for i, x := range b {
		digits[2*i], digits[2*i+1] = int8(x&15), int8(x>>4)
	}
	carry := int8(0)
	for i := range tableDigits - 1 {
		digits[i] += carry
		carry = (digits[i] + 8) >> 4
		digits[i] -= carry << 4
	}
	digits[tableDigits-1] += carry
}
