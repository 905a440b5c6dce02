package synth

import (
	"os"
	"path/filepath"

	"tarn/keys"
	"tarn/keys/fault"
)

// DescriptionFile is the file that says how synthetic people were made.
const DescriptionFile = "synth.json"

const descriptionSchema = "tarn.synth/1"

// Software and Created are what documents of synthetic people carry in place
// of the version and the time, so that the same seed gives the same bytes.
const Software = "tarn synth"

// Created is the day on which the ages of synthetic people are counted.
func Created() string { return today.Format("2006-01-02T15:04:05Z07:00") }

// description is synth.json.
type description struct {
	Schema   string   `json:"schema"`
	Software string   `json:"software"`
	Created  string   `json:"created"`
	Seed     uint64   `json:"seed"`
	People   int      `json:"people"` // of each party
	Shared   int      `json:"shared"` // people whom every party has
	Parties  []string `json:"parties"`
	Errors   string   `json:"errors"`
	Overlap  float64  `json:"overlap"`
	Tables   string   `json:"tables"`            // built-in, or read from a folder
	IDs      string   `json:"ids"`               // of truth.csv and groups.csv: source or minted
	Numbers  string   `json:"numbers,omitempty"` // none where they were left out
}

func writeDescription(folder string, c *Config, s *Summary) error {
	path := filepath.Join(folder, DescriptionFile)
	d := description{Schema: descriptionSchema, Software: Software, Created: Created(), Seed: c.Seed, People: c.People, Shared: s.Shared,
		Parties: s.Parties, Errors: c.Errors, Overlap: c.Overlap, Tables: "built-in", IDs: "source"}
	if c.NamesDir != "" {
		d.Tables = "read from a folder"
	}
	if c.NoNumbers {
		d.Numbers = "none"
	}
	if c.Mint != nil {
		d.IDs = "minted"
	}
	b, err := keys.Encode(d)
	if err == nil {
		err = keys.WriteFile(path, b)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "free space on the disk, then run again")
	}
	return nil
}

// IsOutput reports whether Generate has written into the folder.
func IsOutput(folder string) bool {
	b, err := os.ReadFile(filepath.Join(folder, DescriptionFile))
	if err != nil {
		return false
	}
	var d description
	return keys.DecodeStrict(b, &d) == nil && d.Schema == descriptionSchema
}
