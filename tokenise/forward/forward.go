// Package forward gives rows with tokens of one domain to another party, which gets them
// with the tokens of its own: a conversion for another party, see docs/oblivious.md.
//
// [Send] encrypts each token and seals all else in its row to the recipient, has the key
// holder convert them, and leaves one file, the parcel, that only the recipient can open.
// [Receive] verifies the key holder's proofs, opens the rows and writes them as a table of
// the format of the sender's, in an order that was the key holder's. Neither side sees both
// tokens of a row.
//
// Memory does not grow with the table.
package forward

import (
	"archive/zip"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/oprf"
	"tarn/tokenise/source"
)

// Schema is the schema member of a parcel's manifest.
const Schema = "tarn.parcel/1"

// manifest says what is in a parcel. It holds no row, and the rows of each batch open with
// what it says only: see about.
type manifest struct {
	Schema   string `json:"schema"`
	Software string `json:"software"`
	Created  string `json:"created"`
	Run      string `json:"run"` // of one run of the sender's, 32 hexadecimal digits
	Grant    string `json:"grant"`
	From     end    `json:"from"`
	To       end    `json:"to"`
	Format   string `json:"format"` // csv, ndjson or parquet
	Column   string `json:"column"` // of the tokens
	// Delimiter divides the fields of CSV; else it is empty.
	Delimiter string `json:"delimiter"`
	Preamble  []byte `json:"preamble"` // what is before the first row: of CSV the header, of Parquet the schema as an Arrow stream without rows
	Rows      int64  `json:"rows"`
	Batches   int    `json:"batches"`
}

// end is a domain's epoch.
type end struct {
	Domain     string `json:"domain"`
	DomainNo   uint32 `json:"domain_no"`
	TokenEpoch uint32 `json:"token_epoch"`
}

func endOf(p *keys.Project) end { return end{p.Domain, p.Keys.DomainNo, p.Keys.TokenEpoch} }

// A parcel is a ZIP file of the manifest and the key holder's sealed answers.
const (
	manifestName = "parcel.json"
	maxManifest  = 4 << 20                               // bytes
	maxAnswer    = 4*oprf.MaxParcel + oprf.MaxSeal       // bytes, with its seals
	parcelNext   = "ask the sender for the parcel again" // what to do about one that is none
)

// about is what the rows of a batch are bound to: the parcel as its manifest describes it,
// and the batch's place in it. Without the sender nobody takes a batch away, adds one of
// another run or writes another header.
func (m *manifest) about(batch int) [sha256.Size]byte {
	preamble := sha256.Sum256(m.Preamble)
	return sha256.Sum256(keys.LP(keys.Text("tarn/parcel-about/v1"), keys.Text(m.Run), keys.Text(m.Grant), keys.Text(m.Format), keys.Text(m.Column), keys.Text(m.Delimiter), preamble[:],
		binary.BigEndian.AppendUint64(nil, uint64(m.Rows)), keys.U32(uint32(batch))))
}

// fixedHeader is how many bytes a ZIP file says of a file in it before the file's name.
const fixedHeader = 30

// IsParcel reports whether a file that begins with these bytes, 4 KiB of it or all, is a
// parcel of a grant.
func IsParcel(start []byte, grant string) bool {
	if len(start) < fixedHeader || !bytes.HasPrefix(start, []byte("PK\x03\x04")) {
		return false
	}
	name, extra := int(binary.LittleEndian.Uint16(start[26:])), int(binary.LittleEndian.Uint16(start[28:]))
	if len(start) < fixedHeader+name+extra || string(start[fixedHeader:][:name]) != manifestName {
		return false
	}
	d := jsontext.NewDecoder(bytes.NewReader(start[fixedHeader+name+extra:]))
	var of struct{ schema, grant string }
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return false
	}
	for of.grant == "" { // it is before what may be long
		member, err := d.ReadToken()
		if err != nil || member.Kind() != '"' {
			return false
		}
		key := member.String()
		value, err := d.ReadValue()
		if err != nil {
			return false
		}
		switch text, _ := jsontext.AppendUnquote(nil, value); key {
		case "schema":
			of.schema = string(text)
		case "grant":
			of.grant = string(text)
		}
	}
	return of.schema == Schema && of.grant == grant
}

// answerOf is the name of the answer to a batch, counting from 1.
func answerOf(batch int) string { return fmt.Sprintf("answers/%06d", batch) }

// row is one row of a table on its way.
type row struct {
	token   oprf.Point
	absent  bool
	payload []byte // the row without its token
}

// table is what rows are read from.
type table interface {
	// next reads the next row; io.EOF is the end. The cell's text is valid until the call
	// after. A row that cannot be passed on has a problem.
	next() (*cellRow, error)
	input() source.Input
	// preamble is what is before the first row; it is known once a row was read, or the end.
	preamble() []byte
	position() (done, total int64)
	close() error
}

// writeZIP adds one file to an archive as it is, without a time: the same parts make the
// same archive.
func writeZIP(to *zip.Writer, name string, content io.Reader) error {
	w, err := to.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err == nil {
		_, err = io.Copy(w, content)
	}
	return err
}

// Sizes in bytes of what a ZIP file ends with, behind its directory: the last record, and
// before it, where the file is longer than 4 GiB, two more.
const (
	endRecord   = 22
	end64Record = 56
	end64Place  = 20
)

// alone reports whether an archive is all there is in a file. Of several that were joined
// one would be read, and the others would not be missed.
func alone(f io.ReaderAt, size int64) bool {
	b := make([]byte, end64Record+end64Place+endRecord)
	at := max(0, size-int64(len(b)))
	n, err := f.ReadAt(b[:size-at], at)
	if err != nil && !errors.Is(err, io.EOF) || n < endRecord {
		return false
	}
	last := b[n-endRecord : n]
	if !bytes.HasPrefix(last, []byte("PK\x05\x06")) || last[20] != 0 || last[21] != 0 {
		return false // something is behind it
	}
	length, offset := uint64(binary.LittleEndian.Uint32(last[12:])), uint64(binary.LittleEndian.Uint32(last[16:]))
	behind := uint64(endRecord)
	if long := b[:end64Record]; n == len(b) && bytes.HasPrefix(long, []byte("PK\x06\x06")) && bytes.HasPrefix(b[end64Record:], []byte("PK\x06\x07")) {
		length, offset, behind = binary.LittleEndian.Uint64(long[40:]), binary.LittleEndian.Uint64(long[48:]), uint64(len(b))
	}
	return length <= uint64(size) && offset <= uint64(size) && length+offset+behind == uint64(size)
}

// readZIP reads one file of an archive, of at most so many bytes.
func readZIP(f *zip.File, limit uint64) ([]byte, error) {
	if f.UncompressedSize64 > limit {
		return nil, fmt.Errorf("%s is longer than it can be", f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return nil, fmt.Errorf("%s cannot be read", f.Name)
	}
	b, err := io.ReadAll(io.LimitReader(r, int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("%s is damaged", f.Name)
	}
	return b, r.Close()
}

// convertible refuses a record whose tokens are not converted.
func convertible(doing string, p *keys.Project) error {
	if p.Scheme != keys.SchemeOblivious {
		return fault.New(fault.Policy, doing, "only tokens of scheme oblivious can be converted", "make the tokens again from the numbers")
	}
	if p.Reidentify.Mode == "none" {
		return fault.New(fault.Policy, doing, "the tokens of project "+p.Name+" are release tokens, which are one-way", "make them again from the numbers")
	}
	return nil
}
