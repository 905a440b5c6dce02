package source

import (
	"bufio"
	"encoding/csv"
	"strconv"
	"strings"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/reason"
)

// QuarantineWriter writes row,unique_id,field,code: which rows, by number and
// minted id, and why. It never holds a value.
type QuarantineWriter struct {
	path    string
	pending *keys.PendingFile
	buffer  *bufio.Writer
	csv     *csv.Writer
}

// CreateQuarantine begins a quarantine file, which appears under its name when
// it is committed.
func CreateQuarantine(path string) (*QuarantineWriter, error) {
	pending, err := keys.NewFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+path, err, "choose a folder that exists and can be written")
	}
	w := &QuarantineWriter{path: path, pending: pending, buffer: bufio.NewWriter(pending)}
	w.csv = csv.NewWriter(w.buffer)
	return w, w.csv.Write(quarantineHeader)
}

var quarantineHeader = []string{"row", "unique_id", "field", "code"}

// IsQuarantine reports whether a file that begins with these bytes is a
// quarantine file.
func IsQuarantine(start []byte) bool {
	return strings.HasPrefix(string(start), strings.Join(quarantineHeader, ",")+"\n")
}

// Append writes one reason of one row.
func (w *QuarantineWriter) Append(row int64, uniqueID, field string, code reason.Code) error {
	if err := w.csv.Write([]string{strconv.FormatInt(row, 10), uniqueID, field, string(code)}); err != nil {
		return fault.Wrap(fault.Internal, "writing "+w.path, err, "free space on the disk, then run again")
	}
	return nil
}

// Finish makes sure that the file is on the disk, not yet under its name.
func (w *QuarantineWriter) Finish() error {
	w.csv.Flush()
	err := w.csv.Error()
	if err == nil {
		err = w.buffer.Flush()
	}
	if err == nil {
		err = w.pending.Sync()
	}
	return w.written(err)
}

// Commit finishes the file and puts it under its name.
func (w *QuarantineWriter) Commit() error {
	if err := w.Finish(); err != nil {
		return err
	}
	return w.written(w.pending.CloseAtomicallyReplace())
}

func (w *QuarantineWriter) written(err error) error {
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+w.path, err, "free space on the disk, then run again")
	}
	return nil
}

// Abort removes what was written; after Commit it does nothing.
func (w *QuarantineWriter) Abort() { _ = w.pending.Cleanup() }
