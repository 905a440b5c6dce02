package regionstore

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

// KeySchema is the schema member of a store's key file.
const KeySchema = "tarn.region-store-key/1"

// keyDocument is DIR.key.json beside the store's folder DIR.
type keyDocument struct {
	Schema string `json:"schema"`
	Key    string `json:"key"` // hex
}

// KeyPath returns where the key of the store in a folder lies: beside the folder, so
// that a copy of the store by itself opens nothing.
func KeyPath(dir string) string { return filepath.Clean(dir) + ".key.json" }

// OpenKey returns a store's key, and makes it on first use from r (the operating
// system's generator where r is nil). Of two processes that come first at one time
// both get the same key. Errors hold no byte of it.
func OpenKey(path string, r io.Reader) (secret.Key, error) {
	key, err := readKey(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	if key, err = secret.Generate(r); err != nil {
		return secret.Key{}, fault.Wrap(fault.Internal, "making the store's key "+path, err, "")
	}
	b, err := keys.Encode(keyDocument{Schema: KeySchema, Key: keys.HexKey(key)})
	if err != nil {
		return secret.Key{}, fault.New(fault.Internal, "making the store's key "+path, "the document could not be made", "")
	}
	defer clear(b)
	err = keys.CreateFile(path, b)
	if errors.Is(err, fs.ErrExist) {
		return readKey(path) // another was faster
	}
	if err != nil {
		return secret.Key{}, fault.Wrap(fault.Internal, "writing the store's key "+path, err, "name a folder that can be written")
	}
	return key, nil
}

func readKey(path string) (secret.Key, error) {
	b, err := keys.ReadSecret(path)
	if err != nil {
		return secret.Key{}, err
	}
	defer clear(b)
	var d keyDocument
	damaged := json.Unmarshal(b, &d, json.RejectUnknownMembers(true)) != nil || d.Schema != KeySchema
	key, err := keys.ParseKey(d.Key)
	if damaged || err != nil {
		return secret.Key{}, fault.New(fault.Usage, "reading the store's key "+path, "it is not a store's key, or is damaged",
			"restore it from its backup; without it the store is of no use: remove both, and what it held is made again")
	}
	return key, nil
}
