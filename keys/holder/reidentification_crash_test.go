package holder_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/holder"
	"tarn/keys/holder/internal/requests"
)

// crashing is what a process that ends at a step of an opening is given.
type crashing struct {
	Dir, Anchor string
	Identity    string
	Step        requests.Step
	Region      string
	RegionCA    []byte
	RegionKey   []byte
}

const crashEnvironment = "TARN_TEST_CRASHING"

// TestCrashingHolder is no test of its own: it is the process that TestCrashBetweenSteps
// has end.
func TestCrashingHolder(t *testing.T) {
	text := os.Getenv(crashEnvironment)
	if text == "" {
		t.Skip("it is run by TestCrashBetweenSteps")
	}
	var c crashing
	if err := json.Unmarshal([]byte(text), &c); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.RegionCA)
	now := func() time.Time { return time.Now().UTC() }
	h, err := holder.New(holder.Options{
		Dir: c.Dir, Anchor: c.Anchor, Name: "holder", Software: "test", OperatorsRequired: 2, FreeFloor: 1, Clock: now, Logger: slog.New(slog.DiscardHandler), Meter: meter{},
		SignIn: signIn{now}, Regions: []holder.Region{{Domain: "pond", URL: c.Region, Roots: roots, Key: ed25519.PublicKey(c.RegionKey)}},
		Reached: func(s requests.Step) {
			if s == c.Step {
				os.Exit(137) // at once: nothing is flushed, closed or told
			}
		},
	})
	if err == nil {
		_, err = h.Unseal(t.Context(), api.Unseal{Identity: c.Identity})
	}
	if err == nil {
		err = h.Serve(context.Background(), holder.Listen{
			Address: "127.0.0.1:0", Cert: filepath.Join(c.Dir, holder.ServerCertFile), Key: filepath.Join(c.Dir, holder.ServerKeyFile), People: holder.Pair{Address: "127.0.0.1:0"},
		}, func(a holder.Addresses) { fmt.Printf("people %s\n", a.People) })
	}
	t.Fatal(err)
}

// TestCrashBetweenSteps: wherever a process ends during an opening, the next one knows:
// before anything was used up, it can be opened; after that it is written down that nobody
// knows what came of it, once, and it is not opened again; and once what came of it is
// written, the session that opened it is shown it.
func TestCrashBetweenSteps(t *testing.T) {
	for step, want := range map[requests.Step]struct {
		intents, outcomes int
		outcome           string
		after             int // status of opening it after the start
	}{
		requests.StepAsked:     {1, 1, "released", http.StatusOK},
		requests.StepConsumed:  {1, 1, "unknown", http.StatusGone},
		requests.StepWitnessed: {1, 1, "unknown", http.StatusGone},
		requests.StepOpened:    {1, 1, "unknown", http.StatusGone},
		requests.StepWritten:   {1, 1, "released", http.StatusOK},
		"never":                {1, 1, "released", http.StatusOK}, // the control: nothing ends
	} {
		t.Run(string(step), func(t *testing.T) {
			t.Parallel()
			s := newReid(t, func(*holder.Options) {})
			token := s.token(patientNumber)
			s.region.registers(token, "Y12345")
			gp := s.as("gp/1")
			r := must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345"))
			certificate := s.ann.certificate()
			s.stop()
			status := s.opensAndEnds(step, gp, r.ID)
			if ended := step != "never"; ended != (status == 0) {
				t.Fatalf("the process answered %d", status)
			}
			s.start()
			s.unseal()
			s.ann = s.with(&certificate)
			gp = s.as("gp/1")
			if status, b := gp.call("POST", "/v1/reidentifications/"+r.ID+"/open", nil); status != want.after {
				t.Errorf("after the start: %d %s, want %d", status, b, want.after)
			}
			intents, outcomes := 0, []string{}
			for _, leaf := range s.leaves() {
				switch leaf.Kind {
				case audit.KindReidIntent:
					intents++
				case audit.KindReidOutcome:
					outcomes = append(outcomes, leaf.Outcome)
				}
			}
			if intents != want.intents || len(outcomes) != want.outcomes || outcomes[0] != want.outcome {
				t.Errorf("%d intents and outcomes %v, want %+v", intents, outcomes, want)
			}
		})
	}
}

// opensAndEnds has another process serve the site, opens a request there, and returns the
// status of the answer; 0 where the process ended instead.
func (s *reid) opensAndEnds(step requests.Step, gp *caller, id string) int {
	s.t.Helper()
	given, err := json.Marshal(crashing{
		s.options.Dir, s.options.Anchor, string(s.made.Identity), step, s.region.server.URL,
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.region.server.Certificate().Raw}), s.region.key.Public().(ed25519.PublicKey),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	command := exec.Command(os.Args[0], "-test.run", "^TestCrashingHolder$", "-test.count", "1")
	command.Env = append(os.Environ(), crashEnvironment+"="+string(given))
	out, err := command.StdoutPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = command.Process.Kill(); _ = command.Wait() }()
	people := ""
	for lines := bufio.NewScanner(out); people == "" && lines.Scan(); {
		if rest, is := bytes.CutPrefix(lines.Bytes(), []byte("people ")); is {
			people = string(rest)
		}
	}
	if people == "" {
		s.t.Fatal("the process does not serve")
	}
	request, err := http.NewRequestWithContext(s.t.Context(), "POST", "https://"+people+"/v1/reidentifications/"+id+"/open", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+gp.bearer)
	request.Header.Set("X-Request-ID", "00000000-0000-4000-8000-000000000001")
	answer, err := gp.http.Do(request)
	if err != nil {
		return 0
	}
	_ = answer.Body.Close()
	return answer.StatusCode
}
