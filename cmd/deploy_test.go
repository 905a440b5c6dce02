package cmd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	"github.com/google/uuid"

	"tarn/bench/keyholder"
	"tarn/bench/process"
	"tarn/keys/api"
	"tarn/keys/client"
	"tarn/keys/trialcert"
)

// deployFolder holds what an operator installs.
const deployFolder = "../deploy"

// deployment is the three services as deploy/ has them, with its example configurations,
// on this machine: every path lies below one folder, and every port is one of loopback.
type deployment struct {
	t        *testing.T
	bin      string
	root     string
	ports    map[string]string // an address of the examples -> one of this machine
	prefix   map[string][]string
	services map[string]*process.Process
	pipeline *http.Client // with the certificate of etl
}

// The addresses in the example configurations.
const (
	atTokeniser, atTokeniserMetrics = "0.0.0.0:8445", "127.0.0.1:9445"
	atKeyholder, atKeyholderMetrics = "0.0.0.0:8443", "127.0.0.1:9443"
	atWitness                       = "0.0.0.0:8444"
)

// newDeployment installs the services as docs/deployment.md says, and starts them. before
// is what is put before a service's command.
func newDeployment(t *testing.T, before func(service string) []string) *deployment {
	t.Helper()
	d := &deployment{t: t, bin: t.TempDir(), root: t.TempDir(), ports: map[string]string{}, prefix: map[string][]string{}, services: map[string]*process.Process{}}
	build(t, d.bin)
	for _, address := range []string{atTokeniser, atTokeniserMetrics, atKeyholder, atKeyholderMetrics, atWitness} {
		d.ports[address] = freeAddress(t)
	}
	for _, service := range []string{"tokeniser", "keyholder", "witness"} {
		if before != nil {
			d.prefix[service] = before(service)
		}
		must(t, os.MkdirAll(d.path("/etc/tarn/"+service), 0o700))
		must(t, os.MkdirAll(d.path("/var/lib/tarn/"+service), 0o700))
	}
	for _, folder := range []string{"/srv/tarn/anchor", "/srv/tarn/log"} {
		must(t, os.MkdirAll(d.path(folder), 0o700))
	}
	d.certificates()
	d.keyHolder()
	d.region()
	return d
}

// path returns where a path of the examples lies.
func (d *deployment) path(path string) string { return filepath.Join(d.root, path) }

// binary returns the program of a service, and what comes before its flags.
func (d *deployment) binary(service string) []string {
	return map[string][]string{
		"tokeniser": {filepath.Join(d.bin, "tokeniser"), "serve"},
		"keyholder": {filepath.Join(d.bin, "keyholder"), "serve"},
		"witness":   {filepath.Join(d.bin, "auditor"), "witness"},
	}[service]
}

// config is the path of a service's configuration.
func (d *deployment) config(service string) string {
	return d.path("/etc/tarn/" + service + "/" + service + ".toml")
}

// configure writes a service's configuration: the example with the paths and addresses of
// this machine, and nothing else changed but what change says.
func (d *deployment) configure(service string, change ...string) {
	d.t.Helper()
	b, err := os.ReadFile(filepath.Join(deployFolder, "config", service+".toml"))
	must(d.t, err)
	text := string(b)
	for example, here := range d.ports {
		text = strings.ReplaceAll(text, example, here)
	}
	for _, folder := range []string{"/etc/tarn", "/var/lib/tarn", "/srv/tarn"} {
		text = strings.ReplaceAll(text, `"`+folder, `"`+d.path(folder))
	}
	text = strings.NewReplacer(change...).Replace(text)
	must(d.t, os.WriteFile(d.config(service), []byte(text), 0o600))
}

// run runs a command to its end, and returns what it printed.
func (d *deployment) run(name string, args ...string) string {
	d.t.Helper()
	command := exec.Command(filepath.Join(d.bin, name), args...)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	if err := command.Run(); err != nil {
		d.t.Fatalf("%s %s: %v: %s", name, args[0], err, stderr.String())
	}
	return stdout.String()
}

