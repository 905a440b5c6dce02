package faults

import (
	"bufio"
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/go-json-experiment/json"
	"golang.org/x/sys/unix"

	"tarn/keys/api"
	"tarn/keys/fault"
)

// The kinds of what is acknowledged.
const (
	ackDomain = "domain"
	ackLease  = "lease"
)

// Acknowledged is one thing of which the system has said that it is done: a line of
// a ledger.
type Acknowledged struct {
	Kind string `json:"kind"` // domain or lease
	Name string `json:"name"` // the domain's, or the lease's id

	// Of a domain: the hash of the operation that added it, which its entry in the log
	// names.
	Operation string `json:"operation,omitzero"`

	// Of a lease: what it is of.
	Project string    `json:"project,omitzero"`
	Use     api.Use   `json:"use,omitzero"`
	Epoch   uint32    `json:"epoch,omitzero"`
	Expires time.Time `json:"expires,omitzero"`
}

// Ledger is what was acknowledged, in a file that is only appended to, each line of
// which is synced before the next request is made. It belongs on another filesystem
// than the system under test. It is safe for concurrent use.
type Ledger struct {
	path string
	file *os.File
	mu   sync.Mutex
	kept int
}

// OpenLedger opens a ledger to append to, and makes it where there is none.
func OpenLedger(path string) (*Ledger, error) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "opening the ledger", err, "name another folder with --ledger")
	}
	return &Ledger{path: path, file: f}, nil
}

// Path is where it lies.
func (l *Ledger) Path() string { return l.path }

// Len is the number of lines that this Ledger has kept.
func (l *Ledger) Len() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

// Keep appends a line, and returns when it is on the disk.
func (l *Ledger) Keep(a Acknowledged) error {
	line, err := json.Marshal(a)
	if err != nil {
		return fault.New(fault.Internal, "keeping what was acknowledged", "the line cannot be made", "")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.file.Write(append(line, '\n'))
	if err == nil {
		err = l.file.Sync()
	}
	if err != nil {
		return fault.Wrap(fault.Internal, "keeping what was acknowledged", err, "free space where the ledger lies")
	}
	l.kept++
	return nil
}

// Close closes the file.
func (l *Ledger) Close() error { return l.file.Close() }

// ReadLedger returns what a ledger holds; nothing where there is none. A last line
// that does not end was being written when its writer was killed, and so was not
// kept.
func ReadLedger(path string) (all []Acknowledged, err error) {
	const doing = "reading the ledger"
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(fault.Usage, doing, err, "name a ledger that tarn faults wrote")
	}
	b = b[:bytes.LastIndexByte(b, '\n')+1]
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var a Acknowledged
		if json.Unmarshal(lines.Bytes(), &a) != nil || a.Kind != ackDomain && a.Kind != ackLease || a.Name == "" {
			return nil, fault.New(fault.Usage, doing, "a line of it is none of a ledger's", "name a ledger that tarn faults wrote")
		}
		all = append(all, a)
	}
	return all, nil
}

// ledgerPlaces are where a ledger is put, the first that lies on another filesystem
// than the system under test.
func ledgerPlaces() []string { return []string{"/dev/shm", os.TempDir(), "/run", "/var/tmp", "."} }

// elsewhere makes a folder for a ledger on a filesystem that is none of these
// folders', and reports whether there was one: else it lies beside them. wanted, if
// it is not empty, is where it must be.
func elsewhere(wanted string, system ...string) (folder string, separate bool, err error) {
	const doing = "finding a place for the ledger"
	used := map[uint64]bool{}
	for _, path := range system {
		device, err := deviceOf(path)
		if err != nil {
			return "", false, fault.Wrap(fault.Internal, doing, err, "")
		}
		used[device] = true
	}
	places := ledgerPlaces()
	if wanted != "" {
		places = []string{wanted}
	}
	for _, place := range places {
		device, err := deviceOf(place)
		if err != nil || used[device] {
			continue
		}
		if folder, err = os.MkdirTemp(place, "tarn-faults-ledger-"); err == nil {
			return folder, true, nil
		}
	}
	if wanted != "" {
		return "", false, fault.New(fault.Usage, doing, "the folder of --ledger is on the filesystem of the system under test, or cannot be written", "name one on another, such as /dev/shm")
	}
	folder, err = os.MkdirTemp(filepath.Dir(system[0]), "tarn-faults-ledger-")
	if err != nil {
		return "", false, fault.Wrap(fault.Internal, doing, err, "")
	}
	return folder, false, nil
}

// deviceOf is the number of the device that a file lies on.
func deviceOf(path string) (uint64, error) {
	info, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, errors.New("the system does not say on which device a file lies")
	}
	return stat.Dev, nil
}

// filesystems are the names of those that machines of today have, by their magic
// numbers (statfs(2)).
var filesystems = map[int64]string{
	unix.TMPFS_MAGIC: "tmpfs", unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay",
}

func filesystemOf(path string) string {
	var s unix.Statfs_t
	if unix.Statfs(path, &s) == nil {
		if name, ok := filesystems[s.Type]; ok {
			return name
		}
	}
	return "another"
}
