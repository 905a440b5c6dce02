package client

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"hash"
	"net/http"
	"net/url"
	"runtime"
	"slices"
	"strconv"
	"sync"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/oprf"
)

// What an evaluator does at a time.
const (
	batchesInFlight = 2       // one is blinded or verified here while another is evaluated there
	cachedTokens    = 1 << 19 // of each of two generations: some 50 MB together
)

// evaluator has a project's numbers evaluated by the key holder, which sees neither them
// nor their tokens, and verifies each answer. It is safe for concurrent use.
type evaluator struct {
	client  *Client
	project *keys.Project
	public  oprf.Point
	blinder *oprf.Blinder
	cache   *tokenCache
}

// getRecord is what to do about a record whose public key cannot be used.
const getRecord = "get the record from the key holder: tokeniser project"

// publicKey returns the public key of a record's domain, which may be no element of the
// group.
func publicKey(project *keys.Project, doing string) (oprf.Point, error) {
	if project.Keys.TokenPublicKey == nil {
		return oprf.Point{}, fault.New(fault.Disagreement, doing, "the record of project "+project.Name+" has no public key", getRecord)
	}
	public, err := oprf.ParsePublicKey(project.Keys.TokenPublicKey)
	if err != nil {
		return public, fault.New(fault.Disagreement, doing, "the public key in the record of project "+project.Name+" is none", getRecord)
	}
	return public, nil
}

func newEvaluator(c *Client, project *keys.Project) (*evaluator, error) {
	const doing = "reading the public key of the project's domain"
	public, err := publicKey(project, doing)
	if err != nil {
		return nil, err
	}
	if project.Keys.TokenKCV != nil && keys.PublicKCV(public[:]) != *project.Keys.TokenKCV {
		return nil, fault.New(fault.Disagreement, doing, "it is not the one of the record's key check value", getRecord)
	}
	e := &evaluator{client: c, project: project, public: public}
	if e.blinder, err = oprf.NewBlinder(oprf.Generator(), e.public, runtime.GOMAXPROCS(0)); err != nil {
		return nil, fault.New(fault.Disagreement, doing, "it is no element of the group", getRecord)
	}
	e.cache, err = newTokenCache()
	return e, err
}

// tokens returns the token of each number, asking for each number once.
func (e *evaluator) tokens(ctx context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error) {
	tokens := make([][keys.TokenSize]byte, len(numbers))
	var unknown []nhsnumber.Number
	places := map[nhsnumber.Number][]int{}
	for i, n := range numbers {
		if token, known := e.cache.get(n); known {
			tokens[i] = token
			continue
		}
		if places[n] == nil {
			unknown = append(unknown, n)
		}
		places[n] = append(places[n], i)
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(batchesInFlight)
	for len(unknown) > 0 {
		batch := unknown[:min(len(unknown), oprf.MaxBatch)]
		unknown = unknown[len(batch):]
		group.Go(fault.Contained(func() error {
			made, err := e.batch(ctx, batch)
			if err != nil {
				return err
			}
			for i, n := range batch {
				for _, place := range places[n] {
					tokens[place] = made[i]
				}
				e.cache.put(n, made[i])
			}
			return nil
		}))
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return tokens, nil
}

// batch has some numbers evaluated, and verified.
func (e *evaluator) batch(ctx context.Context, numbers []nhsnumber.Number) ([]oprf.Point, error) {
	doing := "having numbers of project " + e.project.Name + " evaluated"
	id := uuid.New()
	h := oprf.Header{Operation: oprf.Evaluate, DomainNo: e.project.Keys.DomainNo, TokenEpoch: e.project.Keys.TokenEpoch, RequestID: id}
	var batch *oprf.Batch
	var err error
	if e.project.Scheme == keys.SchemeRFC9497 {
		h.Operation = oprf.EvaluateRFC9497
		batch, err = oprf.NumbersRFC9497(e.public, h, numbers, rand.Reader, runtime.GOMAXPROCS(0))
	} else {
		batch, err = e.blinder.Numbers(h, numbers, rand.Reader)
	}
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "they could not be blinded", "")
	}
	response, err := e.client.octets(ctx, id.String(), doing, "/v1/points?project="+url.QueryEscape(e.project.Name), batch.Request)
	if err != nil {
		return nil, err
	}
	tokens, err := batch.Finish(response)
	if err != nil {
		return nil, fault.New(fault.Disagreement, doing, "the key holder's proof does not hold: what it answered is not of the key that the project's record names", "use none of it; tell the key holder's operators and information governance")
	}
	return tokens, nil
}

