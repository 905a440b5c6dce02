package tokenise

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/lanrat/extsort"

	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/cohort/table"
	"tarn/tokenise/reason"
	"tarn/tokenise/source"
)

// sortMemory bounds the bytes of encoded rows that one chunk of the sort
// holds. Up to sortChunks of them are in memory at a time.
const (
	sortMemory = 64 << 20
	sortChunks = 4
)

// output takes judged rows in input order and writes everything that a run
// leaves behind.
type output struct {
	*setting
	result     *Result
	seen       map[[16]byte]struct{}
	quarantine *source.QuarantineWriter
	warnings   *source.QuarantineWriter
	crosswalk  *table.Writer
	groupRows  []groupRow
	ids        [][16]byte // of accepted rows
	packer     packer
	folder     string // of the sort's spilled runs

	rows     chan []byte
	sorted   <-chan []byte
	sortErr  <-chan error
	sortDone chan struct{}
	stopSort context.CancelFunc
}

type groupRow struct {
	id     [16]byte
	values []string
}

func newOutput(ctx context.Context, s *setting) (*output, error) {
	o := &output{setting: s, packer: newPacker(s.layout), seen: map[[16]byte]struct{}{},
		result: &Result{Refused: map[reason.Code]int64{}, Warned: map[reason.Code]int64{}, WarnedFields: map[string]int64{}}}
	if err := o.open(); err != nil {
		o.abort()
		return nil, err
	}
	ctx, o.stopSort = context.WithCancel(ctx)
	o.rows, o.sortDone = make(chan []byte, 1024), make(chan struct{})
	clone := func(b []byte) ([]byte, error) { return bytes.Clone(b), nil }
	same := func(b []byte) ([]byte, error) { return b, nil }
	sorter, sorted, errs := extsort.Generic(o.rows, clone, same, bytes.Compare, &extsort.Config{
		ChunkSize: max(sortMemory/o.packer.width, 1), NumWorkers: min(max(s.Threads, 1), sortChunks-1), ChanBuffSize: 1, SortedChanBuffSize: 1024, TempFilesDir: o.folder})
	o.sorted, o.sortErr = sorted, errs
	go func() {
		defer close(o.sortDone)
		sorter.Sort(ctx)
	}()
	return o, nil
}

func (o *output) open() (err error) {
	if err := checkReplaceable(o.Out); err != nil {
		return err
	}
	if o.folder, err = os.MkdirTemp(filepath.Dir(o.Out), "."+filepath.Base(o.Out)+".sort-"); err != nil {
		return fault.Wrap(fault.Internal, "writing "+o.Out, err, "choose a folder that exists and can be written")
	}
	if o.Options.Quarantine != "" {
		if o.quarantine, err = source.CreateQuarantine(o.Options.Quarantine); err != nil {
			return err
		}
	}
	if o.Options.Warnings != "" {
		if o.warnings, err = source.CreateQuarantine(o.Options.Warnings); err != nil {
			return err
		}
	}
	o.crosswalk, err = table.Create(o.Crosswalk, arrow.NewSchema([]arrow.Field{
		table.String("source_dataset", false, true), table.String("source_id", false, false), table.String("unique_id", false, false)}, nil), o.Software)
	return err
}

// checkReplaceable refuses to replace a file that is not a Parquet file: it
// would not be an earlier output of this command.
func checkReplaceable(path string) error {
	doing := "writing " + path
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fault.Wrap(fault.Usage, doing, err, "name another file with --out")
	}
	defer func() { _ = f.Close() }() // opened for reading
	var magic [4]byte
	if n, _ := f.Read(magic[:]); n == 0 || string(magic[:n]) != "PAR1" {
		return fault.New(fault.Usage, doing, "it exists and is not a Parquet file", "name another file with --out")
	}
	return nil
}

// abort removes whatever is not complete.
func (o *output) abort() {
	if o.stopSort != nil {
		o.stopSort()
		if o.rows != nil {
			close(o.rows)
		}
		for range o.sorted { // the sorter stops when its output is drained
		}
		<-o.sortDone
	}
	for _, q := range []*source.QuarantineWriter{o.quarantine, o.warnings} {
		if q != nil {
			q.Abort()
		}
	}
	if o.crosswalk != nil {
		o.crosswalk.Abort()
	}
	if o.folder != "" {
		_ = os.RemoveAll(o.folder) // holds nothing but spilled runs of the sort
	}
}

