package client

import (
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
)

func someNumbers(count int) (all []nhsnumber.Number) {
	for i := 400_000_000; len(all) < count; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", i)))
		if digit, ok := nhsnumber.CheckDigit(first); ok {
			all = append(all, nhsnumber.Number(append(first[:], digit)))
		}
	}
	return all
}

// TestNumbersAreEvaluatedOnceEach: duplicates and what was asked before are not sent;
// tokens come in the order of the numbers; many numbers make several batches.
func TestNumbersAreEvaluatedOnceEach(t *testing.T) {
	for _, scheme := range []string{keys.SchemeOblivious, keys.SchemeRFC9497} {
		t.Run(scheme, func(t *testing.T) {
			key, err := oprf.NewKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			public, err := oprf.PublicKey(key)
			if err != nil {
				t.Fatal(err)
			}
			var elements, refusals, lies atomic.Int64
			other, err := oprf.NewKey(nil)
			if err != nil {
				t.Fatal(err)
			}
			c := serve(t, nil, func(_ int64, w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				request, err := oprf.ParseRequest(body, 1)
				if err != nil || r.URL.Query().Get("project") != "study" || r.Header.Get("Content-Type") != "application/octet-stream" {
					t.Errorf("%s: %v", r.URL, err)
					return
				}
				if refusals.Add(-1) >= 0 {
					refuse(w, "busy")
					return
				}
				with := key
				if lies.Load() > 0 {
					with = other
				}
				elements.Add(int64(request.N))
				var answer []byte
				if scheme == keys.SchemeRFC9497 {
					answer, err = request.AnswerRFC9497(with, 1)
				} else {
					answer, err = request.Answer(with, oprf.Generator(), public, 1)
				}
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(answer)
			}).client(t)
			text := hex.EncodeToString(public[:])
			kcv := keys.PublicKCV(public[:])
			project := &keys.Project{Name: "study", Scheme: scheme, Keys: keys.KeySet{DomainNo: 1, TokenEpoch: 1, TokenPublicKey: &text, TokenKCV: &kcv}}
			e, err := newEvaluator(c, project)
			if err != nil {
				t.Fatal(err)
			}
			numbers := someNumbers(300)
			mixed := append(append([]nhsnumber.Number{}, numbers...), numbers[:100]...)
			refusals.Store(1) // and is asked again
			tokens, err := e.tokens(t.Context(), mixed)
			if err != nil || elements.Load() != 300 {
				t.Fatalf("%d elements for 300 numbers, %v", elements.Load(), err)
			}
			seen := map[[keys.TokenSize]byte]nhsnumber.Number{}
			for i, token := range tokens {
				if n, there := seen[token]; there && n != mixed[i] {
					t.Fatal("two numbers have one token")
				}
				seen[token] = mixed[i]
			}
			if len(seen) != 300 {
				t.Errorf("300 numbers have %d tokens", len(seen))
			}
			again, err := e.tokens(t.Context(), numbers[50:60])
			if err != nil || elements.Load() != 300 || again[0] != tokens[50] || again[9] != tokens[59] {
				t.Errorf("%d elements, %v", elements.Load(), err)
			}
			if none, err := e.tokens(t.Context(), nil); err != nil || len(none) != 0 {
				t.Errorf("%d tokens of nobody, %v", len(none), err)
			}
			lies.Store(1)
			if made, err := e.tokens(t.Context(), someNumbers(310)); fault.KindOf(err) != fault.Disagreement || made != nil {
				t.Errorf("of another key: %d tokens, %v", len(made), err)
			}
			lies.Store(0)
			if _, err := e.tokens(t.Context(), someNumbers(310)); err != nil {
				t.Errorf("what was not believed is remembered: %v", err)
			}
			wrong := keys.PublicKCV([]byte("another key"))
			project.Keys.TokenKCV = &wrong
			if _, err := newEvaluator(c, project); fault.KindOf(err) != fault.Disagreement {
				t.Errorf("a public key of another check value: %v", err)
			}
		})
	}
}

// TestCacheForgets what was not asked for lately, and holds no number.
func TestCacheForgets(t *testing.T) {
	c, err := newTokenCache()
	if err != nil {
		t.Fatal(err)
	}
	numbers := someNumbers(10)
	for i, n := range numbers {
		c.put(n, [keys.TokenSize]byte{byte(i + 1)})
	}
	if token, known := c.get(numbers[3]); !known || token[0] != 4 {
		t.Errorf("%v, %v", token, known)
	}
	c.old, c.new = c.new, map[[16]byte][keys.TokenSize]byte{}
	if _, known := c.get(numbers[3]); !known {
		t.Error("what was asked for lately is forgotten")
	}
	c.old, c.new = c.new, map[[16]byte][keys.TokenSize]byte{}
	if _, known := c.get(numbers[3]); !known {
		t.Error("what was asked for between is forgotten")
	}
	if _, known := c.get(numbers[4]); known {
		t.Error("what nobody has asked for is remembered")
	}
	if printed := fmt.Sprintf("%v %+v", c, c.old); len(printed) == 0 || hexOf(printed, numbers) {
		t.Error("the cache prints a number")
	}
}

func hexOf(printed string, numbers []nhsnumber.Number) bool {
	for _, n := range numbers {
		for _, form := range []string{string(n[:]), fmt.Sprint(n[:]), hex.EncodeToString(n[:])} {
			if len(form) > 0 && strings.Contains(printed, form) {
				return true
			}
		}
	}
	return false
}
