package cmd_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"tarn/bench/leak"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/client"
)

// observed is a key holder with metrics, a witness and all its log, a tokeniser that is
// enrolled with it, and a project.
type observed struct {
	*service
	*leakage
	metrics, witness     string // an address, a folder
	credentials, project string
}

// freeAddress is a loopback address that nobody listens on.
func freeAddress(t *testing.T) string {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = socket.Close() }() // it was never used
	return socket.Addr().String()
}

// must returns nothing of what must not fail.
func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newObserved(t *testing.T, l *leakage) *observed {
	t.Helper()
	s := newService(t)
	must(t, s.Kill())
	o := &observed{leakage: l, service: s, metrics: freeAddress(t), witness: filepath.Join(t.TempDir(), "witness")}
	o.credentials, o.project = filepath.Join(o.Folder, "north"), filepath.Join(o.Folder, "project.json")
	o.watch(t)
	config, err := os.ReadFile(o.Config)
	must(t, err)
	must(t, os.WriteFile(o.Config, bytes.Replace(config, []byte("[listen]\n"), fmt.Appendf(nil, "[listen]\nmetrics_address = %q\n", o.metrics), 1), 0o600))
	must(t, o.Start(t.Context()))
	o.enrol(t, "north", "synthetic", "synth-9", keys.SchemeKeyedHash)
	identity, err := os.ReadFile(o.Identity())
	must(t, err)
	unseals := regexp.MustCompile(`AGE-SECRET-KEY-[0-9A-Z-]+`).Find(identity)
	if len(unseals) == 0 {
		t.Fatal("the identity file holds no identity")
	}
	strangersScanner().Secret(unseals)
	o.leakage.run(t, 0, happens{binary: o.tokeniser(), args: []string{"project", "synth-9", "--as", o.credentials, "--out", o.project}})
	return o
}

// enrol has the operator make a domain and the people's project in it, under a name, and
// enrols a tokeniser of that project into the folder of its name.
func (o *observed) enrol(t *testing.T, name, domain, project, scheme string) {
	t.Helper()
	operator := o.operator()
	defer operator.Close()
	ask := func(kind api.OperationKind, body any) *api.Operation {
		asked, err := operator.Ask(t.Context(), kind, body)
		must(t, err)
		return asked
	}
	ask(api.OpDomainAdd, api.DomainAdd{Name: domain, Scheme: scheme})
	record, err := os.ReadFile(filepath.Join(o.people, "project.json"))
	must(t, err)
	for _, change := range [][2]string{{`"(token|encoding)_kcv": "[0-9a-f]*"`, `"${1}_kcv": null`}, {`"name": "synth-9"`, `"name": "` + project + `"`},
		{`"domain": "synthetic"`, `"domain": "` + domain + `"`}, {`"scheme": "keyed-hash"`, `"scheme": "` + scheme + `"`}} {
		record = regexp.MustCompile(change[0]).ReplaceAll(record, []byte(change[1]))
	}
	ask(api.OpProjectAdd, api.ProjectAdd{Record: record})
	added := ask(api.OpClientAdd, api.ClientAdd{Name: name, Role: api.RoleTokeniser, Organisation: "RX1", Projects: []string{project}})
	given, err := operator.Collect(t.Context(), added.ID)
	must(t, err)
	strangersScanner().Secret([]byte(given.Code))
	_, err = client.Enrol(t.Context(), client.Enrolment{URL: o.URL, Code: given.Code, Folder: filepath.Join(o.Folder, name)}, time.Now)
	must(t, err)
}

