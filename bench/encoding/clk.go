package encoding

import (
	"context"
	"runtime"
	"time"

	"tarn/bench/measure"
	"tarn/keys/fault"
	"tarn/tokenise/clk"
)

// clkCase measures clkhash-3 beside clkhash itself, on one core each and on the
// same rows: those of a table after its first, which fill the caches of both.
func (s *suite) clkCase(target *float64) *measure.Case {
	return &measure.Case{Suite: Suite, Name: "clkhash-3", SubjectVersion: s.Software, Unit: "records/s", HigherIsBetter: true, Target: target,
		Dataset: measure.Dataset{Name: "synthetic people in the columns of FEBRL", Rows: int64(len(s.febrl.rows) - warmRows)}, Parameters: map[string]any{"cores": 1, "rows_before": warmRows, "cache_bytes": clk.DefaultCacheBytes},
		PeerParty: s.peer, Peer: s.clkhash, Subject: func(context.Context) (float64, error) { return s.clkRate() },
		Notes: "names as frequent as in a population, addresses drawn evenly from some 10,000 words"}
}

// clkRate returns the records per second of a worker that has encoded the first
// rows.
func (s *suite) clkRate() (float64, error) {
	schema, err := clk.Parse(febrlSchema)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "reading the schema", err, "")
	}
	secret, err := clk.NewSecret([]byte("secret"))
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "making a secret", err, "")
	}
	encoder, err := clk.NewEncoder(schema, secret)
	if err != nil {
		return 0, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
	}
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	worker := encoder.NewWorker(clk.DefaultCacheBytes)
	encode := func(rows [][]string) error {
		for _, row := range rows {
			if _, problems := worker.Encode(row); len(problems) > 0 {
				return fault.New(fault.Internal, "encoding a row of the benchmark", "it is refused", "")
			}
		}
		return nil
	}
	if err := encode(s.febrl.rows[:warmRows]); err != nil {
		return 0, err
	}
	start, timed := time.Now(), s.febrl.rows[warmRows:]
	err = encode(timed)
	return float64(len(timed)) / time.Since(start).Seconds(), err
}
