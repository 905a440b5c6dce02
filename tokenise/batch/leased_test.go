package batch_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/tokenise"
	"tarn/tokenise/batch"
	"tarn/tokenise/lease"
)

// holder leases the keys of a file.
type holder struct {
	record      string // the project's, with an encoding_kcv once it is pinned
	file        *keys.KeyFile
	lose        chan error // loses the lease, with this cause
	rows        int64
	budget      int64 // of rows; 0 is none
	canaries    int64
	evaluate    func([]nhsnumber.Number) ([][keys.TokenSize]byte, error) // nil where its key is leased
	opened      int
	pins        int
	closed      int
	unreported  error
	unavailable error
}

func (h *holder) open(ctx context.Context, _ string, _ int64, uses ...api.Use) (context.Context, lease.Session, error) {
	if h.unavailable != nil {
		return nil, nil, h.unavailable
	}
	if len(uses) != 2 {
		return nil, nil, errors.New("a run needs the token key and the encoding key")
	}
	h.opened++
	running, cancel := context.WithCancelCause(ctx)
	go func() {
		select {
		case cause := <-h.lose:
			cancel(cause)
		case <-ctx.Done():
			cancel(nil)
		}
	}()
	return running, h, nil
}

func (h *holder) Expires() time.Time { return time.Time{} }

func (h *holder) Keys() (*keys.Project, *keys.KeyFile) {
	p, err := keys.ParseProject([]byte(h.record))
	if err != nil {
		panic(err)
	}
	file := *h.file
	file.RowKeys = map[string]secret.Key{}
	return p, &file
}

func (h *holder) Pin(_ context.Context, kcv string) (*keys.Project, error) {
	h.pins++
	h.record = strings.Replace(h.record, `"encoding_epoch": 2`, `"encoding_epoch": 2, "encoding_kcv": "`+kcv+`"`, 1)
	p, _ := h.Keys()
	return p, nil
}

func (h *holder) Take(_ context.Context, rows int64) error {
	if h.budget > 0 && h.rows+rows > h.budget {
		return fault.New(fault.Policy, "asking for rows", "the budget is used up", "come back tomorrow")
	}
	h.rows += rows
	return nil
}

func (h *holder) Evaluated() bool { return h.evaluate != nil }

func (h *holder) Tokens(_ context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error) {
	return h.evaluate(numbers)
}

func (h *holder) Canaries(rows int64) { h.canaries += rows }

func (h *holder) Close(context.Context) error {
	h.closed++
	return h.unreported
}

func leased(t *testing.T, folder, table string) (batch.Options, *holder) {
	t.Helper()
	o := options(t, folder, table, false)
	file, err := keys.ReadKeyFile(o.KeyFile)
	if err != nil {
		t.Fatal(err)
	}
	h := &holder{record: projectText, file: file, lose: make(chan error)}
	o.KeyFile, o.Lease, o.State = "", h.open, filepath.Join(folder, "state")
	return o, h
}

// TestLeasedRunIsThatOfAKeyFile: with leased keys the tokens, tags and filters are
// those of a key file, the ids are not: their key is made here. The record is
// pinned once, the rows are counted, the session is closed.
func TestLeasedRunIsThatOfAKeyFile(t *testing.T) {
	table, _, lines := people()
	_, want := run(t, options(t, t.TempDir(), table, false))
	o, h := leased(t, t.TempDir(), table)
	var said bytes.Buffer
	o.Messages = &said
	result, got := run(t, o)
	if a, b := values(want), values(got); a != b {
		t.Error("leased keys encode otherwise than those of a file")
	}
	for id := range want {
		if _, same := got[id]; same {
			t.Fatal("an id is minted with the key of another region")
		}
	}
	if h.pins != 1 || h.opened != 1 || h.closed != 1 || h.rows != int64(len(lines)) {
		t.Errorf("pinned %d times, opened %d, closed %d, %d rows of %d", h.pins, h.opened, h.closed, h.rows, len(lines))
	}
	if !strings.Contains(said.String(), "made the key of north's minted ids") {
		t.Errorf("said %q", said.String())
	}
	o.Out = filepath.Join(filepath.Dir(o.Out), "again.parquet")
	again, rows := run(t, o)
	if h.pins != 1 || again.Manifest.CohortID != result.Manifest.CohortID || values(rows) != values(got) {
		t.Error("a second run pins again or gives another cohort")
	}
}

// values is the rows of a cohort without their ids, in some fixed order.
func values(rows map[string]string) string {
	var all []string
	for _, row := range rows {
		all = append(all, row)
	}
	slices.Sort(all)
	return strings.Join(all, "\n")
}

