package soak

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/bench/load"
	"tarn/keys/fault"
)

// Checked is what came of asking for acknowledged requests again.
type Checked struct {
	Asked   int `json:"asked"`
	Same    int `json:"same"`         // answered as they were
	Changed int `json:"keys_changed"` // refused, because they were answered under keys of before
	Wrong   int `json:"wrong"`        // anything else
	Charged int `json:"charged"`      // rows that were charged again
}

// format is how a checker says what it found.
const checkedFormat = "of %d asked again %d were answered as before, %d were of other keys, %d were wrong; %d rows were charged"

// String says what was found, in a line.
func (c *Checked) String() string {
	return fmt.Sprintf(checkedFormat, c.Asked, c.Same, c.Changed, c.Wrong, c.Charged)
}

// Whole reports whether every request was known, and answered as it was.
func (c *Checked) Whole() bool { return c.Asked > 0 && c.Wrong == 0 && c.Charged == 0 }

// CheckOptions say what is checked.
type CheckOptions struct {
	Ledger        string // what was acknowledged
	Table         string // of the people whose requests they were
	Address       string // of the service
	CA, Cert, Key string
	Most          int // requests of the ledger, evenly taken; 0 is all
}

// Check sends requests that were acknowledged again, each under its id: they must be
// answered as they were and charged nothing; those of an earlier epoch are told so.
func Check(ctx context.Context, o CheckOptions) (*Checked, error) {
	all, err := readLedger(o.Ledger)
	if err != nil {
		return nil, err
	}
	header, rows, err := load.ReadRows(o.Table, people)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the people", err, "")
	}
	requests, err := newTemplates(header, rows)
	if err != nil {
		return nil, err
	}
	config, err := load.TLS(o.CA, o.Cert, o.Key)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the client's certificate", err, "")
	}
	c := &Checked{}
	asking := map[string]*asked{}
	for i := range all {
		if o.Most > 0 && i*o.Most/len(all) == (i-1)*o.Most/len(all) && i > 0 {
			continue
		}
		a := &all[i]
		if a.Template < 0 || a.Template >= len(requests.all) {
			return nil, fault.New(fault.Usage, "checking what was acknowledged", "the ledger is of other people", "")
		}
		p := asking[a.Project]
		if p == nil {
			target := load.Target{Address: o.Address, Path: projectPath(a.Project) + "/tokenise", TLS: config}
			p = &asked{conn: load.NewConn(target, uint64(i)), target: target}
			defer p.conn.Close()
			if p.before, err = remaining(ctx, target, a.Project); err != nil {
				return nil, err
			}
			asking[a.Project] = p
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		c.Asked++
		if err := p.again(requests.all[a.Template], a, c); err != nil {
			return nil, err
		}
	}
	for name, p := range asking {
		after, err := remaining(ctx, p.target, name)
		if err != nil {
			return nil, err
		}
		c.Charged += int(p.before - after)
	}
	return c, nil
}

// asked is a project's part of a check.
type asked struct {
	conn   *load.Conn
	target load.Target
	before int64 // rows of its budget that were left
}

func (p *asked) again(r *template, a *acknowledged, c *Checked) error {
	answer, err := p.conn.Do(&r.plain, a.ID, answerWithin)
	if err != nil {
		return fault.New(fault.Unavailable, "asking again", "the service did not answer", "")
	}
	switch code := codeOf(&answer); {
	case answer.Status == 200 && digestOf(answer.Body) == a.Digest:
		c.Same++
	case answer.Status == 409 && code == keysChanged:
		c.Changed++
	default:
		c.Wrong++
	}
	return nil
}

// keysChanged is the code of a request that was answered under other keys.
const keysChanged = "keys_changed"

// answerWithin is when an answer has failed to come.
const answerWithin = 3 * time.Minute

func digestOf(body []byte) string {
	sum := sha256.Sum256(body)
	return hex.EncodeToString(sum[:])
}

// codeOf is the code of a refusal.
func codeOf(a *load.Answer) string {
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal(a.Body, &problem) // of another document the code stays empty
	return problem.Code
}

func projectPath(name string) string { return "/v1/projects/" + name }

// remaining asks how many rows of the caller's budget are left.
func remaining(ctx context.Context, t load.Target, project string) (int64, error) {
	document, err := described(ctx, t, project)
	return document.Budget.Remaining, err
}

// description is what the service says of a project.
type description struct {
	Epoch  uint32 `json:"epoch"`
	Budget struct {
		Remaining int64 `json:"remaining"`
	} `json:"budget"`
}

func described(ctx context.Context, t load.Target, project string) (d description, err error) {
	b, status, err := load.Get(ctx, t, projectPath(project))
	if err == nil && status != 200 {
		err = fmt.Errorf("status %d", status)
	}
	if err == nil && json.Unmarshal(b, &d) != nil {
		err = errors.New("its answer cannot be read")
	}
	if err != nil {
		err = fault.Wrap(fault.Unavailable, "asking for project "+project, err, "")
	}
	return d, err
}