// watch starts a witness, and has the key holder's log witnessed and everything
// logged.
func (o *observed) watch(t *testing.T) {
	t.Helper()
	auditor := filepath.Join(o.bin, "auditor")
	if code, said := output(t, auditor, "witness", "new", "--dir", o.witness, "--name", "witness.example"); code != 0 {
		t.Fatalf("auditor witness new: exit %d: %s", code, said)
	}
	address := freeAddress(t)
	config := filepath.Join(o.Folder, "witness.toml")
	must(t, os.WriteFile(config, fmt.Appendf(nil, "dir = %q\nlog_keys = [%q]\n[listen]\naddress = %q\n", o.witness, filepath.Join(o.Dir, "log", "1", "log.vkey"), address), 0o600))
	process := exec.Command(auditor, "witness", "--config", config, "--log-level", "debug")
	read, write, err := os.Pipe()
	must(t, err)
	process.Stderr = write
	must(t, process.Start())
	_ = write.Close() // the process has its own
	t.Cleanup(func() {
		_ = process.Process.Kill() // it may have ended
		_ = process.Wait()
		content, _ := io.ReadAll(read)
		noneAstray(t, "what the witness says", strangersScanner().Bytes("output", content), nowhere)
	})
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		connection, err := net.Dial("tcp", address)
		if err == nil {
			_ = connection.Close() // it listens
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the witness does not listen: %v", err)
		}
	}
	f, err := os.OpenFile(o.Config, os.O_APPEND|os.O_WRONLY, 0)
	must(t, err)
	_, err = fmt.Fprintf(f, "[audit]\nwitness_url = \"http://%s\"\nwitness_key = %q\n[log]\nformat = \"json\"\nlevel = \"debug\"\n", address, filepath.Join(o.witness, "witness.vkey"))
	must(t, err)
	must(t, f.Close())
}

// run encodes a table with keys that the key holder leases.
func (o *observed) encode(in, folder string, more ...string) happens {
	return happens{binary: o.tokeniser(), args: append([]string{"run", "--project", o.project, "--as", o.credentials, "--keyholder", o.URL, "--in", in, "--source", "north", "--confirm-map",
		"--out", filepath.Join(folder, "north.parquet"), "--log-level", "debug"}, more...)}
}

// page is the metrics as they are now.
func (o *observed) page(t *testing.T) string {
	t.Helper()
	answer, err := http.Get("http://" + o.metrics + "/metrics")
	must(t, err)
	defer func() { _ = answer.Body.Close() }()
	page, err := io.ReadAll(answer.Body)
	must(t, err)
	if !strings.Contains(string(page), "tarn_process_hardened 1") || !strings.Contains(string(page), "tarn_request_duration_seconds_count") {
		t.Errorf("the metrics are not all there: %s", page)
	}
	return string(page)
}

// nothingThere looks at everything that a key holder says and keeps.
func (o *observed) nothingThere(t *testing.T, when string) {
	t.Helper()
	noneAstray(t, when+": the log lines", strangersScanner().Text("output", o.Process.Said()), nowhere)
	noneAstray(t, when+": the metrics", strangersScanner().Text("metrics", o.page(t)), nowhere)
	for what, folder := range map[string]string{"store, log and backups": o.Dir, "anchor": filepath.Dir(o.Anchor), "the witness's folder": o.witness} {
		noneInTree(t, when+": "+what, folder, nowhere)
	}
	// Here what unseals is at home.
	noneInTree(t, when+": the configuration's folder", o.Folder, func(string) []leak.Kind { return []leak.Kind{leak.Secret} })
}

// backup makes a backup, and returns its path without the extension.
func (o *observed) backup(t *testing.T) string {
	t.Helper()
	operator := o.operator()
	defer operator.Close()
	asked, err := operator.Ask(t.Context(), api.OpBackup, api.Backup{})
	must(t, err)
	collected, err := operator.Collect(t.Context(), asked.ID)
	must(t, err)
	made, err := filepath.Glob(filepath.Join(o.Dir, "backups", "*.age"))
	must(t, err)
	if len(made) != 1 || collected.Path == "" {
		t.Fatalf("there are %d backups", len(made))
	}
	return strings.TrimSuffix(made[0], ".age")
}

