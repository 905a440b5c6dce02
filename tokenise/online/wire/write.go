package wire

import (
	"encoding/base64"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/linkage/cohort"
	"tarn/tokenise/online"
	"tarn/tokenise/reason"
)

// Counts are of the rows of an answer.
type Counts struct{ Rows, OK, Refused, Warnings int }

// Add counts a row.
func (c *Counts) Add(a *online.Answer) {
	c.Rows++
	if a.Refused {
		c.Refused++
	} else {
		c.OK++
	}
	c.Warnings += len(a.Warnings)
}

// Statuses of a row.
const (
	statusOK      = "ok"
	statusRefused = "refused"
)

// Writer writes the rows of one answer. It is used for one answer after another, and not
// concurrently.
type Writer interface {
	// Begin begins an answer. Rows are appended to the buffer that it returns.
	Begin(to []byte) []byte
	// Row appends a row.
	Row(to []byte, id string, a *online.Answer) []byte
	// End ends the answer and returns all of it.
	End(to []byte, counts Counts) ([]byte, error)
}

// NewWriter returns what writes answers of an engine in a form.
func NewWriter(f Format, e *online.Engine, asked online.Asked) Writer {
	switch f {
	case JSON:
		return newJSONWriter(e, asked)
	case NDJSON:
		return linesWriter{newJSONWriter(e, asked)}
	case CSV:
		return newCSVWriter(e, asked)
	default:
		return newArrowWriter(e, asked)
	}
}

// jsonWriter writes {.., "rows": [..], "counts": {..}}: what is constant is made once.
type jsonWriter struct {
	engine  *online.Engine
	asked   online.Asked
	head    []byte
	filters [][]byte // `"bf_given_name":`, of each filter; all but the first after a comma
	blocks  [][]byte
	tags    [][]byte
	rows    int
}

func newJSONWriter(e *online.Engine, asked online.Asked) *jsonWriter {
	w := &jsonWriter{engine: e, asked: asked}
	c := e.Context()
	w.head = append(w.head, '{')
	for _, member := range []struct{ name, text string }{
		{"project", c.Project}, {"domain", c.Domain}, {"scheme", c.Scheme}, {"profile", c.Profile}, {"profile_digest", c.ProfileDigest},
		{"encoding_kcv", c.EncodingKCV}, {"token_kcv", c.TokenKCV},
	} {
		w.head = appendString(append(appendString(w.head, member.name), ':'), member.text)
		w.head = append(w.head, ',')
	}
	w.head = strconv.AppendUint(append(w.head, `"epoch":`...), uint64(c.TokenEpoch), 10)
	w.head = strconv.AppendUint(append(w.head, `,"encoding_epoch":`...), uint64(c.EncodingEpoch), 10)
	w.head = append(w.head, `,"rows":[`...)
	l := e.Layout()
	member := func(all [][]byte, name string, comma bool) [][]byte {
		var b []byte
		if comma {
			b = append(b, ',')
		}
		return append(all, append(appendString(b, name), ':'))
	}
	for i, f := range l.Filters {
		w.filters = member(w.filters, f.Name, i > 0)
	}
	for i, name := range l.Blocks {
		w.blocks = member(w.blocks, name, i > 0)
	}
	for i, name := range l.Tags {
		w.tags = member(w.tags, name, i > 0 || len(l.Blocks) > 0)
	}
	return w
}

// Begin implements [Writer].
func (w *jsonWriter) Begin(to []byte) []byte {
	w.rows = 0
	return append(to, w.head...)
}

// Row implements [Writer].
func (w *jsonWriter) Row(to []byte, id string, a *online.Answer) []byte {
	if w.rows++; w.rows > 1 {
		to = append(to, ',')
	}
	return w.object(to, id, a)
}

func (w *jsonWriter) object(to []byte, id string, a *online.Answer) []byte {
	to = appendString(append(to, `{"unique_id":`...), id)
	if a.Refused {
		to = append(to, `,"status":"refused"`...)
		to = appendProblems(append(to, `,"errors":[`...), a.Errors)
		to = append(to, ']')
	} else {
		to = append(to, `,"status":"ok"`...)
		to = w.values(to, a)
	}
	if len(a.Warnings) > 0 {
		to = appendProblems(append(to, `,"warnings":[`...), a.Warnings)
		to = append(to, ']')
	}
	return append(to, '}')
}

func (w *jsonWriter) values(to []byte, a *online.Answer) []byte {
	if w.asked.Tokens {
		to = append(to, `,"nhs_token":`...)
		if a.HasToken {
			to = append(w.engine.AppendToken(append(to, '"'), &a.Token), '"')
		} else {
			to = append(to, "null"...)
		}
	}
	if !w.asked.Encodings {
		return to
	}
	to = append(to, `,"encodings":{`...)
	for i, filter := range a.Encoded.Filters {
		to = append(to, w.filters[i]...)
		if filter == nil {
			to = append(to, "null"...)
			continue
		}
		to = append(base64.StdEncoding.AppendEncode(append(to, '"'), filter), '"')
	}
	to = append(to, `},"tags":{`...)
	to = appendTags(to, w.blocks, a.Encoded.Blocks)
	to = appendTags(to, w.tags, a.Encoded.Tags)
	return append(to, '}')
}

