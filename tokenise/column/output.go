package column

import (
	"bufio"
	"io"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/outfile"
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

// end puts everything under its name, or after a refusal the quarantine alone.
func (out *output) end(err error, refused *Refusals) error {
	if err != nil {
		return refused.End(err)
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
	if err := refused.End(nil); err != nil {
		return err
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
}
