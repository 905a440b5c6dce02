package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"unsafe"

	"github.com/valyala/fasthttp"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/nhsnumber"
	"tarn/tokenise/demographics"
	"tarn/tokenise/escrow"
	"tarn/tokenise/online"
	"tarn/tokenise/online/wire"
	"tarn/tokenise/serving"
	"tarn/tokenise/source"
)

// What waits for the next request.
const (
	keptDecoders = 64
	keptBuffer   = 1 << 20 // bytes of a buffer
)

// buffers are a request's memory, used again for the next.
type buffers struct {
	body     []byte // as it was sent
	unpacked []byte
	answer   online.Answer
	numbers  []nhsnumber.Number
	escrow   []escrow.Item
}

func (s *Server) takeBuffers() *buffers {
	select {
	case b := <-s.buffers:
		return b
	default:
		return &buffers{}
	}
}

func (s *Server) putBuffers(b *buffers) {
	clear(b.body)
	clear(b.unpacked)
	clear(b.numbers)
	clear(b.escrow)
	b.numbers, b.escrow = b.numbers[:0], b.escrow[:0]
	if b.body, b.unpacked = b.body[:0], b.unpacked[:0]; cap(b.body) > keptBuffer || cap(b.unpacked) > keptBuffer {
		return
	}
	select {
	case s.buffers <- b:
	default:
	}
}

func (s *Server) takeDecoder() *wire.Decoder {
	select {
	case d := <-s.decoders:
		return d
	default:
		return wire.NewDecoder()
	}
}

func (s *Server) putDecoder(d *wire.Decoder) {
	d.Forget()
	select {
	case s.decoders <- d:
	default:
	}
}

// job is a tokenise request as its headers have it.
type job struct {
	in, out  wire.Format
	asked    online.Asked
	stated   bool // the address says what is asked for
	coding   coding
	answerIn coding
}

// tokenise answers rows.
func (s *Server) tokenise(e *exchange) error {
	j, err := s.read(e)
	if err != nil {
		return err
	}
	buffers := s.takeBuffers()
	defer s.putBuffers(buffers)
	deadline, cancel := context.WithTimeout(context.Background(), s.options.Limits.Timeout)
	defer cancel()
	s.trace(e, "begun")
	memory := &reservation{memory: s.memory}
	defer memory.release()
	body, err := s.body(deadline, e, j, buffers, memory)
	if err != nil {
		return err
	}
	if err := memory.take(deadline, decoding, decoded(body, s.mostRows(j, body))); err != nil {
		return err
	}
	s.trace(e, "read")
	keysNow, err := e.project.Project.Use()
	if err != nil {
		return err
	}
	defer keysNow.Release()
	decoder := s.takeDecoder()
	defer s.putDecoder(decoder)
	request, err := decoder.Decode(j.in, body, s.options.Limits.MaxRows)
	if err != nil {
		return err
	}
	if j.asked, err = j.whatIsAsked(request); err != nil {
		return err
	}
	e.rows = len(request.Rows)
	memory.keep(decoding, decoded(body, e.rows))
	if err := memory.take(deadline, answering, int64(2*e.rows*keysNow.Engine.AnswerSize(j.asked))); err != nil {
		return err
	}
	if online.LooksLikeNumbers(request.Rows, new(source.NumberDetector)) {
		return newProblem(422, codeNumbersAsIDs, "The row references are NHS numbers", "unique_id looks like NHS numbers, and the answer would be a list of whose token is whose", "send references of your own in unique_id")
	}
	entry, err := s.options.Ledger.Begin(deadline, serving.Request{
		Account: e.account(), ID: e.uuid, Rows: int64(len(request.Rows)), Today: demographics.DateOf(s.options.Wall().UTC()),
		Kind: [4]byte{1, byte(j.in), flag(j.asked.Tokens), flag(j.asked.Encodings)}, Body: body, Keys: keysNow.Digest(),
	})
	if err != nil {
		return err
	}
	defer entry.Abort() // whatever ends it before it is kept, a panic too
	s.trace(e, "charged")
	counts, err := s.rows(deadline, e, j, keysNow, entry, request.Rows, buffers)
	if err == nil {
		err = keysNow.Ended()
	}
	if err != nil {
		e.ctx.Response.ResetBody()
		return err
	}
	s.trace(e, "answered")
	if err := entry.Commit(deadline); err != nil {
		e.ctx.Response.ResetBody()
		return err
	}
	s.trace(e, "kept")
	s.options.Meter.Rows(e.project.Project.Name(), counts.OK, counts.Refused)
	return s.respond(e, j, keysNow.Engine.Context(), counts, memory)
}

