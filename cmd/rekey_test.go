package cmd_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"tarn/bench/keyholder"
	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/nhsnumber"
)

// Of the table that is killed: rows in a batch, as tokeniser column divides text, and
// batches.
const (
	rekeyBatchRows = 2048
	rekeyBatches   = 12
	// rekeyAwaited is how many batches are answered before the run is killed. Some come
	// after that until the signal is there, and most do not.
	rekeyAwaited = 3
)

// rekeying is a region whose domain's key was replaced after its table had got tokens.
type rekeying struct {
	*service
	folder        string
	before, after string // records
	tokens        string // the table
}

func newRekeying(t *testing.T) *rekeying {
	t.Helper()
	s := newService(t, func(o *keyholder.Options) { o.Metrics, o.BudgetRows = true, 10_000_000 })
	folder := t.TempDir()
	at := func(name string) string { return filepath.Join(folder, name) }
	r := &rekeying{service: s, folder: folder, before: at("before.json"), after: at("after.json"), tokens: at("tokens.csv")}
	must(t, s.AddDomain(t.Context(), "lake", keys.SchemeOblivious))
	record := bytes.Replace(keyholder.Record("study", "lake", keys.SchemeOblivious), []byte(`"mode":"none"`), []byte(`"mode":"direct"`), 1)
	must(t, s.AddProject(t.Context(), record))
	must(t, s.AddTokeniser(t.Context(), "north", "study"))
	var table strings.Builder
	table.WriteString("id,nhs_number,note\n")
	for i, row := 0, 0; row < rekeyBatches*rekeyBatchRows; i++ {
		first := [9]byte([]byte(fmt.Sprintf("%09d", 400_000_000+i)))
		digit, ok := nhsnumber.CheckDigit(first)
		if !ok {
			continue
		}
		number := string(first[:]) + string(digit)
		if row%50 == 0 {
			number = "" // has none
		}
		fmt.Fprintf(&table, "%d,%s,x\n", row, number)
		row++
	}
	must(t, os.WriteFile(at("visits.csv"), []byte(table.String()), 0o600))
	r.run("project", "study", "--out", r.before)
	r.run("column", "--project", r.before, "--in", at("visits.csv"), "--column", "nhs_number", "--out", r.tokens)
	operator := s.operator()
	defer operator.Close()
	_, err := operator.Ask(t.Context(), api.OpKeyRotate, api.KeyChange{Domain: "lake", Reason: "yearly"})
	must(t, err)
	r.run("project", "study", "--out", r.after)
	return r
}

// command is tokeniser with these arguments.
func (r *rekeying) command(args ...string) *exec.Cmd {
	return exec.Command(filepath.Join(filepath.Dir(r.Binary), "tokeniser"), append(args, "--as", r.Credentials("north"), "--keyholder", r.URL)...)
}

func (r *rekeying) run(args ...string) (said string) {
	r.t.Helper()
	b, err := r.command(args...).CombinedOutput()
	if err != nil {
		r.t.Fatalf("tokeniser %s: %v: %s", args[0], err, b)
	}
	return string(b)
}

// rotate is the arguments of the rotation that writes out.
func (r *rekeying) rotate(out string) []string {
	return []string{"rotate", "--from", r.before, "--project", r.after, "--in", r.tokens, "--column", "nhs_number", "--out", out, "--threads", "1"}
}

var rotationsAnswered = regexp.MustCompile(`(?m)^tarn_request_duration_seconds_count\{route="tokens.rotate",status="200"\} (\d+)$`)

// asked is how many batches were asked so far, and charged how many rows.
func (r *rekeying) asked() (batches, charged int64) {
	r.t.Helper()
	page, err := r.MetricsPage(r.t.Context())
	must(r.t, err)
	if found := rotationsAnswered.FindStringSubmatch(page); found != nil {
		batches, err = strconv.ParseInt(found[1], 10, 64)
		must(r.t, err)
	}
	operator := r.operator()
	defer operator.Close()
	budgets, err := operator.Budgets(r.t.Context())
	must(r.t, err)
	for _, b := range budgets {
		if b.Use == api.UseToken && b.Client == "north" {
			charged = b.Used
		}
	}
	return batches, charged
}

// since calls what and returns what was asked and charged meanwhile.
func (r *rekeying) since(what func()) (batches, charged int64) {
	r.t.Helper()
	batchesBefore, chargedBefore := r.asked()
	what()
	batches, charged = r.asked()
	return batches - batchesBefore, charged - chargedBefore
}

