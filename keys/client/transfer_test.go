package client

import (
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// remembered is Answers in memory.
type remembered struct {
	tokens map[uuid.UUID][][keys.TokenSize]byte
	err    error
}

func (r *remembered) Get(id uuid.UUID, n int) ([][keys.TokenSize]byte, bool, error) {
	tokens, known := r.tokens[id]
	return tokens, known && len(tokens) == n, nil
}

func (r *remembered) Put(id uuid.UUID, tokens [][keys.TokenSize]byte) error {
	r.tokens[id] = slices.Clone(tokens)
	return r.err
}

// epoch returns a key, and the record of a project that names it.
func epoch(t *testing.T, number uint32) (secret.Key, *keys.Project) {
	t.Helper()
	key, err := oprf.NewKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	public, err := oprf.PublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	text := hex.EncodeToString(public[:])
	return key, &keys.Project{Name: "study", Domain: "lake", Scheme: keys.SchemeOblivious, Keys: keys.KeySet{DomainNo: 1, TokenEpoch: number, TokenPublicKey: &text}, Reidentify: keys.Reidentify{Mode: "direct"}}
}

// TestAnsweredBatchesAreNotAskedAgain: a run with the same seed takes what was kept, and
// asks for the rest by the same ids; another seed, or other tokens, are another batch. What
// does not hold is not kept.
func TestAnsweredBatchesAreNotAskedAgain(t *testing.T) {
	oldKey, from := epoch(t, 1)
	newKey, to := epoch(t, 2)
	base, err := publicKey(from, "")
	if err != nil {
		t.Fatal(err)
	}
	public, err := publicKey(to, "")
	if err != nil {
		t.Fatal(err)
	}
	var asked, lies atomic.Int64
	ids := make(chan string, 100)
	c := serve(t, nil, func(_ int64, w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		request, err := oprf.ParseRequest(body, 1)
		if err != nil || r.URL.Path != "/v1/domains/lake/rotations" {
			t.Errorf("%s: %v", r.URL, err)
			return
		}
		asked.Add(1)
		ids <- r.Header.Get("X-Request-ID")
		key := newKey
		if lies.Load() > 0 {
			key = oldKey
		}
		quotient, err := oprf.Quotient(key, oldKey)
		if err != nil {
			t.Error(err)
		}
		answer, err := request.Answer(quotient, base, public, 1)
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(answer)
	}).client(t)

	var tokens [][keys.TokenSize]byte
	for _, n := range someNumbers(20) {
		tokens = append(tokens, oprf.Encode(n)) // an element like any token
	}
	seed, other := secret.New([secret.Size]byte{1}), secret.New([secret.Size]byte{2})
	answers := &remembered{tokens: map[uuid.UUID][][keys.TokenSize]byte{}}
	move := func(seed secret.Key, answers Answers, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error) {
		t.Helper()
		r, err := NewRotation(c, from, to, seed, answers)
		if err != nil {
			t.Fatal(err)
		}
		return r.Tokens(t.Context(), tokens)
	}
	expect := func(what string, requests int64, err error) {
		t.Helper()
		if got := asked.Swap(0); got != requests || err != nil {
			t.Errorf("%s: %d requests, want %d; %v", what, got, requests, err)
		}
	}
	lies.Store(1)
	if made, err := move(seed, answers, tokens); fault.KindOf(err) != fault.Disagreement || made != nil || len(answers.tokens) != 0 {
		t.Errorf("of other keys: %d tokens, %d kept, %v", len(made), len(answers.tokens), err)
	}
	lies.Store(0)
	asked.Store(0)
	first := <-ids

	want, err := move(seed, answers, tokens)
	expect("the first time", 1, err)
	if again := <-ids; again != first {
		t.Error("the same batch of the same seed has another id")
	}
	got, err := move(seed, answers, append(slices.Clone(tokens), tokens[:5]...)) // merged, it is the same batch
	expect("the second time", 0, err)
	if !slices.Equal(got[:20], want) || !slices.Equal(got[20:], want[:5]) {
		t.Error("the tokens are others")
	}
	got, err = move(seed, nil, tokens)
	expect("with nothing kept (control)", 1, err)
	if !slices.Equal(got, want) {
		t.Error("the tokens are others")
	}
	if again := <-ids; again != first {
		t.Error("the same batch of the same seed has another id")
	}
	_, err = move(seed, answers, tokens[1:])
	expect("other tokens", 1, err)
	_, err = move(other, answers, tokens)
	expect("another seed", 1, err)
	answers.err = errors.New("no space")
	if _, err := move(seed, answers, tokens[2:]); !errors.Is(err, answers.err) {
		t.Errorf("what could not be kept: %v", err)
	}
}
