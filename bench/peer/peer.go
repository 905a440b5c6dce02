// Package peer starts the Python programs that tests compare with.
package peer

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Peer is a program that answers one JSON document with another, in a process
// that ends with the test.
type Peer struct {
	in  *json.Encoder
	out *json.Decoder
}

// Start runs a script of testdata/python with this interpreter. The test's
// package lies two folders below the root.
func Start(t testing.TB, python, script string) *Peer {
	t.Helper()
	command := exec.Command(python, filepath.Join("..", "..", "testdata", "python", script))
	command.Stderr = os.Stderr
	in, err := command.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = in.Close()
		if err := command.Wait(); err != nil {
			t.Errorf("%s: %v", script, err)
		}
	})
	return &Peer{in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out))}
}

// Python returns the interpreter that TARN_PYTHON names. Without one the test
// is skipped, and says that nothing is compared with what.
func Python(t testing.TB, what string) string {
	t.Helper()
	python := os.Getenv("TARN_PYTHON")
	if python == "" {
		t.Skipf("TARN_PYTHON is not set: nothing is compared with %s (make venv)", what)
	}
	return python
}

// Fataler is a test, or a property of one.
type Fataler interface{ Fatal(...any) }

// Ask sends a request and reads the answer.
func (p *Peer) Ask(t Fataler, request, answer any) {
	if err := p.in.Encode(request); err != nil {
		t.Fatal(err)
	}
	p.Read(t, answer)
}

// Read reads what the program says of itself.
func (p *Peer) Read(t Fataler, answer any) {
	if err := p.out.Decode(answer); err != nil {
		t.Fatal(err)
	}
}