// oblivious encodes people with tokens that the key holder makes, puts such tokens in
// place of a column, and brings them to another epoch: a tokeniser, which holds the
// numbers, asks about them in each request.
func (o *observed) oblivious(t *testing.T) {
	t.Helper()
	o.enrol(t, "evaluated", "evaluated", "evaluated", keys.SchemeOblivious)
	credentials, folder := filepath.Join(o.Folder, "evaluated"), t.TempDir()
	before, after := filepath.Join(o.Folder, "before.json"), filepath.Join(o.Folder, "after.json")
	tokeniser := func(args ...string) {
		t.Helper()
		o.leakage.run(t, 0, happens{binary: o.tokeniser(), args: append(args, "--as", credentials, "--keyholder", o.URL, "--log-level", "debug")})
	}
	table, tokens := o.table("north.csv"), filepath.Join(folder, "tokens.csv")
	tokeniser("project", "evaluated", "--out", before)
	tokeniser(append([]string{"run", "--project", before, "--in", table, "--source", "north", "--confirm-map", "--out", filepath.Join(folder, "north.parquet")}, all(folder)...)...)
	noneInTree(t, "encoded with oblivious tokens", folder, asDocumented)
	for _, in := range []string{"north.csv", "north.parquet"} {
		tokeniser("column", "--project", before, "--in", o.table(in), "--column", "nhs_number", "--out", strings.TrimSuffix(tokens, ".csv")+filepath.Ext(in))
	}
	operator := o.operator()
	defer operator.Close()
	_, err := operator.Ask(t.Context(), api.OpKeyRotate, api.KeyChange{Domain: "evaluated", Reason: "yearly"})
	must(t, err)
	tokeniser("project", "evaluated", "--out", after)
	tokeniser("rotate", "--from", before, "--project", after, "--in", tokens, "--column", "nhs_number", "--out", filepath.Join(folder, "rotated.csv"))
	moved := t.TempDir()
	tokeniser("rotate", "--from", before, "--project", after, "--in", filepath.Join(folder, "north.parquet"), "--out", filepath.Join(moved, "north.parquet"))
	noneInTree(t, "a cohort that was rotated", moved, nowhere)
	o.forwarded(t, after, filepath.Join(folder, "rotated.csv"))
	kinds := ""
	for after := ""; ; {
		events, next, err := operator.Events(t.Context(), after)
		must(t, err)
		for _, e := range events {
			kinds += string(e.Leaf)
		}
		if after = next; after == "" {
			break
		}
	}
	if !strings.Contains(kinds, `"kind":"evaluate"`) || !strings.Contains(kinds, `"kind":"rotate"`) || !strings.Contains(kinds, `"kind":"convert"`) {
		t.Error("nothing was evaluated, nothing rotated or nothing converted")
	}
}

// forwarded sends rows, names and all, to another party: neither the parcel nor what a run
// leaves that was refused can be read.
func (o *observed) forwarded(t *testing.T, from, table string) {
	t.Helper()
	o.enrol(t, "registry", "registry", "registry", keys.SchemeOblivious)
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(o.Folder, name) }
	run := func(code int, credentials string, args ...string) {
		t.Helper()
		if credentials != "" {
			args = append(args, "--as", at(credentials), "--keyholder", o.URL)
		}
		o.leakage.run(t, code, happens{binary: o.tokeniser(), args: append(args, "--log-level", "debug")})
	}
	run(0, "registry", "project", "registry", "--out", at("registry.json"))
	run(0, "", "recipient", "registry", "--out", at("registry.keys.json"), "--public", at("registry.recipient.json"))
	operator := o.operator()
	defer operator.Close()
	grant := api.GrantRecord{Schema: api.GrantSchema, Grant: api.Grant{Kind: api.GrantConvert, From: "evaluated", To: "registry", Recipient: &api.GrantRecipient{Project: "registry", Client: "registry"}}}
	public, err := os.ReadFile(at("registry.recipient.json"))
	must(t, err)
	must(t, keys.DecodeStrict(public, &grant.Recipient.Keys))
	for name, rows := range map[string]int64{"small": 1, "whole": 1_000_000} {
		_, err := operator.Ask(t.Context(), api.OpGrantAdd, api.GrantAdd{Name: name, Kind: grant.Kind, From: grant.From, To: grant.To, Purpose: "a test", LegalBasis: "none", OptOuts: "none", RowCap: rows, Expires: time.Now().Add(time.Hour), Recipient: grant.Recipient})
		must(t, err)
		grant.Name = name
		document, err := keys.Encode(grant)
		must(t, err)
		must(t, os.WriteFile(at(name+".grant.json"), document, 0o600))
	}
	send := func(code int, grant, out string, to ...string) {
		t.Helper()
		credentials := "evaluated"
		if len(to) > 0 {
			credentials = ""
		}
		run(code, credentials, append([]string{"convert", "--grant", at(grant + ".grant.json"), "--from", from, "--to", at("registry.json"), "--in", table, "--column", "nhs_number", "--invalid", "null", "--quarantine", filepath.Join(folder, out+".refused.csv"), "--out", filepath.Join(folder, out+".parcel")}, to...)...)
	}
	send(4, "small", "refused")
	send(5, "whole", "unanswered", "--as", at("evaluated"), "--keyholder", nowhereURL)
	if left, err := filepath.Glob(filepath.Join(folder, "unanswered.parcel.sending", "*.request")); err != nil || len(left) == 0 {
		t.Errorf("no request is left to be looked at: %v", err)
	}
	send(0, "whole", "whole")
	noneInTree(t, "a parcel, and what a run without an answer leaves", folder, nowhere)
	received := filepath.Join(t.TempDir(), "received.csv")
	run(0, "registry", "receive", "--in", filepath.Join(folder, "whole.parcel"), "--recipient-keys", at("registry.keys.json"), "--to", at("registry.json"), "--out", received)
	// Control: the people are in it.
	sent, err := os.Stat(table)
	must(t, err)
	if info, err := os.Stat(received); err != nil || info.Size() < sent.Size()/2 {
		t.Errorf("the rows did not arrive: %v", err)
	}
}

