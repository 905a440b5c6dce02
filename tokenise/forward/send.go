package forward

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"hash"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/oprf"
	"tarn/keys/outfile"
	"tarn/keys/parcel"
	"tarn/tokenise/column"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// Convert has the key holder convert a batch of encrypted tokens, and returns its sealed
// answer. coming is how many rows are still to be converted, those of this batch included,
// or 0 where that is not known.
type Convert func(ctx context.Context, request []byte, coming int64) ([]byte, error)

// SendOptions are the settings of a sender's run.
type SendOptions struct {
	Grant      *api.Grant // with its recipient
	From, To   *keys.Project
	In         string // CSV, NDJSON or Parquet
	Source     source.Options
	Column     string // of the tokens
	Out        string // the parcel
	Invalid    string // column.InvalidNull or column.InvalidError; empty is InvalidError
	Quarantine string // as of [column.Options]
	Convert    Convert
	Random     io.Reader
	Software   string
	Clock      func() time.Time
	Progress   func(done, total int64) // bytes of the input; may be nil
	Resumed    func(batches int)       // how many were converted before; may be nil
}

// Sent is what a sender's run did. Tokens, Absent, Emptied and LeftOut are those of
// [column.Result].
type Sent struct {
	column.Result
	Batches int
}

// sender is a run.
type sender struct {
	*SendOptions
	table     table
	encrypter *oprf.Encrypter
	state     *state
	run       string // digest of what is asked for
	rows      hash.Hash
	surveyed  [sha256.Size]byte // the rows' digest when the table was read first
	manifest  manifest
	refused   *column.Refusals
	result    *Sent
	resumed   atomic.Int64
	read      int64
}

const sending = "converting tokens for another party"

// batchesInFlight is how many batches are with the key holder at once: one is encrypted
// here while another is converted there.
const batchesInFlight = 2

// Send converts a table's tokens for the recipient of a grant, and leaves the parcel. An
// error of kind [fault.RowsRefused] comes with the result, and with the quarantine, but
// without a parcel.
//
// A run that was interrupted goes on where it was: see [state].
func Send(ctx context.Context, o SendOptions) (*Sent, error) {
	s, err := begin(ctx, &o)
	if err != nil {
		return nil, err
	}
	defer s.refused.Abort()
	defer func() { s.state.close() }()
	// The table is read twice: a row that ends the run is found before one is charged.
	err = s.survey(ctx)
	if err == nil {
		err = s.refused.Err(s.result.Rows)
	}
	if err == nil {
		err = s.prepare()
	}
	if err == nil {
		err = s.batches(ctx)
	}
	if err == nil {
		err = s.leave()
	}
	if err = fault.Ended(ctx, s.refused.End(err)); err != nil {
		s.state.forget()
		if fault.KindOf(err) != fault.RowsRefused {
			return nil, err
		}
		return s.result, err // nothing was sent
	}
	if err := s.state.remove(); err != nil {
		return s.result, fault.Wrap(fault.Internal, "removing "+s.state.folder, err, "remove it: the parcel is whole")
	}
	return s.result, nil
}

