package forward

import (
	"errors"
	"fmt"
	"strings"

	"tarn/keys/fault"
	"tarn/tokenise/column"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// refusals counts rows that are left out and cells that are emptied, lists them in the
// quarantine where there is one, and says which end the run.
type refusals struct {
	invalid string
	file    *source.QuarantineWriter
	result  *Sent
	first   []string // the first that end the run
	ending  int64
}

// namedRows is the number of rows that an error names.
const namedRows = 10

func newRefusals(quarantine, invalid string, result *Sent) (r *refusals, err error) {
	r = &refusals{invalid: invalid, result: result}
	if quarantine != "" {
		r.file, err = source.CreateQuarantine(quarantine)
	}
	return r, err
}

// leftOut is a row that cannot be read.
func (r *refusals) leftOut(number int64, code reason.Code) error {
	r.result.LeftOut[code]++
	return r.note(number, "", code, r.file == nil)
}

// emptied is a row that goes without a token.
func (r *refusals) emptied(number int64, code reason.Code) error {
	r.result.Emptied[code]++
	return r.note(number, field, code, r.invalid == column.InvalidError)
}

func (r *refusals) note(number int64, field string, code reason.Code, ends bool) error {
	if ends {
		if r.ending++; len(r.first) < namedRows {
			r.first = append(r.first, fmt.Sprintf("row %d %s", number, code))
		}
	}
	if r.file == nil {
		return nil
	}
	return r.file.Append(number, "", field, code)
}

// refusal returns the error of a run that has seen what ends it.
func (r *refusals) refusal(rows int64) error {
	if r.ending == 0 {
		return nil
	}
	named := r.first
	if r.ending > int64(len(named)) {
		named = append(named, "..")
	}
	return fault.New(fault.RowsRefused, sending, fmt.Sprintf("%d of %d rows cannot be passed on (%s), so no parcel was written", r.ending, rows, strings.Join(named, ", ")),
		"correct these rows, or give --invalid null to send rows that hold no token of the epoch without one, and --quarantine FILE to list them and to leave out rows that cannot be read")
}

// end gives the quarantine its name where the run has succeeded, or was refused.
func (r *refusals) end(err error) error {
	if r.file != nil && (err == nil || fault.KindOf(err) == fault.RowsRefused) {
		return errors.Join(err, r.file.Commit())
	}
	return err
}

func (r *refusals) abort() {
	if r.file != nil {
		r.file.Abort()
	}
}
