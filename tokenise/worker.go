package tokenise

import (
	"context"
	"errors"
	"hash"
	"io"
	"strconv"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/linkage/cohort"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// maxSourceID is the longest source id that is accepted, in bytes. A longer
// one is a column that was split wrongly.
const maxSourceID = 1024

// judged is one input row after judgement.
type judged struct {
	number   int64
	id       [16]byte
	sourceID string // for the crosswalk; empty for rows without an id
	refusal  reason.Code
	warnings []reason.Problem
	groups   []string
	packed   []byte // the encoded row, as packer.pack makes it
	hasToken bool
	encoded  bool
}

// job is a batch on its way: read in order, judged by any worker, taken in
// order.
type job struct {
	batch  source.Batch
	result []judged
	done   chan struct{}

	position, total int64 // of the reader after the batch
}

// process reads, judges and encodes all rows, and gives them to out in input
// order.
func (s *setting) process(ctx context.Context, out *output) error {
	group, ctx := errgroup.WithContext(ctx)
	threads := max(s.Threads, 1)
	work := make(chan *job, threads)
	order := make(chan *job, 2*threads) // bounds the batches in memory
	free := make(chan *job, 3*threads)
	group.Go(func() error {
		defer close(work)
		defer close(order)
		return s.read(ctx, work, order, free)
	})
	for range threads {
		group.Go(func() error { return s.judgeAll(ctx, work) })
	}
	group.Go(func() error {
		for j := range order {
			select {
			case <-j.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			if err := out.take(ctx, j.result); err != nil {
				return err
			}
			if s.Progress != nil {
				s.Progress(j.position, j.total)
			}
			select {
			case free <- j:
			default:
			}
		}
		return ctx.Err()
	})
	return group.Wait()
}

func (s *setting) read(ctx context.Context, work, order chan<- *job, free <-chan *job) error {
	for {
		var j *job
		select {
		case j = <-free:
		default:
			j = &job{}
		}
		j.done = make(chan struct{})
		j.result = j.result[:0]
		if err := s.Rows.Read(&j.batch); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		j.position, j.total = s.Rows.Position()
		select {
		case order <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case work <- j:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// worker judges rows; it has scratch memory of its own.
type worker struct {
	*setting
	tokenMAC   hash.Hash
	minter     *Minter
	packer     packer
	normaliser *encode.Normaliser
	encoder    *encode.Worker
	record     encode.Record
	encoded    encode.Encoded
	row        cohort.Row
	values     []string
}

func (s *setting) judgeAll(ctx context.Context, work <-chan *job) error {
	w := &worker{setting: s, tokenMAC: s.newTokenMAC(), minter: NewMinter(s.rowKey, s.SourceDataset), packer: newPacker(s.layout), normaliser: s.Profile.NewNormaliser(s.today), encoder: s.encoder.NewWorker()}
	for j := range work {
		if err := ctx.Err(); err != nil {
			return err
		}
		for i := range j.batch.Rows {
			judgement, err := w.judge(&j.batch.Rows[i])
			if err != nil {
				return fault.Wrap(fault.Internal, "encoding a row", err, "")
			}
			j.result = append(j.result, judgement)
		}
		close(j.done)
	}
	return nil
}

// field returns the text of an input field of the current row.
func (w *worker) field(name string) string {
	if i, ok := w.Columns.Fields[name]; ok && i < len(w.values) {
		return w.values[i]
	}
	return ""
}

func (w *worker) judge(row *source.Row) (j judged, err error) {
	j.number = row.Number
	if row.Problem != "" {
		j.refusal = row.Problem
		return j, nil
	}
	w.values = row.Values
	if w.Columns.RowNumbers {
		j.sourceID = strconv.FormatInt(row.Number, 10)
	} else {
		// The batch is reused, the crosswalk is written later.
		j.sourceID = string([]byte(w.field(encode.FieldUniqueID)))
	}
	switch {
	case j.sourceID == "":
		j.refusal = reason.UniqueIDEmpty
		return j, nil
	case len(j.sourceID) > maxSourceID:
		j.sourceID, j.refusal = "", reason.RowMalformed
		return j, nil
	}
	j.id = w.minter.Mint(j.sourceID)
	return w.encode(j)
}

// encode makes the token and the encodings of a row that has an id.
func (w *worker) encode(j judged) (judged, error) {
	report := func(field string, code reason.Code) {
		j.warnings = append(j.warnings, reason.Problem{Field: field, Code: code})
	}
	number, state, problem := nhsnumber.Parse(w.field(encode.FieldNHSNumber))
	if problem != nhsnumber.None {
		report(encode.FieldNHSNumber, reason.Code(problem.String()))
	}
	w.normaliser.Normalise(w.field, &w.record, report)
	if err := w.encoder.Encode(&w.record, &w.encoded); err != nil {
		return j, err
	}
	w.row = cohort.Row{UniqueID: j.id, NHSNumberState: state.String(), Blocks: w.encoded.Blocks, Filters: w.encoded.Filters, Tags: w.encoded.Tags}
	if state.Identifies(w.Keys.Test) {
		w.row.Token, w.row.HasToken = w.tokenOf(number), true
	}
	j.hasToken, j.encoded = w.row.HasToken, comparable(&w.encoded)
	if !j.hasToken && !j.encoded {
		j.refusal = reason.RowNothingLinkable
		return j, nil
	}
	for _, g := range w.groups {
		value := ""
		if g.at < len(w.values) {
			value = string([]byte(w.values[g.at]))
		}
		if g.sex {
			value = sexGroup(value)
		}
		j.groups = append(j.groups, value)
	}
	j.packed = w.packer.pack(&w.row, state)
	return j, nil
}

// sexGroup returns the letter of a sex code, empty where it is not known.
func sexGroup(code string) string {
	letter, _ := demographics.Sex(code)
	if letter == 0 {
		return ""
	}
	return string(letter)
}

// comparable reports whether an encoded record has anything by which a person
// can be told from another: a filter, or, in a profile without filters, a tag.
func comparable(e *encode.Encoded) bool {
	for _, f := range e.Filters {
		if f != nil {
			return true
		}
	}
	if len(e.Filters) > 0 {
		return false
	}
	for _, t := range e.Tags {
		if t.Present {
			return true
		}
	}
	return false
}