// TestLostLeaseEndsARun: the run ends with the fault that the lease was lost for,
// and goes on with --resume; a record that disagrees ends it before a row is read.
func TestLostLeaseEndsARun(t *testing.T) {
	var long strings.Builder // half of it is more than is read before the keys are leased
	long.WriteString(header)
	for i := range 6000 {
		fmt.Fprintf(&long, "id-%d,9434765919,Ann,Smith,19%02d-02-03,F,LS%d 4AP\n", i, 10+i%80, 1+i%9)
	}
	table := long.String()
	for _, kind := range []fault.Kind{fault.Unavailable, fault.Policy} {
		o, h := leased(t, t.TempDir(), table)
		o.ChunkRows = 500
		read, write := io.Pipe()
		o.In, o.Source.Stdin, o.SourceDataset = "-", read, "north"
		half := strings.LastIndexByte(table[:len(table)/2], '\n') + 1
		go func() {
			_, _ = io.WriteString(write, table[:half]) // the reader may be gone
			for {                                      // until what is kept is something to go on with
				if _, err := os.Stat(filepath.Join(filepath.Dir(o.Out), ".north.parquet.checkpoint", "chunk-000001")); err == nil {
					break
				}
				time.Sleep(time.Millisecond)
			}
			h.lose <- fault.New(kind, "keeping the leases", "it does not answer", "")
		}()
		_, err := batch.Run(t.Context(), o)
		if fault.KindOf(err) != kind || !errors.Is(err, tokenise.ErrInterrupted) || h.closed != 1 {
			t.Fatalf("kind %d: %v, closed %d times", kind, err, h.closed)
		}
		if _, err := os.Stat(o.Out); err == nil {
			t.Error("a run without keys left a cohort")
		}
		o.Source.Stdin, o.Resume = strings.NewReader(table), true
		_, got := run(t, o)
		whole, _ := leased(t, t.TempDir(), table)
		if _, want := run(t, whole); values(got) != values(want) {
			t.Error("a run that went on encodes otherwise")
		}
	}
}

func TestLeasedRunRefusals(t *testing.T) {
	table, _, _ := people()
	for name, tt := range map[string]struct {
		edit func(*batch.Options, *holder)
		kind fault.Kind
		open int
	}{
		"another epoch": {func(_ *batch.Options, h *holder) {
			h.record = strings.Replace(h.record, `"token_epoch": 3`, `"token_epoch": 4`, 1)
		}, fault.Disagreement, 1},
		"another pinned key":        {func(_ *batch.Options, h *holder) { _, _ = h.Pin(context.Background(), strings.Repeat("0", 32)) }, fault.Disagreement, 1},
		"no key holder":             {func(_ *batch.Options, h *holder) { h.unavailable = fault.New(fault.Unavailable, "calling", "away", "") }, fault.Unavailable, 0},
		"an unconfirmed column map": {func(o *batch.Options, _ *holder) { o.ConfirmMap = false }, fault.Usage, 0},
		"a state that is a file":    {func(o *batch.Options, _ *holder) { o.State = o.Project }, fault.Usage, 1},
	} {
		t.Run(name, func(t *testing.T) {
			o, h := leased(t, t.TempDir(), table)
			tt.edit(&o, h)
			_, err := batch.Run(t.Context(), o)
			if fault.KindOf(err) != tt.kind || h.opened != tt.open || h.closed != tt.open || h.rows != 0 {
				t.Errorf("%v; opened %d, closed %d, %d rows", err, h.opened, h.closed, h.rows)
			}
		})
	}
	// Control: rows that could not be reported are said, and the run is whole.
	o, h := leased(t, t.TempDir(), table)
	var said bytes.Buffer
	o.Messages, h.unreported = &said, errors.New("it is away")
	if run(t, o); !strings.Contains(said.String(), "was not told of all rows") {
		t.Errorf("said %q", said.String())
	}
}

// TestRunStopsAtItsBudget: before a row more than it may, keeping what it did, and
// goes on from there when there is more.
func TestRunStopsAtItsBudget(t *testing.T) {
	_, _, lines := people()
	const rows = 20_000
	var people strings.Builder
	people.WriteString(header)
	for i := range rows {
		_, row, _ := strings.Cut(lines[i%len(lines)], ",")
		fmt.Fprintf(&people, "person-%d,%s", i, row)
	}
	table := people.String()
	o, _ := leased(t, t.TempDir(), table)
	_, want := run(t, o)
	o, h := leased(t, filepath.Dir(o.Out), table)
	o.Out = filepath.Join(filepath.Dir(o.Out), "again.parquet")
	o.ChunkRows = 1 << 20 // the budget ends in the middle of a chunk
	h.budget = rows * 2 / 3
	_, err := batch.Run(t.Context(), o)
	if fault.KindOf(err) != fault.Policy || h.rows > h.budget || h.rows == 0 {
		t.Fatalf("%d rows of %d, %v", h.rows, h.budget, err)
	}
	done := h.rows
	if _, err := os.Stat(o.Out); err == nil {
		t.Error("a part has the name of the whole")
	}
	h.budget, h.rows, o.Resume = 0, 0, true
	result, got := run(t, o)
	if result.ResumedRows != done || h.rows != rows-done {
		t.Errorf("resumed after %d of %d rows, and took %d", result.ResumedRows, done, h.rows)
	}
	if a, b := values(want), values(got); a != b {
		t.Error("a run that its budget has interrupted encodes otherwise")
	}
}

// TestRunTellsOfCanaries: numbers of the test range, of which the table has one.
func TestRunTellsOfCanaries(t *testing.T) {
	table, _, _ := people()
	o, h := leased(t, t.TempDir(), table)
	run(t, o)
	if h.canaries != 1 {
		t.Errorf("%d canaries", h.canaries)
	}
}
