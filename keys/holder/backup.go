package holder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/holder/internal/authority"
	"tarn/keys/holder/internal/custody"
	"tarn/keys/holder/internal/keyring"
	"tarn/keys/holder/internal/requests"
	"tarn/keys/holder/internal/store"
)

// BackupSchema is the schema member of a backup's manifest.
const BackupSchema = "tarn.keyholder-backup/1"

// manifest describes a backup. It lies beside the sealed records, in clear: it
// holds numbers and digests, and how custody is kept.
type manifest struct {
	Software   string         `json:"software"`
	Created    string         `json:"created"`
	Deployment string         `json:"deployment"`
	Custody    jsontext.Value `json:"custody"` // root.json as it was
	Content    store.Content  `json:"content"`
	Sealed     string         `json:"sealed_sha256"` // of the file of records, hex
}

// signedManifest is a manifest as it lies on disk.
type signedManifest struct {
	Schema    string   `json:"schema"`
	Manifest  manifest `json:"manifest"`
	Signature []byte   `json:"signature"` // Ed25519, over the schema, a zero byte and the manifest's canonical form
}

// The two files of a backup, whose names differ in this only.
const (
	backupRecords  = ".age"
	backupManifest = ".manifest.json"
)

func (m manifest) signed() ([]byte, error) {
	document, err := keys.Encode(m)
	if err != nil {
		return nil, err
	}
	canonical, err := keys.Canonical(document)
	return append([]byte(BackupSchema+"\x00"), canonical...), err
}

// Backup writes a sealed backup of everything into the backup folder, and
// returns its name: NAME.age and NAME.manifest.json. Changes go on meanwhile.
func (h *Holder) Backup(ctx context.Context) (name string, err error) {
	const doing = "making a backup"
	h.mu.RLock()
	v, l := h.vault, h.log
	h.mu.RUnlock()
	if err := l.remember(ctx); err != nil {
		return "", err
	}
	folder := h.backups()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fault.Wrap(fault.Internal, doing, err, "give a folder that can be written: [store] backups")
	}
	v.mu.RLock()
	defer v.mu.RUnlock()
	now := h.options.Clock().UTC()
	name = fmt.Sprintf("keyholder-%s-%d", now.Format("20060102T150405Z"), v.store.State().Sequence)
	path := filepath.Join(folder, name)
	file, err := keys.NewFile(path + backupRecords)
	if err != nil {
		return "", fault.Wrap(fault.Internal, doing, err, "")
	}
	defer func() { err = errors.Join(err, file.Cleanup()) }()
	sum := sha256.New()
	sealing, err := custody.Seal(io.MultiWriter(file, sum), v.document.Recipient)
	if err != nil {
		return "", err
	}
	content, err := v.store.Export(ctx, sealing)
	if err != nil {
		return "", err
	}
	if err := sealing.Close(); err != nil {
		return "", fault.Wrap(fault.Internal, doing, err, "")
	}
	root, err := v.document.Encode()
	if err != nil {
		return "", err
	}
	m := signedManifest{Schema: BackupSchema, Manifest: manifest{
		Software: h.options.Software, Created: now.Format(time.RFC3339), Deployment: v.document.Deployment(),
		Custody: root, Content: content, Sealed: hex.EncodeToString(sum.Sum(nil)),
	}}
	signed, err := m.Manifest.signed()
	if err != nil {
		return "", err
	}
	m.Signature = v.store.Sign(signed)
	document, err := keys.Encode(m)
	if err != nil {
		return "", err
	}
	if err := file.CloseAtomicallyReplace(); err != nil {
		return "", fault.Wrap(fault.Internal, doing, err, "")
	}
	// The manifest comes last: records without one are no backup.
	if err := keys.WriteFile(path+backupManifest, document); err != nil {
		return "", fault.Wrap(fault.Internal, doing, err, "")
	}
	return name, nil
}

func (h *Holder) backups() string {
	if h.options.Backups != "" {
		return h.options.Backups
	}
	return filepath.Join(h.options.Dir, "backups")
}

