package table

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"tarn/keys"
	"tarn/keys/fault"
)

// Schema is the schema member of the document that names a folder's tables.
const Schema = "tarn.relationship-tables/1"

// DocumentFile is that document's name. Replacing it replaces all tables at once.
const DocumentFile = "relationships.json"

// MaxTables bounds the tables of a folder, as of a load.
const MaxTables = 64

// Document names the tables that count.
type Document struct {
	Schema   string `json:"schema"`
	Software string `json:"software"`
	Created  string `json:"created"` // RFC 3339
	// Generation is how often the folder was changed, and part of files' names.
	Generation int64   `json:"generation"`
	Tables     []Entry `json:"tables"` // by scheme, domain and epoch
	// Digest is the SHA-256 of the RFC 8785 form of the document without it, in hex.
	Digest string `json:"digest,omitzero"`
}

// Entry is one table.
type Entry struct {
	Scheme     string `json:"scheme"` // name
	DomainNo   uint32 `json:"domain_no"`
	TokenEpoch uint16 `json:"token_epoch"`
	Rows       int64  `json:"rows"`
	Loaded     string `json:"loaded"` // RFC 3339
	File       string `json:"file"`
	Digest     string `json:"digest"` // SHA-256 of the file's trailer, in hex
}

// Key returns whose tokens the table has.
func (e *Entry) Key() (Key, error) {
	scheme, err := keys.SchemeNo(e.Scheme, false)
	return Key{Scheme: scheme, DomainNo: e.DomainNo, TokenEpoch: e.TokenEpoch}, err
}

var (
	tableFile = regexp.MustCompile(`^[0-9]+-[0-9]+-[0-9]+\.[0-9]+\.table$`)
	// begun matches what a load that was killed leaves, files without their names and the
	// folder of its sorting.
	begun = regexp.MustCompile(`^(\.[0-9]+-[0-9]+-[0-9]+\.[0-9]+\.table[0-9]+|\.relationships\.json[0-9]+|\.load)$`)
)

// maxDocument bounds the document, in bytes.
const maxDocument = 64 << 10

// ErrNone says that nothing was ever loaded into a folder.
var ErrNone = errors.New("table: there is no relationship table")

// Read reads which tables count. ErrNone, ErrDamaged, or an error of the file system.
func Read(folder string) (*Document, error) {
	b, err := os.ReadFile(filepath.Join(folder, DocumentFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, ErrNone
	} else if err != nil {
		return nil, err
	}
	return parse(b)
}

func parse(b []byte) (*Document, error) {
	d := new(Document)
	if len(b) > maxDocument || keys.DecodeStrict(b, d) != nil || d.Schema != Schema || len(d.Tables) > MaxTables {
		return nil, ErrDamaged
	}
	claimed := d.Digest
	if digest, err := d.digest(); err != nil || digest != claimed {
		return nil, ErrDamaged
	}
	d.Digest = claimed
	seen := map[Key]bool{}
	for i := range d.Tables {
		e := &d.Tables[i]
		key, err := e.Key()
		if err != nil || seen[key] || !tableFile.MatchString(e.File) {
			return nil, ErrDamaged
		}
		seen[key] = true
	}
	return d, nil
}

// digest returns the document's, and leaves it without one.
func (d *Document) digest() (string, error) {
	d.Digest = ""
	b, err := keys.Encode(d)
	if err != nil {
		return "", err
	}
	return keys.Digest(b)
}

// Update changes which tables count, for one process at a time. Nothing changes before
// Commit, which changes everything at once.
type Update struct {
	folder   string
	lock     *os.File
	document *Document
}

// Begin locks the folder, which it makes where there is none, and removes what changes that
// were killed left in it.
func Begin(folder string) (*Update, error) {
	doing := "changing the relationship tables in " + folder
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be written")
	}
	lock, err := os.Open(folder)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "choose a folder that can be read and written")
	}
	u := &Update{folder: folder, lock: lock}
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		u.Close()
		return nil, fault.New(fault.Usage, doing, "another command is changing them", "wait until it ends")
	}
	u.document, err = Read(folder)
	if errors.Is(err, ErrNone) {
		u.document, err = &Document{Schema: Schema}, nil
	}
	if err != nil {
		u.Close()
		return nil, damagedDocument(doing, folder, err)
	}
	u.tidy()
	return u, nil
}

