package keys

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"tarn/bench/keyholder"
	"tarn/bench/measure"
	"tarn/bench/quality/trial"
	"tarn/bench/synth"
	"tarn/keys"
)

// runs measures the whole of what a region does: a table becomes a cohort, in a
// process of its own, with tokens that the key holder makes and with tokens of a key
// that it leases, on the same machine as the key holder.
func (s *suite) runs() ([]*measure.Result, error) {
	table, err := s.table()
	if err != nil {
		return nil, err
	}
	oblivious, err := s.region("oblivious", keys.SchemeOblivious, table)
	if err != nil {
		return nil, err
	}
	keyed, err := s.region("keyed", keys.SchemeKeyedHash, table)
	if err != nil {
		return nil, err
	}
	c := measure.Case{
		Suite: Suite, Name: "run", SubjectVersion: s.Software, Unit: "rows/s", HigherIsBetter: true,
		Dataset: measure.Dataset{Name: "synthetic people, one row each, errors as in the NHS", Rows: int64(s.rows)},
		Subject: oblivious.run, Peer: keyed.run, PeerParty: measure.Party{Name: "the same with scheme keyed-hash", Version: s.Software},
		Check: func(context.Context) (int64, bool, error) {
			n := oblivious.tokens
			return n, n > 0 && n == keyed.tokens, nil
		},
		Notes: "tokeniser run, from the start of the process to the finished cohort; the key holder shares the cores",
	}
	repetitions := 3
	if s.Full {
		repetitions = 1
	}
	r, err := c.Run(s.ctx, repetitions, s.Software, s.Clock)
	if err != nil {
		return nil, err
	}
	perToken := func(cpu float64) float64 { return cpu / float64(max(1, oblivious.tokens)) * 1e6 }
	r.Parameters = map[string]any{
		"cores": runtime.NumCPU(), "tokens": oblivious.tokens,
		"key_holder_cpu_us_per_token": perToken(oblivious.holderCPU), "tokeniser_cpu_us_per_token": perToken(oblivious.tokeniserCPU),
		"keyed_hash_tokeniser_cpu_us_per_token": perToken(keyed.tokeniserCPU),
	}
	return []*measure.Result{r}, nil
}

// table writes what is encoded.
func (s *suite) table() (string, error) {
	folder := filepath.Join(s.Folder, "people")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return "", err
	}
	_, err := synth.Generate(s.ctx, synth.Config{People: s.rows, Parties: 1, Seed: 7, Errors: synth.ErrorsNHS, Overlap: 1, Threads: runtime.NumCPU()}, folder, func(int64, int64) {})
	return filepath.Join(folder, synth.PartyName(0)+".csv"), err
}

// region is a tokeniser with a project of its own, and what its last run took.
type region struct {
	*suite
	name, project, table    string
	times                   int
	tokens                  int64
	tokeniserCPU, holderCPU float64 // seconds
}

func (s *suite) region(name, scheme, table string) (*region, error) {
	r := &region{suite: s, name: name, project: filepath.Join(s.Folder, name+".project.json"), table: table}
	in := domain
	if scheme != keys.SchemeKeyedHash {
		in = name
		if err := s.holder.AddDomain(s.ctx, in, scheme); err != nil {
			return nil, err
		}
	}
	if err := s.holder.AddProject(s.ctx, keyholder.Record(name, in, scheme)); err != nil {
		return nil, err
	}
	if err := s.holder.AddTokeniser(s.ctx, name, name); err != nil {
		return nil, err
	}
	_, _, err := trial.Run(s.ctx, s.Folder, s.Tokeniser, "project", name, "--as", s.holder.Credentials(name), "--keyholder", s.holder.URL, "--out", r.project)
	return r, err
}

// run encodes the table and returns the rows a second.
func (r *region) run(ctx context.Context) (float64, error) {
	r.times++
	before, err := cpuOf(r.holder.Process.ID())
	if err != nil {
		return 0, err
	}
	answer, usage, err := trial.Run(ctx, r.Folder, r.Tokeniser, "run", "--project", r.project, "--as", r.holder.Credentials(r.name), "--keyholder", r.holder.URL, "--in", r.table, "--source", "north", "--confirm-map",
		"--out", filepath.Join(r.Folder, fmt.Sprintf("%s-%d.parquet", r.name, r.times)), "--state", filepath.Join(r.Folder, r.name+".state"), "--json")
	if err != nil {
		return 0, err
	}
	after, err := cpuOf(r.holder.Process.ID())
	if err != nil {
		return 0, err
	}
	var summary struct {
		Tokens int64 `json:"tokens"`
	}
	err = json.Unmarshal(answer, &summary)
	r.tokens, r.tokeniserCPU, r.holderCPU = summary.Tokens, usage.CPUS, after-before
	return float64(r.rows) / usage.WallS, err
}
