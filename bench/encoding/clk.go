package encoding

import (
	"context"
	"runtime"
	"slices"
	"time"

	"tarn/bench/measure"
	"tarn/keys/fault"
	"tarn/tokenise/clk"
)

// clkCases measures clkhash-3 beside clkhash itself, on one core each and on the
// same rows: once as a table is encoded, with nothing cached, and once when both
// have seen all its values.
func (s *suite) clkCases(target *float64) []*measure.Case {
	one := func(name, notes string, passes int, peer func([]float64) float64) *measure.Case {
		return &measure.Case{Suite: Suite, Name: name, SubjectVersion: s.Software, Unit: "records/s", HigherIsBetter: true, Target: target,
			Dataset: measure.Dataset{Name: "synthetic people in the columns of FEBRL", Rows: int64(len(s.febrl.peerRows()))}, Parameters: map[string]any{"cores": 1, "cache_bytes": clk.DefaultCacheBytes},
			PeerParty: s.peer, Subject: func(context.Context) (float64, error) { return s.clkRate(passes) },
			Peer: func(ctx context.Context) (float64, error) {
				rates, err := s.clkhash(ctx)
				if err != nil {
					return 0, err
				}
				return peer(rates), nil
			}, Notes: notes + "; names as frequent as in a population, addresses drawn evenly from some 10,000 words"}
	}
	return []*measure.Case{
		one("clkhash-3", "the first pass of each, as a table is encoded", 1, func(rates []float64) float64 { return rates[0] }),
		one("clkhash-3-seen", "the best of three passes of each over the same rows: every value has been seen", peerPasses, slices.Max[[]float64]),
	}
}

// clkRate returns the records per second of the best of so many passes of one
// worker over the rows that the peer has.
func (s *suite) clkRate(passes int) (best float64, err error) {
	schema, err := clk.Parse(febrlSchema)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "reading the schema", err, "")
	}
	secret, err := clk.NewSecret([]byte("secret"))
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "making a secret", err, "")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	start := time.Now() // the first pass includes whatever is set up
	encoder, err := clk.NewEncoder(schema, secret)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
	}
	worker, rows := encoder.NewWorker(clk.DefaultCacheBytes), s.febrl.peerRows()
	for range passes {
		for _, row := range rows {
			if _, problems := worker.Encode(row); len(problems) > 0 {
				return 0, fault.New(fault.Internal, "encoding a row of the benchmark", "it is refused", "")
			}
		}
		best = max(best, float64(len(rows))/time.Since(start).Seconds())
		start = time.Now()
	}
	return best, nil
}
