package ristretto

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"math/big"
	"testing"

	"filippo.io/edwards25519"
	"github.com/cloudflare/circl/group"
	"pgregory.net/rapid"
)

// other is another implementation, by other people.
var other = group.Ristretto255

func randomScalar(t interface{ Fatal(...any) }) *Scalar {
	var b [64]byte
	if _, err := rand.Read(b[:]); err != nil {
		t.Fatal(err)
	}
	s, err := edwards25519.NewScalar().SetUniformBytes(b[:])
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func otherScalar(t interface{ Fatal(...any) }, s *Scalar) group.Scalar {
	o := other.NewScalar()
	if err := o.UnmarshalBinary(s.Bytes()); err != nil {
		t.Fatal(err)
	}
	return o
}

func otherBytes(t interface{ Fatal(...any) }, e group.Element) []byte {
	b, err := e.MarshalBinaryCompress()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t interface{ Fatal(...any) }, b []byte) *Element {
	e := new(Element)
	if !e.SetBytes(b) {
		t.Fatal("an element does not decode")
	}
	return e
}

// TestMultiplesOfTheGenerator: of RFC 9496, appendix A.1, the first three; all sixteen as
// the other implementation has them.
func TestMultiplesOfTheGenerator(t *testing.T) {
	known := []string{
		"0000000000000000000000000000000000000000000000000000000000000000",
		"e2f2ae0a6abc4e71a884a961c500515f58e30b6aa582dd8db6a65945e08d2d76",
		"6a493210f7499cd17fecb510ae0cea23a110e8d5b901f8acadd3095c73a3b919",
	}
	sum := Identity()
	for i := range uint64(16) {
		want := hex.EncodeToString(otherBytes(t, other.NewElement().MulGen(other.NewScalar().SetUint64(i))))
		if int(i) < len(known) && want != known[i] {
			t.Fatalf("the other implementation has %s for %d", want, i)
		}
		b := sum.Bytes()
		if hex.EncodeToString(b[:]) != want {
			t.Errorf("multiple %d is %x, want %s", i, b, want)
		}
		sum.Add(sum, Generator())
	}
}

// TestArithmeticIsThatOfAnotherImplementation.
func TestArithmeticIsThatOfAnotherImplementation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := randomScalar(t), randomScalar(t)
		oa, ob := otherScalar(t, a), otherScalar(t, b)
		p, q := new(Element).MultiplyGenerator(a), new(Element).MultiplyGenerator(b)
		op, oq := other.NewElement().MulGen(oa), other.NewElement().MulGen(ob)
		minus := other.NewElement().Neg(oq)
		for name, pair := range map[string]struct {
			got  *Element
			want group.Element
		}{
			"generator": {p, op}, "sum": {new(Element).Add(p, q), other.NewElement().Add(op, oq)},
			"difference": {new(Element).Subtract(p, q), other.NewElement().Add(op, minus)}, "opposite": {new(Element).Negate(q), minus},
			"multiple": {new(Element).Multiply(b, p), other.NewElement().Mul(op, ob)}, "by table": {NewTable(p).Multiply(new(Element), b), other.NewElement().Mul(op, ob)},
			"nothing": {new(Element).Subtract(p, p), other.Identity()},
		} {
			got, want := pair.got.Bytes(), otherBytes(t, pair.want)
			if !bytes.Equal(got[:], want) {
				t.Fatalf("%s: %x, want %x", name, got, want)
			}
			if !decode(t, want).Equal(pair.got) {
				t.Fatalf("%s: what was decoded is not equal", name)
			}
		}
		if p.Equal(q) || p.IsIdentity() || !Identity().IsIdentity() || !new(Element).Subtract(p, p).IsIdentity() {
			t.Fatal("equality")
		}
	})
}