// PublicKey asks the key holder for the public key of a domain's epoch, by all of its
// names.
func (c *Client) PublicKey(ctx context.Context, domain string, domainNo, epoch uint32) (oprf.Point, error) {
	doing := "asking the key holder for the public key of domain " + domain
	d, err := c.Domain(ctx, domain)
	if err != nil {
		return oprf.Point{}, err
	}
	at := slices.IndexFunc(d.Epochs, func(e api.Epoch) bool { return e.Epoch == epoch })
	if d.DomainNo != domainNo || at < 0 {
		return oprf.Point{}, fault.New(fault.Disagreement, doing, "it has another number there, or no such epoch", "ask whose tokens they are which domain and key holder they are of")
	}
	public, err := oprf.ParsePublicKey(&d.Epochs[at].PublicKey)
	if err != nil {
		return public, fault.New(fault.Disagreement, doing, "its epoch has none: its scheme is "+d.Scheme, "")
	}
	return public, nil
}

// ConvertForParty has a batch of encrypted tokens of a project converted under a grant for
// its recipient, and returns what only the recipient can open. The same request is charged
// once. coming is how many rows are still to be converted, those of this batch included: a
// grant that does not suffice for all is not used for some; 0 is not known.
func (c *Client) ConvertForParty(ctx context.Context, grant, project string, coming int64, request []byte) ([]byte, error) {
	const doing = "converting tokens for another party"
	id, err := oprf.RequestID(request)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "it is no batch", "")
	}
	path := "/v1/grants/" + url.PathEscape(grant) + "/convert?project=" + url.QueryEscape(project)
	if coming > 0 {
		path += "&rows=" + strconv.FormatInt(coming, 10)
	}
	return c.octets(ctx, uuid.UUID(id).String(), doing, path, request)
}

// octets sends a batch and returns the answer's bytes.
func (c *Client) octets(ctx context.Context, id, doing, path string, content []byte) ([]byte, error) {
	return exchanged(ctx, c, doing, func(ctx context.Context) (*[]byte, error) {
		return attempt(ctx, c, doing, sent{http.MethodPost, path, id, "application/octet-stream", content}, func(b []byte) (*[]byte, error) {
			kept := append([]byte(nil), b...) // the buffer is cleared
			return &kept, nil
		})
	})
}

// tokenCache remembers tokens of numbers, under a key of this process: who reads its
// memory finds tokens, and no numbers beside them. What was not asked for lately is
// forgotten.
type tokenCache struct {
	mu       sync.Mutex
	mac      hash.Hash
	new, old map[[16]byte][keys.TokenSize]byte
	scratch  [sha256.Size]byte
}

func newTokenCache() (*tokenCache, error) {
	var key [sha256.Size]byte
	if _, err := rand.Read(key[:]); err != nil {
		return nil, fault.New(fault.Internal, "drawing a random key", "the system gives no random bytes", "")
	}
	defer clear(key[:])
	return &tokenCache{mac: hmac.New(sha256.New, key[:]), new: map[[16]byte][keys.TokenSize]byte{}}, nil
}

// key is called with the lock held.
func (c *tokenCache) key(n nhsnumber.Number) [16]byte {
	c.mac.Reset()
	c.mac.Write(n[:])
	return [16]byte(c.mac.Sum(c.scratch[:0])[:16])
}

func (c *tokenCache) get(n nhsnumber.Number) (token [keys.TokenSize]byte, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.key(n)
	if token, known = c.new[k]; known {
		return token, true
	}
	if token, known = c.old[k]; known {
		c.add(k, token)
	}
	return token, known
}

func (c *tokenCache) put(n nhsnumber.Number, token [keys.TokenSize]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.add(c.key(n), token)
}

func (c *tokenCache) add(k [16]byte, token [keys.TokenSize]byte) {
	if len(c.new) >= cachedTokens {
		c.old, c.new = c.new, map[[16]byte][keys.TokenSize]byte{}
	}
	c.new[k] = token
}
