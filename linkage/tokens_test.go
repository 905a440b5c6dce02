package linkage

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/result"
)

// manifest is that of a cohort with tokens of an epoch.
func manifest(name string, epoch uint32, changes ...func(*cohort.Manifest)) *cohort.Manifest {
	kcv := fmt.Sprintf("%032d", epoch)
	m := &cohort.Manifest{Identity: cohort.Identity{Project: "sample", SourceDataset: name, RowsDigest: "of " + name,
		TokenScheme: keys.SchemeOblivious, TokenDomain: "lake", TokenEpoch: epoch, TokenKCV: &kcv}}
	for _, change := range changes {
		change(m)
	}
	return m
}

func cohorts(manifests ...*cohort.Manifest) (files []*cohort.File) {
	for _, m := range manifests {
		files = append(files, &cohort.File{Manifest: m})
	}
	return files
}

func elsewhere(m *cohort.Manifest) { m.TokenDomain = "registry" }

// TestTokensComparable: tokens are compared where all is equal, and what differs is
// named; of two epochs also what to do, which is another thing where tokens cannot
// be moved.
func TestTokensComparable(t *testing.T) {
	keyedHash := func(m *cohort.Manifest) { m.TokenScheme = keys.SchemeKeyedHash }
	released := func(m *cohort.Manifest) { m.TokenRelease = true }
	otherKey := func(m *cohort.Manifest) { m.TokenKCV = manifest("", 9).TokenKCV }
	unknownKey := func(m *cohort.Manifest) { m.TokenKCV = nil }
	const alone = "were not compared, and the two were linked by demographics alone: "
	for _, c := range []struct {
		name string
		a, b *cohort.Manifest
		says string
	}{
		{"the same", manifest("north", 1), manifest("south", 1), ""},
		{"epochs", manifest("north", 1), manifest("south", 2),
			"tokens of north (token epoch 1) and south (token epoch 2) " + alone + "bring north to epoch 2 with tokeniser rotate, then link again"},
		{"epochs, the other older", manifest("north", 3), manifest("south", 2),
			"tokens of north (token epoch 3) and south (token epoch 2) " + alone + "bring south to epoch 3 with tokeniser rotate, then link again"},
		{"epochs of keyed hashes", manifest("north", 1, keyedHash), manifest("south", 2, keyedHash),
			"tokens of north (token epoch 1) and south (token epoch 2) " + alone + "encode north again with the project's record of epoch 2 (tokeniser run), then link again"},
		{"epochs of release tokens", manifest("north", 1, released), manifest("south", 2, released),
			"tokens of north (token epoch 1) and south (token epoch 2) " + alone + "encode north again with the project's record of epoch 2 (tokeniser run), then link again"},
		{"domains and epochs", manifest("north", 1), manifest("south", 2, elsewhere), "tokens of north and south were not compared: domain, token epoch, token key check value"},
		{"schemes", manifest("north", 1), manifest("south", 1, released), "tokens of north and south were not compared: scheme"},
		{"keys", manifest("north", 1), manifest("south", 1, otherKey), "tokens of north and south were not compared: token key check value"},
		{"keys that are not known", manifest("north", 1, unknownKey), manifest("south", 1, unknownKey), "tokens of north and south were not compared: token key check value"},
	} {
		ok, why := tokensComparable(c.a, c.b)
		says := ""
		if !ok {
			says = skippedText([]skipped{why})
		}
		if says != c.says || ok != (c.says == "") {
			t.Errorf("%s: %v, %q, want %q", c.name, ok, says, c.says)
		}
	}
}

// TestOneWarningOfManyPairs: however many pairs of parties have tokens that are not
// compared, one warning names some of them, says how many there are, and what to do.
func TestOneWarningOfManyPairs(t *testing.T) {
	all := func(manifests ...*cohort.Manifest) (pairs []skipped) {
		for i, a := range manifests {
			for _, b := range manifests[i+1:] {
				if ok, why := tokensComparable(a, b); !ok {
					pairs = append(pairs, why)
				}
			}
		}
		return pairs
	}
	some := all(manifest("east", 2), manifest("north", 1), manifest("south", 2), manifest("west", 2, elsewhere))
	const want = "tokens of 5 pairs of data sets were not compared, and these were linked by demographics alone: east (token epoch 2) and north (token epoch 1); east and west: domain; " +
		"north (token epoch 1) and south (token epoch 2); north and west: domain, token epoch, token key check value; south and west: domain; to compare them bring north to epoch 2 with tokeniser rotate, then link again"
	if says := skippedText(some); says != want {
		t.Errorf("%q, want %q", says, want)
	}
	if says := skippedText(all(manifest("east", 1), manifest("north", 3), manifest("south", 2))); !strings.HasSuffix(says, "; to compare them bring east to epoch 3 with tokeniser rotate; bring south to epoch 3 with tokeniser rotate, then link again") {
		t.Errorf("of three epochs: %q", says)
	}
	var many []*cohort.Manifest
	for i := range 40 {
		many = append(many, manifest(fmt.Sprintf("party-%02d", i), uint32(1+i%20)))
	}
	says := skippedText(all(many...))
	if len(says) > 3000 || strings.Count(says, "token epoch") != 2*mostNamed || !strings.Contains(says, "; and 750 more; to compare them ") || !strings.Contains(says, "to compare them bring party-00 to epoch 20 with tokeniser rotate; bring party-01 to epoch 20") || !strings.Contains(says, "; and 28 more, then link again") {
		t.Errorf("%d bytes: %q", len(says), says)
	}
}

