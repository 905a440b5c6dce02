package synth

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"time"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/tokenise"
	"tarn/tokenise/batch"
	"tarn/tokenise/encode"
)

// Names of the files of a synthetic project.
const (
	ProjectFile = "project.json"
	KeyFileName = "keys.json"
)

// expires lies beyond any use of a synthetic project.
const expires = "2099-12-31"

// Project is the project of synthetic people, with keys that follow from the
// seed and are marked as keys for tests.
type Project struct {
	document *keys.Project
	keys     *keys.KeyFile
}

// NewRecord makes the record of a project of the parties of c, encoded with a
// preset, for a key holder to give keys to.
func NewRecord(c *Config, preset string) *keys.Project {
	name := "synth-" + strconv.FormatUint(c.Seed, 10)
	p := &keys.Project{
		Schema: keys.ProjectSchema, Software: Software, Created: Created(), Name: name, Domain: "synthetic", Scheme: keys.SchemeKeyedHash, Profile: preset,
		Purpose:    "synthetic people, none of whom exists: to try Tarn and to measure it",
		LegalBasis: keys.LegalBasis{Refs: []string{"no personal data are processed"}}, Controllers: []string{"whoever made these people"},
		OptOuts: keys.OptOuts{Reason: "synthetic people have none"}, Groups: GroupColumns,
		Keys: keys.KeySet{DomainNo: 1, TokenEpoch: 1, EncodingEpoch: 1}, Reidentify: keys.Reidentify{Mode: "direct", Purposes: []string{"test"}}, Expires: expires,
	}
	for i := range c.Parties {
		p.Parties = append(p.Parties, keys.Party{SourceDataset: PartyName(i), ODS: fmt.Sprintf("ZZ%03d", i+1)})
	}
	return p
}

// NewProject makes the same project with its keys.
func NewProject(c *Config, preset string) (*Project, error) {
	p := NewRecord(c, preset)
	k := &keys.KeyFile{Test: true, Project: p.Name, Domain: p.Domain, Scheme: p.Scheme, RowKeys: map[string]secret.Key{},
		TokenKey: testKey(c.Seed, "token"), EncodingKey: testKey(c.Seed, "encoding"), ReleaseKey: testKey(c.Seed, "release")}
	for _, party := range p.SourceDatasets() {
		k.RowKeys[party] = testKey(c.Seed, "row/"+party)
	}
	profile, err := encode.LoadProfile(preset, ".")
	if err != nil {
		return nil, err
	}
	encoder, err := encode.NewEncoder(profile, k.EncodingKey, p.Name, p.Keys.EncodingEpoch)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "setting up the encoder", err, "")
	}
	encodingKCV, err := encoder.KeyCheckValue()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "computing the key check value", err, "")
	}
	tokenKCV := keys.TokenKCV(k.TokenDeriver(p.Keys.TokenEpoch))
	p.Keys.TokenKCV, p.Keys.EncodingKCV = &tokenKCV, &encodingKCV
	return &Project{document: p, keys: k}, nil
}

// testKey derives a key that anybody who knows the seed can derive.
func testKey(seed uint64, use string) secret.Key {
	return secret.New(sha256.Sum256(keys.LP(keys.Text("tarn/synthetic-key/v1"), keys.Text(strconv.FormatUint(seed, 10)), keys.Text(use))))
}

// WriteRecord writes project.json into an existing folder.
func WriteRecord(p *keys.Project, folder string) error {
	path := filepath.Join(folder, ProjectFile)
	b, err := keys.Encode(p)
	if err == nil {
		err = keys.WriteFile(path, b)
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+path, err, "choose a folder that can be written")
	}
	return nil
}

// Name returns the project's name.
func (p *Project) Name() string { return p.document.Name }

// Write writes project.json and keys.json into an existing folder.
func (p *Project) Write(folder string) error {
	if err := WriteRecord(p.document, folder); err != nil {
		return err
	}
	return p.keys.Write(filepath.Join(folder, KeyFileName), Software, Created(), false)
}

// Mint is for [Config.Mint]: ids as the tokeniser mints them for this project.
func (p *Project) Mint(party string) func(string) string {
	minter := tokenise.NewMinter(p.keys.RowKeys[party], party)
	return func(sourceID string) string {
		id := minter.Mint(sourceID)
		return hex.EncodeToString(id[:])
	}
}

// Encode encodes the tables that Generate wrote into the folder, under the
// project that Write wrote there: NAME.parquet, its manifest and its crosswalk
// for each party.
func Encode(ctx context.Context, folder string, parties []string, threads int, software string, progress func(party string, done, total int64)) error {
	clock := func() time.Time { return today } // so that a repetition gives the same bytes
	for _, party := range parties {
		_, err := batch.Run(ctx, batch.Options{
			Project: filepath.Join(folder, ProjectFile), KeyFile: filepath.Join(folder, KeyFileName), In: filepath.Join(folder, party+".csv"),
			ConfirmMap: true, Out: filepath.Join(folder, party+".parquet"), MaxRefused: 1, Threads: threads, Software: software, Clock: clock, Wall: clock,
			Progress: func(done, total int64) {
				if progress != nil {
					progress(party, done, total)
				}
			},
			Messages: io.Discard,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