// BackupInfo is what a backup says of itself, once its signature and its
// records' digest have been checked.
type BackupInfo struct {
	Created    string
	Deployment string
	Sequence   uint64
	Count      uint64
	Behind     uint64 // transactions that the anchor has and the backup has not
	custody    custody.Document
	content    store.Content
	anchor     store.Anchor
	path       string
}

// Method is how the backup is unsealed.
func (b *BackupInfo) Method() string { return string(b.custody.Method) }

// CheckBackup holds a backup to its manifest and its manifest to the anchor,
// without any key. path is that of the backup, with or without its ending.
func CheckBackup(path, anchorPath string) (*BackupInfo, error) {
	doing := "checking the backup " + path
	damaged := func(wrong string) error {
		return fault.New(fault.Usage, doing, wrong, "use another copy of it, or another backup")
	}
	for _, ending := range []string{backupRecords, backupManifest} {
		if cut := len(path) - len(ending); cut > 0 && path[cut:] == ending {
			path = path[:cut]
			break
		}
	}
	document, err := os.ReadFile(path + backupManifest)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give the path of a backup, as NAME of NAME.age and NAME.manifest.json")
	}
	var m signedManifest
	if err := keys.DecodeStrict(document, &m); err != nil || m.Schema != BackupSchema {
		return nil, damaged("its manifest is none, or is damaged")
	}
	anchor, err := store.ReadAnchor(anchorPath)
	if err != nil {
		return nil, err
	}
	signed, err := m.Manifest.signed()
	if err != nil || !store.Signed(anchor.Current.Signer, signed, m.Signature) {
		return nil, damaged("its manifest was changed, or it is a backup of another key holder than the anchor's")
	}
	root, err := custody.Parse(indented(m.Manifest.Custody))
	if err != nil {
		return nil, damaged("what it says of custody cannot be read")
	}
	file, err := os.Open(path + backupRecords)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "")
	}
	defer func() { _ = file.Close() }() // opened for reading
	sum := sha256.New()
	if _, err := io.Copy(sum, file); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "")
	}
	if hex.EncodeToString(sum.Sum(nil)) != m.Manifest.Sealed {
		return nil, damaged("its records were cut off or changed")
	}
	info := &BackupInfo{
		Created: m.Manifest.Created, Deployment: m.Manifest.Deployment, Sequence: m.Manifest.Content.Sequence, Count: m.Manifest.Content.Count,
		custody: root, content: m.Manifest.Content, anchor: anchor, path: path,
	}
	if newest := anchor.Current.Sequence; newest > info.Sequence {
		info.Behind = newest - info.Sequence
	}
	return info, nil
}

// indented brings root.json back to the form in which custody takes it.
func indented(document jsontext.Value) []byte {
	b := document.Clone()
	if b.Indent(jsontext.WithIndent("  ")) != nil {
		return nil
	}
	return append(b, '\n')
}

// Restored says what a restore did.
type Restored struct {
	Generation uint64
	Records    uint64
	LeftOut    uint64 // records: destroyed keys, and events, which the log of before has
	Lost       uint64 // transactions after the backup
	Destroyed  []string
}

// RestoreOptions are what a restore is given.
type RestoreOptions struct {
	Dir        string // missing or empty
	Anchor     string
	AcceptLoss uint64   // transactions that may be lost
	Hosts      []string // of the server that takes over
	Software   string
	Clock      func() time.Time
	Rand       io.Reader
}