// testKeyholder is the key holder's part: people are encoded with its keys, and are then
// put wherever a caller could put them by mistake. It never sees the former and keeps
// none of the latter.
func (l *leakage) testKeyholder(t *testing.T) {
	o := newObserved(t, l)
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", o.Process.ID()))
	if err == nil && !regexp.MustCompile(`Max core file size +0 +0 `).Match(limits) {
		t.Errorf("the key holder may leave a core file: %s", limits)
	}
	if said := o.Process.Said(); !strings.Contains(said, "the process is hardened") {
		t.Errorf("the key holder does not say that it is hardened: %s", said)
	}
	// A key holder that nobody answers for takes its time to be given up.
	unreachable := l.command(happens{binary: o.tokeniser(), args: []string{"run", "--project", o.project, "--as", o.credentials, "--keyholder", "https://" + freeAddress(t), "--in", l.table("north.csv"), "--source", "north",
		"--confirm-map", "--out", filepath.Join(t.TempDir(), "north.parquet")}})
	var unanswered bytes.Buffer
	unreachable.Stdout, unreachable.Stderr = &unanswered, &unanswered
	must(t, unreachable.Start())
	for _, in := range some("north.csv", "north.parquet", "north.ndjson") {
		folder := t.TempDir()
		o.leakage.run(t, 0, o.encode(l.table(in), folder, all(folder)...))
		noneInTree(t, in, folder, asDocumented)
	}
	folder := t.TempDir()
	o.leakage.run(t, 3, o.encode(l.table("refused.csv"), folder, all(folder)...))
	o.leakage.run(t, 0, happens{binary: o.tokeniser(), args: []string{"column", "--project", o.project, "--as", o.credentials, "--keyholder", o.URL, "--in", l.table("north.csv"),
		"--column", "nhs_number", "--out", filepath.Join(folder, "out.csv")}})
	o.nothingThere(t, "after the tokeniser")
	o.oblivious(t)
	o.nothingThere(t, "after evaluations and a rotation")

	if leaksInFull {
		o.neverInMemory(t)
	}
	made := o.backup(t)
	answers := o.misuse(t)
	o.nothingThere(t, "after everything that a caller may do wrong")
	noneAstray(t, "what is answered", strangersScanner().Bytes("answers", answers), nowhere)

	_ = unreachable.Wait() // its exit code says it
	l.judged(t, 5, unreachable, unanswered.String(), happens{args: unreachable.Args})
	if leaksInFull {
		o.stalled(t)
	}
	must(t, o.Process.Signal(syscall.SIGTERM))
	<-o.Process.Ended()
	if leaksInFull {
		o.panics(t)
	}
	standby := filepath.Join(t.TempDir(), "standby")
	code, said := output(t, o.Binary, "restore", made, "--dir", standby, "--anchor", o.Anchor, "--host", "127.0.0.1", "--accept-loss", "100000", "--identity-file", o.Identity())
	if code != 0 {
		t.Fatalf("keyholder restore: exit %d: %s", code, said)
	}
	noneAstray(t, "what restoring says", strangersScanner().Text("output", said), nowhere)
	noneInTree(t, "what a backup is restored to", standby, nowhere)
	o.plantedAreFound(t, made)
}

