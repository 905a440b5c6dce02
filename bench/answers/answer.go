package answers

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/klauspost/compress/gzip"

	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/tokenise/online/wire"
)

// answered is a row of an answer, whatever form it came in: cells by the names of their
// columns, filters in base64, empty where there is none.
type answered struct {
	id, status string
	cells      map[string]string
}

// read reads the rows of an answer by libraries other than the service's own writers.
func read(f wire.Format, body []byte) ([]answered, error) {
	switch f {
	case wire.CSV:
		return readCSV(body)
	case wire.Arrow:
		return readArrow(body)
	case wire.NDJSON:
		var rows []answered
		for line := range bytes.Lines(body) {
			var o object
			if err := json.Unmarshal(line, &o); err != nil {
				return nil, errors.New("a line is no JSON")
			}
			rows = append(rows, o.row())
		}
		return rows, nil
	}
	var document struct {
		Rows   []object
		Counts struct{ Rows int }
	}
	if err := json.Unmarshal(body, &document); err != nil {
		return nil, errors.New("it is no JSON")
	}
	if document.Counts.Rows != len(document.Rows) {
		return nil, fmt.Errorf("it counts %d rows and has %d", document.Counts.Rows, len(document.Rows))
	}
	rows := make([]answered, 0, len(document.Rows))
	for i := range document.Rows {
		rows = append(rows, document.Rows[i].row())
	}
	return rows, nil
}

// object is a row as JSON has it.
type object struct {
	ID        string             `json:"unique_id"`
	Status    string             `json:"status"`
	Token     *string            `json:"nhs_token"`
	Encodings map[string]*string `json:"encodings"`
	Tags      map[string]*string `json:"tags"`
}

func (o *object) row() answered {
	a := answered{id: o.ID, status: o.Status, cells: map[string]string{}}
	if o.Token != nil {
		a.cells[cohort.ColumnToken] = *o.Token
	}
	for _, members := range []map[string]*string{o.Encodings, o.Tags} {
		for name, value := range members {
			if value != nil {
				a.cells[name] = *value
			}
		}
	}
	return a
}

func readCSV(body []byte) (rows []answered, err error) {
	records, err := csv.NewReader(bytes.NewReader(body)).ReadAll()
	if err != nil || len(records) == 0 || len(records[0]) < 2 {
		return nil, errors.New("it is no table")
	}
	for _, record := range records[1:] {
		a := answered{id: record[0], status: record[1], cells: map[string]string{}}
		for c := 2; c < len(record); c++ {
			a.cells[records[0][c]] = record[c]
		}
		rows = append(rows, a)
	}
	return rows, nil
}

func readArrow(body []byte) (rows []answered, err error) {
	r, err := ipc.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("it is no Arrow stream")
	}
	defer r.Release()
	for r.Next() {
		b := r.RecordBatch()
		for i := range int(b.NumRows()) {
			a := answered{cells: map[string]string{}}
			for c := range int(b.NumCols()) {
				value := ""
				if column := b.Column(c); column.IsValid(i) {
					switch v := column.(type) {
					case *array.String:
						value = v.Value(i)
					case *array.Int64:
						value = strconv.FormatInt(v.Value(i), 10)
					case *array.FixedSizeBinary:
						value = base64.StdEncoding.EncodeToString(v.Value(i))
					}
				}
				switch name := b.ColumnName(c); name {
				case "unique_id":
					a.id = value
				case "status":
					a.status = value
				default:
					a.cells[name] = value
				}
			}
			rows = append(rows, a)
		}
	}
	if err := r.Err(); err != nil && !errors.Is(err, io.EOF) {
		return nil, errors.New("the Arrow stream breaks off")
	}
	return rows, nil
}

// Unpacked returns what a packed answer holds.
func Unpacked(body []byte) ([]byte, error) {
	r, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, errors.New("it is not packed as it says")
	}
	b, err := io.ReadAll(r)
	if err != nil {
		return nil, errors.New("it is not packed as it says")
	}
	return b, nil
}

// Wrong says what of an answer to rows of these ids is not what the truth says; nil where
// all is. It repeats no value.
func (t *Truth) Wrong(f wire.Format, ids []string, body []byte) error {
	rows, err := read(f, body)
	if err != nil {
		return err
	}
	if len(rows) != len(ids) {
		return fmt.Errorf("%d rows were answered with %d", len(ids), len(rows))
	}
	for i := range rows {
		if err := t.wrongRow(f, ids[i], &rows[i]); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return nil
}

func (t *Truth) wrongRow(f wire.Format, id string, a *answered) error {
	if a.id != id {
		return errors.New("it is another row's answer")
	}
	want, known := t.rows[id]
	if !known {
		if a.status != "refused" {
			return errors.New("it is answered, and the run refused it")
		}
		return nil
	}
	if a.status != "ok" {
		return errors.New("it is refused, and the run encoded it")
	}
	if !t.sameToken(f, want, a.cells[cohort.ColumnToken]) {
		return errors.New("its token is another")
	}
	for i, filter := range t.layout.Filters {
		if a.cells[filter.Name] != base64.StdEncoding.EncodeToString(want.Filters[i]) {
			return fmt.Errorf("%s is another", filter.Name)
		}
	}
	for _, part := range []struct {
		names []string
		tags  []cohort.Tag
	}{{t.layout.Blocks, want.Blocks}, {t.layout.Tags, want.Tags}} {
		for i, name := range part.names {
			text := ""
			if part.tags[i].Present {
				text = strconv.FormatInt(part.tags[i].Value, 10)
			}
			if a.cells[name] != text {
				return fmt.Errorf("%s is another", name)
			}
		}
	}
	return nil
}

// sameToken holds a token to the run's. Arrow has its value alone, a text also says of which
// epoch it is.
func (t *Truth) sameToken(f wire.Format, want *cohort.Row, text string) bool {
	if !want.HasToken {
		return text == ""
	}
	if f == wire.Arrow {
		return text == base64.StdEncoding.EncodeToString(want.Token[:])
	}
	token, err := keys.ParseToken(text)
	return err == nil && token.Value == want.Token && uint32(token.TokenEpoch) == t.Epoch
}