// start starts a service, which is ended with the test.
func (d *deployment) start(service, answers string) {
	d.t.Helper()
	command := append(append(d.prefix[service], d.binary(service)...), "--config", d.config(service))
	p, _, err := process.Start(context.WithoutCancel(d.t.Context()), process.Options{Until: answers, Within: time.Minute}, command[0], command[1:]...)
	if p != nil {
		d.t.Cleanup(func() { _ = p.Kill() }) // most have ended
	}
	must(d.t, err)
	d.services[service] = p
}

// stop ends a service as its service manager does.
func (d *deployment) stop(service string) {
	d.t.Helper()
	begun := time.Now()
	must(d.t, d.services[service].Stop())
	d.t.Logf("%s ended in %v", service, time.Since(begun).Round(time.Millisecond))
}

// certificates makes what the authorities of the organisations would give.
func (d *deployment) certificates() {
	d.t.Helper()
	trial := d.path("/trial")
	must(d.t, trialcert.Make(trial, []string{"127.0.0.1"}, []string{"etl"}, time.Now()))
	place := func(from, to string) {
		b, err := os.ReadFile(filepath.Join(trial, from))
		must(d.t, err)
		must(d.t, os.WriteFile(d.path(to), b, 0o600))
	}
	for _, service := range []string{"tokeniser", "witness"} {
		place(trialcert.ServerCert, "/etc/tarn/"+service+"/server.pem")
		place(trialcert.ServerKey, "/etc/tarn/"+service+"/server.key")
	}
	place(trialcert.AuthorityFile, "/etc/tarn/tokeniser/client-ca.pem")
	place(trialcert.AuthorityFile, "/etc/tarn/keyholder/alerts-ca.pem")
	// The key holder calls its witness under an authority that its machine trusts.
	d.t.Setenv("SSL_CERT_FILE", filepath.Join(trial, trialcert.AuthorityFile))

	pem, err := os.ReadFile(filepath.Join(trial, trialcert.AuthorityFile))
	must(d.t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(pem)
	pair, err := tls.LoadX509KeyPair(filepath.Join(trial, "etl.pem"), filepath.Join(trial, "etl.key"))
	must(d.t, err)
	d.pipeline = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}}}
	d.t.Cleanup(d.pipeline.CloseIdleConnections)
}

// alerts is whoever hears of alarms; it hears every one.
func (d *deployment) alerts() (address string) {
	d.t.Helper()
	pair, err := tls.LoadX509KeyPair(d.path("/trial/"+trialcert.ServerCert), d.path("/trial/"+trialcert.ServerKey))
	must(d.t, err)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	server.StartTLS()
	d.t.Cleanup(server.Close)
	return server.URL
}

// unseal gives the shares of two keepers.
func (d *deployment) unseal() {
	d.t.Helper()
	d.run("keyholder", "unseal", "--keyholder", d.holder(), "--ca", d.path("/var/lib/tarn/keyholder/store/ca.pem"),
		"--share-file", d.path("/handout/share-1.txt"), "--share-file", d.path("/handout/share-3.txt"))
}

func (d *deployment) holder() string { return "https://" + d.ports[atKeyholder] }

// keyHolder makes a key holder and its witness, and leaves both running, unsealed.
func (d *deployment) keyHolder() {
	d.t.Helper()
	d.run("keyholder", "init", "--dir", d.path("/var/lib/tarn/keyholder/store"), "--anchor", d.path("/srv/tarn/anchor/anchor.json"), "--handout", d.path("/handout"),
		"--custody", "shares", "--shares", "3", "--threshold", "2", "--operator", "ann", "--operator", "bob", "--organisation", "X26", "--host", "127.0.0.1")
	d.run("auditor", "witness", "new", "--dir", d.path("/var/lib/tarn/witness/memory"), "--name", "witness.example.nhs.uk")
	copyFile(d.t, d.path("/var/lib/tarn/witness/memory/witness.vkey"), d.path("/etc/tarn/keyholder/witness.vkey"))
	// The log has its key when it was first opened; the witness is given it, and only then
	// is asked.
	alerts := []string{"https://alerts.example.nhs.uk/tarn", d.alerts()}
	d.configure("keyholder", append(alerts, "witness_url", "# witness_url", "witness_key", "# witness_key")...)
	d.start("keyholder", "answering on")
	d.unseal()
	d.stop("keyholder")
	copyFile(d.t, d.path("/srv/tarn/log/1/log.vkey"), d.path("/etc/tarn/witness/log.vkey"))
	d.configure("witness")
	d.start("witness", "witnessing on")
	d.configure("keyholder", append(alerts, "witness.example.nhs.uk:8444", d.ports[atWitness])...)
	d.start("keyholder", "answering on")
}

