package tokenise

import (
	"crypto/hmac"
	"crypto/sha256"
	"hash"
	"maps"
	"slices"

	"tarn/keys"
	"tarn/keys/secret"
	"tarn/tokenise/source"
)

// chain is a keyed digest of a run and its input: of all that determines the
// output, and of the values that are read. Equal chains are
// equal outputs. It is keyed because a plain digest of a short table could be
// searched for.
type chain struct {
	mac     hash.Hash
	columns []int
	buffer  []byte
}

// runIdentity is what besides the rows determines the output of a run.
type runIdentity struct {
	Software      string   `json:"software"`
	ProjectDigest string   `json:"project_digest"`
	ProfileDigest string   `json:"profile_digest"`
	EncodingKCV   string   `json:"encoding_kcv"`
	TokenKCV      string   `json:"token_kcv"`
	SourceDataset string   `json:"source_dataset"`
	Test          bool     `json:"test"`
	RowNumbers    bool     `json:"row_numbers"`
	Fields        []string `json:"fields"`
	Groups        []string `json:"groups"`
}

// newChain begins the chain of a run; its sum is that of the run itself.
func (s *setting) newChain() *chain {
	c := &chain{}
	s.rowKey.Derive(keys.LP(keys.Text("tarn/tokenise-run/v1"))).Use(func(b *[secret.Size]byte) { c.mac = hmac.New(sha256.New, b[:]) })
	id := runIdentity{
		Software: s.Software, ProjectDigest: s.Project.Digest(), ProfileDigest: s.Profile.DigestText(), EncodingKCV: s.encodingKCV, TokenKCV: s.tokenKeys.KCV(),
		SourceDataset: s.SourceDataset, Test: s.Keys.Test, RowNumbers: s.Columns.RowNumbers, Fields: slices.Sorted(maps.Keys(s.Columns.Fields)),
	}
	for _, name := range id.Fields {
		c.columns = append(c.columns, s.Columns.Fields[name])
	}
	for _, g := range s.groups {
		id.Groups = append(id.Groups, g.name)
		c.columns = append(c.columns, g.at)
	}
	b, err := keys.Encode(id)
	if err != nil {
		panic("tokenise: a struct of texts always encodes")
	}
	c.mac.Write(b)
	return c
}

// add adds rows.
func (c *chain) add(batch *source.Batch) {
	c.buffer = c.buffer[:0]
	for i := range batch.Rows {
		row := &batch.Rows[i]
		c.buffer = appendText(c.buffer, string(row.Problem))
		for _, at := range c.columns {
			value := ""
			if at < len(row.Values) {
				value = row.Values[at]
			}
			c.buffer = appendText(c.buffer, value)
		}
	}
	c.mac.Write(c.buffer)
}

// sum returns the digest of everything so far. How the rows came in batches
// makes no difference to it.
func (c *chain) sum() []byte { return c.mac.Sum(nil) }
