package client

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"io"
	"net/url"
	"runtime"

	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/oprf"
	"tarn/keys/secret"
)

// Transfer brings tokens of one key to another, without the numbers: of an epoch that is
// over to the current one, or of one domain to another's under a grant. The key holder
// multiplies what it cannot see, and proves with which keys. It is safe for concurrent
// use.
//
// A batch's request id and blinds follow from the seed and from all that the batch asks:
// a run that was interrupted and is run again with the same seed sends the same bytes
// again, and is charged once within the time that the key holder remembers them. What
// Answers has kept it does not ask at all.
type Transfer struct {
	client    *Client
	from, to  *keys.Project
	project   string // whose budget it is, and whose certificate
	path      string
	doing     string
	operation oprf.Operation
	blinder   *oprf.Blinder
	seed      secret.Key
	answers   Answers
}

// Answers keeps what batches were answered, by their request ids, for a run that is
// interrupted and run again. It is used by several goroutines.
type Answers interface {
	// Get returns the n tokens that a batch was answered, if they were kept.
	Get(id uuid.UUID, n int) (tokens [][keys.TokenSize]byte, known bool, err error)
	// Put keeps them. They have been verified.
	Put(id uuid.UUID, tokens [][keys.TokenSize]byte) error
}

// NewRotation makes a rotation from the epoch of one record of a project to that of
// another. answers may be nil: nothing is kept then.
func NewRotation(c *Client, from, to *keys.Project, seed secret.Key, answers Answers) (*Transfer, error) {
	const doing = "comparing the project's records of both epochs"
	differ := func(wrong, next string) error { return fault.New(fault.Disagreement, doing, wrong, next) }
	switch {
	case from.Scheme != keys.SchemeOblivious || to.Scheme != keys.SchemeOblivious:
		return nil, fault.New(fault.Policy, doing, "only tokens of scheme oblivious can be rotated", "make the tokens again from the numbers")
	case from.Domain != to.Domain || from.Keys.DomainNo != to.Keys.DomainNo:
		return nil, differ("they are of two domains", "give the record of the same project from before the key was rotated")
	case from.Keys.TokenEpoch == to.Keys.TokenEpoch:
		return nil, differ("they are of one epoch: there is nothing to rotate", "give the record from before the key was rotated with --from")
	case to.Reidentify.Mode == "none":
		return nil, fault.New(fault.Policy, doing, "the project's tokens are release tokens, which are one-way", "make them again from the numbers")
	}
	r := &Transfer{
		client: c, from: from, to: to, seed: seed, answers: answers, project: to.Name, operation: oprf.Rotate, doing: "rotating tokens of domain " + from.Domain,
		path: "/v1/domains/" + url.PathEscape(from.Domain) + "/rotations",
	}
	return r, r.begin(doing)
}

// NewConversion makes a conversion of tokens of one project's domain into those of
// another's, within one controller, under a grant. answers is as with NewRotation.
func NewConversion(c *Client, grant string, from, to *keys.Project, seed secret.Key, answers Answers) (*Transfer, error) {
	const doing = "comparing the records of both domains"
	switch {
	case from.Scheme != keys.SchemeOblivious || to.Scheme != keys.SchemeOblivious:
		return nil, fault.New(fault.Policy, doing, "only tokens of scheme oblivious can be converted", "make the tokens again from the numbers")
	case from.Domain == to.Domain:
		return nil, fault.New(fault.Disagreement, doing, "they are of one domain: there is nothing to convert", "give the record of a project of the other domain with --to")
	case from.Reidentify.Mode == "none" || to.Reidentify.Mode == "none":
		return nil, fault.New(fault.Policy, doing, "one project's tokens are release tokens, which are one-way", "make them again from the numbers")
	}
	r := &Transfer{
		client: c, from: from, to: to, seed: seed, answers: answers, project: from.Name, operation: oprf.Convert, doing: "converting tokens of domain " + from.Domain + " into those of " + to.Domain,
		path: "/v1/grants/" + url.PathEscape(grant) + "/convert",
	}
	return r, r.begin(doing)
}

// begin reads both public keys.
func (r *Transfer) begin(doing string) error {
	from, err := publicKey(r.from, doing)
	if err != nil {
		return err
	}
	to, err := publicKey(r.to, doing)
	if err != nil {
		return err
	}
	if r.blinder, err = oprf.NewBlinder(from, to, runtime.GOMAXPROCS(0)); err != nil {
		return fault.New(fault.Disagreement, doing, "a public key is no element of the group", getRecord)
	}
	return nil
}

