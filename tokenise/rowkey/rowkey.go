// Package rowkey keeps the keys of minted ids, K_row of specification (k), where
// a project's other keys come from a key holder: they are made here on first use,
// one for each project and source, and are never sent anywhere.
//
// A row key must be kept: without it the same rows get other ids, and cohorts of
// before and after cannot be told to be of one source.
package rowkey

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"

	"github.com/go-json-experiment/json"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
)

// Schema is the schema member of a row key's file.
const Schema = "tarn.row-key/1"

// document is PROJECT/SOURCE.row-key.json in the state folder.
type document struct {
	Schema        string `json:"schema"`
	Project       string `json:"project"`
	SourceDataset string `json:"source_dataset"`
	RowKey        string `json:"row_key"` // hex
}

// Path returns where the row key of a project and source lies in a state folder.
func Path(folder, project, source string) string {
	return filepath.Join(folder, project, source+".row-key.json")
}

// Open returns the row key of a project and source, and whether it was made just
// now, from r (the operating system's generator where r is nil). Of two processes
// that come first at one time both get the same key. Errors hold no byte of a key.
func Open(folder, project, source string, r io.Reader) (key secret.Key, made bool, err error) {
	path := Path(folder, project, source)
	key, err = read(path, project, source)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if key, err = secret.Generate(r); err != nil {
		return secret.Key{}, false, fault.Wrap(fault.Internal, "making the row key "+path, err, "")
	}
	if err = write(path, document{Schema: Schema, Project: project, SourceDataset: source, RowKey: keys.HexKey(key)}); errors.Is(err, fs.ErrExist) {
		key, err = read(path, project, source) // another was faster
		return key, false, err
	}
	if err != nil {
		return secret.Key{}, false, fault.Wrap(fault.Internal, "writing the row key "+path, err, "name a folder that can be written with --state")
	}
	return key, true, nil
}

func read(path, project, source string) (secret.Key, error) {
	doing := "reading the row key " + path
	b, err := keys.ReadSecret(path)
	if err != nil {
		return secret.Key{}, err
	}
	defer clear(b)
	var d document
	damaged := json.Unmarshal(b, &d, json.RejectUnknownMembers(true)) != nil || d.Schema != Schema
	key, err := keys.ParseKey(d.RowKey)
	switch {
	case damaged || err != nil:
		return secret.Key{}, fault.New(fault.Usage, doing, "it is not a row key's file, or is damaged", "restore it from its backup: with another key the same rows would get other ids")
	case d.Project != project || d.SourceDataset != source:
		return secret.Key{}, fault.New(fault.Disagreement, doing, "it is of another project or source than its name", "restore it from its backup")
	}
	return key, nil
}

func write(path string, d document) error {
	b, err := keys.Encode(d)
	if err != nil {
		return errors.New("the document could not be made")
	}
	defer clear(b)
	return keys.CreateFile(path, b)
}