// plantedAreFound plants somebody in a copy of each sort of thing that was looked at.
func (o *observed) plantedAreFound(t *testing.T, backup string) {
	t.Helper()
	p := strangers()[99]
	logged, err := json.Marshal(map[string]string{"level": "INFO", "msg": "answered", "client": p.Number[:3] + "-" + p.Number[3:6] + "-" + p.Number[6:]})
	must(t, err)
	stores, err := filepath.Glob(filepath.Join(o.Dir, "store*", "*.vlog"))
	must(t, err)
	entries, err := filepath.Glob(filepath.Join(o.Dir, "log", "1", "tile", "entries", "*"))
	must(t, err)
	witnessed, err := os.ReadDir(o.witness)
	must(t, err)
	if len(stores) == 0 || len(entries) == 0 || len(witnessed) == 0 {
		t.Fatalf("there are %d files of the store, %d of the log and %d of the witness to plant in", len(stores), len(entries), len(witnessed))
	}
	for what, text := range map[string]string{"log line": o.Process.Said() + "\n" + string(logged), "metric": "tarn_requests_total{client=\"" + p.Number + "\"} 1\n"} {
		if found := strangersScanner().Text(what, text); len(astray(found, nowhere)) == 0 {
			t.Errorf("nobody was found in a %s, though somebody was planted", what)
		}
	}
	for what, path := range map[string]string{"store": stores[0], "backup": backup + ".age", "manifest": backup + ".manifest.json", "audit log": entries[0], "anchor": o.Anchor} {
		info, err := os.Stat(path)
		must(t, err)
		if info.IsDir() {
			inside, err := os.ReadDir(path)
			must(t, err)
			path = filepath.Join(path, inside[0].Name())
		}
		b, err := os.ReadFile(path)
		must(t, err)
		b = bytes.TrimRight(b, "\x00")
		at := len(b) / 2
		if found := strangersScanner().Bytes(what, slices.Concat(b[:at], []byte(" "+p.Number+" "), b[at:])); !slices.ContainsFunc(found, func(f leak.Finding) bool { return f.Person == 99 && f.Kind == leak.Number }) {
			t.Errorf("nobody was found in the %s, though somebody was planted", what)
		}
	}
}

// caller sends requests as somebody, and keeps what is answered.
type caller struct {
	*http.Client
	base    string
	answers bytes.Buffer
	count   map[int]int // by status
}

func (o *observed) caller(t *testing.T, credentials string) *caller {
	t.Helper()
	ca, err := os.ReadFile(o.CA())
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	config := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if credentials != "" {
		pair, err := tls.LoadX509KeyPair(filepath.Join(credentials, "cert.pem"), filepath.Join(credentials, "key.pem"))
		must(t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	return &caller{Client: &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: 30 * time.Second}, base: o.URL, count: map[int]int{}}
}

func (c *caller) send(t *testing.T, verb, path string, header map[string]string, body string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), verb, c.base+path, strings.NewReader(body))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", fmt.Sprintf("6b3a55e0-26a5-4c2f-9d0f-%012x", len(c.count)*1_000_000+c.answers.Len()))
	for name, value := range header {
		request.Header.Set(name, value)
	}
	answer, err := c.Do(request)
	if err != nil {
		return // the server has closed the connection: that says nothing, either
	}
	defer func() { _ = answer.Body.Close() }()
	c.count[answer.StatusCode]++
	answer.Header.Del("X-Correlation-ID") // the caller's own, which is mirrored
	must(t, answer.Header.Write(&c.answers))
	_, err = io.Copy(&c.answers, answer.Body)
	must(t, err)
}