func damagedDocument(doing, folder string, err error) error {
	path := filepath.Join(folder, DocumentFile)
	if errors.Is(err, ErrDamaged) {
		return fault.New(fault.Internal, doing, path+" is damaged", "remove it, and load the tables of every epoch again")
	}
	return fault.Wrap(fault.Internal, doing, err, "give the folder of the tables with --dir")
}

// tidy removes what is begun and what no document names.
func (u *Update) tidy() {
	entries, _ := os.ReadDir(u.folder) // what cannot be listed stays
	for _, e := range entries {
		named := slices.ContainsFunc(u.document.Tables, func(t Entry) bool { return t.File == e.Name() })
		if begun.MatchString(e.Name()) || tableFile.MatchString(e.Name()) && !named {
			_ = os.RemoveAll(filepath.Join(u.folder, e.Name())) // what stays is in nobody's way
		}
	}
}

// Scratch makes a hidden folder within, which Close removes.
func (u *Update) Scratch() (string, error) {
	path := filepath.Join(u.folder, ".load")
	if err := os.Mkdir(path, 0o700); err != nil {
		return "", writing(u.folder, err)
	}
	return path, nil
}

// Tables returns those that count when the update is committed.
func (u *Update) Tables() []Entry { return slices.Clone(u.document.Tables) }

// Create begins a table's file, of at most so many rows.
func (u *Update) Create(key Key, atMost int64) (*Writer, error) {
	return newWriter(u.folder, fmt.Sprintf("%d-%d-%d.%d.table", key.Scheme, key.DomainNo, key.TokenEpoch, u.document.Generation+1), key, atMost)
}

// Put ends a table's file; once the update is committed it counts in place of the one before.
func (u *Update) Put(w *Writer, loaded time.Time) (Entry, error) {
	rows, digest, err := w.commit()
	if err != nil {
		return Entry{}, err
	}
	e := Entry{Scheme: keys.SchemeName(w.key.Scheme), DomainNo: w.key.DomainNo, TokenEpoch: w.key.TokenEpoch, Rows: rows, Loaded: loaded.UTC().Format(time.RFC3339), File: w.name, Digest: digest}
	u.Drop(w.key)
	u.document.Tables = append(u.document.Tables, e)
	slices.SortFunc(u.document.Tables, compare)
	return e, nil
}

func compare(a, b Entry) int {
	k, _ := a.Key() // was one when it was read or written
	l, _ := b.Key()
	return slices.Compare(k.append(nil), l.append(nil))
}

// Drop has a table count no more, once the update is committed.
func (u *Update) Drop(key Key) (was bool) {
	kept := slices.DeleteFunc(slices.Clone(u.document.Tables), func(e Entry) bool {
		k, err := e.Key()
		return err == nil && k == key
	})
	was = len(kept) < len(u.document.Tables)
	u.document.Tables = kept
	return was
}

// Commit makes the tables count, and removes the files of those that do no more.
func (u *Update) Commit(software string, now time.Time) error {
	d := u.document
	if len(d.Tables) > MaxTables {
		return fault.New(fault.Usage, "changing the relationship tables in "+u.folder, fmt.Sprintf("there would be more than %d", MaxTables), "drop those of epochs that are over: tokeniser relationships drop")
	}
	d.Generation++
	d.Software, d.Created = software, now.UTC().Format(time.RFC3339)
	digest, err := d.digest()
	if err != nil {
		return writing(u.folder, err)
	}
	d.Digest = digest
	b, err := keys.Encode(d)
	if err == nil {
		err = keys.SyncFolder(u.folder) // the tables' names are there before what names them
	}
	if err == nil {
		err = keys.WriteFile(filepath.Join(u.folder, DocumentFile), b)
	}
	if err == nil {
		err = keys.SyncFolder(u.folder)
	}
	if err != nil {
		return writing(u.folder, err)
	}
	u.tidy()
	return nil
}

// Close ends the update. What was not committed is removed.
func (u *Update) Close() {
	if u.document != nil {
		if d, err := Read(u.folder); err == nil || errors.Is(err, ErrNone) {
			if u.document = d; d == nil {
				u.document = &Document{}
			}
			u.tidy()
		}
	}
	_ = u.lock.Close() // opened for reading
}

// Open opens a table that a document names. ErrDamaged, or an error of the file system.
func Open(folder string, e *Entry) (*Table, error) {
	key, err := e.Key()
	if err != nil {
		return nil, ErrDamaged
	}
	return open(filepath.Join(folder, e.File), key, e.Digest)
}
