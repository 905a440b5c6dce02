package tokenise

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/tokenise/reason"
	"tarn/tokenise/spill"
)

// finisher turns a complete checkpoint into the files of a run.
type finisher struct {
	*setting
	checkpoint *checkpoint
	result     *Result
	accepted   int64
	duplicates *duplicates
	rowsDigest string
}

// finish writes everything. No file gets its name before all are on the disk;
// the manifest, without which no cohort is read, gets its last.
func (s *setting) finish(ctx context.Context, c *checkpoint, chain []byte) (*Result, error) {
	f := &finisher{setting: s, checkpoint: c, duplicates: &duplicates{folder: c.folder, limit: maxDuplicates},
		result: &Result{Rows: c.rows(), Refused: map[reason.Code]int64{}, Warned: map[reason.Code]int64{}, WarnedFields: map[string]int64{}, WarnedProblems: map[reason.Problem]int64{}}}
	out := &outputs{setting: s}
	defer out.abort()
	s.stage("matching ids")
	if err := f.entries(ctx, out, chain); err != nil {
		return nil, f.wrap(err)
	}
	if err := f.events(ctx, out); err != nil {
		return nil, f.wrap(err)
	}
	if refused := f.result.RefusedRows(); float64(refused) > s.MaxRefused*float64(f.result.Rows) {
		if err := out.commitQuarantines(); err != nil {
			return nil, err
		}
		return f.result, s.tooManyRefused(f.result)
	}
	s.stage("sorting and writing")
	identity := s.identity(f.rowsDigest)
	if err := f.rows(ctx, out, identity); err != nil {
		return nil, f.wrap(err)
	}
	manifest, err := s.manifest(identity, f, out)
	if err != nil {
		return nil, err
	}
	f.result.Manifest = manifest
	if out.escrow != nil {
		n := int64(out.escrow.writer.Count())
		f.result.Escrowed = &n
	}
	return f.result, out.commit(manifest)
}

// wrap names what was being done when a chunk could not be read or written.
func (f *finisher) wrap(err error) error {
	if fault.KindOf(err) != fault.Internal || errors.Is(err, context.Canceled) {
		return err
	}
	var known *fault.Error
	if errors.As(err, &known) || errors.Is(err, spill.ErrDamaged) {
		return err
	}
	return fault.Wrap(fault.Internal, "writing "+f.Out, err, "free space on the disk, then run again with --resume")
}

// entries walks all rows that have an id, by id: of each id the first row
// counts, and goes into the digest of the rows, the crosswalk and the groups;
// the others are duplicates.
func (f *finisher) entries(ctx context.Context, out *outputs, chain []byte) error {
	if err := out.openTables(chain); err != nil {
		return err
	}
	merged, err := spill.Merge(ctx, f.checkpoint.chunks, sectionEntries, f.checkpoint.folder)
	if err != nil {
		return err
	}
	defer merged.Close()
	digest := sha256.New()
	var last [16]byte
	var text [32]byte
	for any := false; ; any = true {
		entry, err := merged.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		first := !any || !bytes.Equal(last[:], entry[:entryNumber])
		copy(last[:], entry)
		switch {
		case entry[entryRefused] == 1: // has taken its id; its reason is among the events
		case first:
			f.accepted++
			hex.Encode(text[:], last[:])
			digest.Write(text[:])
			if err := out.addEntry(text[:], entry[entryRest:]); err != nil {
				return err
			}
		default:
			if err := f.duplicates.add(entry); err != nil {
				return err
			}
		}
	}
	f.rowsDigest = hex.EncodeToString(digest.Sum(nil))
	if err := f.duplicates.flush(); err != nil {
		return err
	}
	return out.finishTables()
}

