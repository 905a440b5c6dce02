// Package encoding is the benchmark suite of the encoders and of tokeniser
// run, beside clkhash.
package encoding

import (
	"context"
	_ "embed"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"tarn/bench/measure"
	"tarn/keys/fault"
	"tarn/tokenise/batch"
	"tarn/tokenise/encode"
)

// Suite is the name under which results are written.
const Suite = "encode"

// Options are the settings of the suite.
type Options struct {
	Folder   string // for tables, removed by the caller
	Full     bool   // a million rows; else a hundred thousand, and targets for a million are not judged
	Python   string // an interpreter with clkhash
	Software string
	Clock    func() time.Time
	Progress func(name string)
}

// Targets of the project, ratios to clkhash and to the encoder.
const (
	targetCLK  = 60
	targetNHS  = 10
	targetRun  = .75 // of the encoder's own rate
	rateRun    = 150_000
	runs       = 3
	warmRows   = 20_000 // of the FEBRL table, before the clock starts
	febrlRows  = 60_000
	smallTable = 20_000
)

// Run measures all cases.
func Run(ctx context.Context, o Options) ([]*measure.Result, error) {
	s := &suite{Options: o, ctx: ctx, rows: 100_000}
	if o.Full {
		s.rows = 1_000_000
	}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	var results []*measure.Result
	for _, c := range s.cases() {
		o.Progress(c.Name)
		r, err := c.Run(ctx, runs, o.Software, o.Clock)
		if err != nil {
			return nil, err
		}
		results = append(results, r)
	}
	return results, nil
}

type suite struct {
	Options
	ctx   context.Context
	rows  int
	table string // CSV of people
	raw   *rawTable
	febrl *febrlTable
	peer  measure.Party
}

func (s *suite) prepare() (err error) {
	if s.table, err = makePeople(s.ctx, s.Folder, s.rows); err != nil {
		return err
	}
	if s.raw, err = readTable(s.table); err != nil {
		return err
	}
	if s.febrl, err = makeFEBRL(s.Folder, s.raw, febrlRows); err != nil {
		return err
	}
	s.peer = measure.Party{Name: "clkhash"}
	_, err = s.clkhash(s.ctx) // learns the version, and fails early
	return err
}

func (s *suite) cases() []*measure.Case {
	atScale := func(target float64) *float64 {
		if !s.Full {
			return nil
		}
		return &target
	}
	always := func(target float64) *float64 { return &target }
	name := "tarn synth, error model nhs"
	nhs := func(preset string, rows int, target *float64, notes string) *measure.Case {
		table := s.raw.first(rows)
		return &measure.Case{Suite: Suite, Name: preset + "-" + strconv.Itoa(table.len()), SubjectVersion: s.Software, Unit: "records/s", HigherIsBetter: true,
			Dataset: measure.Dataset{Name: name, Rows: int64(table.len())}, Parameters: map[string]any{"preset": preset, "cores": 1}, Target: target, Notes: notes,
			Subject: func(ctx context.Context) (float64, error) { return encodeRate(ctx, preset, table, 1) }, Peer: s.clkhash, PeerParty: s.peer}
	}
	return []*measure.Case{
		s.clkCase(always(targetCLK)),
		nhs(encode.DefaultPreset, s.rows, atScale(targetNHS), "from raw values, normalisation included; clkhash on one core on the FEBRL schema, which asks less of it"),
		nhs(encode.DefaultPreset, smallTable, nil, "as few rows as nearly every date's table serves one of: what is measured is making tables"),
		nhs("nhs-field-1", s.rows, nil, "keyed by project only"),
		{Suite: Suite, Name: "allocations", SubjectVersion: s.Software, Unit: "allocations a record", Dataset: measure.Dataset{Name: name, Rows: 2000}, Target: always(0),
			Parameters: map[string]any{"preset": encode.DefaultPreset},
			Subject:    func(context.Context) (float64, error) { return allocations(encode.DefaultPreset, s.raw) }},
		s.runCase(),
	}
}

// runCase measures tokeniser run from CSV to Parquet on two cores beside what
// the encoder alone does on them.
func (s *suite) runCase() *measure.Case {
	cores := min(2, runtime.NumCPU())
	c := &measure.Case{Suite: Suite, Name: "run", SubjectVersion: s.Software, Unit: "records/s", HigherIsBetter: true,
		Dataset: measure.Dataset{Name: "tarn synth, error model nhs, CSV to Parquet", Rows: int64(s.rows)}, Parameters: map[string]any{"preset": encode.DefaultPreset, "cores": cores},
		PeerParty: measure.Party{Name: "the encoder alone", Version: s.Software},
		Peer:      func(ctx context.Context) (float64, error) { return encodeRate(ctx, encode.DefaultPreset, s.raw, cores) },
		Subject: func(ctx context.Context) (float64, error) {
			folder, err := os.MkdirTemp(s.Folder, "run-")
			if err != nil {
				return 0, fault.Wrap(fault.Internal, "making a folder", err, "")
			}
			defer func() { _ = os.RemoveAll(folder) }() // it is in the suite's folder
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
			start := time.Now()
			_, err = batch.Run(ctx, batch.Options{Project: filepath.Join(s.Folder, "project.json"), KeyFile: filepath.Join(s.Folder, "keys.json"), In: s.table, ConfirmMap: true,
				Out: filepath.Join(folder, "north.parquet"), MaxRefused: 1, Threads: cores, Software: s.Software, Clock: s.Clock, Wall: s.Clock})
			return float64(s.rows) / time.Since(start).Seconds(), err
		},
		Notes: "the target is " + strconv.Itoa(rateRun) + " records/s or three quarters of the encoder's rate, whichever is lower; key check value, sort, merge and durable writing are included"}
	if s.Full {
		c.TargetOf = func(encoder float64) float64 { return min(targetRun, rateRun/encoder) }
	}
	return c
}

//go:embed clkhash.py
var clkhashProgram string

// clkhash returns the records per second of clkhash on one core over the FEBRL
// table, its first rows left out.
func (s *suite) clkhash(ctx context.Context) (float64, error) {
	doing := "running clkhash as the peer"
	out, err := exec.CommandContext(ctx, s.Python, "-I", "-c", clkhashProgram, s.febrl.schemaPath, s.febrl.peerPath, s.febrl.secretPath, strconv.Itoa(warmRows)).Output()
	if err != nil {
		return 0, fault.Wrap(fault.Unavailable, doing, err, "give --python an interpreter that has clkhash; make bench installs one")
	}
	var said struct {
		Version string  `json:"version"`
		Rate    float64 `json:"rate"`
	}
	if err := json.Unmarshal(out, &said); err != nil || said.Rate == 0 {
		return 0, fault.New(fault.Internal, doing, "it did not print its rate", "")
	}
	s.peer.Version = said.Version
	return said.Rate, nil
}
