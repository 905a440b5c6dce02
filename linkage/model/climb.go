package model

import "math"

const (
	maxIterations = 3000
	// A climb has ended where one step of expectation and maximisation moves no
	// probability by this much, ...
	parameterTolerance = 1e-8
	// ... and the log-posterior by no more than this part of itself.
	posteriorTolerance = 1e-11
)

// climb is the way from one start to an optimum.
type climb struct {
	at         mixture
	end        expectation // at the optimum
	iterations int         // steps of expectation and maximisation
	converged  bool
	change     float64 // of any probability in the last step
}

// climbFrom maximises the log-posterior by expectation and maximisation,
// accelerated: two steps show in which direction and how fast they go, and a
// longer one is taken where that does not lose what was gained (SQUAREM, scheme
// S3 of Varadhan and Roland, Scandinavian Journal of Statistics 35, 2008). Plain
// steps take thousands where classes overlap.
func climbFrom(x mixture) climb {
	c := climb{at: x}
	c.end = x.expect()
	limit := maxIterations
	if x.limit > 0 {
		limit = x.limit
	}
	for c.iterations < limit {
		first := c.at.maximise(c.end)
		afterFirst := first.expect()
		c.iterations++
		c.change = distance(c.at, first)
		gain := math.Abs(afterFirst.logPosterior - c.end.logPosterior)
		if c.change < parameterTolerance && gain <= posteriorTolerance*math.Abs(c.end.logPosterior) {
			c.at, c.end, c.converged = first, afterFirst, true
			return c
		}
		second := first.maximise(afterFirst)
		afterSecond := second.expect()
		c.iterations++
		far, ok := leap(c.at, first, second)
		if ok {
			afterFar := far.expect()
			c.iterations++
			if afterFar.logPosterior >= afterSecond.logPosterior {
				c.at, c.end = far, afterFar
				continue
			}
		}
		c.at, c.end = second, afterSecond
	}
	return c
}

// distance is the widest difference of any probability.
func distance(a, b mixture) (widest float64) {
	for t := range a.tables {
		for l := range a.tables[t] {
			widest = math.Max(widest, math.Abs(a.tables[t][l]-b.tables[t][l]))
		}
	}
	for s := range a.shares {
		one, two := a.shares[s].list(), b.shares[s].list()
		for c := range one {
			widest = math.Max(widest, math.Abs(one[c]-two[c]))
		}
	}
	return widest
}

// leap extrapolates two steps, in logarithms of probabilities, where every
// point is valid once scaled.
func leap(x, first, second mixture) (far mixture, ok bool) {
	from, one, two := x.free(), first.free(), second.free()
	speed, bend := 0.0, 0.0
	for i := range from {
		r, v := one[i]-from[i], two[i]-2*one[i]+from[i]
		speed += r * r
		bend += v * v
	}
	if bend == 0 {
		return x, false
	}
	length := math.Max(math.Sqrt(speed/bend), 1)
	if length == 1 {
		return x, false // where the second step leads
	}
	point := make([]float64, len(from))
	for i := range from {
		r, v := one[i]-from[i], two[i]-2*one[i]+from[i]
		point[i] = from[i] + 2*length*r + length*length*v
	}
	return x.fromFree(point), true
}

// free lists the logarithms of the parameters that are not fixed.
func (x mixture) free() (list []float64) {
	for t, prior := range x.prior {
		if prior != nil {
			for _, p := range x.tables[t] {
				list = append(list, math.Log(p))
			}
		}
	}
	for _, s := range x.shares {
		for c, share := range s.list() {
			if x.exists(class(c)) {
				list = append(list, math.Log(share))
			}
		}
	}
	return list
}

// fromFree is the inverse of free; what it is given need not sum to 1.
func (x mixture) fromFree(list []float64) mixture {
	y := x.clone()
	for t, prior := range x.prior {
		if prior != nil {
			for l := range y.tables[t] {
				y.tables[t][l] = math.Exp(math.Min(list[0], 0))
				list = list[1:]
			}
			normalise(y.tables[t])
		}
	}
	for s := range y.shares {
		var pairs [classes]float64
		for c := range pairs {
			if x.exists(class(c)) {
				pairs[c] = math.Max(math.Exp(math.Min(list[0], 0)), 1e-15)
				list = list[1:]
			}
		}
		y.shares[s] = x.scaled(sharesFrom(pairs))
	}
	return y
}