var parameter = regexp.MustCompile(`\{[a-z]+\}`)

// misuse calls every method, as nobody, as an operator and as a tokeniser, with people
// wherever something can be put; and says what was answered.
func (o *observed) misuse(t *testing.T) []byte {
	t.Helper()
	next := 0
	person := func() leak.Person {
		next++
		return strangers()[next%len(strangers())]
	}
	ann := o.caller(t, filepath.Join(o.Folder, "ann"))
	callers := []*caller{o.caller(t, ""), o.caller(t, o.credentials), ann}
	for _, method := range api.Methods() {
		for _, c := range callers {
			path := func() string {
				return parameter.ReplaceAllStringFunc(method.Path, func(string) string { return url.PathEscape(person().Number) })
			}
			p := person()
			value := fmt.Sprintf("%s %s %s %s %s", p.Number, p.Given, p.Family, p.Birth.Format(time.DateOnly), p.Postcode)
			query := url.Values{"state": {p.Number}, "after": {p.Number}, p.Family: {p.Postcode}, "nhs_number": {person().Number}}
			c.send(t, method.Verb, path()+"?"+query.Encode(), nil, "")
			c.send(t, method.Verb, path(), map[string]string{"X-Request-ID": p.Number, "X-Correlation-ID": p.Number}, `{}`)
			c.send(t, method.Verb, path(), map[string]string{"User-Agent": value, "Cookie": "id=" + p.Number, "Authorization": "Bearer " + p.Family, "Referer": "https://x/?nhs=" + p.Number, "Accept": value}, `{}`)
			c.send(t, method.Verb, path(), map[string]string{"Content-Type": "text/" + p.Family}, value)
			c.send(t, "PATCH", path(), nil, value)
			for _, body := range bodies(person) {
				c.send(t, method.Verb, path(), nil, body)
			}
		}
	}
	for _, c := range callers {
		for _, path := range []string{"/" + person().Number, "/v1/patients/" + url.PathEscape(person().Family), "/v1/projects/" + url.PathEscape(person().Postcode) + "/nothing"} {
			c.send(t, "GET", path, nil, "")
		}
	}
	for next < len(strangers()) {
		ann.send(t, "GET", "/v1/projects/"+person().Number+"/leases?of="+person().Family, nil, "")
	}
	// What an operator could write into a change: names, codes, reasons, records.
	for _, kind := range []api.OperationKind{api.OpDomainAdd, api.OpProjectAdd, api.OpProjectRenew, api.OpClientAdd, api.OpClientRenew, api.OpClientRevoke, api.OpGrantAdd, api.OpGrantRevoke, api.OpKeyRotate,
		api.OpKeyRetire, api.OpKeyDestroy, api.OpKeyExport, api.OpBackup} {
		for _, body := range operations(t, o, person) {
			ann.send(t, "POST", "/v1/operations", nil, fmt.Sprintf(`{"kind":%q,"body":%s}`, kind, body))
		}
	}
	// Everybody, once, as a body that is too large, and as ones that are not what they
	// should be.
	var everybody strings.Builder
	for _, p := range strangers() {
		fmt.Fprintf(&everybody, "%s,%s,%s,%s\n", p.Number, p.Given, p.Family, p.Postcode)
	}
	table := everybody.String()
	for from := 0; from < len(table); from += 40_000 {
		some := table[from:min(from+40_000, len(table))]
		ann.send(t, "POST", "/v1/operations", nil, some)
		quoted, err := json.Marshal(some)
		must(t, err)
		ann.send(t, "POST", "/v1/operations", nil, fmt.Sprintf(`{"kind":"client.revoke","body":{"name":"north","reason":%s}}`, quoted))
		callers[0].send(t, "POST", "/v1/enrol", nil, fmt.Sprintf(`{"code":%s,"csr":%q,"sealing_key":%q}`, quoted, base64.StdEncoding.EncodeToString([]byte(some)), base64.StdEncoding.EncodeToString([]byte(some))))
		callers[0].send(t, "POST", "/v1/unseal", nil, fmt.Sprintf(`{"passphrase":%s}`, quoted))
	}
	ann.send(t, "POST", "/v1/operations", nil, strings.Repeat(table, 1+(2<<20)/len(table)))
	o.raw(t, table)
	var answers []byte
	for i, c := range callers {
		answers = append(answers, c.answers.Bytes()...)
		if c.count[http.StatusInternalServerError] > 0 || len(c.count) < 3 {
			t.Errorf("caller %d was answered, by status: %v", i, c.count)
		}
	}
	return answers
}

