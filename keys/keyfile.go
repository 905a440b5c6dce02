package keys

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/fault"
	"tarn/keys/secret"
)

// KeyFileSchema is the schema member of keys.json.
const KeyFileSchema = "tarn.keys/1"

// KeyFile is keys.json: the keys of one project for work without a key holder.
type KeyFile struct {
	Test        bool // made for tests from a known seed: refused in production
	Project     string
	Domain      string
	Scheme      string
	TokenKey    secret.Key // K[domain, token_epoch], specification (g)
	EncodingKey secret.Key // K_enc[project, encoding_epoch], specification (b)
	ReleaseKey  secret.Key // K_x[project, encoding_epoch], specification (l)
	RowKeys     map[string]secret.Key
}

// keyDocument is keys.json as it lies on disk. It lives only inside the
// functions that read and write it.
type keyDocument struct {
	Schema      string            `json:"schema"`
	Software    string            `json:"software,omitzero"`
	Created     string            `json:"created,omitzero"`
	Test        bool              `json:"test"`
	Project     string            `json:"project"`
	Domain      string            `json:"domain"`
	Scheme      string            `json:"scheme"`
	TokenKey    string            `json:"token_key"`
	EncodingKey string            `json:"encoding_key"`
	ReleaseKey  string            `json:"release_key"`
	RowKeys     map[string]string `json:"row_keys"`
}

// GenerateKeyFile draws every key of a project from r (the operating system's
// generator where r is nil), with a row key for each of its parties.
func GenerateKeyFile(p *Project, r io.Reader) (*KeyFile, error) {
	k := &KeyFile{Project: p.Name, Domain: p.Domain, Scheme: p.Scheme, RowKeys: map[string]secret.Key{}}
	var err error
	draw := func() (key secret.Key) {
		if err == nil {
			key, err = secret.Generate(r)
		}
		return key
	}
	k.TokenKey, k.EncodingKey, k.ReleaseKey = draw(), draw(), draw()
	for _, name := range p.SourceDatasets() {
		k.RowKeys[name] = draw()
	}
	return k, err
}

// ReadKeyFile reads keys.json. A file that anyone but its owner can read is
// refused. Errors are of kind [fault.Usage] and hold no byte of a key.
func ReadKeyFile(path string) (*KeyFile, error) {
	doing := "reading the key file " + path
	b, err := ReadPrivate(path, Private{Doing: doing, Next: "give a keys.json that this user can read with --key-file", Known: "make new keys", Limit: 1 << 20})
	if err != nil {
		return nil, err
	}
	defer clear(b)
	k, err := ParseKeyFile(b)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "restore it from its backup; docs/formats.md describes keys.json")
	}
	return k, nil
}

// ParseKeyFile reads the bytes of keys.json. The error holds no byte of a key.
func ParseKeyFile(document []byte) (*KeyFile, error) {
	var d keyDocument
	if err := json.Unmarshal(document, &d, json.RejectUnknownMembers(true)); err != nil {
		return nil, describeKeyFile(err)
	}
	if d.Schema != KeyFileSchema {
		return nil, fmt.Errorf("member schema is not %q", KeyFileSchema)
	}
	if !ValidName(d.Project) || !ValidName(d.Domain) || d.Scheme != SchemeKeyedHash {
		return nil, fmt.Errorf("members project, domain and scheme must name a project, a domain and %q", SchemeKeyedHash)
	}
	k := &KeyFile{Test: d.Test, Project: d.Project, Domain: d.Domain, Scheme: d.Scheme, RowKeys: map[string]secret.Key{}}
	for _, m := range []struct {
		name, hex string
		key       *secret.Key
	}{
		{"token_key", d.TokenKey, &k.TokenKey}, {"encoding_key", d.EncodingKey, &k.EncodingKey}, {"release_key", d.ReleaseKey, &k.ReleaseKey},
	} {
		key, err := ParseKey(m.hex)
		if err != nil {
			return nil, fmt.Errorf("member %s %w", m.name, err)
		}
		*m.key = key
	}
	for _, name := range sortedKeys(d.RowKeys) {
		if !ValidSourceDataset(name) {
			return nil, fmt.Errorf("a member of row_keys is not the name of a source data set")
		}
		key, err := ParseKey(d.RowKeys[name])
		if err != nil {
			return nil, fmt.Errorf("a member of row_keys %w", err)
		}
		k.RowKeys[name] = key
	}
	return k, nil
}