// copyFile copies a file that others may read.
func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	must(t, err)
	must(t, os.WriteFile(to, b, 0o600))
}

// region enrols the tokeniser for a project, and starts it.
func (d *deployment) region() {
	d.t.Helper()
	d.unseal()
	operators := map[string]*client.Client{}
	for _, name := range []string{"ann", "bob"} {
		folder := d.path("/" + name)
		d.run("keyholder", "enrol", "--keyholder", d.holder(), "--code-file", d.path("/handout/"+name+".code"), "--out", folder)
		credentials, err := client.Load(client.Files{Folder: folder})
		must(d.t, err)
		operators[name] = client.New(credentials, time.Now)
		d.t.Cleanup(operators[name].Close)
	}
	two := func(kind api.OperationKind, body any) *api.Operation {
		asked, err := operators["ann"].Ask(d.t.Context(), kind, body)
		must(d.t, err)
		_, err = operators["bob"].Decide(d.t.Context(), asked.ID, api.ApprovalRequest{Decision: api.DecisionApprove, Hash: asked.Hash})
		must(d.t, err)
		return asked
	}
	two(api.OpDomainAdd, api.DomainAdd{Name: "lake", Scheme: "keyed-hash"})
	two(api.OpProjectAdd, api.ProjectAdd{Record: keyholder.Record("study", "lake", "keyed-hash")})
	invited := two(api.OpClientAdd, api.ClientAdd{Name: "north", Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{"study"}})
	collected, err := operators["ann"].Collect(d.t.Context(), invited.ID)
	must(d.t, err)
	must(d.t, os.WriteFile(d.path("/code"), []byte(collected.Code), 0o600))
	credentials, project := d.path("/var/lib/tarn/tokeniser/credentials"), d.path("/var/lib/tarn/tokeniser/projects/study.json")
	d.run("tokeniser", "enrol", "--keyholder", d.holder(), "--code-file", d.path("/code"), "--out", credentials)
	must(d.t, os.Mkdir(filepath.Dir(project), 0o700))
	d.run("tokeniser", "project", "study", "--as", credentials, "--out", project)
	d.configure("tokeniser", `drain = "5s"`, `drain = "0s"`)
	d.start("tokeniser", "answering on")
}

// post sends rows, and returns the status of the answer.
func (d *deployment) post(rows string) int {
	d.t.Helper()
	request, err := http.NewRequestWithContext(d.t.Context(), http.MethodPost, "https://"+d.ports[atTokeniser]+"/v1/projects/study/tokenise", strings.NewReader(`{"rows":[`+rows+`]}`))
	must(d.t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", uuid.NewString())
	answer, err := d.pipeline.Do(request)
	must(d.t, err)
	defer func() { _ = answer.Body.Close() }() // its status is enough
	return answer.StatusCode
}

// health runs the health command of a service.
func (d *deployment) health(service string, more ...string) (code int, said string) {
	d.t.Helper()
	command := d.binary(service)
	if service == "witness" {
		command = append(command, "health")
	} else {
		command[1] = "health"
	}
	return output(d.t, command[0], append(append(command[1:], "--config", d.config(service)), more...)...)
}

// until waits until something is so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came about that %s", what)
		}
	}
}

