package clk

import (
	"math"
	"math/big"
	"strconv"
)

// numeric is the comparison of numbers by their neighbourhoods (Vatsalan and
// Christen, J. Biomed. Inform. 59, 2016): a number becomes the 2r+1 nearest
// multiples of a distance.
type numeric struct {
	resolution int
	precision  int      // digits after the point that count
	power      *big.Int // 10^precision
	factor     float64  // the same as a float; infinite from 10^309
	distance   *big.Int // threshold * 10^precision, rounded half to even
	// twiceHalf is 2 * float(distance/2): clkhash halves in floating point, which
	// differs from distance where that has more than 53 bits. It is nil where
	// the half is beyond all floats, and clkhash fails.
	twiceHalf *big.Int
}

// newNumeric takes thresholdDistance as it is written in the schema: as in
// Python it is exact if it has neither point nor exponent, else a float.
func newNumeric(threshold number, resolution, precision int) (*numeric, string) {
	n := &numeric{resolution: resolution, precision: precision, power: new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)}
	n.factor, _ = strconv.ParseFloat("1e"+strconv.Itoa(precision), 64)
	if threshold.whole {
		n.distance = new(big.Int).Mul(threshold.integer(), n.power)
	} else if scaled := math.RoundToEven(threshold.float * n.factor); !math.IsInf(scaled, 0) {
		n.distance, _ = big.NewFloat(scaled).Int(nil)
	} else {
		return nil, "is too large"
	}
	if n.distance.Sign() <= 0 {
		return nil, "needs more digits than fractional_precision says"
	}
	if half, _ := new(big.Rat).SetFrac(n.distance, big.NewInt(2)).Float64(); !math.IsInf(half, 0) {
		exact := new(big.Float).SetPrec(2000).SetFloat64(half)
		n.twiceHalf, _ = exact.Mul(exact, big.NewFloat(2)).Int(nil)
	}
	return n, ""
}

// centre returns the middle token of a text: its number, scaled and moved to
// the nearest multiple of the distance, up where there are two. It reports
// false where clkhash fails.
func (n *numeric) centre(scratch, text []byte) (*big.Int, bool) {
	v := new(big.Int)
	if digits, ok := integer(scratch, text); ok {
		v.SetString(string(digits), 10)
		v.Mul(v, n.power)
	} else {
		f, ok := float(scratch, text)
		if !ok {
			return nil, false
		}
		if n.precision > 0 {
			f = math.RoundToEven(f * n.factor)
		}
		if math.IsInf(f, 0) || math.IsNaN(f) || n.precision > 0 && math.IsInf(n.factor, 0) {
			return nil, false
		}
		big.NewFloat(f).Int(v) // cuts off what is behind the point
	}
	v.Mul(v, big.NewInt(2*int64(n.resolution)))
	residue := new(big.Int).Mod(v, n.distance)
	if residue.Sign() == 0 {
		return v, true
	}
	if n.twiceHalf == nil {
		return nil, false
	}
	v.Sub(v, residue)
	if residue.Lsh(residue, 1).Cmp(n.twiceHalf) >= 0 {
		v.Add(v, n.distance)
	}
	return v, true
}

// tokens calls add with each of the 2r+1 tokens of a text.
func (n *numeric) tokens(scratch *[]byte, text []byte, add func(token []byte)) bool {
	v, ok := n.centre(*scratch, text)
	if !ok {
		return false
	}
	reach := new(big.Int).Mul(n.distance, big.NewInt(int64(n.resolution)))
	last := new(big.Int).Add(v, reach)
	v.Sub(v, reach)
	// Python refuses to write numbers of more digits; the outermost two are the
	// longest.
	for _, outermost := range []*big.Int{v, last} {
		if len(new(big.Int).Abs(outermost).String()) > maxDigits {
			return false
		}
	}
	for range 2*n.resolution + 1 {
		*scratch = v.Append((*scratch)[:0], 10)
		add(*scratch)
		v.Add(v, n.distance)
	}
	return true
}