// killed starts a rotation, and kills it (SIGKILL) once so many batches were kept.
func (r *rekeying) killed(out string) {
	r.t.Helper()
	c := r.command(r.rotate(out)...)
	var said strings.Builder
	c.Stdout, c.Stderr = &said, &said
	must(r.t, c.Start())
	enough := int64(rekeyAwaited * rekeyBatchRows * 49 / 50 * keys.TokenSize)
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if info, err := os.Stat(out + ".transfer"); err == nil && info.Size() > enough {
			break
		}
	}
	_ = c.Process.Kill() // how it ended is looked at
	_ = c.Wait()
	if c.ProcessState.ExitCode() != -1 {
		r.t.Fatalf("it ended before it was killed: %s", said.String())
	}
	if _, err := os.Stat(out); err == nil {
		r.t.Fatal("there is an output of a run that was killed")
	}
}

// TestKilledRotationGoesOn: a rotation that is killed and run again asks for what was not
// answered, writes the bytes of one that nobody killed, and is charged what one is charged.
func TestKilledRotationGoesOn(t *testing.T) {
	r := newRekeying(t)
	whole, out := filepath.Join(r.folder, "whole.csv"), filepath.Join(r.folder, "out.csv")
	all, charged := r.since(func() { r.run(r.rotate(whole)...) })
	if all != rekeyBatches || charged != rekeyBatches*rekeyBatchRows*49/50 {
		t.Fatalf("an undisturbed run asked for %d batches and was charged %d rows", all, charged)
	}
	want, err := os.ReadFile(whole)
	must(t, err)
	tokens, err := os.ReadFile(r.tokens)
	must(t, err)
	if bytes.Equal(want, tokens) {
		t.Fatal("nothing was rotated")
	}
	same := func() {
		t.Helper()
		got, err := os.ReadFile(out)
		must(t, err)
		if !bytes.Equal(got, want) {
			t.Error("the output is not that of a run that nobody killed")
		}
		left, err := filepath.Glob(filepath.Join(r.folder, "*out.csv*"))
		must(t, err)
		if len(left) != 1 {
			t.Errorf("left: %q", left)
		}
	}

	var header []byte // of the journal: the seed without an answer
	var second, secondCharged int64
	said := ""
	_, both := r.since(func() {
		r.killed(out)
		journal, err := os.ReadFile(out + ".transfer")
		must(t, err)
		header = journal[:8+3*32]
		second, secondCharged = r.since(func() { said = r.run(r.rotate(out)...) })
	})
	same()
	if both != charged {
		t.Errorf("killed and run again it was charged %d rows, and undisturbed %d", both, charged)
	}
	if second == 0 || second > all-rekeyAwaited {
		t.Errorf("the second run asked for %d batches of %d, though %d were answered", second, all, rekeyAwaited)
	}
	if secondCharged == 0 || !regexp.MustCompile(`going on with a run that was interrupted: [0-9,]+ tokens are known`).MatchString(said) {
		t.Errorf("charged %d rows, and said: %s", secondCharged, said)
	}

	// Control: with the seed alone everything is asked again, under the same ids: it is
	// charged nothing, but it is all asked.
	must(t, os.Remove(out))
	must(t, os.WriteFile(out+".transfer", header, 0o600))
	third, thirdCharged := r.since(func() { said = r.run(r.rotate(out)...) })
	same()
	if third != all || thirdCharged != 0 || strings.Contains(said, "going on") {
		t.Errorf("with the seed alone %d batches of %d were asked and %d rows charged: %s", third, all, thirdCharged, said)
	}
	// Control: without the journal it is another run.
	must(t, os.Remove(out))
	if _, again := r.since(func() { r.run(r.rotate(out)...) }); again != charged {
		t.Errorf("anew it was charged %d rows of %d", again, charged)
	}
	same()
}