// ready waits until the tokeniser can answer.
func (d *deployment) ready() {
	d.t.Helper()
	until(d.t, "the tokeniser is ready", func() bool { code, _ := d.health("tokeniser"); return code == 0 })
}

// people are rows of nobody, of which the second has no number, the third none that can be
// one, and the fourth a number of the test range.
const people = `{"unique_id":"a1","nhs_number":"9434765919","given_name":"Ada","family_name":"Quill","date_of_birth":"1973-10-22","postcode":"ZZ99 3VZ"},
	{"unique_id":"a2","given_name":"Bo","family_name":"Reed","date_of_birth":"1981-02-03"},
	{"unique_id":"a3","nhs_number":"1","date_of_birth":"31-31-31"},
	{"unique_id":"a4","nhs_number":"9990000018","given_name":"Cy","family_name":"Test","date_of_birth":"1981-02-03"}`

// TestExampleConfigurations: the services run as deploy/config has them, together, and
// say how they are; what is wrong in a configuration is found before they do.
func TestExampleConfigurations(t *testing.T) {
	d := newDeployment(t, nil)
	d.ready()
	if status := d.post(people); status != http.StatusOK {
		t.Fatalf("rows: %d: %s", status, d.services["tokeniser"].Said())
	}
	for _, service := range []string{"tokeniser", "keyholder", "witness"} {
		if code, said := d.health(service); code != 0 {
			t.Errorf("%s health: exit %d: %s", service, code, said)
		}
		command := append(d.binary(service), "--config", d.config(service), "--print-config")
		code, printed := output(t, command[0], command[1:]...)
		if code != 0 {
			t.Fatalf("%s --print-config: exit %d: %s", service, code, printed)
		}
		// What it prints is what it reads.
		again := d.path("/printed-" + service + ".toml")
		must(t, os.WriteFile(again, []byte(printed), 0o600))
		if code, twice := output(t, command[0], append(command[1:len(command)-2], again, "--print-config")...); code != 0 || twice != printed {
			t.Errorf("%s --print-config of what it printed: exit %d: %s\nand before: %s", service, code, twice, printed)
		}
	}
	if code, said := d.health("keyholder", "--live"); code != 0 || said != "live\n" {
		t.Errorf("keyholder health --live: exit %d: %s", code, said)
	}
	must(t, d.services["tokeniser"].Signal(syscall.SIGHUP))
	until(t, "the tokeniser reads its configuration again", func() bool {
		return strings.Contains(d.services["tokeniser"].Said(), "the configuration was read again")
	})
	d.stop("tokeniser")
	if code, said := d.health("tokeniser"); code != 5 {
		t.Errorf("health of a tokeniser that has ended: exit %d: %s", code, said)
	}
	d.stop("keyholder")
	d.start("keyholder", "answering on")
	if code, said := d.health("keyholder"); code != 5 || !strings.Contains(said, "sealed") {
		t.Errorf("health of a key holder that is sealed: exit %d: %s", code, said)
	}
	d.stop("keyholder")
	d.stop("witness")
	for service, broken := range map[string]string{"tokeniser": "/etc/tarn/tokeniser/server.key", "keyholder": "/srv/tarn/anchor/anchor.json", "witness": "/etc/tarn/witness/log.vkey"} {
		command := append(d.binary(service), "--config", d.config(service), "--check")
		if code, said := output(t, command[0], command[1:]...); code != 0 || !strings.Contains(said, "the configuration can be used") {
			t.Errorf("%s --check: exit %d: %s", service, code, said)
		}
		must(t, os.Rename(d.path(broken), d.path(broken+".away")))
		if code, said := output(t, command[0], command[1:]...); code != 2 {
			t.Errorf("%s --check without %s: exit %d: %s", service, broken, code, said)
		}
	}
	// A key that others may read is refused, as docs/deployment.md says.
	key := d.path("/etc/tarn/tokeniser/server.key")
	must(t, os.Rename(key+".away", key))
	must(t, os.Chmod(key, 0o640))
	command := append(d.binary("tokeniser"), "--config", d.config("tokeniser"), "--check")
	if code, said := output(t, command[0], command[1:]...); code != 2 || !strings.Contains(said, "chmod 600") {
		t.Errorf("a key that others may read: exit %d: %s", code, said)
	}
}

