package clk

import (
	"crypto/hmac"
	"crypto/md5"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash"
	"math/big"
	"testing"

	"pgregory.net/rapid"
)

// The kernel once more, slowly and as the papers have it: a bit is a bool, a
// hash is a big number, a key is derived when it is needed.

// twinKey is RFC 5869: bytes from to from+size of what HKDF gives.
func twinKey(newHash func() hash.Hash, secret, salt, info []byte, from, size int) []byte {
	mac := func(key []byte, parts ...[]byte) []byte {
		m := hmac.New(newHash, key)
		for _, part := range parts {
			m.Write(part)
		}
		return m.Sum(nil)
	}
	if len(salt) == 0 {
		salt = make([]byte, newHash().Size())
	}
	pseudorandom := mac(salt, secret)
	var stream, last []byte
	for i := 1; len(stream) < from+size; i++ {
		last = mac(pseudorandom, last, info, []byte{byte(i)})
		stream = append(stream, last...)
	}
	return stream[from : from+size]
}

func twinRest(newHash func() hash.Hash, key, message []byte, length int) int64 {
	m := hmac.New(newHash, key)
	m.Write(message)
	v := new(big.Int).SetBytes(m.Sum(nil))
	return v.Mod(v, big.NewInt(int64(length))).Int64()
}

// twinDouble is (h1 + i*h2) mod l of Schnell and others.
func twinDouble(keys [2][]byte, token []byte, k, length int, prevent bool) (positions []int64) {
	first, step := twinRest(sha1.New, keys[0], token, length), twinRest(md5.New, keys[1], token, length)
	for c := 0; prevent && step == 0; c++ {
		step = twinRest(md5.New, keys[1], append(token[:len(token):len(token)], string(rune(c))...), length)
	}
	for i := range int64(k) {
		positions = append(positions, (first+i*step)%int64(length))
	}
	return positions
}

func twinBlake(key, token []byte, k, length int) (positions []int64) {
	for i := range k {
		digest := slowBlake2b(key, []byte(fmt.Sprint(i/32)), token)
		short := int64(digest[i%32*2]) + 256*int64(digest[i%32*2+1])
		positions = append(positions, short%int64(length))
	}
	return positions
}

// slowBlake2b is section 3 of RFC 7693 with a digest of 64 bytes, and the salt
// of the BLAKE2 paper.
func slowBlake2b(key, salt, message []byte) (digest []byte) {
	word := func(b []byte) (w uint64) {
		for i := 7; i >= 0; i-- {
			w = w<<8 | uint64(b[i])
		}
		return w
	}
	var parameters [64]byte
	copy(parameters[:], []byte{64, byte(len(key)), 1, 1})
	copy(parameters[32:48], salt)
	iv := [8]uint64{0x6a09e667f3bcc908, 0xbb67ae8584caa73b, 0x3c6ef372fe94f82b, 0xa54ff53a5f1d36f1, 0x510e527fade682d1, 0x9b05688c2b3e6c1f, 0x1f83d9abfb41bd6b, 0x5be0cd19137e2179}
	h := iv
	for i := range h {
		h[i] ^= word(parameters[8*i:])
	}
	data := append(append([]byte{}, key...), make([]byte, (128-len(key)%128)%128)...)
	data = append(data, message...)
	length := len(data)
	for len(data)%128 != 0 || len(data) == 0 {
		data = append(data, 0)
	}
	for at := 0; at < len(data); at += 128 {
		var v [16]uint64
		copy(v[:8], h[:])
		copy(v[8:], iv[:])
		v[12] ^= uint64(min(at+128, length))
		if at+128 >= len(data) {
			v[14] ^= 1<<64 - 1
		}
		turn := func(x uint64, by int) uint64 { return x>>by | x<<(64-by) }
		mix := func(a, b, c, d int, x, y uint64) {
			v[a] += v[b] + x
			v[d] = turn(v[d]^v[a], 32)
			v[c] += v[d]
			v[b] = turn(v[b]^v[c], 24)
			v[a] += v[b] + y
			v[d] = turn(v[d]^v[a], 16)
			v[c] += v[d]
			v[b] = turn(v[b]^v[c], 63)
		}
		for round := range 12 {
			m := func(i int) uint64 { return word(data[at+8*int(blakeSigma[round%10][i]):]) }
			for i := range 4 {
				mix(i, 4+i, 8+i, 12+i, m(2*i), m(2*i+1))
			}
			for i := range 4 {
				mix(i, 4+(i+1)%4, 8+(i+2)%4, 12+(i+3)%4, m(8+2*i), m(8+2*i+1))
			}
		}
		for i := range h {
			h[i] ^= v[i] ^ v[i+8]
		}
	}
	for _, w := range h {
		for range 8 {
			digest = append(digest, byte(w))
			w >>= 8
		}
	}
	return digest
}

