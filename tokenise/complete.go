package tokenise

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"os"

	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/tokenise/source"
)

// metadataRun is the key under which the crosswalk, which stays in the region,
// carries the chain of its run before and after the input.
const metadataRun = "tarn.run"

func (s *setting) runMetadata(end []byte) table.KeyValue {
	return table.KeyValue{Key: metadataRun, Value: hex.EncodeToString(s.newChain().sum()) + "." + hex.EncodeToString(end)}
}

// completed returns the manifest of a run like this one that was completed
// under the same names, and the chain of its input; nil where there is none, or the
// context has ended.
func (s *setting) completed(ctx context.Context) (m *cohort.Manifest, end []byte) {
	m, err := cohort.ReadManifest(cohort.ManifestPath(s.Out))
	if err != nil {
		return nil, nil
	}
	for _, path := range []string{s.Crosswalk, s.Groups, s.Options.Quarantine, s.Options.Warnings} {
		if path == "" {
			continue
		}
		if _, err := os.Stat(path); err != nil {
			return nil, nil
		}
	}
	if s.recipient != nil {
		if _, complete := s.escrowed(); !complete {
			return nil, nil
		}
	}
	if m.CheckFiles(ctx, s.Out) != nil {
		return nil, nil
	}
	crosswalk, err := table.Open(s.Crosswalk)
	if err != nil {
		return nil, nil
	}
	defer func() { _ = crosswalk.Close() }() // opened for reading
	text, _ := crosswalk.Metadata(metadataRun)
	before, after, _ := bytes.Cut([]byte(text), []byte("."))
	if string(before) != hex.EncodeToString(s.newChain().sum()) {
		return nil, nil
	}
	end, err = hex.DecodeString(string(after))
	if err != nil {
		return nil, nil
	}
	return m, end
}

// verifyComplete reads the input: if the completed run was made of it, nothing
// is left to do; else it is errStale.
func (s *setting) verifyComplete(ctx context.Context, m *cohort.Manifest, end []byte) (*Result, error) {
	s.stage("comparing with the completed run")
	chain, rows := s.newChain(), int64(0)
	for b := new(source.Batch); ; {
		err := s.Rows.Read(b)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		chain.add(b)
		rows += int64(len(b.Rows))
		if s.Progress != nil {
			s.Progress(s.Rows.Position())
		}
	}
	if !bytes.Equal(end, chain.sum()) {
		return nil, errStale
	}
	result := &Result{Manifest: m, Rows: rows, Complete: true}
	if s.recipient != nil {
		n, _ := s.escrowed()
		result.Escrowed = &n
	}
	return result, ctx.Err()
}