// TestDecodingAcceptsWhatAnotherImplementationDoes: of random bytes, and of encodings
// with something changed; what is accepted encodes to itself.
func TestDecodingAcceptsWhatAnotherImplementationDoes(t *testing.T) {
	accepted, refused := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		switch rapid.IntRange(0, 3).Draw(t, "kind") {
		case 0:
			b = rapid.SliceOfN(rapid.Byte(), Size, Size).Draw(t, "bytes")
		case 1: // passes what is cheap to see
			b = rapid.SliceOfN(rapid.Byte(), Size, Size).Draw(t, "bytes")
			b[0] &^= 1
			b[31] &= 0x7f
		case 2: // near the prime
			p := new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 255), big.NewInt(19))
			n := p.Add(p, big.NewInt(rapid.Int64Range(-30, 18).Draw(t, "offset")))
			b = n.FillBytes(make([]byte, Size))
			for i := range Size / 2 {
				b[i], b[Size-1-i] = b[Size-1-i], b[i]
			}
		default:
			e := new(Element).MultiplyGenerator(randomScalar(t)).Bytes()
			b = e[:]
			if rapid.Bool().Draw(t, "change") {
				b[rapid.IntRange(0, Size-1).Draw(t, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
			}
		}
		var e Element
		got, want := e.SetBytes(b), other.NewElement().UnmarshalBinary(b) == nil
		if got != want {
			t.Fatalf("%x: accepted %v, by another %v", b, got, want)
		}
		if !got {
			refused++
			return
		}
		accepted++
		if again := e.Bytes(); !bytes.Equal(again[:], b) {
			t.Fatalf("%x encodes to %x", b, again)
		}
	})
	if accepted == 0 || refused == 0 {
		t.Errorf("%d accepted, %d refused", accepted, refused)
	}
	for _, length := range []int{0, 31, 33} {
		if new(Element).SetBytes(make([]byte, length)) {
			t.Errorf("%d bytes are an element", length)
		}
	}
}

// TestTablesMultiplyByEdges: digits at the ends of their ranges.
func TestTablesMultiplyByEdges(t *testing.T) {
	p := new(Element).MultiplyGenerator(randomScalar(t))
	table := NewTable(p)
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	for _, n := range []*big.Int{
		big.NewInt(0), big.NewInt(1), big.NewInt(7), big.NewInt(8), big.NewInt(9), big.NewInt(15), big.NewInt(16), big.NewInt(0x88), big.NewInt(0x7777),
		new(big.Int).Sub(order, big.NewInt(1)), new(big.Int).Sub(order, big.NewInt(8)), new(big.Int).Rsh(order, 1),
	} {
		b := n.FillBytes(make([]byte, Size))
		for i := range Size / 2 {
			b[i], b[Size-1-i] = b[Size-1-i], b[i]
		}
		k, err := edwards25519.NewScalar().SetCanonicalBytes(b)
		if err != nil {
			t.Fatal(err)
		}
		if !table.Multiply(new(Element), k).Equal(new(Element).Multiply(k, p)) {
			t.Errorf("%s times", n)
		}
	}
}

// TestSumIsTheSumOfMultiples, of any number of elements and weights of all kinds.
func TestSumIsTheSumOfMultiples(t *testing.T) {
	for _, n := range []int{0, 1, 2, 3, 17, 100, 600} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			elements, weights := make([]Element, n), make([]Weight, n)
			want := Identity()
			for i := range elements {
				elements[i].MultiplyGenerator(randomScalar(t))
				switch i % 5 {
				case 0:
					weights[i] = Weight(bytes.Repeat([]byte{0xff}, WeightSize))
				case 1: // nothing
				case 2:
					weights[i][15] = 0x80
				default:
					if _, err := rand.Read(weights[i][:]); err != nil {
						t.Fatal(err)
					}
				}
				if i%7 == 3 {
					elements[i] = *Identity()
				}
				k, err := edwards25519.NewScalar().SetCanonicalBytes(append(weights[i][:], make([]byte, Size-WeightSize)...))
				if err != nil {
					t.Fatal(err)
				}
				want.Add(want, new(Element).Multiply(k, &elements[i]))
			}
			if !new(Element).VarTimeSum(weights, elements).Equal(want) {
				t.Error("another sum")
			}
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	e := new(Element).MultiplyGenerator(randomScalar(b)).Bytes()
	for b.Loop() {
		decode(b, e[:])
	}
}

func BenchmarkEncode(b *testing.B) {
	e := new(Element).MultiplyGenerator(randomScalar(b))
	for b.Loop() {
		e.Bytes()
	}
}

func BenchmarkMultiply(b *testing.B) {
	e, k := new(Element).MultiplyGenerator(randomScalar(b)), randomScalar(b)
	for b.Loop() {
		e.Multiply(k, e)
	}
}

func BenchmarkTable(b *testing.B) {
	e, k := new(Element).MultiplyGenerator(randomScalar(b)), randomScalar(b)
	table := NewTable(e)
	for b.Loop() {
		table.Multiply(e, k)
	}
}

func BenchmarkSum(b *testing.B) {
	for _, n := range []int{1, 64, 1024, 16384} {
		elements, weights := make([]Element, n), make([]Weight, n)
		for i := range elements {
			elements[i].MultiplyGenerator(randomScalar(b))
			if _, err := rand.Read(weights[i][:]); err != nil {
				b.Fatal(err)
			}
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var e Element
			for b.Loop() {
				e.VarTimeSum(weights, elements)
			}
			b.ReportMetric(b.Elapsed().Seconds()*1e6/float64(b.N)/float64(n), "us/element")
		})
	}
}