func flag(b bool) byte {
	if b {
		return 1
	}
	return 0
}

func (s *Server) trace(e *exchange, stage string) {
	if s.options.Trace != nil {
		s.options.Trace(e.id, stage, s.options.Clock())
	}
}

// read reads the headers of a tokenise request.
func (s *Server) read(e *exchange) (*job, error) {
	j := &job{}
	header := &e.ctx.Request.Header
	var ok bool
	if j.in, ok = formatOf(header.ContentType()); !ok {
		return nil, refuse(api.CodeMediaType, "", "send application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream, in UTF-8")
	}
	if j.out, ok = accepted(header.Peek(fasthttp.HeaderAccept), j.in); !ok {
		return nil, newProblem(406, codeNotAcceptable, "No answer is of a type that is accepted", "", "accept application/json, application/x-ndjson, text/csv or application/vnd.apache.arrow.stream")
	}
	if j.coding, ok = codingOf(header.Peek(fasthttp.HeaderContentEncoding)); !ok {
		return nil, newProblem(415, codeEncoding, "The request is packed in a way that is not read here", "", "send it as it is, or with Content-Encoding gzip or zstd")
	}
	j.answerIn = acceptedCoding(header.Peek(fasthttp.HeaderAcceptEncoding))
	if words := e.ctx.QueryArgs().PeekMulti("return"); len(words) > 0 {
		if len(words) > 1 || !askedIn(&j.asked, string(words[0])) {
			return nil, refuse(api.CodeMalformed, "the parameter return is neither token nor encodings, nor both", "add ?return=token,encodings")
		}
		j.stated = true
	}
	return j, nil
}

// whatIsAsked returns what the address or the document asks for; both where neither says.
func (j *job) whatIsAsked(r *wire.Request) (online.Asked, error) {
	switch {
	case j.stated && r.Stated && j.asked != r.Asked:
		return j.asked, refuse(api.CodeMalformed, "the parameter return and the member return differ", "say it once")
	case j.stated:
		return j.asked, nil
	case r.Stated:
		return r.Asked, nil
	}
	return online.Asked{Tokens: true, Encodings: true}, nil
}

// rowSize is how much memory a row takes beside its texts, in bytes.
const rowSize = 2 * int(unsafe.Sizeof(online.Row{})) // a slice of them has room for more

// decoded is how much memory the rows of a body take while they are read, and afterwards.
func decoded(body []byte, rows int) int64 { return decodedSize*int64(len(body)) + int64(rows*rowSize) }

// mostRows is how many rows a body may turn out to have: one of two bytes is refused as a
// row, and is one.
func (s *Server) mostRows(j *job, body []byte) int {
	if j.in == wire.Arrow {
		return s.options.Limits.MaxRows // they may be of no bytes
	}
	return min(s.options.Limits.MaxRows, len(body)/2+1)
}