// events walks the reasons in the order of the input, the duplicates among
// them, counts them and writes the quarantine. What was wrong with a row that
// turned out to be a duplicate is not counted: it is refused for that alone.
func (f *finisher) events(ctx context.Context, out *outputs) error {
	if err := out.openQuarantines(); err != nil {
		return err
	}
	twice, err := f.duplicates.byNumber(ctx)
	if err != nil {
		return err
	}
	defer twice.Close()
	duplicate, err := twice.next()
	if err != nil {
		return err
	}
	refuseBefore := func(number int64) error {
		for duplicate != nil && duplicate.number < number {
			if err := f.count(out, duplicate); err != nil {
				return err
			}
			if duplicate, err = twice.next(); err != nil {
				return err
			}
		}
		return nil
	}
	var e event
	for _, chunk := range f.checkpoint.chunks {
		err := scan(chunk, sectionEvents, func(record []byte) error {
			e.read(record)
			if err := refuseBefore(e.number); err != nil {
				return err
			}
			if !e.refused && duplicate != nil && duplicate.number == e.number {
				return nil
			}
			return f.count(out, &e)
		})
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	if err := refuseBefore(f.result.Rows + 1); err != nil {
		return err
	}
	return out.finishQuarantines()
}

func scan(chunk *spill.Chunk, section int, visit func(record []byte) error) error {
	r, err := chunk.Reader(section)
	if err != nil {
		return err
	}
	defer func() { _ = r.Close() }() // opened for reading
	for {
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := visit(record); err != nil {
			return err
		}
	}
}

func (f *finisher) count(out *outputs, e *event) error {
	file := out.warnings
	if e.refused {
		f.result.Refused[e.problem.Code]++
		file = out.quarantine
	} else {
		f.result.Warned[e.problem.Code]++
		f.result.WarnedFields[e.problem.Field]++
		f.result.WarnedProblems[e.problem]++
	}
	if file == nil {
		return nil
	}
	id := ""
	if e.hasID {
		id = hex.EncodeToString(e.id[:])
	}
	return file.Append(e.number, id, e.problem.Field, e.problem.Code)
}

// rows writes the cohort: all packed rows in their order but the duplicates.
func (f *finisher) rows(ctx context.Context, out *outputs, identity cohort.Identity) error {
	if err := out.openCohort(identity); err != nil {
		return err
	}
	var sealed *envelopes
	if f.recipient != nil {
		sealed = &envelopes{folder: f.checkpoint.folder, limit: maxEnvelopes}
		if err := out.openEscrow(f.checkpoint.batches()); err != nil {
			return err
		}
	}
	twice, err := f.duplicates.byPlace(ctx)
	if err != nil {
		return err
	}
	defer twice.Close()
	duplicate, err := twice.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	merged, err := spill.Merge(ctx, f.checkpoint.chunks, sectionRows, f.checkpoint.folder)
	if err != nil {
		return err
	}
	defer merged.Close()
	err = out.writeCohort(ctx, func() ([]byte, error) {
		for {
			packed, err := merged.Next()
			if err != nil {
				return nil, err
			}
			if duplicate == nil || !bytes.Equal(duplicate, packed[:packedPlace]) {
				f.result.Tokens += int64(packed[packedToken])
				f.result.Encoded += int64(packed[packedEncoded])
				if sealed != nil && packed[packedToken] == 1 {
					return packed, sealed.add(packed)
				}
				return packed, nil
			}
			if duplicate, err = twice.Next(); err != nil && !errors.Is(err, io.EOF) {
				return nil, err
			}
		}
	})
	if err != nil || sealed == nil {
		return err
	}
	return out.writeEscrow(ctx, sealed)
}

func (s *setting) tooManyRefused(r *Result) error {
	next := "correct the input, or allow more with --max-refused"
	if s.Options.Quarantine != "" {
		next = "read " + s.Options.Quarantine + " for rows and reasons, then " + next
	}
	return fault.New(fault.RowsRefused, "encoding the table",
		fmt.Sprintf("%d of %d rows were refused (%s), more than the %.3g%% allowed, so no cohort was written", r.RefusedRows(), r.Rows, countsText(r.Refused), 100*s.MaxRefused), next)
}

func (s *setting) identity(rowsDigest string) cohort.Identity {
	p := s.Project
	party, _ := p.Party(s.SourceDataset)
	kcv := s.tokenKeys.KCV()
	return cohort.Identity{
		Schema: cohort.Schema, Project: p.Name, ProjectDigest: p.Digest(), Profile: s.Profile.Name, ProfileDigest: s.Profile.DigestText(),
		EncodingEpoch: p.Keys.EncodingEpoch, EncodingKCV: s.encodingKCV, TokenScheme: p.Scheme, TokenRelease: s.tokenKeys.Release(), TokenDomain: p.Domain,
		TokenEpoch: p.Keys.TokenEpoch, TokenKCV: &kcv, SourceDataset: s.SourceDataset, SourceOrg: party.ODS, RowsDigest: rowsDigest,
	}
}

func (s *setting) manifest(identity cohort.Identity, f *finisher, out *outputs) (*cohort.Manifest, error) {
	id, err := identity.CohortID()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "identifying the cohort", err, "")
	}
	return &cohort.Manifest{
		CohortID: id, Identity: identity, Created: s.Clock().UTC().Format(time.RFC3339), Expires: s.expires.UTC().Format(time.RFC3339),
		Software: s.Software, DomainNo: s.Project.Keys.DomainNo, Rows: f.accepted, Refused: counts(f.result.Refused), Warnings: counts(f.result.Warned),
		OptOuts: s.optOuts(), MapDigest: s.MapDigest, Comparison: s.Profile.Comparison, Files: out.manifestFiles(),
	}, nil
}

func counts(codes map[reason.Code]int64) map[string]int64 {
	m := map[string]int64{}
	for code, n := range codes {
		m[string(code)] = n
	}
	return m
}

func (s *setting) optOuts() []string {
	applied := []string{}
	for _, x := range []struct {
		name string
		on   bool
	}{{"ndoo", s.Project.OptOuts.NDOO}, {"type1", s.Project.OptOuts.Type1}, {"local", s.Project.OptOuts.Local}} {
		if x.on {
			applied = append(applied, x.name)
		}
	}
	return applied
}