// TestKilledForwardingGoesOn: a conversion for another party that is killed and run again
// asks for what was not answered, is charged what an undisturbed one is, and every row
// arrives once.
func TestKilledForwardingGoesOn(t *testing.T) {
	r := newRekeying(t)
	at := func(name string) string { return filepath.Join(r.folder, name) }
	must(t, r.AddDomain(t.Context(), "registry", keys.SchemeOblivious))
	must(t, r.AddProject(t.Context(), bytes.Replace(keyholder.Record("register", "registry", keys.SchemeOblivious), []byte(`"mode":"none"`), []byte(`"mode":"direct"`), 1)))
	must(t, r.AddTokeniser(t.Context(), "registrar", "register"))
	r.run(r.rotate(at("current.csv"))...)
	local := func(as string, args ...string) string {
		t.Helper()
		if as != "" {
			args = append(args, "--as", r.Credentials(as), "--keyholder", r.URL)
		}
		b, err := exec.Command(filepath.Join(filepath.Dir(r.Binary), "tokeniser"), args...).CombinedOutput()
		if err != nil {
			t.Fatalf("tokeniser %s: %v: %s", args[0], err, b)
		}
		return string(b)
	}
	local("registrar", "project", "register", "--out", at("register.json"))
	local("registrar", "column", "--project", at("register.json"), "--in", at("visits.csv"), "--column", "nhs_number", "--out", at("expected.csv"))
	local("", "recipient", "registry", "--out", at("keys.json"), "--public", at("recipient.json"))
	grant := api.GrantRecord{Schema: api.GrantSchema, Grant: api.Grant{Name: "follow-up", Kind: api.GrantConvert, From: "lake", To: "registry", Recipient: &api.GrantRecipient{Project: "register", Client: "registrar"}}}
	public, err := os.ReadFile(at("recipient.json"))
	must(t, err)
	must(t, keys.DecodeStrict(public, &grant.Recipient.Keys))
	operator := r.operator()
	defer operator.Close()
	_, err = operator.Ask(t.Context(), api.OpGrantAdd, api.GrantAdd{Name: "follow-up", Kind: grant.Kind, From: grant.From, To: grant.To, Purpose: "a test", LegalBasis: "none", OptOuts: "none", RowCap: 1_000_000, Expires: time.Now().Add(time.Hour), Recipient: grant.Recipient})
	must(t, err)
	document, err := keys.Encode(grant)
	must(t, err)
	must(t, os.WriteFile(at("grant.json"), document, 0o600))
	send := []string{"convert", "--grant", at("grant.json"), "--from", r.after, "--to", at("register.json"), "--in", at("current.csv"), "--column", "nhs_number", "--out", at("visits.parcel")}

	c := r.command(send...)
	var output strings.Builder
	c.Stdout, c.Stderr = &output, &output
	must(t, c.Start())
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(2 * time.Millisecond) {
		if kept, err := filepath.Glob(at("visits.parcel.sending/*.answer")); err == nil && len(kept) > 0 {
			break
		}
	}
	_ = c.Process.Kill() // how it ended is looked at
	_ = c.Wait()
	if c.ProcessState.ExitCode() != -1 {
		t.Fatalf("it ended before it was killed: %s", output.String())
	}
	said := r.run(send...)
	if !strings.Contains(said, "going on with a run that was interrupted") {
		t.Errorf("it begins anew: %s", said)
	}
	grants, err := operator.Grants(t.Context())
	must(t, err)
	if grants[0].RowsUsed != rekeyBatches*rekeyBatchRows {
		t.Errorf("%d rows are charged to the grant, of %d", grants[0].RowsUsed, rekeyBatches*rekeyBatchRows)
	}
	budgets, err := operator.Budgets(t.Context())
	must(t, err)
	for _, b := range budgets {
		// The registrar asked for tokens of its own, too: what is expected.
		if want := int64(rekeyBatches*rekeyBatchRows + rekeyBatches*rekeyBatchRows*49/50); b.Use == api.UseToken && b.Client == "registrar" && b.Used != want {
			t.Errorf("%d rows are charged to the recipient, not %d", b.Used, want)
		}
	}
	local("registrar", "receive", "--in", at("visits.parcel"), "--recipient-keys", at("keys.json"), "--to", at("register.json"), "--out", at("received.csv"))
	if !slices.Equal(sortedLines(t, at("received.csv")), sortedLines(t, at("expected.csv"))) {
		t.Error("what arrives is not what the numbers give")
	}
	if left, err := filepath.Glob(at("*visits.parcel*")); err != nil || len(left) != 1 {
		t.Errorf("left: %q, %v", left, err)
	}
}

func sortedLines(t *testing.T, path string) []string {
	t.Helper()
	b, err := os.ReadFile(path)
	must(t, err)
	lines := strings.Split(string(b), "\n")
	slices.Sort(lines)
	return lines
}