// take adds rows that were judged, in input order.
func (o *output) take(ctx context.Context, rows []judged) error {
	for i := range rows {
		j := &rows[i]
		o.result.Rows++
		if j.refusal == "" {
			if _, twice := o.seen[j.id]; twice {
				j.refusal = reason.UniqueIDDuplicate
			}
		}
		var err error
		if j.refusal != "" {
			err = o.refuse(j)
		} else {
			err = o.accept(ctx, j)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func idText(j *judged) string {
	if j.sourceID == "" {
		return ""
	}
	return hex.EncodeToString(j.id[:])
}

func (o *output) refuse(j *judged) error {
	o.result.Refused[j.refusal]++
	// A row that is refused for what is in it has taken its id all the same.
	if j.refusal == reason.RowNothingLinkable {
		o.seen[j.id] = struct{}{}
	}
	if o.quarantine == nil {
		return nil
	}
	field := ""
	if j.refusal == reason.UniqueIDDuplicate || j.refusal == reason.UniqueIDEmpty {
		field = "unique_id"
	}
	return o.quarantine.Append(j.number, idText(j), field, j.refusal)
}

func (o *output) accept(ctx context.Context, j *judged) error {
	o.seen[j.id] = struct{}{}
	o.ids = append(o.ids, j.id)
	if j.hasToken {
		o.result.Tokens++
	}
	if j.encoded {
		o.result.Encoded++
	}
	for _, w := range j.warnings {
		o.result.Warned[w.Code]++
		o.result.WarnedFields[w.Field]++
		if o.warnings != nil {
			if err := o.warnings.Append(j.number, idText(j), w.Field, w.Code); err != nil {
				return err
			}
		}
	}
	b := o.crosswalk.Builder()
	b.Field(0).(*array.StringBuilder).Append(o.SourceDataset)
	b.Field(1).(*array.StringBuilder).Append(j.sourceID)
	b.Field(2).(*array.StringBuilder).Append(idText(j))
	if err := o.crosswalk.EndRow(); err != nil {
		return err
	}
	if len(o.groups) > 0 {
		o.groupRows = append(o.groupRows, groupRow{j.id, j.groups})
	}
	select {
	case o.rows <- j.packed:
		return nil
	case <-o.sortDone: // it ended early: the disk is full, say
		return o.sortFailure()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (o *output) sortFailure() error {
	for err := range o.sortErr {
		if err != nil {
			return fault.Wrap(fault.Internal, "sorting encoded rows beside "+o.Out, err, "free space on the disk, then run again")
		}
	}
	return nil
}

// finish ends the sort and writes the files. None gets its name before all are
// on the disk; the manifest, without which no cohort is read, gets its last.
func (o *output) finish(ctx context.Context) (*Result, error) {
	close(o.rows)
	o.rows = nil
	if refused := o.result.RefusedRows(); float64(refused) > o.MaxRefused*float64(o.result.Rows) {
		if err := o.commitQuarantines(); err != nil {
			return nil, err
		}
		return o.result, o.tooManyRefused(refused)
	}
	identity := o.identity()
	encoded, err := o.writeCohort(ctx, identity)
	if err != nil {
		return nil, err
	}
	defer encoded.Abort()
	file, err := encoded.Finish()
	if err != nil {
		return nil, err
	}
	if _, err := o.crosswalk.Finish(); err != nil {
		return nil, err
	}
	groups, err := o.writeGroups()
	if err != nil {
		return nil, err
	}
	if groups != nil {
		defer groups.Abort()
	}
	if o.result.Manifest, err = o.manifest(identity, file); err != nil {
		return nil, err
	}
	if err := o.commitQuarantines(); err != nil {
		return nil, err
	}
	if _, err := o.crosswalk.Commit(); err != nil {
		return nil, err
	}
	if groups != nil {
		if _, err := groups.Commit(); err != nil {
			return nil, err
		}
	}
	if _, err := encoded.Commit(); err != nil {
		return nil, err
	}
	return o.result, cohort.WriteManifest(cohort.ManifestPath(o.Out), o.result.Manifest)
}

func (o *output) commitQuarantines() error {
	for _, q := range []*source.QuarantineWriter{o.quarantine, o.warnings} {
		if q != nil {
			if err := q.Commit(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (o *output) tooManyRefused(refused int64) error {
	var codes []string
	for _, code := range sortedCodes(o.result.Refused) {
		codes = append(codes, fmt.Sprintf("%s %d", code, o.result.Refused[code]))
	}
	next := "correct the input, or allow more with --max-refused"
	if o.Options.Quarantine != "" {
		next = "read " + o.Options.Quarantine + " for rows and reasons, then " + next
	}
	return fault.New(fault.RowsRefused, "encoding the table",
		fmt.Sprintf("%d of %d rows were refused (%s), more than the %.3g%% allowed, so no cohort was written", refused, o.result.Rows, strings.Join(codes, ", "), 100*o.MaxRefused), next)
}

func sortedCodes(counts map[reason.Code]int64) []reason.Code {
	codes := make([]reason.Code, 0, len(counts))
	for code := range counts {
		codes = append(codes, code)
	}
	slices.SortFunc(codes, func(a, b reason.Code) int { return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b)) })
	return codes
}

func (o *output) identity() cohort.Identity {
	p := o.Project
	party, _ := p.Party(o.SourceDataset)
	slices.SortFunc(o.ids, func(a, b [16]byte) int { return bytes.Compare(a[:], b[:]) })
	kcv := o.tokenKCV
	return cohort.Identity{
		Schema: cohort.Schema, Project: p.Name, ProjectDigest: p.Digest(), Profile: o.Profile.Name, ProfileDigest: o.Profile.DigestText(),
		EncodingEpoch: p.Keys.EncodingEpoch, EncodingKCV: o.encodingKCV, TokenScheme: p.Scheme, TokenDomain: p.Domain, TokenEpoch: p.Keys.TokenEpoch,
		TokenKCV: &kcv, SourceDataset: o.SourceDataset, SourceOrg: party.ODS, RowsDigest: cohort.RowsDigest(o.ids),
	}
}

func (o *output) writeCohort(ctx context.Context, identity cohort.Identity) (w *cohort.Writer, err error) {
	w, err = cohort.Create(o.Out, o.layout, identity, o.Software)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	<-o.sortDone
	var row cohort.Row
	for packed := range o.sorted {
		o.packer.unpack(packed, &row)
		if err := w.Append(&row); err != nil {
			return nil, err
		}
	}
	if err := o.sortFailure(); err != nil {
		return nil, err
	}
	return w, ctx.Err()
}

// writeGroups writes groups.parquet, by unique_id, so that its order tells
// nothing of the input's, and finishes it; nil where it is not wanted.
func (o *output) writeGroups() (w *table.Writer, err error) {
	if len(o.groups) == 0 {
		return nil, nil
	}
	columns := []arrow.Field{table.String("unique_id", false, false)}
	for _, g := range o.groups {
		columns = append(columns, table.String(g.name, true, true))
	}
	if w, err = table.Create(o.Groups, arrow.NewSchema(columns, nil), o.Software); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			w.Abort()
		}
	}()
	slices.SortFunc(o.groupRows, func(a, b groupRow) int { return bytes.Compare(a.id[:], b.id[:]) })
	for _, row := range o.groupRows {
		w.Builder().Field(0).(*array.StringBuilder).Append(hex.EncodeToString(row.id[:]))
		for i, value := range row.values {
			if value == "" {
				w.Builder().Field(1 + i).AppendNull()
			} else {
				w.Builder().Field(1 + i).(*array.StringBuilder).Append(value)
			}
		}
		if err := w.EndRow(); err != nil {
			return nil, err
		}
	}
	_, err = w.Finish()
	return w, err
}

func (o *output) manifest(identity cohort.Identity, file table.File) (*cohort.Manifest, error) {
	id, err := identity.CohortID()
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "identifying the cohort", err, "")
	}
	m := &cohort.Manifest{
		CohortID: id, Identity: identity, Created: o.Clock().UTC().Format(time.RFC3339), Expires: o.expires.UTC().Format(time.RFC3339),
		Software: o.Software, DomainNo: o.Project.Keys.DomainNo, Rows: file.Rows, Refused: counts(o.result.Refused), Warnings: counts(o.result.Warned),
		OptOuts: o.optOuts(), MapDigest: o.MapDigest, Comparison: o.Profile.Comparison,
		Files: []cohort.ManifestFile{{Path: filepath.Base(o.Out), SHA256: file.SHA256, Rows: file.Rows}},
	}
	return m, nil
}

func counts(codes map[reason.Code]int64) map[string]int64 {
	m := map[string]int64{}
	for code, n := range codes {
		m[string(code)] = n
	}
	return m
}

func (o *output) optOuts() []string {
	applied := []string{}
	for _, x := range []struct {
		name string
		on   bool
	}{{"ndoo", o.Project.OptOuts.NDOO}, {"type1", o.Project.OptOuts.Type1}, {"local", o.Project.OptOuts.Local}} {
		if x.on {
			applied = append(applied, x.name)
		}
	}
	return applied
}