// bodies are documents in which people stand where they may not.
func bodies(person func() leak.Person) (all []string) {
	p := person()
	for _, format := range []string{
		`{%q: 1}`, `{"kind": %q, "body": {}}`, `{"kind": "domain.add", "body": %q}`, `{"code": %q}`, `{"passphrase": %q}`, `{"share": %q}`, `{"identity": %q}`, `{"use": %q, "rows_expected": 1}`,
		`{"use": "token", "rows_expected": %q}`, `{"rows": %q}`, `{"rows": 1, "encoding_kcv": %q}`, `{"decision": %q, "hash": "x"}`, `{"decision": "approve", "hash": %q}`, `[%q]`, `%q`, `{"use": "token", %q`,
	} {
		all = append(all, fmt.Sprintf(format, person().Number), fmt.Sprintf(format, p.Given+" "+p.Family))
	}
	return append(all, `{"use": "token", "rows_expected": `+p.Number+`}`, `{"rows": `+p.Number+`}`, p.Number, `{"rows": `+p.Number+p.Number+`}`, "\xff\xfe"+p.Family, `{"a":"`+"\xff"+p.Family+`"}`)
}

// operations are bodies of changes with numbers in every text that people write.
func operations(t *testing.T, o *observed, person func() leak.Person) (all []string) {
	t.Helper()
	record, err := os.ReadFile(o.project)
	must(t, err)
	grouped := func(by string) string { n := person().Number; return n[:3] + by + n[3:6] + by + n[6:] }
	for _, text := range []string{person().Number, grouped("-"), grouped(" "), "n" + person().Number, "for " + grouped(" ")} {
		for _, format := range []string{
			`{"name":%q,"scheme":"keyed-hash"}`, `{"name":"d","scheme":%q}`, `{"name":%q,"reason":"gone"}`, `{"name":"north","reason":%q}`, `{"name":%q,"role":"auditor","organisation":"X26"}`,
			`{"name":"a","role":"auditor","organisation":%q}`, `{"name":"a","role":%q,"organisation":"X26"}`, `{"name":"a","role":"tokeniser","organisation":"X26","projects":[%q]}`,
			`{"name":"a","role":"tokeniser","organisation":"X26","projects":["synth-9"],"source_datasets":[%q]}`, `{"project":%q,"reason":"yearly"}`, `{"project":"synth-9","reason":%q}`, `{"domain":%q,"epoch":1,"reason":"x"}`,
			`{"project":"synth-9","grant":%q}`, `{"name":"g","kind":"export","project":"synth-9","purpose":%q,"legal_basis":"x","expires":"2099-01-01T00:00:00Z"}`,
			`{"name":"g","kind":"export","project":"synth-9","purpose":"x","legal_basis":%q,"expires":"2099-01-01T00:00:00Z"}`, `{"name":%q,"kind":"export","project":"synth-9","purpose":"x","legal_basis":"y","expires":"2099-01-01T00:00:00Z"}`,
			`{%q:1}`, `{"record":%q}`, `{"record":{%q:1}}`,
		} {
			all = append(all, fmt.Sprintf(format, text))
		}
		for _, member := range []string{`"purpose": "[^"]*"`, `"name": "[^"]*"`, `"domain": "[^"]*"`, `"source_dataset": "[^"]*"`, `"ods": "[^"]*"`, `"reason": "[^"]*"`} {
			name, _, _ := strings.Cut(member, ":")
			changed := regexp.MustCompile(member).ReplaceAll(record, fmt.Appendf(nil, "%s: %q", name, text))
			all = append(all, `{"record":`+string(changed)+`}`)
		}
	}
	return all
}

