package encoding

import (
	"context"
	"runtime"
	"time"

	"tarn/bench/measure"
	"tarn/keys/fault"
	"tarn/tokenise/clk"
)

// clkCache is what the worker may keep of values it has seen, in bytes: no more
// than clkhash keeps in its own caches.
const clkCache = 64 << 20

// clkCase measures clkhash-3 beside clkhash itself, on one core each. The
// subject's first pass over the table is timed too; the peer's is not.
func (s *suite) clkCase(target *float64) *measure.Case {
	rows := s.febrl.rows
	return &measure.Case{Suite: Suite, Name: "clkhash-3", SubjectVersion: s.Software, Unit: "records/s", HigherIsBetter: true, Target: target,
		Dataset: measure.Dataset{Name: "synthetic people in the columns of FEBRL", Rows: int64(len(rows))}, Parameters: map[string]any{"cores": 1, "cache_bytes": clkCache},
		PeerParty: s.peer, Peer: s.clkhash,
		Subject: func(context.Context) (float64, error) {
			schema, err := clk.Parse(febrlSchema)
			if err != nil {
				return 0, fault.Wrap(fault.Internal, "reading the schema", err, "")
			}
			secret, err := clk.NewSecret([]byte("secret"))
			if err != nil {
				return 0, fault.Wrap(fault.Internal, "making a secret", err, "")
			}
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			start := time.Now()
			encoder, err := clk.NewEncoder(schema, secret)
			if err != nil {
				return 0, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
			}
			worker := encoder.NewWorker(clkCache)
			for _, row := range rows {
				if _, problems := worker.Encode(row); len(problems) > 0 {
					return 0, fault.New(fault.Internal, "encoding a row of the benchmark", "it is refused", "")
				}
			}
			return float64(len(rows)) / time.Since(start).Seconds(), nil
		},
		Notes: "names as frequent as in a population, addresses drawn evenly from some 10,000 words"}
}
