package cmd_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"tarn/bench/keyholder"
	"tarn/bench/load"
	"tarn/bench/process"
	"tarn/bench/tokeniser"
	"tarn/keys"
	"tarn/keys/relationship"
	"tarn/keys/trialcert"
)

// TestARegionAnswersWithWhatItSealed: a pipeline sends a row to the service, of a project of
// scheme keyed-hash whose tokens may be opened; the key holder, with its own certificate,
// asks the region's other listener whether a practice has to do with the patient, and gets
// the signed answer with the envelope, sealed to the escrow key that the project's record
// names. Who has nothing to do with the patient gets neither; a stranger gets no answer.
func TestARegionAnswersWithWhatItSealed(t *testing.T) {
	s := newService(t)
	ctx := t.Context()
	must(t, s.AddDomain(ctx, "lake", keys.SchemeKeyedHash))
	record := strings.Replace(string(keyholder.Record("care", "lake", keys.SchemeKeyedHash)), `"mode":"none"`, `"mode":"direct"`, 1)
	must(t, s.AddProject(ctx, []byte(record)))
	must(t, s.AddTokeniser(ctx, "region", "care"))
	folder := t.TempDir()
	binary := filepath.Join(filepath.Dir(s.Binary), "tokeniser")
	do := func(args ...string) string {
		t.Helper()
		c := exec.Command(binary, args...)
		c.Dir = folder
		said, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("tokeniser %s: %v: %s", args[0], err, said)
		}
		return string(said)
	}
	do("project", "care", "--as", s.Credentials("region"), "--out", "project.json")
	verify := regexp.MustCompile(`[0-9a-f]{64}`).FindString(do("relationships", "key", "--out", "relationships.key"))
	must(t, trialcert.Make(filepath.Join(folder, "asks"), []string{"localhost", "127.0.0.1"}, []string{"keyholder", "stranger"}, time.Now()))
	address, err := process.FreeAddress()
	must(t, err)
	region, err := tokeniser.New(tokeniser.Options{
		Binary: binary, Folder: folder, Credentials: s.Credentials("region"), KeyholderURL: s.URL, Clock: time.Now,
		Projects: []tokeniser.Project{{File: filepath.Join(folder, "project.json"), Clients: []string{"etl"}}},
		More: fmt.Sprintf("[relationships]\naddress = %q\ntls_cert = %q\ntls_key = %q\nclient_ca = %q\nclients = [\"keyholder\"]\nsigning_key_file = %q\ndir = %q\n", address,
			filepath.Join(folder, "asks", trialcert.ServerCert), filepath.Join(folder, "asks", trialcert.ServerKey), filepath.Join(folder, "asks", trialcert.AuthorityFile),
			filepath.Join(folder, "relationships.key"), filepath.Join(folder, "relationships")),
	})
	must(t, err)
	must(t, region.Start(ctx))
	t.Cleanup(func() { _ = region.Kill() }) // most have ended
	waiting, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	must(t, region.Ready(waiting, "care", "etl"))
	token := tokenOf(t, region, "9434765919")
	must(t, os.WriteFile(filepath.Join(folder, "relationships.csv"), []byte("token,organisation,from,to,relationship\n"+token+",A81001,2020-01-01,,registered\n"), 0o600))
	do("relationships", "load", "--in", "relationships.csv", "--dir", "relationships")

	public, err := relationship.ParseVerifyKey(verify)
	must(t, err)
	ask := func(who, organisation string) (relationship.Question, *relationship.Answer, int) {
		t.Helper()
		q := relationship.Question{Token: token, Organisation: organisation, At: time.Now().UTC().Truncate(time.Millisecond), RequestHash: strings.Repeat("ab", 32)}
		a := new(relationship.Answer)
		status := post(t, filepath.Join(folder, "asks"), who, "https://"+address+"/v1/relationships/check", q, a)
		return q, a, status
	}
	q, a, status := ask("keyholder", "A81001")
	if status != http.StatusOK || a.Decision != relationship.Allow || a.Envelope == nil {
		t.Fatalf("status %d, decision %q, envelope %v", status, a.Decision, a.Envelope != nil)
	}
	if _, err := a.Verify(&q, public, time.Now()); err != nil {
		t.Error(err)
	}
	project, err := keys.ReadProject(filepath.Join(folder, "project.json"))
	must(t, err)
	operator := s.operator()
	defer operator.Close()
	held, err := operator.EscrowKeys(ctx)
	must(t, err)
	if len(held) != 1 || held[0].KeyCheck != a.Envelope.Key || project.Keys.EscrowPublicKey == nil {
		t.Errorf("the envelope is sealed to %s, of %d keys of the key holder", a.Envelope.Key, len(held))
	}
	if _, denied, status := ask("keyholder", "B82002"); status != http.StatusOK || denied.Decision != relationship.Deny || denied.Envelope == nil {
		t.Errorf("another practice: status %d, %q, envelope %v", status, denied.Decision, denied.Envelope != nil)
	}
	if _, _, status := ask("stranger", "A81001"); status != http.StatusForbidden {
		t.Errorf("a stranger: status %d", status)
	}
	must(t, region.Stop())
	if said := region.Process.Said(); strings.Contains(said, "9434765919") {
		t.Error("the service's log has the number")
	}
}

// tokenOf sends a row of one number and returns its token.
func tokenOf(t *testing.T, region *tokeniser.Tokeniser, number string) string {
	t.Helper()
	target, err := region.Target("care", "etl", "?return=token")
	must(t, err)
	c := load.NewConn(target, 1)
	defer c.Close()
	a, err := c.Do(&load.Request{Media: "application/json", Body: []byte(`{"rows":[{"unique_id":"r1","nhs_number":"` + number + `"}]}`), Rows: 1}, c.ID(), time.Minute)
	must(t, err)
	var answer struct {
		Rows []struct {
			Token string `json:"nhs_token"`
		} `json:"rows"`
	}
	if a.Status != http.StatusOK || json.Unmarshal(a.Body, &answer) != nil || len(answer.Rows) != 1 || answer.Rows[0].Token == "" {
		t.Fatalf("status %d: %s", a.Status, a.Body)
	}
	return answer.Rows[0].Token
}

// post sends a document as a client of a folder of trial certificates, and reads the answer
// where it is one.
func post(t *testing.T, folder, who, url string, document, answer any) int {
	t.Helper()
	config, err := load.TLS(filepath.Join(folder, trialcert.AuthorityFile), filepath.Join(folder, who+".pem"), filepath.Join(folder, who+".key"))
	must(t, err)
	client := &http.Client{Timeout: time.Minute, Transport: &http.Transport{TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: config.RootCAs, Certificates: config.Certificates}}}
	defer client.CloseIdleConnections()
	b, err := keys.Encode(document)
	must(t, err)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(b))
	must(t, err)
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", "0b9d7ff4-64ab-4d2c-9d0c-6a2f6d2b8a10")
	got, err := client.Do(request)
	must(t, err)
	defer got.Body.Close()
	b, err = io.ReadAll(got.Body)
	must(t, err)
	if got.StatusCode == http.StatusOK {
		must(t, keys.DecodeStrict(b, answer))
	}
	return got.StatusCode
}