func begin(ctx context.Context, o *SendOptions) (*sender, error) {
	to := o.Grant.Recipient
	if to == nil {
		return nil, fault.New(fault.Usage, sending, "the grant names no recipient", "convert within one controller: leave the recipient's part out")
	}
	for _, p := range []*keys.Project{o.From, o.To} {
		if err := convertible(sending, p); err != nil {
			return nil, err
		}
	}
	if o.From.Domain == o.To.Domain {
		return nil, fault.New(fault.Disagreement, sending, "the records are of one domain: there is nothing to convert", "give the record of a project of the other domain with --to")
	}
	if o.Grant.From != o.From.Domain || o.Grant.To != o.To.Domain {
		return nil, fault.New(fault.Disagreement, sending, "the grant is from domain "+o.Grant.From+" to "+o.Grant.To+", and the records are of "+o.From.Domain+" and "+o.To.Domain, "give records of projects of both domains")
	}
	if outfile.Same(o.In, o.Out) {
		return nil, fault.New(fault.Usage, sending, "--out is the input", "choose another name")
	}
	if o.Invalid == "" {
		o.Invalid = column.InvalidError
	}
	if o.Invalid != column.InvalidNull && o.Invalid != column.InvalidError {
		return nil, fault.New(fault.Usage, sending, "--invalid is neither null nor error", "give --invalid null or --invalid error")
	}
	y, err := to.Keys.Point()
	if err == nil {
		err = to.Keys.Check()
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the grant's recipient", err, "give the grant's record that keyholder grant show prints")
	}
	encrypter, err := oprf.NewEncrypter(y, runtime.GOMAXPROCS(0))
	if err != nil {
		return nil, fault.New(fault.Usage, "reading the grant's recipient", "its token key is no element of the group", "give the grant's record that keyholder grant show prints")
	}
	run, err := keys.Encode([]any{o.Grant.Name, to, endOf(o.From), endOf(o.To), o.From.Name, o.Column, o.Invalid, o.Quarantine != "", o.Source.Encoding, o.Source.Delimiter, o.Source.NoHeader})
	if err != nil {
		return nil, fault.New(fault.Internal, sending, "the run could not be named", "")
	}
	digest, err := keys.Digest(run)
	if err != nil {
		return nil, fault.New(fault.Internal, sending, "the run could not be named", "")
	}
	t, err := openTable(ctx, o)
	if err != nil {
		return nil, err
	}
	s := &sender{SendOptions: o, table: t, encrypter: encrypter, result: &Sent{Result: column.Result{Emptied: map[reason.Code]int64{}, LeftOut: map[reason.Code]int64{}}}}
	s.result.Input = t.input()
	s.run, s.rows = digest, sha256.New()
	if s.refused, err = column.NewRefusals(sending, "parcel",
		"correct these rows, or give --invalid null to send rows that hold no token of the epoch without one, and --quarantine FILE to list them and to leave out rows that cannot be read", o.Quarantine, o.Invalid, &s.result.Result); err != nil {
		_ = t.close() // opened for reading
		return nil, err
	}
	return s, nil
}

