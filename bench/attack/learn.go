package attack

import (
	"context"
	"math"
	"slices"
)

// lessons are what an attacker learnt from known pairs of people and encodings.
//
// Of a filter he learns, for each token (a bigram, say) and each bit, by how much
// the token moves the odds that the bit is set (a logistic model of each bit), and
// judges a person by the bits that the person's tokens let expect. He keeps a part of the pairs
// aside and tries on it how far that is to be believed: of an encoding from which
// nothing can be learnt he believes nothing, instead of chasing noise. Of each
// filter and tag he also remembers what it stood for: where keys are the same, it
// stands for that again.
type lessons struct {
	scheme tokenised
	fields []lesson
}

type lesson struct {
	belief float64 // factor of what the bits say; 0 is nothing
	base   []float32
	tokens map[string][]float32 // log-odds that a token adds to each bit
	value  map[string]string    // what an encoding stood for
	means  map[string]bool      // values that an encoding is known of, with their keys' date
}

const (
	epochs    = 8    // times that all pairs are gone through
	firstStep = .4   // of the descent
	leastOdds = .002 // no bit is surer than that at first, or 1 - that
	keptAside = 10   // one pair of so many
	decoys    = 200  // others among whom each pair kept aside is looked for
	sameValue = 15   // log-likelihood of an encoding that is known
)

// beliefs are tried in this order; the first that is best is kept.
var beliefs = []float64{0, .01, .03, .1, .3, 1}

// learn learns from pairs: people and their encodings, in the same order.
func learn(ctx context.Context, s tokenised, people []individual, e *encodings) (*lessons, error) {
	l := &lessons{scheme: s}
	for f, public := range s.fields() {
		c, lesson := &e.columns[f], lesson{value: map[string]string{}, means: map[string]bool{}}
		for i := range people {
			if !c.missing[i] {
				lesson.value[string(c.at(i))] = people[i].values[f]
				lesson.means[meaningKey(s, &people[i], f)] = true
			}
		}
		if public.bits > 0 {
			if err := lesson.learnBits(ctx, s, f, people, c); err != nil {
				return nil, err
			}
		}
		l.fields = append(l.fields, lesson)
	}
	return l, nil
}

// meaningKey is a value under the keys of a person's date.
func meaningKey(s scheme, x *individual, f int) string {
	if s.byDate() {
		return x.born.String() + x.values[f]
	}
	return x.values[f]
}

