package kernel

import (
	"context"
	_ "embed"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"tarn/bench/synth"
	"tarn/keys/fault"
	"tarn/tokenise/clk"
	"tarn/tokenise/encode"
	"tarn/tokenise/source"
)

const (
	seed        = 5
	filterWords = 16 // 1024 bits
)

// peopleSchema hashes names, date of birth, sex and postcode into 1024 bits, of
// which about a third are set: what clkhash is used for.
//
//go:embed people.schema.json
var peopleSchema []byte

// filterSet is one party's record filters, in memory and, for the peer, in a
// file of bytes.
type filterSet struct {
	rows []uint64
	path string
}

// makeFilters makes two parties that share half of their people, and encodes
// them with the encoder of clkhash-3. Which pairs can be told apart early
// depends on how bits are spread, so random bits would not do.
func makeFilters(ctx context.Context, folder string, people int) (left, right *filterSet, err error) {
	config := synth.Config{People: people, Parties: 2, Seed: seed, Errors: synth.ErrorsNHS, Overlap: .5, Threads: runtime.NumCPU()}
	project, err := synth.NewProject(&config, encode.DefaultPreset)
	if err != nil {
		return nil, nil, err
	}
	if err := project.Write(folder); err != nil {
		return nil, nil, err
	}
	if _, err := synth.Generate(ctx, config, folder, nil); err != nil {
		return nil, nil, err
	}
	if left, err = encodeFilters(folder, 0); err != nil {
		return nil, nil, err
	}
	right, err = encodeFilters(folder, 1)
	return left, right, err
}

func encodeFilters(folder string, party int) (*filterSet, error) {
	doing := "encoding people of the benchmark"
	schema, err := clk.Parse(peopleSchema)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	secret, err := clk.NewSecret([]byte("secret"))
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	encoder, err := clk.NewEncoder(schema, secret)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	worker := encoder.NewWorker(clk.DefaultCacheBytes)
	set := &filterSet{path: filepath.Join(folder, synth.PartyName(party)+".filters")}
	var file []byte
	err = eachPerson(filepath.Join(folder, synth.PartyName(party)+".csv"), func(values []string) error {
		filter, problems := worker.Encode(values)
		if len(problems) > 0 || len(filter) != 8*filterWords {
			return fault.New(fault.Internal, doing, "a row is refused", "")
		}
		file = append(file, filter...)
		return nil
	})
	if err != nil {
		return nil, err
	}
	set.rows = make([]uint64, len(file)/8)
	for i := range set.rows {
		set.rows[i] = binary.LittleEndian.Uint64(file[8*i:])
	}
	if err := os.WriteFile(set.path, file, 0o600); err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+set.path, err, "choose a folder that can be written")
	}
	return set, nil
}

// eachPerson gives the values of the schema's columns, row by row, in lower
// case and without separators.
func eachPerson(path string, do func(values []string) error) error {
	r, err := source.Open(path, source.Options{})
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	at := map[string]int{}
	for i, name := range r.Header() {
		at[name] = i
	}
	var batch source.Batch
	for {
		err := r.Read(&batch)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for i := range batch.Rows {
			row := batch.Rows[i].Values
			var values []string
			for _, name := range []string{"given_name", "family_name", "date_of_birth", "sex", "postcode"} {
				values = append(values, strings.ToLower(strings.NewReplacer("-", "", "/", "", " ", "").Replace(row[at[name]])))
			}
			if err := do(values); err != nil {
				return err
			}
		}
	}
}