// appendTags appends tags as texts: numbers of 64 bits are not safe in JSON.
func appendTags(to []byte, names [][]byte, tags []cohort.Tag) []byte {
	for i, tag := range tags {
		to = append(to, names[i]...)
		if !tag.Present {
			to = append(to, "null"...)
			continue
		}
		to = append(strconv.AppendInt(append(to, '"'), tag.Value, 10), '"')
	}
	return to
}

func appendProblems(to []byte, problems []reason.Problem) []byte {
	for i, p := range problems {
		if i > 0 {
			to = append(to, ',')
		}
		to = append(to, `{"field":`...)
		if p.Field == "" {
			to = append(to, "null"...)
		} else {
			to = appendString(to, p.Field)
		}
		to = append(appendString(append(to, `,"code":`...), string(p.Code)), '}')
	}
	return to
}

// End implements [Writer].
func (w *jsonWriter) End(to []byte, c Counts) ([]byte, error) {
	to = append(to, `],"counts":{"rows":`...)
	to = strconv.AppendInt(to, int64(c.Rows), 10)
	to = strconv.AppendInt(append(to, `,"ok":`...), int64(c.OK), 10)
	to = strconv.AppendInt(append(to, `,"refused":`...), int64(c.Refused), 10)
	to = strconv.AppendInt(append(to, `,"warnings":`...), int64(c.Warnings), 10)
	return append(to, "}}"...), nil
}

// appendString appends a JSON string. What is no UTF-8 is U+FFFD: a row's reference that
// is none came with a row that is refused.
func appendString(to []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x80 {
			quoted, err := jsontext.AppendQuote(to, text)
			if err != nil {
				quoted, _ = jsontext.AppendQuote(to, strings.ToValidUTF8(text, "\ufffd")) // it is valid now
			}
			return quoted
		}
	}
	return append(append(append(to, '"'), text...), '"')
}

// linesWriter writes a row's object a line.
type linesWriter struct{ *jsonWriter }

// Begin implements [Writer].
func (w linesWriter) Begin(to []byte) []byte { return to }

// Row implements [Writer].
func (w linesWriter) Row(to []byte, id string, a *online.Answer) []byte {
	return append(w.object(to, id, a), '\n')
}

// End implements [Writer].
func (w linesWriter) End(to []byte, _ Counts) ([]byte, error) { return to, nil }

// csvWriter writes unique_id, status, nhs_token, filters, tags, codes.
type csvWriter struct {
	engine *online.Engine
	asked  online.Asked
	head   []byte
	empty  int // columns between status and codes
}

func newCSVWriter(e *online.Engine, asked online.Asked) *csvWriter {
	w := &csvWriter{engine: e, asked: asked}
	names := []string{"unique_id", "status"}
	l := e.Layout()
	if asked.Tokens {
		names = append(names, cohort.ColumnToken)
	}
	if asked.Encodings {
		for _, f := range l.Filters {
			names = append(names, f.Name)
		}
		names = append(append(names, l.Blocks...), l.Tags...)
	}
	w.empty = len(names) - 2
	w.head = []byte(strings.Join(append(names, "codes"), ",") + "\n")
	return w
}

// Begin implements [Writer].
func (w *csvWriter) Begin(to []byte) []byte { return append(to, w.head...) }

// Row implements [Writer].
func (w *csvWriter) Row(to []byte, id string, a *online.Answer) []byte {
	to = append(appendCell(to, id), ',')
	if a.Refused {
		to = append(to, statusRefused...)
		for range w.empty {
			to = append(to, ',')
		}
	} else {
		to = append(to, statusOK...)
		if w.asked.Tokens {
			if to = append(to, ','); a.HasToken {
				to = w.engine.AppendToken(to, &a.Token)
			}
		}
		if w.asked.Encodings {
			for _, filter := range a.Encoded.Filters {
				to = base64.StdEncoding.AppendEncode(append(to, ','), filter)
			}
			to = appendTagCells(to, a.Encoded.Blocks)
			to = appendTagCells(to, a.Encoded.Tags)
		}
	}
	return append(appendCodes(append(to, ','), a), '\n')
}

func appendTagCells(to []byte, tags []cohort.Tag) []byte {
	for _, tag := range tags {
		if to = append(to, ','); tag.Present {
			to = strconv.AppendInt(to, tag.Value, 10)
		}
	}
	return to
}

// appendCodes appends field:code;.., errors first; a code of the row is without a field.
func appendCodes(to []byte, a *online.Answer) []byte {
	first := true
	for _, problems := range [2][]reason.Problem{a.Errors, a.Warnings} {
		for _, p := range problems {
			if !first {
				to = append(to, ';')
			}
			if first = false; p.Field != "" {
				to = append(append(to, p.Field...), ':')
			}
			to = append(to, p.Code...)
		}
	}
	return to
}

// appendCell appends a text as a field of RFC 4180.
func appendCell(to []byte, text string) []byte {
	if !strings.ContainsAny(text, ",\"\r\n") {
		return append(to, text...)
	}
	to = append(to, '"')
	for i := range len(text) {
		if text[i] == '"' {
			to = append(to, '"')
		}
		to = append(to, text[i])
	}
	return append(to, '"')
}

// End implements [Writer].
func (w *csvWriter) End(to []byte, _ Counts) ([]byte, error) { return to, nil }
