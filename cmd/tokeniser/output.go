package main

import (
	"io"

	"tarn/keys"
)

// writeJSON prints a document as all commands print theirs.
func writeJSON(w io.Writer, document any) error {
	b, err := keys.Encode(document)
	if err != nil {
		return err
	}
	_, err = w.Write(b)
	return err
}

// left returns the files that a command leaves; a refused one, which is not
// whole, leaves the quarantine alone.
func left(out, quarantine string, whole bool) []string {
	outputs := []string{}
	if whole {
		outputs = append(outputs, out)
	}
	if quarantine != "" {
		outputs = append(outputs, quarantine)
	}
	return outputs
}
