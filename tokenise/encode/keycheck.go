package encode

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/csv"
	"encoding/hex"
	"fmt"
	"strings"

	"tarn/keys"
	"tarn/tokenise/demographics"
	"tarn/tokenise/reason"
)

// keyCheckRecords are the published records of the key check value: people who
// do not exist, with everything that normalisation has to deal with. They are
// part of the specification and never change.
//
//go:embed kcv/records.csv
var keyCheckRecords string

// keyCheckText is the column that stands for every input which is not a
// canonical field.
const keyCheckText = "text"

// keyCheckToday is the day on which the published records are judged.
var keyCheckToday = demographics.Date{Year: 2026, Month: 1, Day: 1}

// KeyCheckValue returns the encoding key check value in hex: what two sites
// compare, before they exchange anything, to know that they encode alike. It
// is SHA-256(LP("tarn/kcv/v1", profile_digest) || rows)[0:16], where the rows
// are the published records put through the whole pipeline: of each record
// its filters in profile order, u8(present) and the bytes if present, then its
// tags in profile order, u8(present) and 8 bytes, zeros if missing.
func (e *Encoder) KeyCheckValue() (string, error) {
	records, err := e.profile.publishedRecords()
	if err != nil {
		return "", err
	}
	digest := e.profile.Digest()
	h := sha256.New()
	h.Write(keys.LP(keys.Text("tarn/kcv/v1"), digest[:]))
	worker := e.NewWorker()
	var encoded Encoded
	for i := range records {
		if err := worker.Encode(&records[i], &encoded); err != nil {
			return "", err
		}
		for _, filter := range encoded.Filters {
			if filter == nil {
				h.Write([]byte{0})
			} else {
				h.Write([]byte{1})
				h.Write(filter)
			}
		}
		for _, tag := range encoded.Tags {
			var b [9]byte
			if tag.Present {
				b[0] = 1
			}
			binary.BigEndian.PutUint64(b[1:], uint64(tag.Value))
			h.Write(b[:])
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:keys.CheckValueSize]), nil
}

// publishedRecords returns the published records, normalised as the profile
// says.
func (p *Profile) publishedRecords() ([]Record, error) {
	table, err := csv.NewReader(strings.NewReader(keyCheckRecords)).ReadAll()
	if err != nil {
		return nil, fmt.Errorf("encode: reading the published records: %w", err)
	}
	columns := map[string]int{}
	for i, name := range table[0] {
		columns[name] = i
	}
	normaliser, records := p.NewNormaliser(keyCheckToday), make([]Record, len(table)-1)
	for r, row := range table[1:] {
		raw := func(input string) string {
			i, ok := columns[input]
			if !ok {
				i = columns[keyCheckText]
			}
			return row[i]
		}
		normaliser.Normalise(raw, &records[r], func(string, reason.Code) {})
	}
	return records, nil
}
