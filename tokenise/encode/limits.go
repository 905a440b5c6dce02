package encode

import (
	"bytes"
	"fmt"
	"io"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
)

// Limits of a profile: memory is bounded whoever wrote the file.
const (
	maxFields     = 64
	maxInputs     = 16
	maxBlocks     = 8
	minBits       = 64
	maxBits       = 65536
	maxRecordBits = 2 * maxBits // of all filters of a record together
	maxHashes     = 2048        // 256 blocks of 8 positions: what one byte can count
	maxDiffusion  = 16
)

func (e *Encoding) checkLimits() error {
	if len(e.Fields) > maxFields {
		return fmt.Errorf("encoding.fields has more than %d fields", maxFields)
	}
	if len(e.Blocks) > maxBlocks {
		return fmt.Errorf("encoding.blocks has more than %d blocks", maxBlocks)
	}
	total := 0
	for i, f := range e.Fields {
		if len(f.Inputs) > maxInputs {
			return fmt.Errorf("encoding.fields[%d]: inputs has more than %d", i, maxInputs)
		}
		total += f.Bits // each is checked to be at most maxBits
	}
	if total > maxRecordBits {
		return fmt.Errorf("the filters of encoding.fields have more than %d bits together", maxRecordBits)
	}
	return nil
}

// checkNoNull refuses null, which a decoder takes for a member that is absent.
func checkNoNull(document []byte) error {
	return walk(document, func(at jsontext.Pointer, token jsontext.Token) error {
		if token.Kind() == 'n' {
			return fmt.Errorf("%s is null", at)
		}
		return nil
	})
}

// walk calls visit with each token of a document and where it stands.
func walk(document []byte, visit func(jsontext.Pointer, jsontext.Token) error) error {
	decoder := jsontext.NewDecoder(bytes.NewReader(document))
	for {
		token, err := decoder.ReadToken()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return keys.DescribeJSON(err)
		}
		if err := visit(decoder.StackPointer(), token); err != nil {
			return err
		}
	}
}

// checkComplete refuses an encoding part that leaves a member out.
func checkComplete(canonical []byte) error {
	var members map[string]jsontext.Value
	if err := json.Unmarshal(canonical, &members); err != nil {
		return keys.DescribeJSON(err)
	}
	for _, name := range []string{"name", "version", "record_key", "blocks", "fields", "diffusion", "pad", "tables"} {
		if _, ok := members[name]; !ok {
			return fmt.Errorf("member encoding.%s is missing", name)
		}
	}
	return nil
}

// checkOneForm refuses an encoding part, otherwise right, that is not written
// as this package writes it: the same encoding would have two digests.
func (e *Encoding) checkOneForm(canonical []byte) error {
	b, err := json.Marshal(e)
	if err != nil {
		return err
	}
	here, err := keys.Canonical(b)
	if err != nil {
		return err
	}
	// Only bits and hashes of a tag can be left out and be 0.
	if !bytes.Equal(here, canonical) {
		return fmt.Errorf("a tag in encoding.fields has neither bits nor hashes, not even 0")
	}
	return nil
}

// cachedBytes bounds the memory of the keys that an encoder keeps: a century of
// dates under the presets.
const cachedBytes = 480 << 20

// cachedDates returns how many dates of birth an encoder keeps the keys of.
func (e *Encoding) cachedDates() int {
	size := 0
	for _, f := range e.Fields {
		size += 256 + f.Bits*e.Diffusion*2 + f.Bits/8 // cipher and tags, table, pad
	}
	return min(defaultCachedDates, cachedBytes/size)
}