// describeKeyFile is DescribeJSON for a file in which even the name of a member
// may be a key, pasted into the wrong place: members are named only where they
// are known.
func describeKeyFile(err error) error {
	place := jsontext.Pointer("")
	var semantic *json.SemanticError
	var syntactic *jsontext.SyntacticError
	if errors.As(err, &semantic) {
		place = semantic.JSONPointer
	} else if errors.As(err, &syntactic) && errors.Is(err, jsontext.ErrDuplicateName) {
		place = syntactic.JSONPointer
	}
	known := []jsontext.Pointer{"", "/schema", "/software", "/created", "/test", "/project", "/domain", "/scheme", "/token_key", "/encoding_key", "/release_key", "/row_keys"}
	if !slices.Contains(known, place) {
		return errors.New("a member is unknown, there twice or not of the expected type (it is not named here, as it might be a key)")
	}
	return DescribeJSON(err)
}

// ParseKey reads a key as documents write it, 64 hexadecimal digits. The error
// holds no byte of it.
func ParseKey(text string) (secret.Key, error) {
	var b [secret.Size]byte
	defer clear(b[:])
	if len(text) != 2*secret.Size {
		return secret.Key{}, fmt.Errorf("is not %d hexadecimal digits", 2*secret.Size)
	}
	if _, err := hex.Decode(b[:], []byte(text)); err != nil {
		return secret.Key{}, fmt.Errorf("is not %d hexadecimal digits", 2*secret.Size)
	}
	if b == ([secret.Size]byte{}) {
		return secret.Key{}, fmt.Errorf("is all zeros, which is no key")
	}
	return secret.New(b), nil
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// Write writes keys.json with mode 0600, complete or not at all. An existing
// file is replaced only if overwrite says so: keys that are lost cannot be
// made again.
func (k *KeyFile) Write(path, software, created string, overwrite bool) error {
	doing := "writing the key file " + path
	if _, err := os.Lstat(path); err == nil && !overwrite {
		return fault.New(fault.Usage, doing, "it exists already, and keys that are overwritten cannot be made again",
			"choose another path, or move the old file to its backup first")
	}
	b, err := k.Encode(software, created)
	if err != nil {
		return fault.New(fault.Internal, doing, "the document could not be made", "")
	}
	defer clear(b)
	if err := WriteFile(path, b); err != nil {
		return fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	return nil
}

// Encode returns keys.json. The caller clears it.
func (k *KeyFile) Encode(software, created string) ([]byte, error) {
	d := keyDocument{
		Schema: KeyFileSchema, Software: software, Created: created, Test: k.Test, Project: k.Project, Domain: k.Domain, Scheme: k.Scheme,
		TokenKey: HexKey(k.TokenKey), EncodingKey: HexKey(k.EncodingKey), ReleaseKey: HexKey(k.ReleaseKey), RowKeys: map[string]string{},
	}
	for _, name := range sortedKeys(k.RowKeys) {
		d.RowKeys[name] = HexKey(k.RowKeys[name])
	}
	return Encode(d)
}

// HexKey returns a key as ParseKey reads it: for documents that only their owner
// may read.
func HexKey(k secret.Key) (text string) {
	k.Use(func(b *[secret.Size]byte) { text = hex.EncodeToString(b[:]) })
	return text
}

// CheckProject refuses, with kind [fault.Disagreement], keys of another
// project, domain or scheme.
func (k *KeyFile) CheckProject(p *Project) error {
	for _, c := range []struct{ what, keys, project string }{
		{"project", k.Project, p.Name}, {"domain", k.Domain, p.Domain}, {"scheme", k.Scheme, p.Scheme},
	} {
		if c.keys != c.project {
			return fault.New(fault.Disagreement, "comparing the key file with the project file",
				fmt.Sprintf("%s is %s in the keys and %s in the project", c.what, c.keys, c.project), "give the key file of this project")
		}
	}
	return nil
}

// TokenDeriver returns K_tok of specification (g) for one epoch of the file's
// domain: see [TokenDeriver].
func (k *KeyFile) TokenDeriver(tokenEpoch uint32) secret.Key {
	return TokenDeriver(k.TokenKey, k.Domain, tokenEpoch)
}

// TokenDeriver returns K_tok of specification (g) from a domain's key:
// HMAC(K[domain, token_epoch], LP("tarn/nhs-token/v1", domain, u32(token_epoch))).
func TokenDeriver(key secret.Key, domain string, tokenEpoch uint32) secret.Key {
	return key.Derive(LP(Text("tarn/nhs-token/v1"), Text(domain), U32(tokenEpoch)))
}