// TestExpectedTokenEpoch: cohorts of another epoch than the run expects are refused,
// each named; those of another than the record's are warned of; without either
// nothing is said.
func TestExpectedTokenEpoch(t *testing.T) {
	of := record(t, "null") // token epoch 1
	of.Keys.TokenEpoch = 2
	for _, c := range []struct {
		name     string
		expected uint32
		record   *keys.Project
		cohorts  []*cohort.File
		refused  []string
		warned   []string
	}{
		{name: "nothing expected", cohorts: cohorts(manifest("north", 1), manifest("south", 2))},
		{name: "as expected", expected: 2, record: of, cohorts: cohorts(manifest("north", 2), manifest("south", 2))},
		{name: "one older", expected: 2, cohorts: cohorts(manifest("east", 2), manifest("north", 1), manifest("south", 2)),
			refused: []string{"token epoch is 1 in north and 2 in what the run expects; give"}},
		{name: "one later, one older", expected: 2, cohorts: cohorts(manifest("north", 3), manifest("south", 1)),
			refused: []string{"token epoch is 3 in north and 2 in what the run expects; token epoch is 1 in south and 2"}},
		{name: "older than the record", record: of, cohorts: cohorts(manifest("north", 1), manifest("south", 1)),
			warned: []string{"tokens of north are of token epoch 1, and the project's record is of epoch 2: bring north to epoch 2 with tokeniser rotate", "tokens of south are of token epoch 1"}},
		{name: "expected, and older than the record", expected: 1, record: of, cohorts: cohorts(manifest("north", 1)), warned: []string{"tokens of north are of token epoch 1"}},
		{name: "newer than the record", record: of, cohorts: cohorts(manifest("north", 3)), warned: []string{"tokens of north are of token epoch 3, and the project's record is of epoch 2: give the project's current record"}},
		{name: "of another domain than the record", record: of, cohorts: cohorts(manifest("north", 1, elsewhere))},
	} {
		t.Run(c.name, func(t *testing.T) {
			warnings, err := checkTokenEpochs(c.expected, c.record, c.cohorts)
			if (err != nil) != (c.refused != nil) || err != nil && fault.KindOf(err) != fault.Disagreement {
				t.Fatalf("error %v", err)
			}
			for _, want := range c.refused {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q is not in %q", want, err)
				}
			}
			if !slices.EqualFunc(warnings, c.warned, func(w result.Warning, want string) bool {
				return w.Code == "record_token_epoch_differs" && strings.HasPrefix(w.Text, want)
			}) {
				t.Errorf("warnings %q, want %q", warnings, c.warned)
			}
		})
	}
}

// TestPartyTwice: a party's cohort from before and from after its tokens were
// rotated are not two parties', and that is said of nothing else.
func TestPartyTwice(t *testing.T) {
	changed := func(m *cohort.Manifest) { m.RowsDigest = "of other rows" }
	const rotated = ": the same records before and after their tokens were rotated"
	for _, c := range []struct {
		cohorts []*cohort.File
		says    string
	}{
		{cohorts(manifest("north", 2), manifest("north", 1)), "two of them are of north, of token epochs 1 and 2" + rotated + "; give one cohort for each party, of the token epoch that the other parties' cohorts have"},
		{cohorts(manifest("north", 1), manifest("north", 2, changed)), "two of them are of north, of token epochs 1 and 2; give one cohort for each party, of the token epoch"},
		{cohorts(manifest("north", 1), manifest("north", 1)), "two of them are of north; give one cohort for each party"},
		{cohorts(manifest("north", 1), manifest("south", 2)), ""},
	} {
		_, err := checkAgreement(c.cohorts)
		if (err != nil) != (c.says != "") || err != nil && (fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("error %v, want %q", err, c.says)
		}
		if c.cohorts[0].Manifest.TokenEpoch == c.cohorts[1].Manifest.TokenEpoch && strings.Contains(fmt.Sprint(err), "epoch") {
			t.Errorf("epochs are named where they are equal: %v", err)
		}
	}
}