// body reads the request's body, and unpacks it. What it returns lies in the buffers.
func (s *Server) body(ctx context.Context, e *exchange, j *job, b *buffers, memory *reservation) (body []byte, err error) {
	length, limit := e.ctx.Request.Header.ContentLength(), s.options.Limits.MaxBody
	if length > limit {
		return nil, s.tooLarge()
	}
	room := func(bytes int) error { return memory.grow(ctx, max(smallest, int64(bytes))) }
	if b.body, err = readBody(e.ctx, b.body[:0], length, limit, room); err != nil {
		e.closing = !errors.Is(err, errTooLarge) && !errors.As(err, new(*problem))
		return nil, s.unread(err)
	}
	e.bytes, e.drained = len(b.body), true
	if j.coding == plain {
		return b.body, nil
	}
	needs := int64(limit)
	if j.coding == zstdized {
		needs *= 2 // its window may be as large, whatever is in it
	}
	if err := memory.take(ctx, unpacking, needs); err != nil {
		return nil, err
	}
	b.unpacked, err = unpack(j.coding, b.unpacked[:0], b.body, limit)
	memory.keep(unpacking, int64(len(b.unpacked)))
	switch {
	case err == nil:
		return b.unpacked, nil
	case errors.Is(err, errTooLarge):
		return nil, s.tooLarge()
	}
	return nil, refuse(api.CodeMalformed, "it is not packed as Content-Encoding says", "send it as it is, or with Content-Encoding gzip or zstd")
}

func (s *Server) tooLarge() *problem {
	return refuse(api.CodeTooLarge, fmt.Sprintf("a request may have %d bytes", s.options.Limits.MaxBody), "send the rows in several requests")
}

// unread says why a body was not read to its end.
func (s *Server) unread(err error) error {
	var known *problem
	var network net.Error
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(err, errTooLarge):
		return s.tooLarge()
	case errors.As(err, &network) && network.Timeout():
		return newProblem(fasthttp.StatusRequestTimeout, codeTimeout, "The request came too slowly", "it was not there within its time", "send it again with the same X-Request-ID, faster or in several requests")
	}
	return refuse(api.CodeMalformed, "it ended before its end", "send it again with the same X-Request-ID")
}

var errTooLarge = errors.New("httpapi: larger than a request may be")

// readBody reads a body of a length, or of at most limit bytes where that is not said. Its
// memory grows with what has come, and room is asked before it does.
func readBody(ctx *fasthttp.RequestCtx, to []byte, length, limit int, room func(bytes int) error) ([]byte, error) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return to, room(0) // it has none
	}
	most := length
	if length < 0 {
		most = limit + 1
	}
	return readAll(stream, to, most, func(bytes int, ended bool) error {
		switch {
		case bytes > limit:
			return errTooLarge
		case ended && bytes < length:
			return io.ErrUnexpectedEOF
		}
		return nil
	}, room)
}

// readAll appends what a reader has, of at most so many bytes. room is asked for memory
// before it is taken, and whole whether what was read is all.
func readAll(r io.Reader, to []byte, most int, whole func(bytes int, ended bool) error, room func(bytes int) error) ([]byte, error) {
	for end := 0; len(to) < most; {
		if len(to) == end {
			end = min(most, max(smallest, 2*end))
			if err := room(end); err != nil {
				return to, err
			}
			to = slices.Grow(to, end-len(to))
		}
		n, err := r.Read(to[len(to):end])
		to = to[:len(to)+n]
		if errors.Is(err, io.EOF) {
			return to, whole(len(to), true)
		}
		if err != nil {
			return to, err
		}
	}
	return to, whole(len(to), false)
}

// rowsBetween is how many rows are answered until the time is looked at.
const rowsBetween = 256

