package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"

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
	keptBuffer   = 8 << 20 // bytes of a buffer
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

// weightOf is how much memory a body takes beside itself, with rows and answer, as a
// multiple; smallest is what any takes.
const (
	weightOf = 4
	smallest = 16 << 10
)

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
	body, release, err := s.body(deadline, e, j, buffers)
	if err != nil {
		return err
	}
	defer release()
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
	s.trace(e, "charged")
	counts, err := s.rows(deadline, e, j, keysNow, entry, request.Rows, buffers)
	if err == nil {
		err = keysNow.Ended()
	}
	if err != nil {
		entry.Abort()
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
	return s.respond(e, j, keysNow.Engine.Context(), counts)
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
	if words := e.ctx.QueryArgs().Peek("return"); len(words) > 0 {
		if !askedIn(&j.asked, string(words)) {
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

// body reads the request's body, and unpacks it. What it returns lies in the buffers, until
// release, which gives back the memory that was set aside.
func (s *Server) body(ctx context.Context, e *exchange, j *job, b *buffers) (body []byte, release func(), err error) {
	limit := s.options.Limits.MaxBody
	tooLarge := refuse(api.CodeTooLarge, fmt.Sprintf("a request may have %d bytes", limit), "send the rows in several requests").closing()
	length := e.ctx.Request.Header.ContentLength()
	if length > limit {
		return nil, nil, tooLarge
	}
	expected := length
	if length < 0 {
		expected = limit
	}
	weight := int64(max(weightOf*expected, smallest))
	if j.coding != plain {
		weight += int64(weightOf * limit)
	}
	weight = min(weight, s.options.Limits.MaxMemory)
	if err := s.memory.Acquire(ctx, weight); err != nil {
		e.closing = true
		return nil, nil, refuse(api.CodeBusy, "requests that came before take all memory", "send it again with the same X-Request-ID, a little later").after(again)
	}
	release = func() { s.memory.Release(weight) }
	defer func() {
		if err != nil {
			release()
		}
	}()
	if b.body, err = readBody(e.ctx, b.body[:0], length, limit); err != nil {
		e.closing = true
		var network net.Error
		switch {
		case errors.Is(err, errTooLarge):
			return nil, nil, tooLarge
		case errors.As(err, &network) && network.Timeout():
			return nil, nil, newProblem(fasthttp.StatusRequestTimeout, codeTimeout, "The request came too slowly", "it was not there within its time", "send it again with the same X-Request-ID, faster or in several requests").closing()
		}
		return nil, nil, refuse(api.CodeMalformed, "it ended before its end", "send it again with the same X-Request-ID").closing()
	}
	e.bytes, e.drained = len(b.body), true
	if j.coding == plain {
		return b.body, release, nil
	}
	if b.unpacked, err = unpack(j.coding, b.unpacked[:0], b.body, limit); errors.Is(err, errTooLarge) {
		return nil, nil, tooLarge
	} else if err != nil {
		return nil, nil, refuse(api.CodeMalformed, "it is not packed as Content-Encoding says", "send it as it is, or with Content-Encoding gzip or zstd")
	}
	return b.unpacked, release, nil
}

var errTooLarge = errors.New("httpapi: larger than a request may be")

// readBody reads a body of a length, or of at most limit bytes where that is not said.
func readBody(ctx *fasthttp.RequestCtx, to []byte, length, limit int) ([]byte, error) {
	stream := ctx.RequestBodyStream()
	if stream == nil {
		return append(to, ctx.Request.Body()...), nil
	}
	if length >= 0 {
		if cap(to) < length {
			to = make([]byte, 0, length)
		}
		_, err := io.ReadFull(stream, to[:length])
		return to[:length], err
	}
	for {
		if len(to) == cap(to) {
			to = append(to, make([]byte, max(smallest, len(to)))...)[:len(to)]
		}
		n, err := stream.Read(to[len(to):min(cap(to), limit+1)])
		to = to[:len(to)+n]
		switch {
		case len(to) > limit:
			return to, errTooLarge
		case errors.Is(err, io.EOF):
			return to, nil
		case err != nil:
			return to, err
		}
	}
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
	to := writer.Begin(e.ctx.Response.SwapBody(nil)[:0])
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
func (s *Server) respond(e *exchange, j *job, c *online.Context, counts wire.Counts) error {
	header := &e.ctx.Response.Header
	number := func(name string, n int64) {
		var b [20]byte
		header.SetBytesV(name, strconv.AppendInt(b[:0], n, 10))
	}
	header.SetContentType(j.out.MediaType())
	number("Tarn-Token-Epoch", int64(c.TokenEpoch))
	number("Tarn-Encoding-Epoch", int64(c.EncodingEpoch))
	header.Set("Tarn-Profile-Digest", c.ProfileDigest)
	header.Set("Tarn-Key-Check", c.TokenKCV)
	header.Set("Tarn-Encoding-Key-Check", c.EncodingKCV)
	header.Set("Tarn-Domain", c.Domain)
	header.Set("Tarn-Scheme", c.Scheme)
	number("Tarn-Rows-Ok", int64(counts.OK))
	number("Tarn-Rows-Refused", int64(counts.Refused))
	number("Tarn-Budget-Remaining", s.options.Ledger.Remaining(e.account()))
	header.Set("Vary", "Accept, Accept-Encoding")
	if j.answerIn == plain || len(e.ctx.Response.Body()) < packedFrom {
		return nil
	}
	packed, err := pack(j.answerIn, e.ctx.Response.Body())
	if err != nil {
		return err
	}
	header.Set(fasthttp.HeaderContentEncoding, string(j.answerIn))
	e.ctx.Response.SetBodyRaw(packed)
	return nil
}
