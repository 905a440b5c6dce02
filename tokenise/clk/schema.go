package clk

import (
	"errors"
	"fmt"
	"io"
	"math/bits"
	"os"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/fault"
)

// Limits of what is taken, far beyond what is of use, so that a document cannot
// ask for more memory or time than there is. clkhash has none of them.
const (
	maxFilterBits = 1 << 17 // of a filter before it is folded
	maxFolds      = 17
	maxBits       = 1 << 12 // bitsPerToken, bitsPerFeature
	maxGram       = 1 << 7  // n of an n-gram
	maxResolution = 1 << 9
	maxKeySize    = 1 << 14 // more than HKDF can give
	maxFeatures   = 1 << 9
	maxSchemaSize = 1 << 20 // bytes of the document
)

// defaultKeySize is the size of a key in bytes where the schema gives none.
const defaultKeySize = 64

// Schema is a linkage schema of version 3. It is immutable.
type Schema struct {
	features []feature
	length   int // bits of a CLK
	folds    int
	sha512   bool
	salt     []byte
	info     []byte
	keySize  int // bytes
	warnings []string
}

// Identifiers returns the names of the features, ignored ones included: the
// header of the tables that the schema is for.
func (s *Schema) Identifiers() []string {
	names := make([]string, len(s.features))
	for i := range s.features {
		names[i] = s.features[i].identifier
	}
	return names
}

// Bits returns the length of a CLK in bits.
func (s *Schema) Bits() int { return s.length }

// Folds returns how many times a filter is folded to become a CLK.
func (s *Schema) Folds() int { return s.folds }

// Warnings returns what in the schema does not mean what it seems to.
func (s *Schema) Warnings() []string { return s.warnings }

// ReadSchema reads a schema file. Errors are of kind [fault.Usage].
func ReadSchema(path string) (*Schema, error) {
	doing := "reading the linkage schema " + path
	f, err := os.Open(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a clkhash linkage schema with --schema")
	}
	defer func() { _ = f.Close() }() // opened for reading
	document, err := io.ReadAll(io.LimitReader(f, maxSchemaSize+1))
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a clkhash linkage schema with --schema")
	}
	s, err := Parse(document)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "correct the schema; every party of the linkage must use the same one")
	}
	return s, nil
}

// Parse reads and checks a schema. It refuses what clkhash refuses, and what
// clkhash would only fail on later, at the first record.
func Parse(document []byte) (*Schema, error) {
	if len(document) > maxSchemaSize {
		return nil, errors.New("it is too large to be a schema")
	}
	if jsontext.Value(document).Kind() != '{' || !jsontext.Value(document).IsValid() {
		return nil, errors.New("it is not a JSON object in UTF-8 without members of the same name")
	}
	r := &reading{}
	root := r.object("", document)
	version, _ := root.number("version", true)
	if r.err == nil && version.float != 3 {
		if version.float == 1 || version.float == 2 {
			return nil, fmt.Errorf("it is of version %v, and only version 3 is read; convert it with clkhash (schema.convert_to_latest_version) or anonlink convert-schema", version.float)
		}
		return nil, errors.New("its version is not 3")
	}
	s := &Schema{}
	s.readConfig(root.object("clkConfig", true))
	features := root.list("features")
	if len(features) > maxFeatures {
		return nil, fmt.Errorf("features has %d entries, more than %d", len(features), maxFeatures)
	}
	for i, value := range features {
		s.features = append(s.features, readFeature(r.object(fmt.Sprintf("features[%d]", i), value)))
	}
	root.close(false)
	if r.err != nil {
		return nil, r.err
	}
	s.warnings = r.warnings
	return s, s.check()
}

func (s *Schema) readConfig(o *object) {
	s.length, _ = o.count("l", true, 1, maxFilterBits, false)
	s.readFolds(o)
	kdf := o.object("kdf", true)
	kdf.oneOf("type", true, "HKDF")
	s.sha512 = kdf.oneOf("hash", false, "SHA256", "SHA512") == "SHA512"
	s.keySize = defaultKeySize
	if size, ok := kdf.count("keySize", false, 1, maxKeySize, false); ok {
		s.keySize = size
	}
	s.salt, s.info = kdf.base64("salt"), kdf.base64("info")
	kdf.close(false)
	o.close(false)
}

// readFolds reads xor_folds, the member that clkhash obeys, and xorFolds, the
// one that its documentation has and that it reads over. So does this: two
// sides must make the same CLKs, and the other side may be clkhash.
func (s *Schema) readFolds(o *object) {
	s.folds, _ = o.count("xor_folds", false, 0, maxFolds, false)
	documented, ok := o.count("xorFolds", false, 0, 1<<53, true)
	switch {
	case !ok || documented == s.folds && o.has("xor_folds"):
	case o.has("xor_folds"):
		o.warnings = append(o.warnings, fmt.Sprintf("clkConfig.xorFolds says %d and clkConfig.xor_folds %d: used is xor_folds, as by clkhash", documented, s.folds))
	default:
		o.warnings = append(o.warnings, fmt.Sprintf("clkConfig.xorFolds has no effect: CLKs are not folded, as by clkhash, which reads xor_folds only; to fold, write \"xor_folds\": %d", documented))
	}
}

func (o *object) base64(name string) []byte {
	text, _ := o.text(name, false)
	decoded, err := lenientBase64(text)
	if err != nil {
		o.wrong(name, err.Error())
	}
	return decoded
}

// workLength returns the length of a filter before it is folded, in bits.
func (s *Schema) workLength() int { return s.length << s.folds }

// check refuses what no single member shows.
func (s *Schema) check() error {
	hashSize, hash := 32, "SHA256"
	if s.sha512 {
		hashSize, hash = 64, "SHA512"
	}
	switch most := 255 * hashSize / (2 * s.keySize); {
	case len(s.features) == 0:
		return errors.New("features is empty")
	case len(s.features) > most:
		return fmt.Errorf("features has %d entries, but HKDF with %s gives keys of %d bytes to %d at most, ignored ones included", len(s.features), hash, s.keySize, most)
	case s.length > maxFilterBits>>s.folds:
		return fmt.Errorf("clkConfig.l is too large: before it is folded a filter may have %d bits", maxFilterBits)
	}
	seen := map[string]bool{}
	for i := range s.features {
		f := &s.features[i]
		if name := strings.TrimSpace(f.identifier); seen[name] {
			s.warnings = append(s.warnings, fmt.Sprintf("features[%d] has the identifier of another: no header can have two columns of one name, so tables need --no-header", i))
		} else {
			seen[name] = true
		}
		switch {
		case f.ignored:
		case f.blake && s.keySize > blakeMaxKey:
			return fmt.Errorf("clkConfig.kdf.keySize is above %d bytes, more than blakeHash of features[%d] can use", blakeMaxKey, i)
		case f.blake && bits.OnesCount(uint(s.length)) != 1:
			return fmt.Errorf("clkConfig.l is not a power of two, which blakeHash of features[%d] needs", i)
		case f.preventSingularity && s.workLength() == 1:
			return fmt.Errorf("clkConfig.l is 1, with which prevent_singularity of features[%d] never ends", i)
		}
	}
	return nil
}
