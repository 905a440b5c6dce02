package column

import (
	"errors"
	"fmt"
	"strings"

	"tarn/keys/fault"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// Refusals count rows that are left out and cells that are emptied, list them in the
// quarantine where there is one, and say which end the run: the cells where --invalid is
// error, and the rows where there is no quarantine.
type Refusals struct {
	doing, left string // what the run does, and what it leaves: "table"
	invalid     string
	next        string // what to do where cells end the run
	quarantine  *source.QuarantineWriter
	result      *Result
	first       []string // the first that end the run
	ending      int64
}

// namedRows is the number of rows that an error names.
const namedRows = 10

// NewRefusals returns the refusals of a run, which are counted in result. It begins the
// quarantine where one is named; Abort is to be called.
func NewRefusals(doing, left, next, quarantine, invalid string, result *Result) (r *Refusals, err error) {
	r = &Refusals{doing: doing, left: left, next: next, invalid: invalid, result: result}
	if quarantine != "" {
		r.quarantine, err = source.CreateQuarantine(quarantine)
	}
	return r, err
}

// LeftOut notes a row that cannot be read.
func (r *Refusals) LeftOut(row int64, code reason.Code) error {
	r.result.LeftOut[code]++
	return r.note(row, "", code, r.quarantine == nil)
}

// Emptied notes a cell that holds nothing that may be passed on.
func (r *Refusals) Emptied(row int64, code reason.Code) error {
	r.result.Emptied[code]++
	return r.note(row, field, code, r.invalid == InvalidError)
}

func (r *Refusals) note(row int64, field string, code reason.Code, ends bool) error {
	if ends {
		if r.ending++; len(r.first) < namedRows {
			r.first = append(r.first, fmt.Sprintf("row %d %s", row, code))
		}
	}
	if r.quarantine == nil {
		return nil
	}
	return r.quarantine.Append(row, "", field, code)
}

// Err returns the error, of kind [fault.RowsRefused], of a run that has seen what ends it.
func (r *Refusals) Err(rows int64) error {
	if r.ending == 0 {
		return nil
	}
	named := r.first
	if r.ending > int64(len(named)) {
		named = append(named, "..")
	}
	next := "correct these rows, or give --quarantine FILE to leave them out"
	if r.invalid == InvalidError {
		next = r.next
	}
	return fault.New(fault.RowsRefused, r.doing, fmt.Sprintf("%d of %d rows cannot be passed on (%s), so no %s was written", r.ending, rows, strings.Join(named, ", "), r.left), next)
}

// End gives the quarantine its name where the run has succeeded, or was refused.
func (r *Refusals) End(err error) error {
	if r.quarantine != nil && (err == nil || fault.KindOf(err) == fault.RowsRefused) {
		return errors.Join(err, r.quarantine.Commit())
	}
	return err
}

// Abort removes a quarantine that has no name yet.
func (r *Refusals) Abort() {
	if r != nil && r.quarantine != nil {
		r.quarantine.Abort()
	}
}