// Tokens returns what tokens become, in order. At most [oprf.MaxBatch] are
// brought at a time.
func (r *Transfer) Tokens(ctx context.Context, tokens [][keys.TokenSize]byte) ([][keys.TokenSize]byte, error) {
	var unique []oprf.Point
	place := map[oprf.Point]int{}
	for _, token := range tokens {
		if _, there := place[token]; !there {
			place[token] = len(unique)
			unique = append(unique, token)
		}
	}
	if len(unique) == 0 {
		return nil, nil
	}
	id, randomness, err := r.derived(unique)
	if err != nil {
		return nil, fault.New(fault.Internal, r.doing, "the blinds could not be made", "")
	}
	made, err := r.batch(ctx, id, unique, randomness)
	if err != nil {
		return nil, err
	}
	out := make([][keys.TokenSize]byte, len(tokens))
	for i, token := range tokens {
		out[i] = made[place[token]]
	}
	return out, nil
}

// batch returns what the tokens of one batch become: as it was kept, or else as the key
// holder answers.
func (r *Transfer) batch(ctx context.Context, id uuid.UUID, tokens []oprf.Point, randomness io.Reader) ([][keys.TokenSize]byte, error) {
	if r.answers != nil {
		if made, known, err := r.answers.Get(id, len(tokens)); known || err != nil {
			return made, err
		}
	}
	h := oprf.Header{
		Operation: r.operation, DomainNo: r.from.Keys.DomainNo, TokenEpoch: r.from.Keys.TokenEpoch,
		ToDomainNo: r.to.Keys.DomainNo, ToTokenEpoch: r.to.Keys.TokenEpoch, RequestID: id,
	}
	batch, err := r.blinder.Tokens(h, tokens, randomness)
	if err != nil {
		return nil, fault.New(fault.Usage, r.doing, "a token is none of scheme oblivious", "give tokens as tokeniser column writes them")
	}
	response, err := r.client.octets(ctx, id.String(), r.doing, r.path+"?project="+url.QueryEscape(r.project), batch.Request)
	if err != nil {
		return nil, err
	}
	points, err := batch.Finish(response)
	if err != nil {
		return nil, fault.New(fault.Disagreement, r.doing, "the key holder's proof does not hold: what it answered is not of the keys that the records name", "use none of it; tell the key holder's operators and information governance")
	}
	made := make([][keys.TokenSize]byte, len(points))
	for i, p := range points {
		made[i] = p
	}
	if r.answers == nil {
		return made, nil
	}
	return made, r.answers.Put(id, made)
}

// derived returns a batch's request id and the randomness of its blinds: of the seed and
// of all that is asked, so that two batches share neither.
func (r *Transfer) derived(tokens []oprf.Point) (id uuid.UUID, randomness io.Reader, err error) {
	sum := sha256.New()
	for i := range tokens {
		sum.Write(tokens[i][:])
	}
	what := keys.LP(keys.Text("tarn/transfer/v1"), []byte{byte(r.operation)}, keys.U32(r.from.Keys.DomainNo), keys.U32(r.from.Keys.TokenEpoch), keys.U32(r.to.Keys.DomainNo), keys.U32(r.to.Keys.TokenEpoch),
		keys.Text(r.project), sum.Sum(nil))
	r.seed.Derive(append(bytes.Clone(what), 0)).Use(func(b *[secret.Size]byte) { id = uuid.UUID(b[:16]) })
	id[6], id[8] = id[6]&0x0f|0x80, id[8]&0x3f|0x80 // a UUID of version 8 (RFC 9562)
	r.seed.Derive(append(what, 1)).Use(func(b *[secret.Size]byte) {
		var block cipher.Block
		if block, err = aes.NewCipher(b[:]); err == nil {
			randomness = keystream{cipher.NewCTR(block, make([]byte, aes.BlockSize))}
		}
	})
	return id, randomness, err
}

// keystream reads what a cipher makes of zeros.
type keystream struct{ cipher.Stream }

// Read fills p.
func (k keystream) Read(p []byte) (int, error) {
	clear(p)
	k.XORKeyStream(p, p)
	return len(p), nil
}
