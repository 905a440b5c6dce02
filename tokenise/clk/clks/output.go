package clks

import (
	"bufio"
	"errors"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/tokenise/source"
)

// What json.dump of Python writes around and between CLKs.
const (
	opening = `{"clks": [`
	comma   = ", "
	closing = `]}`
)

// output is what a run writes. Nothing has its name before the run has
// succeeded, but for the quarantine, which also tells why it has not.
type output struct {
	path       string
	pending    *keys.PendingFile
	buffer     *bufio.Writer
	begun      bool
	quarantine *source.QuarantineWriter
}

func create(o *Options) (*output, error) {
	pending, err := keys.NewFile(o.Out)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+o.Out, err, "choose a folder that exists and can be written")
	}
	out := &output{path: o.Out, pending: pending, buffer: bufio.NewWriterSize(pending, 256<<10)}
	if o.Quarantine != "" {
		if out.quarantine, err = source.CreateQuarantine(o.Quarantine); err != nil {
			out.abort()
			return nil, err
		}
	}
	_, err = out.buffer.WriteString(opening)
	return out, out.failed(err)
}

// add adds CLKs, each in quotes and with a comma before it.
func (out *output) add(clks []byte) error {
	if !out.begun && len(clks) > 0 {
		out.begun, clks = true, clks[len(comma):]
	}
	_, err := out.buffer.Write(clks)
	return out.failed(err)
}

func (out *output) failed(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Internal, "writing "+out.path, err, "free space on the disk, then run again")
}

func (out *output) quarantined(p problem) error {
	if out.quarantine == nil {
		return nil
	}
	return out.quarantine.Append(p.row, "", p.Field, p.Code)
}

// end puts everything under its name, or after a refusal the quarantine alone.
func (out *output) end(err error) error {
	if err != nil {
		if out.quarantine != nil && fault.KindOf(err) == fault.RowsRefused {
			err = errors.Join(err, out.quarantine.Commit())
		}
		return err
	}
	_, err = out.buffer.WriteString(closing)
	if err == nil {
		err = out.buffer.Flush()
	}
	if err == nil {
		err = out.pending.Sync()
	}
	if err != nil {
		return out.failed(err)
	}
	if out.quarantine != nil {
		if err := out.quarantine.Commit(); err != nil {
			return err
		}
	}
	return out.failed(out.pending.CloseAtomicallyReplace())
}

// abort removes what has no name yet.
func (out *output) abort() {
	_ = out.pending.Cleanup() // what is left then is a hidden file
	if out.quarantine != nil {
		out.quarantine.Abort()
	}
}
