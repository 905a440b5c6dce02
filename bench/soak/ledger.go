package soak

import (
	"bufio"
	"bytes"
	"os"
	"path/filepath"
	"sync"

	"github.com/go-json-experiment/json"

	"tarn/keys/fault"
)

// acknowledged is a request that was answered: a line of the ledger.
type acknowledged struct {
	Project  string `json:"project"`
	ID       string `json:"id"`
	Template int    `json:"template"` // which request of the project's
	Epoch    uint32 `json:"epoch"`    // of tokens
	Digest   string `json:"digest"`   // SHA-256 of the answer
}

// ledger is what was acknowledged, in a file for each project, that each line is written to
// before the next request goes over its connection.
type ledger struct {
	folder string
	mu     sync.Mutex
	files  map[string]*os.File
	kept   []acknowledged
}

func newLedger(folder string, projects []*project) (*ledger, error) {
	l := &ledger{folder: folder, files: map[string]*os.File{}}
	for _, p := range projects {
		f, err := os.OpenFile(l.path(p.name), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fault.Wrap(fault.Internal, "making the ledger", err, "")
		}
		l.files[p.name] = f
	}
	return l, nil
}

func (l *ledger) path(project string) string { return filepath.Join(l.folder, project+".acknowledged") }

func (l *ledger) close() {
	for _, f := range l.files {
		_ = f.Close() // each line is there
	}
}

func (l *ledger) keep(a acknowledged) error {
	line, err := json.Marshal(a)
	if err != nil {
		return fault.New(fault.Internal, "keeping what was acknowledged", "the line cannot be made", "")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.files[a.Project].Write(append(line, '\n')); err != nil {
		return fault.Wrap(fault.Internal, "keeping what was acknowledged", err, "free space where the ledger lies")
	}
	l.kept = append(l.kept, a)
	return nil
}

// any returns a line, nil where there is none yet.
func (l *ledger) any(draw func(n int) int) *acknowledged {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) == 0 {
		return nil
	}
	a := l.kept[draw(len(l.kept))]
	return &a
}

func readLedger(path string) (all []acknowledged, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, "reading the ledger", err, "name one that tarn soak wrote")
	}
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		var a acknowledged
		if json.Unmarshal(lines.Bytes(), &a) != nil || a.ID == "" {
			return nil, fault.New(fault.Usage, "reading the ledger", "a line of it is none of a ledger's", "name one that tarn soak wrote")
		}
		all = append(all, a)
	}
	return all, nil
}