// inUnit returns the values of a key in a unit.
func inUnit(t *testing.T, service, key string) (values []string) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(deployFolder, "systemd", service+".service"))
	must(t, err)
	for _, m := range regexp.MustCompile(`(?m)^`+key+`=(.*)$`).FindAllStringSubmatch(string(b), -1) {
		values = append(values, m[1])
	}
	return values
}

// TestUnitsFitTheirServices holds the units to the configurations that they start the
// services with: what is written lies where they may write, and they wait as long as an
// end takes.
func TestUnitsFitTheirServices(t *testing.T) {
	for service, written := range map[string][]string{
		"tokeniser": {"store.dir", "keyholder.as", "project.file"}, "keyholder": {"store.dir", "store.anchor", "store.backups", "audit.dir", "alerts.spool"}, "witness": {"dir"},
	} {
		config := exampleConfig(t, service)
		may := []string{"/var/lib/" + inUnit(t, service, "StateDirectory")[0]}
		for _, paths := range inUnit(t, service, "ReadWritePaths") {
			may = append(may, strings.Fields(paths)...)
		}
		for _, key := range written {
			for _, path := range lookUp(config, strings.Split(key, ".")) {
				if !slices.ContainsFunc(may, func(folder string) bool { return strings.HasPrefix(path.(string)+"/", folder+"/") }) {
					t.Errorf("%s: %s is %s, and the unit lets it write to %v", service, key, path, may)
				}
			}
		}
		if command := inUnit(t, service, "ExecStart"); len(command) != 1 || !strings.HasSuffix(command[0], " --config /etc/tarn/"+service+"/"+service+".toml") {
			t.Errorf("%s: it is started with %q", service, command)
		}
	}
	seconds := func(service string) time.Duration {
		s, err := time.ParseDuration(inUnit(t, service, "TimeoutStopSec")[0] + "s")
		must(t, err)
		return s
	}
	// As docs/tokenise-service.md says: drain, the time of a request, and 15 s for leases and
	// store. Of the key holder 15 s, of the witness 5, and five more.
	limits := exampleConfig(t, "tokeniser")["limits"].(map[string]any)
	drain, err := time.ParseDuration(limits["drain"].(string))
	must(t, err)
	timeout := 10 * time.Second
	if _, set := limits["timeout"]; set {
		t.Fatal("the example sets a timeout, which is not looked at")
	}
	for service, takes := range map[string]time.Duration{"tokeniser": drain + timeout + 15*time.Second, "keyholder": 20 * time.Second, "witness": 10 * time.Second} {
		if seconds(service) < takes {
			t.Errorf("%s is given %v to end, and takes %v", service, seconds(service), takes)
		}
	}
}

// exampleConfig reads a configuration of deploy/config.
func exampleConfig(t *testing.T, service string) (config map[string]any) {
	t.Helper()
	_, err := toml.DecodeFile(filepath.Join(deployFolder, "config", service+".toml"), &config)
	must(t, err)
	return config
}

// lookUp returns the values under a key, in every table of a list of them.
func lookUp(in any, key []string) []any {
	if len(key) == 0 {
		return []any{in}
	}
	switch in := in.(type) {
	case map[string]any:
		if next, ok := in[key[0]]; ok {
			return lookUp(next, key[1:])
		}
	case []map[string]any:
		var all []any
		for _, one := range in {
			all = append(all, lookUp(one, key)...)
		}
		return all
	}
	return nil
}