// survey reads the table once, counts what will become of its rows, and closes it.
func (s *sender) survey(ctx context.Context) error {
	defer func() { _ = s.table.close() }() // opened for reading
	for ctx.Err() == nil {
		read, err := s.table.next()
		if errors.Is(err, io.EOF) {
			s.surveyed = s.digest()
			return nil
		}
		if err != nil {
			return err
		}
		s.hash(read)
		if err := s.count(read); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// hash adds a row to the digest of all.
func (s *sender) hash(read *cellRow) {
	text, payload := read.text, read.payload
	if read.problem != "" {
		text, payload = nil, nil // they are of the row before
	}
	s.rows.Write(keys.LP(keys.Text(string(read.problem)), text, payload))
}

// digest returns the digest of all rows of the table and of what is before them.
func (s *sender) digest() [sha256.Size]byte {
	s.rows.Write(keys.LP(s.table.preamble()))
	sum := [sha256.Size]byte(s.rows.Sum(nil))
	s.rows.Reset()
	return sum
}

// prepare says of the parcel what its rows are bound to, and begins the run's state.
func (s *sender) prepare() (err error) {
	s.manifest = manifest{
		Schema: Schema, Software: s.Software, Created: s.Clock().UTC().Format(time.RFC3339), Grant: s.Grant.Name, From: endOf(s.From), To: endOf(s.To),
		Format: s.result.Input.Format, Column: s.Column, Delimiter: s.result.Input.Delimiter, Preamble: s.table.preamble(), Rows: s.result.Rows,
	}
	for _, n := range s.result.LeftOut {
		s.manifest.Rows -= n
	}
	if s.state, err = openState(s.Out+StateSuffix, s.run, s.surveyed, s.Random); err != nil {
		return err
	}
	s.manifest.Run, err = s.state.id(s.Random)
	return err
}

func openTable(ctx context.Context, o *SendOptions) (table, error) {
	t, err := openText(ctx, o.In, o.Column, o.Source)
	if err != nil {
		return nil, err
	}
	if t != nil {
		return t, nil
	}
	p, err := openParquet(ctx, o.In, o.Column)
	if err != nil {
		return nil, err
	}
	return p, nil
}

// batches reads the table again, and has it converted batch by batch. Which rows are in a
// batch depends on the table alone.
func (s *sender) batches(ctx context.Context) (err error) {
	if s.table, err = openTable(ctx, s.SendOptions); err != nil {
		return err
	}
	defer func() { _ = s.table.close() }() // opened for reading
	group, running := errgroup.WithContext(ctx)
	group.SetLimit(batchesInFlight)
	var rows []row
	longest := 0
	handed := int64(0)
	hand := func() error {
		batch, number := rows, s.result.Batches+1
		rows, longest = nil, 0
		s.result.Batches = number
		// Of a run that goes on it is not known which batches were charged.
		coming := int64(0)
		if s.state.begun {
			coming = s.manifest.Rows - handed
		}
		handed += int64(len(batch))
		convert := fault.Contained(func() error { return s.batch(running, number, batch, coming) })
		if number == 1 { // before others are: a grant that does not suffice for all is refused with it
			return convert()
		}
		group.Go(convert)
		return nil
	}
	for running.Err() == nil { // else the group knows why
		r, err := s.next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			_ = group.Wait() // what it says comes second
			return err
		}
		if r == nil {
			continue
		}
		size := parcel.SealedSize(max(longest, len(r.payload)))
		if n := len(rows) + 1; n > oprf.MaxBatch || n > 1 && oprf.ParcelSize(n, size, oprf.MaxSeal) > oprf.MaxParcel {
			if err := hand(); err != nil {
				_ = group.Wait() // nothing is on its way
				return err
			}
		}
		rows, longest = append(rows, *r), max(longest, len(r.payload))
	}
	var last error
	if len(rows) > 0 && running.Err() == nil {
		last = hand()
	}
	if err := errors.Join(last, group.Wait()); err != nil {
		return err
	}
	if n := s.resumed.Load(); n > 0 && s.Resumed != nil {
		s.Resumed(int(n))
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.digest() != s.surveyed {
		return fault.New(fault.Usage, "reading "+s.In, "it was changed while it was read", "run again once nobody changes it; what was converted of it is charged")
	}
	return nil
}

// judged says what becomes of a row: it is left out, or goes, with a token or without one,
// and why.
func (s *sender) judged(read *cellRow) (token oprf.Point, there, goes bool, problem reason.Code) {
	if problem = read.problem; problem == "" && parcel.SealedSize(len(read.payload)) > oprf.MaxRowPayload {
		problem = reason.RowTooLong
	}
	if problem != "" || len(read.text) == 0 {
		return token, false, problem == "", problem
	}
	given, err := keys.ParseToken(string(read.text))
	switch from := s.From.Keys; {
	case err != nil:
		return token, false, true, reason.TokenMalformed
	case given.Scheme != keys.SchemeNoOblivious || given.DomainNo != from.DomainNo || uint32(given.TokenEpoch) != from.TokenEpoch:
		return token, false, true, reason.TokenOther
	}
	return given.Value, true, true, ""
}

// count counts a row.
func (s *sender) count(read *cellRow) error {
	s.result.Rows++
	switch _, there, goes, problem := s.judged(read); {
	case !goes:
		return s.refused.LeftOut(read.number, problem)
	case there:
		s.result.Tokens++
	case problem != "":
		return s.refused.Emptied(read.number, problem)
	default:
		s.result.Absent++
	}
	return nil
}

// next reads a row to send; nil is one that is left out.
func (s *sender) next() (*row, error) {
	read, err := s.table.next()
	if err != nil {
		return nil, err
	}
	s.hash(read)
	if s.read++; s.Progress != nil && s.read%1024 == 0 {
		s.Progress(s.table.position())
	}
	token, there, goes, _ := s.judged(read)
	if !goes {
		return nil, nil
	}
	return &row{token: token, absent: !there, payload: bytes.Clone(read.payload)}, nil
}

// batch has one batch converted, unless it was.
func (s *sender) batch(ctx context.Context, number int, rows []row, coming int64) error {
	request, err := s.state.request(number)
	if err != nil {
		return err
	}
	if request == nil {
		if request, err = s.request(number, rows); err != nil {
			return err
		}
		if err := s.state.keepRequest(number, request); err != nil {
			return err
		}
	}
	done, err := s.state.answered(number, request)
	if err != nil {
		return err
	}
	if done {
		s.resumed.Add(1)
		return nil
	}
	answer, err := s.Convert(ctx, request, coming)
	if fault.KindOf(err) != fault.Policy { // the key holder refuses before it charges
		s.state.tried.Store(true)
	}
	if err != nil {
		return err
	}
	if !parcel.IsAnswer(request, answer) {
		return fault.New(fault.Disagreement, sending, "the key holder's answer is to another request, or of another number of rows", "tell the key holder's operators")
	}
	return s.state.keep(number, answer)
}

// request encrypts and seals a batch to the recipient.
func (s *sender) request(number int, rows []row) ([]byte, error) {
	h := oprf.Header{
		Operation: oprf.ConvertForParty, DomainNo: s.From.Keys.DomainNo, TokenEpoch: s.From.Keys.TokenEpoch,
		ToDomainNo: s.To.Keys.DomainNo, ToTokenEpoch: s.To.Keys.TokenEpoch, RequestID: uuid.New(),
	}
	payloads := make([][]byte, len(rows))
	for i := range rows {
		payloads[i] = rows[i].payload
	}
	seal, sealed, err := parcel.SealRows(&s.Grant.Recipient.Keys, h.RequestID, s.manifest.about(number), payloads, s.Random)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, sending, err, "")
	}
	out := make([]oprf.Row, len(rows))
	for i := range rows {
		out[i] = oprf.Row{Token: rows[i].token, Absent: rows[i].absent, Payload: sealed[i]}
	}
	request, err := s.encrypter.Rows(h, seal, out, s.Random)
	if err != nil {
		return nil, fault.New(fault.Usage, sending, "a token is none of scheme oblivious", "give tokens as tokeniser column writes them")
	}
	return request, nil
}