// codes returns the codes of a job's warnings.
func codes(j *job) (codes []string) {
	for _, w := range j.warnings {
		codes = append(codes, w.Code)
	}
	return codes
}

// TestCutOver: while parties bring their tokens to another epoch, one after the
// other, cohorts of either epoch link as well as they did, and of both by
// demographics, with a warning; who has which cluster id stays; and what one job
// had kept is never taken for another's.
func TestCutOver(t *testing.T) {
	t.Parallel()
	c, now := newCrowd(12, 310, true), t.TempDir()
	before := []*side{c.party(t, now, "east", c.people[:200]...), c.party(t, now, "north", c.people[50:250]...), c.party(t, now, "south", c.people[110:]...)}
	after := make([]*side, len(before))
	for i, s := range before {
		after[i] = s.rotated(t, t.TempDir(), 2)
	}
	state := t.TempDir()
	run := func(sides ...*side) *job {
		t.Helper()
		o := options(t, sides...)
		o.State = state
		j := done(t, o)
		must(t, KeepState(state, state))
		return j
	}
	rows := func(j *job) []row { return readRows(t, filepath.Join(j.Out, result.LinksFile)) }

	old := run(before...)
	half := run(before[0], after[1], after[2])
	all := run(after...)
	if len(codes(old)) != 0 || len(codes(all)) != 0 {
		t.Errorf("warnings %q and %q where all are of one epoch", codes(old), codes(all))
	}
	if want := []string{result.TokenPassSkipped}; !slices.Equal(codes(half), want) {
		t.Fatalf("warnings %q, want %q", codes(half), want)
	}
	if want := "tokens of 2 pairs of data sets were not compared, and these were linked by demographics alone: east (token epoch 1) and north (token epoch 2); east (token epoch 1) and south (token epoch 2); to compare them"; !strings.HasPrefix(half.warnings[0].Text, want) {
		t.Errorf("warning %q, want %q", half.warnings[0].Text, want)
	}
	checkRows(t, "links after the cut-over", rows(all), rows(old))
	byToken := map[string]int{}
	for _, r := range rows(half) {
		words := strings.Fields(r.text)
		if basis := words[len(words)-2]; basis != result.BasisDemographic {
			byToken[words[0]+" "+words[1]]++
		}
	}
	if len(byToken) != 1 || byToken["north south"] < 50 {
		t.Errorf("links with equal tokens: %v, want some of north and south alone", byToken)
	}
	ids := func(j *job) map[string]string {
		of := map[string]string{}
		must(t, result.ScanClusters(t.Context(), filepath.Join(j.Out, result.ClustersFile), func(m *result.Member) error {
			of[strings.Clone(m.UniqueID)] = strings.Clone(m.ClusterID)
			return nil
		}))
		return of
	}
	was, is := ids(old), ids(all)
	same := 0
	for id, cluster := range was {
		if is[id] == cluster {
			same++
		}
	}
	if len(is) != len(was) || same < len(was)*9/10 {
		t.Errorf("%d of %d records have the cluster id of before", same, len(was))
	}
	if old.jobID == half.jobID || half.jobID == all.jobID || old.jobID == all.jobID {
		t.Error("jobs over cohorts of different epochs have one id")
	}
	summary, err := result.ReadSummary(half.Out)
	must(t, err)
	written, err := result.ReadRun(half.Out)
	must(t, err)
	for i, in := range summary.Inputs {
		want := result.Tokens{Scheme: keys.SchemeOblivious, Domain: "lake", Epoch: uint32(min(i, 1) + 1)}
		if party := written.Parties[i]; *in.Tokens != want || *party.Tokens != want {
			t.Errorf("%s: %v in the summary, %v in the run, want %v", in.SourceDataset, in.Tokens, party.Tokens, &want)
		}
	}

	// What was kept of comparing the cohorts of before is not gone on from with one of
	// them rotated; the control goes on from it.
	o := options(t, before...)
	o.Checkpoint = t.TempDir()
	first := newJob(o)
	defer first.close()
	_, err = first.do(t.Context())
	must(t, err)
	o.Resume = true
	if _, compared, err := goOn(t, o); err != nil || compared {
		t.Errorf("control: the same job compares again: %v, %v", compared, err)
	}
	o.Inputs[2] = after[2].path
	if _, compared, err := goOn(t, o); err != nil || !compared {
		t.Errorf("with a cohort of another epoch: compared %v, %v", compared, err)
	}
}
