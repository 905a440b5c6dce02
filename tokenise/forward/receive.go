package forward

import (
	"archive/zip"
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/oprf"
	"tarn/keys/outfile"
	"tarn/keys/parcel"
	"tarn/tokenise/column"
	"tarn/tokenise/source"
)

// ReceiveOptions are the settings of a recipient's run.
type ReceiveOptions struct {
	Parcel string
	Keys   *parcel.Keys
	To     *keys.Project // of the recipient's domain, with its public key
	// PublicKey asks the key holder for the public key of a domain's epoch. It is asked for
	// the sender's: whoever could choose that key could make up tokens.
	PublicKey func(ctx context.Context, domain string, domainNo, epoch uint32) (oprf.Point, error)
	Out       string // a table of the format of the sender's; compressed if its name ends in .gz or .zst
	// Replace is as of [column.Options].
	Replace  bool
	Threads  int
	Progress func(done, total int64) // rows; may be nil
}

// Received is what a recipient's run did.
type Received struct {
	Grant   string
	From    string // the domain that the rows come from
	Format  string
	Column  string
	Rows    int64
	Tokens  int64 // rows with a token of the recipient's domain
	Absent  int64 // rows without one
	Batches int
}

const receiving = "opening the parcel"

// tableWriter writes rows as they arrive.
type tableWriter interface {
	begin(preamble []byte) error
	write(tokens []string, payloads [][]byte) error
	end() error
}

// Receive opens a parcel: it verifies every proof, holds the rows to the sender's count,
// and writes the table, complete or not at all.
func Receive(ctx context.Context, o ReceiveOptions) (*Received, error) {
	if err := convertible(receiving, o.To); err != nil {
		return nil, err
	}
	none := func(err error) error { return fault.Wrap(fault.Usage, "reading "+o.Parcel, err, parcelNext) }
	f, err := os.Open(o.Parcel)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading "+o.Parcel, err, "give the path of a parcel that this user can read with --in")
	}
	defer func() { _ = f.Close() }() // opened for reading
	info, err := f.Stat()
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading "+o.Parcel, err, "")
	}
	archive, err := zip.NewReader(f, info.Size())
	if err != nil {
		return nil, none(errors.New("it is no parcel, or not a whole one"))
	}
	if !alone(f, info.Size()) {
		return nil, none(errors.New("there is more in the file, as where parcels were joined: open each by itself"))
	}
	if len(archive.File) == 0 || archive.File[0].Name != manifestName {
		return nil, none(errors.New("it has no " + manifestName))
	}
	document, err := readZIP(archive.File[0], maxManifest)
	if err != nil {
		return nil, none(err)
	}
	var m manifest
	if err := keys.DecodeStrict(document, &m); err != nil {
		return nil, none(err)
	}
	if err := o.check(&m, len(archive.File)-1); err != nil {
		return nil, err
	}
	if err := o.checkEarlier(ctx, &m); err != nil {
		return nil, err
	}
	outfile.RemoveLeft(o.Out)
	pending, err := keys.NewFile(o.Out)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+o.Out, err, "choose a folder that exists and can be written")
	}
	defer func() { _ = pending.Cleanup() }() // after it has its name, nothing
	r := &receiver{ReceiveOptions: &o, manifest: &m, seen: map[[16]byte]bool{}, result: &Received{Grant: m.Grant, From: m.From.Domain, Format: m.Format, Column: m.Column, Batches: m.Batches}}
	if err := r.domains(ctx); err != nil {
		return nil, err
	}
	buffer := bufio.NewWriterSize(pending, 256<<10)
	compressed, err := source.Compress(o.Out, buffer)
	if err != nil {
		return nil, r.written(err)
	}
	if r.to = r.writer(compressed); r.to == nil {
		return nil, none(errors.New("its format is not known here"))
	}
	if err := r.to.begin(m.Preamble); err != nil {
		return nil, r.written(err)
	}
	for i, f := range archive.File[1:] {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if f.Name != answerOf(i+1) {
			return nil, none(errors.New("its parts are not in order"))
		}
		answer, err := readZIP(f, maxAnswer)
		if err != nil {
			return nil, none(err)
		}
		if err := r.open(i+1, answer); err != nil {
			return nil, err
		}
	}
	if r.result.Rows != m.Rows {
		return nil, fault.New(fault.Disagreement, receiving, fmt.Sprintf("%d rows arrived of %d that were sent", r.result.Rows, m.Rows), "use none of it; ask the sender for the parcel again")
	}
	if err := r.to.end(); err != nil {
		return nil, r.written(err)
	}
	err = compressed.Close()
	if err == nil {
		err = buffer.Flush()
	}
	if err == nil {
		err = pending.CloseAtomicallyReplace()
	}
	if err != nil {
		return nil, r.written(err)
	}
	return r.result, nil
}

// check holds a manifest to the records and to the file it lies in.
func (o *ReceiveOptions) check(m *manifest, batches int) error {
	switch {
	case m.Schema != Schema:
		return fault.New(fault.Usage, "reading "+o.Parcel, `member schema is not "`+Schema+`"`, "use the version of the software that wrote the parcel, "+m.Software)
	case m.To != endOf(o.To):
		return fault.New(fault.Disagreement, receiving, fmt.Sprintf("it goes to domain %s, epoch %d, and the record is of %s, epoch %d", fault.Name(m.To.Domain), m.To.TokenEpoch, o.To.Domain, o.To.Keys.TokenEpoch), "give the record of the epoch that it was sent to: the one of now, or from before the key was rotated")
	case !keys.ValidName(m.From.Domain) || m.From.Domain == m.To.Domain:
		return fault.New(fault.Usage, "reading "+o.Parcel, "it does not say which domain it comes from", parcelNext)
	case m.Batches != batches || m.Rows < 0 || m.Rows > int64(batches)*oprf.MaxBatch:
		return fault.New(fault.Usage, "reading "+o.Parcel, "it has another number of parts than its manifest says", parcelNext)
	}
	if named := strings.HasSuffix(strings.ToLower(o.Out), ".parquet"); named != (m.Format == source.FormatParquet) {
		return fault.New(fault.Usage, "writing "+o.Out, "its name ends in the extension of another format than that of the sender's table, "+fault.Name(m.Format), "give --out a name of that format")
	}
	if outfile.Same(o.Parcel, o.Out) {
		return fault.New(fault.Usage, "writing "+o.Out, "it is the parcel", "choose another name")
	}
	return nil
}

