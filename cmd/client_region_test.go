package cmd_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// region is a region's tokenise service with synthetic people and a key file, as its own
// process, until the test ends.
type region struct {
	t        *testing.T
	binaries string
	folder   string // people/, tls/, tokeniser.toml
	address  string
	command  *exec.Cmd
	ended    chan struct{}
	http     *http.Client
}

const regionProject = "synth-5"

func newRegion(t *testing.T) *region {
	t.Helper()
	r := &region{t: t, binaries: t.TempDir(), folder: t.TempDir()}
	build(t, r.binaries)
	r.do("tarn", "synth", "--people", "1500", "--parties", "2", "--seed", "5", "--keys", "--out", "people")
	r.do("tokeniser", "certificates", "--out", "tls", "--client", "etl,other")
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	r.address = socket.Addr().String()
	must(t, socket.Close())
	r.write("tokeniser.toml", fmt.Sprintf(`production = false
[listen]
address = %q
tls_cert = "tls/server.pem"
tls_key = "tls/server.key"
client_ca = "tls/ca.pem"
[[project]]
file = "people/project.json"
key_file = "people/keys.json"
clients = ["etl"]
[store]
dir = "store"
free_floor = "1MiB"
`, r.address))
	authorities := x509.NewCertPool()
	authorities.AppendCertsFromPEM([]byte(r.read("tls/ca.pem")))
	certificate, err := tls.LoadX509KeyPair(r.path("tls/etl.pem"), r.path("tls/etl.key"))
	must(t, err)
	r.http = &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: authorities, Certificates: []tls.Certificate{certificate}}}}
	r.start()
	t.Cleanup(r.stop)
	return r
}

func (r *region) path(name string) string { return filepath.Join(r.folder, filepath.FromSlash(name)) }

func (r *region) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(r.path(name))
	must(r.t, err)
	return string(b)
}

func (r *region) write(name, text string) {
	r.t.Helper()
	must(r.t, os.WriteFile(r.path(name), []byte(text), 0o600))
}

// do runs one of the binaries, which has to end well.
func (r *region) do(binary string, args ...string) {
	r.t.Helper()
	command := exec.Command(filepath.Join(r.binaries, binary), args...)
	command.Dir = r.folder
	if said, err := command.CombinedOutput(); err != nil {
		r.t.Fatalf("%s: %v\n%s", binary, err, said)
	}
}

// start starts the service, and returns when it is ready.
func (r *region) start() {
	r.t.Helper()
	r.command = exec.Command(filepath.Join(r.binaries, "tokeniser"), "serve", "--config", "tokeniser.toml")
	r.command.Dir, r.ended = r.folder, make(chan struct{})
	said := &strings.Builder{}
	r.command.Stderr = said
	must(r.t, r.command.Start())
	command, ended := r.command, r.ended
	go func() {
		_ = command.Wait() // how it ends is not asked here
		close(ended)
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		answer, err := r.http.Get("https://" + r.address + "/readyz")
		if err == nil {
			must(r.t, answer.Body.Close())
			if answer.StatusCode == http.StatusOK {
				return
			}
		}
		select {
		case <-ended:
			r.t.Fatalf("the service ended: %s", said)
		default:
		}
		if time.Now().After(deadline) {
			r.t.Fatal("the service is not ready")
		}
	}
}

// stop ends the service, and returns when it has ended.
func (r *region) stop() {
	_ = r.command.Process.Signal(syscall.SIGTERM) // it may have ended
	select {
	case <-r.ended:
	case <-time.After(time.Minute):
		_ = r.command.Process.Kill()
		r.t.Error("the service did not end when it was asked to")
	}
}

// charged returns how many rows the client has been charged until now.
func (r *region) charged() int64 {
	r.t.Helper()
	answer, err := r.http.Get("https://" + r.address + "/v1/projects/" + regionProject)
	must(r.t, err)
	defer answer.Body.Close()
	var document struct {
		Budget struct {
			Rows      int64 `json:"rows"`
			Remaining int64 `json:"remaining"`
		} `json:"budget"`
	}
	must(r.t, json.NewDecoder(answer.Body).Decode(&document))
	if document.Budget.Rows == 0 {
		r.t.Fatalf("status %d: the project does not say what is left of its budget", answer.StatusCode)
	}
	return document.Budget.Rows - document.Budget.Remaining
}