// rows answers the rows into the response's body.
func (s *Server) rows(ctx context.Context, e *exchange, j *job, k *serving.Keys, entry *serving.Entry, rows []online.Row, b *buffers) (counts wire.Counts, err error) {
	if !entry.Repeated {
		if err := k.Take(ctx, int64(len(rows))); err != nil {
			return counts, err
		}
	}
	w := k.Worker()
	defer k.Put(w)
	w.Judge(entry.Today)
	tokens, err := s.evaluated(ctx, j, k, w, rows, b)
	if err != nil {
		return counts, err
	}
	writer := k.Writer(j.out, j.asked)
	to := writer.Begin(s.takeAnswer(e, len(rows)*k.Engine.AnswerSize(j.asked)))
	canaries, escrowed := int64(0), k.Escrowed()
	for i := range rows {
		if i%rowsBetween == rowsBetween-1 && ctx.Err() != nil {
			return counts, ctx.Err()
		}
		var token *[keys.TokenSize]byte
		if len(tokens) > 0 && tokens[0].row == i {
			token, tokens = &tokens[0].token, tokens[1:]
		}
		if err := w.Answer(&rows[i], j.asked, token, &b.answer); err != nil {
			return counts, err
		}
		counts.Add(&b.answer)
		if escrowed && b.answer.HasToken {
			b.escrow = append(b.escrow, escrow.Item{Token: b.answer.Token, Number: b.answer.Number})
		}
		if b.answer.Canary {
			canaries++
		}
		s.count(&b.answer)
		to = writer.Row(to, rows[i].ID, &b.answer)
	}
	if !entry.Repeated {
		k.Canaries(canaries)
	}
	if len(b.escrow) > 0 {
		if err := k.Seal(ctx, b.escrow); err != nil { // before a token leaves
			return counts, err
		}
	}
	if to, err = writer.End(to, counts); err == nil {
		k.PutWriter(j.out, j.asked, writer)
	}
	e.ctx.Response.SwapBody(to)
	return counts, err
}

// count counts the reasons of a row.
func (s *Server) count(a *online.Answer) {
	for i := range a.Errors {
		s.options.Meter.Code(string(a.Errors[i].Code), true)
	}
	for i := range a.Warnings {
		s.options.Meter.Code(string(a.Warnings[i].Code), false)
	}
}

// made is the token that the key holder made of a row's number.
type made struct {
	row   int
	token [keys.TokenSize]byte
}

// evaluated has the tokens of rows made by the key holder, where it makes them and they
// are asked for.
func (s *Server) evaluated(ctx context.Context, j *job, k *serving.Keys, w *online.Worker, rows []online.Row, b *buffers) ([]made, error) {
	if !j.asked.Tokens || !k.Engine.Evaluated() {
		return nil, nil
	}
	var all []made
	for i := range rows {
		if number, ok := w.Number(&rows[i]); ok {
			b.numbers = append(b.numbers, number)
			all = append(all, made{row: i})
		}
	}
	tokens, err := k.Tokens(ctx, b.numbers)
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].token = tokens[i]
	}
	return all, nil
}

// respond sets the headers of an answer, and packs it where that was asked for.
func (s *Server) respond(e *exchange, j *job, c *online.Context, counts wire.Counts, memory *reservation) error {
	header := &e.ctx.Response.Header
	var scratch [128]byte // the library copies what it is given
	text := func(name []byte, value string) { header.SetCanonical(name, append(scratch[:0], value...)) }
	number := func(name []byte, n int64) { header.SetCanonical(name, strconv.AppendInt(scratch[:0], n, 10)) }
	header.SetContentType(j.out.MediaType())
	number(headerTokenEpoch, int64(c.TokenEpoch))
	number(headerEncodingEpoch, int64(c.EncodingEpoch))
	text(headerProfileDigest, c.ProfileDigest)
	text(headerKeyCheck, c.TokenKCV)
	text(headerEncodingKeyCheck, c.EncodingKCV)
	text(headerDomain, c.Domain)
	text(headerScheme, c.Scheme)
	number(headerRowsOK, int64(counts.OK))
	number(headerRowsRefused, int64(counts.Refused))
	number(headerBudgetRemaining, s.options.Ledger.Remaining(e.account()))
	text(headerVary, "Accept, Accept-Encoding")
	answer := e.ctx.Response.SwapBody(nil)
	if j.answerIn != plain && len(answer) >= packedFrom {
		packed, err := pack(j.answerIn, answer)
		if err != nil {
			return err
		}
		header.Set(fasthttp.HeaderContentEncoding, string(j.answerIn))
		s.keepAnswer(answer)
		answer = packed
	}
	if len(answer) >= heldFrom {
		s.hold(e, answer, memory)
	} else {
		e.ctx.Response.SwapBody(answer)
	}
	return nil
}