// checkEarlier refuses to write over what no earlier run has left. What columns are to be
// written the manifest says, but of NDJSON, whose rows say that.
func (o *ReceiveOptions) checkEarlier(ctx context.Context, m *manifest) error {
	if o.Replace {
		return nil
	}
	scheme, err := keys.SchemeNo(o.To.Scheme, false)
	if err != nil {
		return err
	}
	earlier := column.Earlier{Format: m.Format, Column: m.Column, Token: keys.Token{Scheme: scheme, DomainNo: m.To.DomainNo, TokenEpoch: uint16(m.To.TokenEpoch)}}
	switch m.Format {
	case source.FormatCSV:
		if r, err := source.OpenContext(ctx, "-", source.Options{Stdin: bytes.NewReader(m.Preamble), Delimiter: delimiterOf(m)}); err == nil {
			earlier.Columns = column.Columns(r.Header(), r.Input())
			_ = r.Close() // it was in memory
		}
	case source.FormatParquet:
		w := parquetWriter{to: &sink{to: io.Discard}, name: m.Column}
		if err := w.begin(m.Preamble); err == nil { // else receiving says so
			for _, field := range w.schema.Fields() {
				earlier.Columns = append(earlier.Columns, strings.TrimSpace(field.Name))
			}
			slices.Sort(earlier.Columns)
		}
	}
	return earlier.Check(ctx, o.Out)
}

// delimiterOf is what divides the fields of CSV, or 0.
func delimiterOf(m *manifest) rune {
	for _, delimiter := range m.Delimiter {
		return delimiter
	}
	return 0
}

// receiver is a run.
type receiver struct {
	*ReceiveOptions
	*manifest
	from, public oprf.Point
	scheme       uint8
	seen         map[[16]byte]bool // request ids
	to           tableWriter
	result       *Received
}

// domains finds the public keys that the proofs are held to.
func (r *receiver) domains(ctx context.Context) (err error) {
	from := &r.From
	if r.from, err = r.PublicKey(ctx, from.Domain, from.DomainNo, from.TokenEpoch); err != nil {
		return err
	}
	if r.public, err = oprf.ParsePublicKey(r.ReceiveOptions.To.Keys.TokenPublicKey); err != nil {
		return fault.New(fault.Disagreement, receiving, "the record of project "+r.ReceiveOptions.To.Name+" has no public key", "get the record from the key holder: tokeniser project")
	}
	r.scheme, err = keys.SchemeNo(r.ReceiveOptions.To.Scheme, false)
	return err
}

func (r *receiver) writer(to io.Writer) tableWriter {
	switch r.Format {
	case source.FormatCSV, source.FormatNDJSON:
		return &textWriter{to: to, form: newRowForm(r.manifest)}
	case source.FormatParquet:
		return &parquetWriter{to: &sink{to: to}, name: r.Column}
	}
	return nil
}

// open opens one batch.
func (r *receiver) open(batch int, sealed []byte) error {
	arrived, err := r.Keys.Open(sealed, r.about(batch), r.from, r.public, max(r.Threads, 1))
	switch {
	case errors.Is(err, parcel.ErrSealed):
		return fault.New(fault.Disagreement, receiving, "a part does not open: "+err.Error()+", or is not of this parcel", "give the keys whose public half the grant names; else "+parcelNext)
	case err != nil:
		return fault.New(fault.Disagreement, receiving, "the key holder's proof does not hold: what it answered is not of the keys of both domains", "use none of it; tell the key holder's operators and information governance")
	}
	h := &arrived.Header
	if h.DomainNo != r.From.DomainNo || h.TokenEpoch != r.From.TokenEpoch || h.ToDomainNo != r.manifest.To.DomainNo || h.ToTokenEpoch != r.manifest.To.TokenEpoch {
		return fault.New(fault.Disagreement, receiving, "a part is of other domains than the parcel", "use none of it; "+parcelNext)
	}
	if r.seen[h.RequestID] {
		return fault.New(fault.Disagreement, receiving, "a part is there twice", "use none of it; "+parcelNext)
	}
	r.seen[h.RequestID] = true
	tokens, payloads := make([]string, len(arrived.Rows)), make([][]byte, len(arrived.Rows))
	for i, row := range arrived.Rows {
		if payloads[i] = row.Payload; row.Absent {
			r.result.Absent++
			continue
		}
		r.result.Tokens++
		tokens[i] = keys.Token{Scheme: r.scheme, DomainNo: h.ToDomainNo, TokenEpoch: uint16(h.ToTokenEpoch), Value: row.Token}.String()
	}
	r.result.Rows += int64(len(tokens))
	if r.Progress != nil {
		r.Progress(r.result.Rows, r.manifest.Rows)
	}
	return r.written(r.to.write(tokens, payloads))
}

// written gives an error of writing the table its kind.
func (r *receiver) written(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errRow):
		return fault.New(fault.Usage, receiving, err.Error(), parcelNext)
	}
	return fault.Wrap(fault.Internal, "writing "+r.Out, err, "free space on the disk, then run again")
}