// composition is as much of compose.yaml as is looked at.
type composition struct {
	Services map[string]struct {
		Image, Restart  string
		Profiles        []string
		Networks, Ports []string
		Volumes         []string
		Read            bool                    `yaml:"read_only"`
		Drop            []string                `yaml:"cap_drop"`
		Security        []string                `yaml:"security_opt"`
		Grace           string                  `yaml:"stop_grace_period"`
		Memory          string                  `yaml:"mem_limit"`
		WithSwap        string                  `yaml:"memswap_limit"`
		Limits          map[string]int          `yaml:"ulimits"`
		Health          struct{ Test []string } `yaml:"healthcheck"`
	}
	Networks map[string]struct{ Internal bool }
	Volumes  map[string]any
}

// TestCompositionFitsTheServices holds compose.yaml to the units, the configurations and the
// images: what one of them says the others say.
func TestCompositionFitsTheServices(t *testing.T) {
	c := readYAML[composition](t, filepath.Join(deployFolder, "compose", "compose.yaml"))
	if len(c.Services) != 3 {
		t.Fatalf("it has %d services", len(c.Services))
	}
	binaries := t.TempDir()
	build(t, binaries)
	for service, s := range c.Services {
		if !s.Read || !slices.Equal(s.Drop, []string{"ALL"}) || !slices.Equal(s.Security, []string{"no-new-privileges:true"}) || s.Memory == "" || s.Memory != s.WithSwap {
			t.Errorf("%s is not kept to itself: %+v", service, s)
		}
		if core, ok := s.Limits["core"]; !ok || core != 0 || fmt.Sprint(s.Limits["nofile"]) != inUnit(t, service, "LimitNOFILE")[0] {
			t.Errorf("%s has the limits %v, and its unit %v", service, s.Limits, inUnit(t, service, "LimitNOFILE"))
		}
		if s.Grace != inUnit(t, service, "TimeoutStopSec")[0]+"s" {
			t.Errorf("%s is given %s to end, and by its unit %v", service, s.Grace, inUnit(t, service, "TimeoutStopSec"))
		}
		config := exampleConfig(t, service)
		_, port, _ := strings.Cut(config["listen"].(map[string]any)["address"].(string), ":")
		if !slices.Equal(s.Ports, []string{port + ":" + port}) {
			t.Errorf("%s listens at %s, and publishes %v", service, port, s.Ports)
		}
		// Every folder that its image has for it to write is a volume, and each of its own.
		containerfile, err := os.ReadFile(filepath.Join(deployFolder, "container", "Containerfile."+service))
		must(t, err)
		for _, folder := range regexp.MustCompile(`(?m)^COPY --chown=65532:65532 empty (.*)$`).FindAllStringSubmatch(string(containerfile), -1) {
			if !slices.ContainsFunc(s.Volumes, func(v string) bool {
				name, at, _ := strings.Cut(v, ":")
				_, there := c.Volumes[name]
				return there && at == folder[1]
			}) {
				t.Errorf("%s: %s is no volume", service, folder[1])
			}
		}
		// The command of the healthcheck is one that the program has: without a file it
		// says that it cannot be read, and not that it does not know its words.
		words := s.Health.Test
		if len(words) < 2 || words[0] != "CMD" {
			t.Fatalf("%s: the healthcheck is %v", service, words)
		}
		code, said := output(t, filepath.Join(binaries, words[1]), words[2:]...)
		if code != 2 || !strings.Contains(said, "/etc/tarn/"+service+"/"+service+".toml: no such file") {
			t.Errorf("%s: %v: exit %d: %s", service, words, code, said)
		}
	}
	on := func(a, b string) (shared []string) {
		for _, network := range c.Services[a].Networks {
			if slices.Contains(c.Services[b].Networks, network) {
				shared = append(shared, network)
			}
		}
		return shared
	}
	for _, pair := range []struct {
		a, b string
		want []string
	}{{"tokeniser", "keyholder", []string{"holder"}}, {"keyholder", "witness", []string{"audit"}}, {"tokeniser", "witness", nil}} {
		if shared := on(pair.a, pair.b); !slices.Equal(shared, pair.want) {
			t.Errorf("%s and %s meet on %v, want %v", pair.a, pair.b, shared, pair.want)
		}
	}
}
