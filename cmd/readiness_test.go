package cmd_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"tarn/bench/keyholder"
	"tarn/bench/load"
	"tarn/bench/tokeniser"
	"tarn/keys"
)

// TestReadinessFollowsTheKeyHolder: a service whose key holder stops answering says that it
// is not ready where the key holder makes tokens, and is ready as long as its leases last
// where they are leased; it is ready again when the key holder is back.
func TestReadinessFollowsTheKeyHolder(t *testing.T) {
	s := newService(t)
	ctx := t.Context()
	services := map[string]*tokeniser.Tokeniser{}
	for _, project := range []struct{ name, domain, scheme string }{{"asks", "sea", keys.SchemeOblivious}, {"leases", "lake", keys.SchemeKeyedHash}} {
		must(t, s.AddDomain(ctx, project.domain, project.scheme))
		must(t, s.AddProject(ctx, keyholder.Record(project.name, project.domain, project.scheme)))
		must(t, s.AddTokeniser(ctx, "region-"+project.name, project.name)) // a certificate works in one domain
		client, err := s.As("region-" + project.name)
		must(t, err)
		record, err := client.Project(ctx, project.name)
		client.Close()
		must(t, err)
		folder := t.TempDir()
		file := filepath.Join(folder, "project.json")
		must(t, keys.WriteFile(file, record.Record))
		region, err := tokeniser.New(tokeniser.Options{
			Binary: filepath.Join(filepath.Dir(s.Binary), "tokeniser"), Folder: folder, KeyholderURL: s.URL, Credentials: s.Credentials("region-" + project.name), Clock: time.Now,
			Projects: []tokeniser.Project{{File: file, Clients: []string{"etl"}}},
		})
		must(t, err)
		must(t, region.Start(ctx))
		t.Cleanup(func() { _ = region.Kill() }) // most have ended
		services[project.name] = region
	}
	ready := func(project string) int {
		region := services[project]
		cert, key := region.ClientFiles("etl")
		config, err := load.TLS(region.CA(), cert, key)
		must(t, err)
		anyone := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: config.RootCAs}}}
		defer anyone.CloseIdleConnections()
		answer, err := anyone.Get("https://" + region.Address + "/readyz?project=" + project)
		if err != nil {
			return 0
		}
		defer answer.Body.Close()
		return answer.StatusCode
	}
	becomes := func(project string, status int) {
		t.Helper()
		waiting, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		for got := 0; got != status; time.Sleep(100 * time.Millisecond) {
			if got = ready(project); waiting.Err() != nil {
				t.Fatalf("%s is %d after a minute, want %d", project, got, status)
			}
		}
	}
	becomes("asks", 200)
	becomes("leases", 200)
	must(t, s.Process.Signal(syscall.SIGSTOP))
	becomes("asks", 503)
	if got := ready("leases"); got != 200 {
		t.Errorf("a project whose leases last is %d", got)
	}
	must(t, s.Process.Signal(syscall.SIGCONT))
	becomes("asks", 200)
	for _, region := range services {
		must(t, region.Stop())
	}
}
