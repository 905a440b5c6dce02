// Package schemathesis has schemathesis, of PyPI, call a running service by its OpenAPI
// description: with requests that the description allows and with some that it does not.
package schemathesis

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"tarn/keys/fault"
)

// Absent says why there is no program to call.
const Absent = "TARN_PYTHON is not set or has no schemathesis beside it, so the service is not called by it: make venv installs it"

// Program returns the path of schemathesis, which lies beside the Python that TARN_PYTHON
// names; empty where there is none.
func Program() string {
	python := os.Getenv("TARN_PYTHON")
	program := filepath.Join(filepath.Dir(python), "schemathesis")
	if _, err := os.Stat(program); python == "" || err != nil {
		return ""
	}
	return program
}

// Run is how a service is called.
type Run struct {
	Program     string   // as Program returns it
	Config      string   // a schemathesis.toml
	URL         string   // of the service
	CA          string   // PEM: the authority of its certificate
	Folder      string   // it leaves there what failed
	Arguments   []string // for every call: who calls, and with how much
	Environment []string // for hooks, as NAME=value, beside this process's own
}

// Call calls the service by a description, a file, and returns schemathesis's exit code, 0
// where everything was answered as described, and what it says. The examples are the same
// each time.
func (r *Run) Call(ctx context.Context, description string, more ...string) (code int, said string, err error) {
	command := exec.CommandContext(ctx, r.Program, slices.Concat([]string{
		"--no-color", "--config-file", r.Config, "run", description, "--url", r.URL, "--tls-verify", r.CA,
		"--generation-deterministic", "--max-examples", "20", "--continue-on-failure",
	}, r.Arguments, more)...)
	command.Dir, command.Env = r.Folder, append(os.Environ(), r.Environment...)
	output, err := command.CombinedOutput()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		return 0, "", fault.Wrap(fault.Unavailable, "calling a service by its description", err, "see that schemathesis is installed: make venv")
	}
	return command.ProcessState.ExitCode(), string(output), nil
}
