package clk

import (
	"bufio"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"pgregory.net/rapid"
)

type rawJSON = json.RawMessage

// peer is clkhash itself, in a process that ends with the test.
type peer struct {
	in  *json.Encoder
	out *json.Decoder
}

func startPeer(t testing.TB) *peer {
	t.Helper()
	python := os.Getenv("TARN_PYTHON")
	if python == "" {
		t.Skip("TARN_PYTHON is not set: nothing is compared with clkhash (make venv)")
	}
	command := exec.Command(python, "../../testdata/python/clkhash_peer.py")
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
			t.Errorf("clkhash_peer.py: %v", err)
		}
	})
	return &peer{in: json.NewEncoder(in), out: json.NewDecoder(bufio.NewReader(out))}
}

func (p *peer) ask(t rapid.TB, request, answer any) {
	t.Helper()
	if err := p.in.Encode(request); err != nil {
		t.Fatal(err)
	}
	if err := p.out.Decode(answer); err != nil {
		t.Fatal(err)
	}
}