func (l *lesson) learnBits(ctx context.Context, s tokenised, f int, people []individual, c *column) error {
	var taught, aside []int
	for i := range people {
		switch {
		case c.missing[i]:
		case i%keptAside == 0:
			aside = append(aside, i)
		default:
			taught = append(taught, i)
		}
	}
	if len(taught) == 0 || len(aside) < 2 {
		return nil
	}
	bits := c.width * 8
	l.base, l.tokens = make([]float32, bits), map[string][]float32{}
	weights := make([][][]float32, len(taught)) // of each pair, those of its tokens
	for k, i := range taught {
		for _, token := range s.tokens(&people[i], f) {
			if l.tokens[token] == nil {
				l.tokens[token] = make([]float32, bits)
			}
			weights[k] = append(weights[k], l.tokens[token])
		}
	}
	// Each worker has bits of its own.
	err := inParallel(ctx, bits, func(from, to int) error {
		for _, i := range taught {
			for j := from; j < to; j++ {
				l.base[j] += float32(bitOf(c.at(i), j)) / float32(len(taught))
			}
		}
		for j := from; j < to; j++ {
			l.base[j] = logOdds(float64(l.base[j]))
		}
		odds := make([]float32, to-from)
		for epoch := range epochs {
			step := float32(firstStep / (1 + float64(epoch)/2))
			for k, i := range taught {
				copy(odds, l.base[from:to])
				for _, w := range weights[k] {
					for j, x := range w[from:to] {
						odds[j] += x
					}
				}
				filter := c.at(i)
				for j := range odds {
					odds[j] = step * (float32(bitOf(filter, from+j)) - logistic(odds[j]))
				}
				for _, w := range weights[k] {
					w := w[from:to]
					for j, x := range odds {
						w[j] += x
					}
				}
			}
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return l.calibrate(ctx, s, f, people, c, aside)
}

func bitOf(filter []byte, j int) byte { return filter[j>>3] >> (j & 7) & 1 }

// logistic is the chance of log-odds.
func logistic(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }

func logOdds(p float64) float32 {
	p = min(max(p, leastOdds), 1-leastOdds)
	return float32(math.Log(p / (1 - p)))
}

// expectation is what a person's tokens let expect of the bits of a filter: the
// log-odds of each, and the sum of the logarithms of their chances to be 0.
type expectation struct {
	odds []float32
	none float64
}

func (l *lesson) expect(tokens []string) expectation {
	x := expectation{odds: slices.Clone(l.base)}
	for _, token := range tokens {
		for j, w := range l.tokens[token] {
			x.odds[j] += w
		}
	}
	for _, odds := range x.odds {
		if odds > 20 {
			x.none -= float64(odds)
		} else {
			x.none -= math.Log1p(exp(odds))
		}
	}
	return x
}

// score is the log-likelihood of a filter.
func (x *expectation) score(filter []byte) float64 {
	sum := float32(0)
	for j, odds := range x.odds {
		if filter[j>>3]>>(j&7)&1 != 0 {
			sum += odds
		}
	}
	return float64(sum) + x.none
}

// calibrate finds how far the bits are to be believed, by looking for each pair
// that was kept aside among others.
func (l *lesson) calibrate(ctx context.Context, s tokenised, f int, people []individual, c *column, aside []int) error {
	expected := make([]expectation, len(aside))
	scores := make([][]float64, len(aside)) // of each pair: the right one, then decoys
	err := inParallel(ctx, len(aside), func(from, to int) error {
		for k := from; k < to; k++ {
			expected[k] = l.expect(s.tokens(&people[aside[k]], f))
		}
		return nil
	})
	if err != nil {
		return err
	}
	err = inParallel(ctx, len(aside), func(from, to int) error {
		for k := from; k < to; k++ {
			filter := c.at(aside[k])
			scores[k] = append(scores[k], expected[k].score(filter))
			for d := 1; d <= min(decoys, len(aside)-1); d++ {
				other := (k + d) % len(aside)
				if people[aside[other]].values[f] != people[aside[k]].values[f] {
					scores[k] = append(scores[k], expected[other].score(filter))
				}
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	best := math.Inf(-1)
	for _, belief := range beliefs {
		sum := 0.0
		for _, of := range scores {
			total := 0.0
			for _, x := range of {
				total += math.Exp(min(belief*(x-of[0]), 500))
			}
			sum -= math.Log(total)
		}
		if sum > best+1e-9 {
			best, l.belief = sum, belief
		}
	}
	return nil
}

// judge returns, for each encoding and each person of a register, the
// log-likelihood that they belong together: n by m, from the lessons alone.
func (l *lessons) judge(ctx context.Context, e *encodings, register []individual) ([]float32, error) {
	m := len(register)
	out := make([]float32, e.n*m)
	return out, inParallel(ctx, m, func(from, to int) error {
		for u := from; u < to; u++ {
			person := &register[u]
			for f := range l.fields {
				lesson, c := &l.fields[f], &e.columns[f]
				var x expectation
				if lesson.belief > 0 && person.values[f] != "" {
					x = lesson.expect(l.scheme.tokens(person, f))
				}
				known := lesson.means[meaningKey(l.scheme, person, f)]
				for i := range e.n {
					if c.missing[i] || person.values[f] == "" {
						if c.missing[i] != (person.values[f] == "") {
							out[i*m+u] += impossible
						}
						continue
					}
					value, seen := lesson.value[string(c.at(i))]
					switch {
					case seen && value == person.values[f]:
						out[i*m+u] += sameValue
					case seen || known:
						out[i*m+u] -= sameValue
					case x.odds != nil:
						out[i*m+u] += float32(lesson.belief * x.score(c.at(i)))
					}
				}
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		return nil
	})
}
