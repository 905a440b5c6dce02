package linkage

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/keys/secret"
	"tarn/linkage/cohort"
)

// StateSchema is the schema member of the linker's state.
const StateSchema = "tarn.link-state/1"

const stateFile = "state.json"

// state is what a linker keeps between jobs of one project and encoding epoch:
// the key of its cluster ids, the only key a linker holds.
type state struct {
	clusterKey secret.Key
	mac        secret.MAC // of the key
}

type stateDocument struct {
	Schema        string `json:"schema"`
	Software      string `json:"software"`
	Created       string `json:"created"`
	Project       string `json:"project"`
	EncodingEpoch uint32 `json:"encoding_epoch"`
	ClusterKey    string `json:"cluster_key"`
}

// openState reads the state in folder, or makes it there with a fresh key
// drawn from random. State of another project or epoch is refused with kind
// [fault.Disagreement]: cluster ids never persist across projects.
func openState(folder, project string, epoch uint32, software, created string, random io.Reader) (*state, error) {
	path := filepath.Join(folder, stateFile)
	doing := "reading the linker's state " + path
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		return createState(folder, path, project, epoch, software, created, random)
	}
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give a folder that this user can read with --state")
	}
	defer clear(b)
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		return nil, fault.New(fault.Usage, doing, fmt.Sprintf("others than its owner may use it (mode %04o)", info.Mode().Perm()),
			"if nobody else can have read it, run: chmod 600 "+path)
	}
	var d stateDocument
	if err := keys.DecodeStrict(b, &d); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "restore it, or name another folder with --state for new cluster ids")
	}
	if d.Schema != StateSchema {
		return nil, fault.New(fault.Usage, doing, "its schema is not one that this version reads", "name another folder with --state for new cluster ids")
	}
	if d.Project != project || d.EncodingEpoch != epoch {
		return nil, fault.New(fault.Disagreement, doing,
			fmt.Sprintf("it is of project %s, encoding epoch %d, and the cohorts are of %s, epoch %d", d.Project, d.EncodingEpoch, project, epoch),
			"name the state folder of this project with --state, or a new one")
	}
	var raw [secret.Size]byte
	defer clear(raw[:])
	if n, err := hex.Decode(raw[:], []byte(d.ClusterKey)); err != nil || n != secret.Size {
		return nil, fault.New(fault.Usage, doing, "member cluster_key is not 64 hexadecimal digits", "restore it, or name another folder with --state for new cluster ids")
	}
	return newState(secret.New(raw)), nil
}

func newState(key secret.Key) *state { return &state{clusterKey: key, mac: key.MAC()} }

func createState(folder, path, project string, epoch uint32, software, created string, random io.Reader) (*state, error) {
	doing, next := "writing the linker's state "+path, "choose a folder that can be written with --state"
	if random == nil {
		random = rand.Reader
	}
	key, err := secret.Generate(random)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, next)
	}
	d := stateDocument{Schema: StateSchema, Software: software, Created: created, Project: project, EncodingEpoch: epoch}
	key.Use(func(b *[secret.Size]byte) { d.ClusterKey = hex.EncodeToString(b[:]) })
	b, err := keys.Encode(d)
	if err != nil {
		return nil, fault.New(fault.Internal, doing, "the document could not be made", "")
	}
	defer clear(b)
	if err := keys.WriteFile(path, b); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, next)
	}
	return newState(key), nil
}

// clusterID returns the id of the cluster whose founding member this is:
// HMAC(K_cl, LP(source_dataset, unique_id))[0:16].
func (s *state) clusterID(h *secret.Hasher, sourceDataset, uniqueID string) (id cohort.ID) {
	copy(id[:], h.Sum(s.mac, keys.LP(keys.Text(sourceDataset), keys.Text(uniqueID)))[:])
	return id
}

// check returns a value that tells two states apart and gives neither away,
// for the run's identity.
func (s *state) check() (text string) {
	s.clusterKey.Derive(keys.LP(keys.Text("tarn/kcv/v1"))).Use(func(b *[secret.Size]byte) {
		text = hex.EncodeToString(b[:keys.CheckValueSize])
	})
	return text
}
