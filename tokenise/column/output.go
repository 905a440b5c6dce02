package column

import (
	"bufio"
	"errors"
	"io"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/outfile"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// stdout is the path that stands for standard output.
const stdout = "-"

// output is what a run writes. Nothing has its name before the run has
// succeeded, but for the quarantine, which also tells why it has not.
type output struct {
	path       string
	pending    *keys.PendingFile // nil for standard output
	buffer     *bufio.Writer
	compressor io.WriteCloser
	quarantine *source.QuarantineWriter
}

func create(o *Options) (*output, error) {
	out := &output{path: o.Out}
	outfile.RemoveLeft(o.Out, o.Quarantine)
	var to io.Writer = o.Stdout
	if o.Out != stdout {
		pending, err := keys.NewFile(o.Out)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "writing "+o.Out, err, "choose a folder that exists and can be written")
		}
		out.pending, to = pending, pending
	}
	out.buffer = bufio.NewWriterSize(to, 256<<10)
	var err error
	out.compressor, err = source.Compress(o.Out, out.buffer)
	if err == nil && o.Quarantine != "" {
		out.quarantine, err = source.CreateQuarantine(o.Quarantine)
	}
	if err != nil {
		out.abort()
		return nil, err
	}
	return out, nil
}

// Write implements io.Writer.
func (out *output) Write(p []byte) (int, error) {
	n, err := out.compressor.Write(p)
	return n, out.failed(err)
}

func (out *output) failed(err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Internal, "writing "+out.path, err, "free space on the disk, then run again")
}

// quarantined adds a line to the quarantine where there is one.
func (out *output) quarantined(row int64, field string, code reason.Code) error {
	if out.quarantine == nil {
		return nil
	}
	return out.quarantine.Append(row, "", field, code)
}

// end puts everything under its name, or after a refusal the quarantine alone.
func (out *output) end(err error) error {
	if err != nil {
		if out.quarantine != nil && fault.KindOf(err) == fault.RowsRefused {
			err = errors.Join(err, out.quarantine.Commit())
		}
		return err
	}
	if err = out.compressor.Close(); err == nil {
		err = out.buffer.Flush()
	}
	if err == nil && out.pending != nil {
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
	if out.pending != nil {
		return out.failed(out.pending.CloseAtomicallyReplace())
	}
	return nil
}

// abort removes what has no name yet.
func (out *output) abort() {
	if out.pending != nil {
		_ = out.pending.Cleanup() // what is left then is a hidden file
	}
	if out.quarantine != nil {
		out.quarantine.Abort()
	}
}
