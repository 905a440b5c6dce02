package keyholder

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"tarn/bench/process"
	"tarn/keys/fault"
)

// Witness is a witness of a log, a process of its own.
type Witness struct {
	URL     string
	Key     string // the path of its verifier key
	Process *process.Process
}

// StartWitness makes a witness of a key holder's log in a folder, and starts it. auditor is
// the program. The key holder is told of it by its configuration, for its next start.
func StartWitness(ctx context.Context, auditor, folder, log string) (*Witness, error) {
	const doing = "making a witness"
	dir := filepath.Join(folder, "witness")
	made := exec.CommandContext(ctx, auditor, "witness", "new", "--dir", dir, "--name", "witness.example")
	var said bytes.Buffer
	made.Stderr = &said
	if err := made.Run(); err != nil {
		return nil, fault.New(fault.Internal, doing, strings.TrimSpace(said.String()), "")
	}
	config := filepath.Join(folder, "witness.toml")
	text := fmt.Sprintf("dir = %q\nlog_keys = [%q]\n[listen]\naddress = \"127.0.0.1:0\"\n", dir, filepath.Join(log, "log.vkey"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, fault.Wrap(fault.Internal, doing, err, "")
	}
	const witnessing = "witnessing on "
	p, answer, err := process.Start(ctx, process.Options{Until: witnessing, Within: startWithin}, auditor, "witness", "--config", config)
	if err != nil {
		return nil, err
	}
	_, address, _ := strings.Cut(answer, witnessing)
	return &Witness{URL: "http://" + strings.TrimSpace(address), Key: filepath.Join(dir, "witness.vkey"), Process: p}, nil
}
