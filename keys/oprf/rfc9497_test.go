package oprf

import (
	"bytes"
	"compress/gzip"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cloudflare/circl/oprf"

	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
)

// vector is one of RFC 9497, appendix A, as circl carries them.
type vector struct {
	Identifier string `json:"identifier"`
	Mode       int    `json:"mode"`
	SkSm       string `json:"skSm"`
	PkSm       string `json:"pkSm"`
	Vectors    []struct {
		Blind             string
		BlindedElement    string
		EvaluationElement string
		Input, Output     string
		Proof             struct {
			Proof string `json:"proof"`
		}
	} `json:"vectors"`
}

func vectors(t *testing.T) (all []vector) {
	t.Helper()
	folder, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cloudflare/circl").Output()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(filepath.Join(strings.TrimSpace(string(folder)), "oprf", "testdata", "rfc9497.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err == nil {
		err = json.NewDecoder(z).Decode(&all)
	}
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func unhexed(t *testing.T, text string) (all [][]byte) {
	t.Helper()
	for _, one := range strings.Split(text, ",") {
		b, err := hex.DecodeString(one)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}

// TestVectorsOfRFC9497: what the key holder answers to the RFC's blinded elements are
// its evaluations, its proof is taken, and so is the RFC's; outputs are the RFC's.
func TestVectorsOfRFC9497(t *testing.T) {
	tried := 0
	for _, v := range vectors(t) {
		if v.Identifier != suite.Identifier() || v.Mode != 1 {
			continue
		}
		key := secret.New([32]byte(unhexed(t, v.SkSm)[0]))
		public, err := PublicKey(key)
		if err != nil || hex.EncodeToString(public[:]) != v.PkSm {
			t.Fatalf("public key %x, %v", public, err)
		}
		for _, test := range v.Vectors {
			blinded, evaluated, inputs, outputs := unhexed(t, test.BlindedElement), unhexed(t, test.EvaluationElement), unhexed(t, test.Input), unhexed(t, test.Output)
			h := evaluation
			h.Operation = EvaluateRFC9497
			n := len(blinded)
			request := append(h.append(nil, requestMagic, n), bytes.Join(blinded, nil)...)
			r, err := ParseRequest(request, 2)
			if err != nil {
				t.Fatal(err)
			}
			response, err := r.AnswerRFC9497(key, 2)
			if err != nil {
				t.Fatal(err)
			}
			for i := range evaluated {
				if !bytes.Equal(point(response, i), evaluated[i]) {
					t.Errorf("element %d is evaluated as %x", i, point(response, i))
				}
			}
			theirs := append(append(h.append(nil, responseMagic, n), bytes.Join(evaluated, nil)...), unhexed(t, test.Proof.Proof)[0]...)
			var blinds []oprf.Blind
			for _, b := range unhexed(t, test.Blind) {
				s := suite.Group().NewScalar()
				if err := s.UnmarshalBinary(b); err != nil {
					t.Fatal(err)
				}
				blinds = append(blinds, s)
			}
			server := new(oprf.PublicKey)
			if err := server.UnmarshalBinary(suite, public[:]); err != nil {
				t.Fatal(err)
			}
			client := oprf.NewVerifiableClient(suite, server)
			data, _, err := client.DeterministicBlind(inputs, blinds)
			if err != nil {
				t.Fatal(err)
			}
			for name, answer := range map[string][]byte{"ours": response, "the RFC's": theirs} {
				tokens := make([]Point, n)
				if err := finishRFC9497(client, data, answer, n, 0, n, tokens); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				for i := range tokens {
					if !bytes.Equal(tokens[i][:], outputs[i][:PointSize]) {
						t.Errorf("%s: output %d is %x", name, i, tokens[i])
					}
				}
			}
			tried++
		}
	}
	if tried < 3 {
		t.Errorf("%d vectors", tried)
	}
}

// TestBatchesOfRFC9497: of any size; a proof is of four elements at most, and what is not
// of the key is refused.
func TestBatchesOfRFC9497(t *testing.T) {
	key, public := newKey(t)
	other, _ := newKey(t)
	h := evaluation
	h.Operation = EvaluateRFC9497
	seen := map[nhsnumber.Number]Point{}
	for _, n := range []int{1, 3, 4, 5, 70} {
		all := numbers(n)
		batch, err := NumbersRFC9497(public, h, all, nil, 2)
		if err != nil {
			t.Fatal(err)
		}
		r, err := ParseRequest(batch.Request, 2)
		if err != nil {
			t.Fatal(err)
		}
		response, err := r.AnswerRFC9497(key, 2)
		if err != nil {
			t.Fatal(err)
		}
		if len(response) != headerSize+n*PointSize+(n+3)/4*ProofSize {
			t.Errorf("an answer of %d elements has %d bytes", n, len(response))
		}
		tokens, err := batch.Finish(response)
		if err != nil {
			t.Fatal(err)
		}
		for i, token := range tokens {
			if before, there := seen[all[i]]; there && before != token {
				t.Error("a number has two tokens")
			}
			seen[all[i]] = token
		}
		wrong, err := r.AnswerRFC9497(other, 2)
		if err != nil {
			t.Fatal(err)
		}
		response[len(response)-1] ^= 1
		for name, bad := range map[string][]byte{"another key": wrong, "a proof's bit": response, "nothing": nil, "short": response[:len(response)-1]} {
			if got, err := batch.Finish(bad); err == nil || got != nil {
				t.Errorf("%s: %d tokens", name, len(got))
			}
		}
	}
	if _, err := ParseRequest(nil, 2); !errors.Is(err, ErrWire) {
		t.Error(err)
	}
}
