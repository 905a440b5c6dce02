// Package ristretto is the group ristretto255 of RFC 9496, on the curve arithmetic of
// filippo.io/edwards25519: what that library leaves out and oblivious tokens need, which
// is the group's encoding, a table for a base that is not the generator, and sums of
// many public multiples. What takes a secret runs in constant time; what does not says
// so in its name.
package ristretto

import (
	"filippo.io/edwards25519"
	"filippo.io/edwards25519/field"
)

// Size is the length in bytes of an element and of a scalar.
const Size = 32

// Scalar is an integer modulo the group's order.
type Scalar = edwards25519.Scalar

// Element is an element of the group. The zero value is not one.
type Element struct {
	point edwards25519.Point
}

// Constants of RFC 9496, section 4.1.
var (
	one             = new(field.Element).One()
	minusOne        = new(field.Element).Negate(one)
	d               = constant(0xa3, 0x78, 0x59, 0x13, 0xca, 0x4d, 0xeb, 0x75, 0xab, 0xd8, 0x41, 0x41, 0x4d, 0x0a, 0x70, 0x00, 0x98, 0xe8, 0x79, 0x77, 0x79, 0x40, 0xc7, 0x8c, 0x73, 0xfe, 0x6f, 0x2b, 0xee, 0x6c, 0x03, 0x52)
	d2              = new(field.Element).Add(d, d)
	sqrtMinusOne    = root(minusOne)
	invSqrtAMinusD  = inverseRoot(new(field.Element).Subtract(minusOne, d)) // a is -1
	identityElement = Element{point: *edwards25519.NewIdentityPoint()}
	generator       = Element{point: *edwards25519.NewGeneratorPoint()}
)

func constant(b ...byte) *field.Element {
	e, err := new(field.Element).SetBytes(b)
	if err != nil {
		panic(err) // a constant of the wrong length
	}
	return e
}

// root returns the non-negative square root of a square.
func root(u *field.Element) *field.Element {
	r, square := new(field.Element).SqrtRatio(u, one)
	if square != 1 {
		panic("ristretto: a constant is no square")
	}
	return r
}

// inverseRoot returns the non-negative square root of the inverse of a square.
func inverseRoot(u *field.Element) *field.Element {
	r, square := new(field.Element).SqrtRatio(one, u)
	if square != 1 {
		panic("ristretto: a constant is no square")
	}
	return r
}

// Generator returns the group's generator.
func Generator() *Element { e := generator; return &e }

// Identity returns the identity.
func Identity() *Element { e := identityElement; return &e }

// Set sets e to o.
func (e *Element) Set(o *Element) *Element { *e = *o; return e }

// SetBytes decodes an element and reports whether the 32 bytes were one: canonical, and
// of this group (RFC 9496, section 4.3.1). Otherwise e is not changed. It is for public
// bytes: a refusal takes another time than an element.
func (e *Element) SetBytes(b []byte) bool {
	if len(b) != Size || b[0]&1 != 0 || b[31]&0x80 != 0 {
		return false
	}
	var s, ss, u1, u2, u2u2, v, root, dx, dy, x, y, t field.Element
	if _, err := s.SetBytes(b); err != nil || !canonical(b) {
		return false
	}
	ss.Square(&s)
	u1.Subtract(one, &ss)
	u2.Add(one, &ss)
	u2u2.Square(&u2)
	v.Square(&u1)
	v.Multiply(&v, d)
	v.Negate(&v)
	v.Subtract(&v, &u2u2)
	t.Multiply(&v, &u2u2)
	_, square := root.SqrtRatio(one, &t)
	dx.Multiply(&root, &u2)
	dy.Multiply(&root, &dx)
	dy.Multiply(&dy, &v)
	x.Add(&s, &s)
	x.Multiply(&x, &dx)
	x.Absolute(&x)
	y.Multiply(&u1, &dy)
	t.Multiply(&x, &y)
	if square != 1 || t.IsNegative() == 1 || y.Equal(new(field.Element)) == 1 {
		return false
	}
	_, err := e.point.SetExtendedCoordinates(&x, &y, one, &t)
	return err == nil
}

// canonical reports whether 32 bytes, of which the highest bit is 0, are below the
// field's prime, 2^255 - 19.
func canonical(b []byte) bool {
	if b[31] != 0x7f || b[0] < 0xed {
		return true
	}
	for _, x := range b[1:31] {
		if x != 0xff {
			return true
		}
	}
	return false
}

// AppendTo appends the element's 32 bytes (RFC 9496, section 4.3.2).
func (e *Element) AppendTo(to []byte) []byte {
	x0, y0, z0, t0 := e.point.ExtendedCoordinates()
	var u1, u2, root, den1, den2, zInverse, ix, iy, enchanted, x, y, t, inverse field.Element
	u1.Add(z0, y0)
	t.Subtract(z0, y0)
	u1.Multiply(&u1, &t)
	u2.Multiply(x0, y0)
	t.Square(&u2)
	t.Multiply(&t, &u1)
	root.SqrtRatio(one, &t)
	den1.Multiply(&root, &u1)
	den2.Multiply(&root, &u2)
	zInverse.Multiply(&den1, &den2)
	zInverse.Multiply(&zInverse, t0)
	ix.Multiply(x0, sqrtMinusOne)
	iy.Multiply(y0, sqrtMinusOne)
	enchanted.Multiply(&den1, invSqrtAMinusD)
	rotate := t.Multiply(t0, &zInverse).IsNegative()
	x.Select(&iy, x0, rotate)
	y.Select(&ix, y0, rotate)
	inverse.Select(&enchanted, &den2, rotate)
	negative := t.Multiply(&x, &zInverse).IsNegative()
	t.Negate(&y)
	y.Select(&t, &y, negative)
	t.Subtract(z0, &y)
	t.Multiply(&t, &inverse)
	t.Absolute(&t)
	return append(to, t.Bytes()...)
}

// Bytes returns the element's 32 bytes.
func (e *Element) Bytes() (b [Size]byte) {
	e.AppendTo(b[:0])
	return b
}

// Equal reports whether two elements are the same (RFC 9496, section 4.3.3), in constant
// time.
func (e *Element) Equal(o *Element) bool {
	x1, y1, _, _ := e.point.ExtendedCoordinates()
	x2, y2, _, _ := o.point.ExtendedCoordinates()
	var a, b field.Element
	same := a.Multiply(x1, y2).Equal(b.Multiply(y1, x2))
	same |= a.Multiply(y1, y2).Equal(b.Multiply(x1, x2))
	return same == 1
}

// IsIdentity reports whether e is the identity.
func (e *Element) IsIdentity() bool { return e.Equal(&identityElement) }

// Add sets e to p + q.
func (e *Element) Add(p, q *Element) *Element { e.point.Add(&p.point, &q.point); return e }

// Subtract sets e to p - q.
func (e *Element) Subtract(p, q *Element) *Element { e.point.Subtract(&p.point, &q.point); return e }

// Negate sets e to -p.
func (e *Element) Negate(p *Element) *Element { e.point.Negate(&p.point); return e }

// Multiply sets e to kp.
func (e *Element) Multiply(k *Scalar, p *Element) *Element {
	e.point.ScalarMult(k, &p.point)
	return e
}

// MultiplyGenerator sets e to k times the generator.
func (e *Element) MultiplyGenerator(k *Scalar) *Element { e.point.ScalarBaseMult(k); return e }