// raw sends what no HTTP client would, and nothing that ends.
func (o *observed) raw(t *testing.T, table string) {
	t.Helper()
	p := strangers()[5]
	for _, text := range []string{
		table[:20_000], p.Number + " / HTTP/1.1\r\n\r\n", "GET /" + p.Number + " HTTP/9\r\n\r\n", "GET / HTTP/1.1\r\n" + p.Family + "\r\n\r\n",
		"POST /v1/enrol HTTP/1.1\r\nHost: " + p.Number + "\r\nContent-Length: 10\r\nTransfer-Encoding: chunked\r\n\r\n" + p.Number, "GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat(p.Number, 5000) + "\r\n\r\n",
	} {
		for _, plain := range []bool{true, false} {
			connection, err := net.Dial("tcp", strings.TrimPrefix(o.URL, "https://"))
			must(t, err)
			_ = connection.SetDeadline(time.Now().Add(2 * time.Second)) // what is not answered by then is not looked for
			if !plain {
				// Nobody's name is verified: what is said is what counts.
				connection = tls.Client(connection, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS13, NextProtos: []string{"http/1.1"}})
			}
			_, _ = io.WriteString(connection, text) // the server may have closed it
			_ = connection.Close()
		}
	}
}

// panics has the key holder panic in a request, with what was sent in the value, and
// in a goroutine of its own, which ends it.
func (o *observed) panics(t *testing.T) {
	t.Helper()
	ours := o.Binary
	defer func() { o.Binary = ours }()
	before := "\tcode, document, err := c.work(w, answer)\n"
	o.Binary = plantFor(t, t.TempDir(), "keyholder", patch{"keys/holder/planted.go", "", plant("holder")},
		patch{"keys/holder/server.go", before, "\tplanted(r.Header.Get(\"X-Plant\"), fmt.Sprint(r.Header, r.URL))\n" + before})
	for _, how := range []string{"", " in a library"} {
		t.Setenv("TARN_TEST_PLANT", "request"+how)
		must(t, o.Start(t.Context()))
		c := o.caller(t, filepath.Join(o.Folder, "ann"))
		for _, p := range strangers()[:20] {
			c.send(t, "GET", "/v1/domains/"+p.Number+"?name="+p.Family, map[string]string{"X-Plant": "request", "X-Name": p.Given}, "")
		}
		noneAstray(t, "what is answered", strangersScanner().Bytes("answers", c.answers.Bytes()), nowhere)
		if how == "" {
			if c.count[http.StatusInternalServerError] != 20 {
				t.Errorf("it was answered, by status: %v", c.count)
			}
			o.nothingThere(t, "after panics")
			if said := o.Process.Said(); strings.Count(said, "a request ended in a panic") != 20 || !strings.Contains(said, "tarn/keys/holder.planted") {
				t.Errorf("it does not say where it panicked: %s", said)
			}
			must(t, o.Kill())
			continue
		}
		<-o.Process.Ended()
		if code := o.Process.ExitCode(); code != 1 || !strings.Contains(o.Process.Said(), "panic, its value withheld because it could hold data") {
			t.Errorf("exit %d: %s", code, o.Process.Said())
		}
		noneAstray(t, "what it says at its end", strangersScanner().Text("output", o.Process.Said()), nowhere)
	}
	// Control: without what holds the value back it is found.
	o.Binary = plantFor(t, t.TempDir(), "keyholder", patch{"keys/holder/planted.go", "", plant("holder")},
		patch{"keys/holder/server.go", before, "\tplanted(r.Header.Get(\"X-Plant\"), fmt.Sprint(r.Header, r.URL))\n" + before}, softened[1])
	must(t, o.Start(t.Context()))
	o.caller(t, "").send(t, "GET", "/livez?name="+strangers()[0].Family, map[string]string{"X-Plant": "request"}, "")
	<-o.Process.Ended()
	if found := strangersScanner().Text("output", o.Process.Said()); len(found) == 0 {
		t.Errorf("nobody was found in what it said at its end, though somebody was planted: %s", o.Process.Said())
	}
}
