package boot

import (
	"errors"
	"os"

	"tarn/keys/fault"
	"tarn/keys/strict"
)

// LoadTOML reads a configuration file into the structure that config points
// to, whose fields name their keys with `toml` tags and hold the defaults
// beforehand. Every key must be known: an unknown one is a fault of kind Usage
// that names the file and the key and suggests the nearest. So is a file that
// is not TOML or holds a value of the wrong type.
func LoadTOML(path string, config any) error {
	doing := "reading the configuration " + path
	document, err := os.ReadFile(path)
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "")
	}
	var unknown *strict.UnknownError
	switch err := strict.TOML(document, config); {
	case errors.As(err, &unknown):
		return fault.New(fault.Usage, doing, err.Error(), "correct or remove it")
	case err != nil:
		return fault.New(fault.Usage, doing, err.Error(), "correct that line")
	}
	return nil
}