// Restore makes a deployment of a backup that CheckBackup has read, with a new
// root key. Everything is verified before anything is written.
func Restore(ctx context.Context, b *BackupInfo, o RestoreOptions, collect Collect) (*Restored, error) {
	const doing = "restoring"
	if b.Behind > o.AcceptLoss {
		return nil, fault.New(fault.Policy, doing, fmt.Sprintf("the backup is %d changes older than the anchor; they would be lost", b.Behind),
			fmt.Sprintf("use a newer backup; if there is none, accept the loss: --accept-loss %d", b.Behind))
	}
	if entries, err := os.ReadDir(o.Dir); err == nil && len(entries) > 0 {
		return nil, fault.New(fault.Usage, doing, "the folder "+o.Dir+" is not empty", "give one that is missing or empty")
	}
	identity, err := unsealed(b.custody, collect)
	if err != nil {
		return nil, err
	}
	defer identity.Forget()
	file, err := os.Open(b.path + backupRecords)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "")
	}
	defer func() { _ = file.Close() }() // opened for reading
	records, err := identity.OpenStream(file)
	if err != nil {
		return nil, err
	}
	stream, err := store.ReadStream(records, b.content)
	if err != nil {
		return nil, fault.New(fault.Usage, doing, "the records are not those of the backup's manifest", "use another copy of it, or another backup")
	}
	if !stream.Wrote(b.anchor.Current) {
		return nil, fault.New(fault.Usage, doing, "the anchor was not written by the backup's key holder, or was changed", "give the anchor of this key holder")
	}
	return b.write(ctx, o, stream)
}

// Collect gives what unseals: a share, the passphrase or the identity. It is
// called until there is enough.
type Collect func(api.SealStatus) (api.Unseal, error)

// unsealed returns a deployment's custody identity.
func unsealed(document custody.Document, collect Collect) (custody.Identity, error) {
	unsealer := custody.NewUnsealer(document)
	defer unsealer.Reset()
	for {
		given, err := collect(statusOf(unsealer.Status(), true))
		if err != nil {
			return nil, err
		}
		identity, complete, err := unsealer.Collect(custody.Given{Share: given.Share, Passphrase: given.Passphrase, Identity: given.Identity})
		if err != nil {
			return nil, err
		}
		if complete {
			return identity, nil
		}
	}
}

// write makes the store and root.json of a restored deployment.
func (b *BackupInfo) write(ctx context.Context, o RestoreOptions, stream *store.Stream) (*Restored, error) {
	root, next, err := nextRoot(b.custody, max(b.anchor.Current.Generation, b.content.Generation), o.Rand)
	if err != nil {
		return nil, err
	}
	defer root.Destroy()
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, "restoring", err, "")
	}
	destroyed := map[string]bool{}
	for _, name := range b.anchor.Current.Tombstones {
		destroyed[name] = true
	}
	leftOut := uint64(0)
	logged := stream.Get(store.Key{Kind: kindLog, Name: logRecord}) != nil // a version before the log kept all events in the store
	change := func(key store.Key, value []byte) (bool, []byte, error) {
		if key.Kind == kindLog && key.Name == logRecord {
			next, err := restoredLog(value)
			return err == nil, next, err
		}
		if key.Kind == keyring.EventKey(0).Kind && !logged {
			return true, value, nil
		}
		keep, changed, err := keyring.Restored(key, value, func(name string) bool { return destroyed[name] })
		if err == nil && keep {
			changed, err = requests.Restored(key, changed)
		}
		if !keep {
			leftOut++
		}
		return keep, changed, err
	}
	options := storeOptions(&Options{Dir: o.Dir, Anchor: o.Anchor, Rand: o.Rand}, next, root)
	s, err := stream.Restore(ctx, options, b.anchor.Current.Tombstones, change)
	if err != nil {
		return nil, err
	}
	state := s.State()
	kind, name, restored := keyring.RestoredAt(o.Clock())
	if err := s.Commit(ctx, []store.Change{{Key: store.Key{Kind: kind, Name: name}, Value: restored}}); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	certificate, key := stream.Get(store.Key{Kind: kindAuthority, Name: authorityCertificate}), stream.Get(store.Key{Kind: kindAuthority, Name: authorityKey})
	defer clear(key)
	ca, err := authority.Load(certificate, key, o.Rand)
	if err == nil {
		err = writeServer(ca, o.Dir, o.Hosts, o.Clock())
	}
	if err := errors.Join(err, s.Close()); err != nil {
		return nil, err
	}
	if err := custody.Write(o.Dir, next); err != nil {
		return nil, err
	}
	return &Restored{Generation: next.Generation, Records: state.Count, LeftOut: leftOut, Lost: b.Behind, Destroyed: b.anchor.Current.Tombstones}, nil
}