// twinText folds, and writes six bits a character.
func twinText(filter []bool, folds int) (text string) {
	for range folds {
		half := len(filter) / 2
		for i := range half {
			filter[i] = filter[i] != filter[half+i]
		}
		filter = filter[:half]
	}
	octets := (len(filter) + 7) / 8
	for at := 0; at < 8*octets; at += 6 {
		value := 0
		for i := at; i < at+6; i++ {
			value *= 2
			if i < len(filter) && filter[i] {
				value++
			}
		}
		text += string(base64Alphabet[value])
	}
	for len(text)%4 != 0 {
		text += "="
	}
	return text
}

// TestKernelAgainstTwin: keys, positions, filters, folds and base64 of random
// tokens.
func TestKernelAgainstTwin(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		length := some(t, 1024, 8, 16, 64, 2048)
		kdf := members{"type": "HKDF", "keySize": some(t, 64, 1, 16, 63)}
		newHash, blake := sha256.New, rapid.Bool().Draw(t, "blake")
		if rapid.Bool().Draw(t, "SHA-512") {
			newHash, kdf["hash"] = sha512.New, "SHA512"
		}
		if !blake && rapid.Bool().Draw(t, "odd") {
			length, kdf["keySize"] = rapid.IntRange(2, 700).Draw(t, "length"), some(t, 64, 65, 200)
		}
		bytes := rapid.SliceOfN(rapid.Byte(), 0, 80)
		salt, info, secret := bytes.Draw(t, "salt"), bytes.Draw(t, "info"), rapid.StringMatching(`.{1,90}`).Draw(t, "secret")
		kdf["salt"], kdf["info"] = base64.StdEncoding.EncodeToString(salt), base64.StdEncoding.EncodeToString(info)
		folds := rapid.IntRange(0, 2).Draw(t, "folds")
		prevent := !blake && rapid.Bool().Draw(t, "prevent")
		k := rapid.IntRange(1, 90).Draw(t, "bits")
		var features []any
		var row []string
		filter := make([]bool, length<<folds)
		for i := range rapid.IntRange(1, 3).Draw(t, "features") {
			token := rapid.StringOfN(rapid.Rune(), 1, 150, 500).Draw(t, "token")
			row = append(row, token)
			hashing := members{"type": "doubleHash", "prevent_singularity": prevent}
			if blake {
				hashing = members{"type": "blakeHash"}
			}
			features = append(features, members{"identifier": fmt.Sprint(i), "format": members{"type": "string"}, "hashing": members{"comparison": members{"type": "exact"}, "strategy": members{"bitsPerToken": k}, "hash": hashing}})
			size := kdf["keySize"].(int)
			key := func(n int) []byte { return twinKey(newHash, []byte(secret), salt, info, n*size, size) }
			var positions []int64
			if blake {
				positions = twinBlake(key(2*i), []byte(token), k, len(filter))
			} else {
				positions = twinDouble([2][]byte{key(2 * i), key(2*i + 1)}, []byte(token), k, len(filter), prevent)
			}
			for _, position := range positions {
				filter[position] = true
			}
		}
		document, err := json.Marshal(members{"version": 3, "clkConfig": members{"l": length, "xor_folds": folds, "kdf": kdf}, "features": features})
		if err != nil {
			t.Fatal(err)
		}
		s, err := Parse(document)
		if err != nil {
			t.Fatalf("%v in %s", err, document)
		}
		shared, err := NewSecret([]byte(secret))
		if err != nil {
			t.Skip("no secret: ", err) // a byte order mark
		}
		e, err := NewEncoder(s, shared)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := encodeText(e.NewWorker(1<<14), row), twinText(filter, folds); got != want {
			t.Fatalf("got %s, want %s with %s", got, want, document)
		}
	})
}