// leave puts the answers together, and gives the parcel its name.
func (s *sender) leave() (err error) {
	pending, err := keys.NewFile(s.Out)
	failed := func(err error) error {
		return fault.Wrap(fault.Internal, "writing "+s.Out, err, "choose a folder that exists and can be written, with room, then run the same command again: it goes on where it was")
	}
	if err != nil {
		return failed(err)
	}
	defer func() { _ = pending.Cleanup() }() // after it has its name, nothing
	m := s.manifest
	m.Batches = s.result.Batches
	document, err := keys.Encode(m)
	if err != nil {
		return failed(errors.New("its manifest could not be written down"))
	}
	archive := zip.NewWriter(pending)
	if err := writeZIP(archive, manifestName, bytes.NewReader(document)); err != nil {
		return failed(err)
	}
	for i := 1; i <= m.Batches; i++ {
		answer, err := s.state.answer(i)
		if err != nil {
			return err
		}
		if answer == nil {
			return failed(errors.New("an answer of the key holder is not there any more"))
		}
		if err := writeZIP(archive, answerOf(i), bytes.NewReader(answer)); err != nil {
			return failed(err)
		}
	}
	if err := archive.Close(); err != nil {
		return failed(err)
	}
	if err := pending.CloseAtomicallyReplace(); err != nil {
		return failed(err)
	}
	return nil
}
