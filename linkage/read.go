package linkage

import (
	"cmp"
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
	"tarn/linkage/block"
	"tarn/linkage/cohort"
	"tarn/linkage/compare"
	"tarn/linkage/exact"
	"tarn/linkage/model"
	"tarn/linkage/result"
)

// party is one cohort of a job and what is held of each of its records.
type party struct {
	*cohort.File
	ids     []cohort.ID
	digest  string // of the ids
	numbers []int32
	tokens  int64 // records that have one
	// blocks are the tags of the block columns that the job uses. They are let go
	// once the work is planned, where one pass reads the file from end to end.
	blocks   []cohort.TagValues
	presence []result.FieldPresence
	bare     int64                      // records with neither token nor block
	whole    []*[cohort.TokenBytes]byte // tokens as they are, where they are asked for
	byID     []int32                    // rows by unique_id, once clusters are written
}

// read opens the cohorts, refuses what may not be linked, and reads ids, tokens
// and block tags.
func (j *job) read(ctx context.Context) error {
	if err := j.check(); err != nil {
		return err
	}
	for _, path := range j.Inputs {
		f, err := cohort.Open(ctx, path)
		if err != nil {
			return err
		}
		j.cohorts = append(j.cohorts, &party{File: f})
	}
	// The order in which files are named does not matter to the result.
	slices.SortFunc(j.cohorts, func(a, b *party) int { return cmp.Compare(a.SourceDataset(), b.SourceDataset()) })
	files := j.files()
	for _, check := range []func() ([]result.Warning, error){
		func() ([]result.Warning, error) { return CheckProject(j.Project, files, j.Wall()) },
		func() ([]result.Warning, error) { return CheckCohorts(files, j.Wall()) },
		func() ([]result.Warning, error) { return checkTokenEpochs(j.TokenEpoch, j.Project, files) },
	} {
		warnings, err := check()
		if err != nil {
			return err
		}
		j.warnings = append(j.warnings, warnings...)
	}
	comparison := files[0].Manifest.Comparison
	for _, f := range files {
		if err := checkColumns(f, comparison); err != nil {
			return err
		}
		j.rounded = j.rounded || f.Rounded
	}
	if err := checkWidths(files, comparison); err != nil {
		return err
	}
	var err error
	if j.scheme, err = compare.NewScheme(comparison); err != nil {
		return err
	}
	j.shape = files[0].Shape(comparison)
	if err := j.readModel(); err != nil {
		return err
	}
	if err := j.readColumns(ctx); err != nil {
		return err
	}
	for _, c := range j.cohorts {
		for _, note := range c.Notes(c.digest) {
			j.warn(note.Code, "%s", note.Text)
		}
		if c.Rows() == 0 {
			j.warn("cohort_empty", "%s has no rows", c.SourceDataset())
		}
	}
	m := files[0].Manifest
	j.state, err = openState(j.State, m.Project, m.EncodingEpoch, j.Software, j.created, j.Random)
	if err != nil {
		return err
	}
	if err := j.identify(); err != nil {
		return err
	}
	if j.Resume && j.Finished != "" {
		// A job that was stopped when its result had its name, and the state was still
		// that of before, has nothing else to go on with.
		if left := j.state.left(); left != nil && left.Job == j.jobID && left.RunID == j.Finished {
			return cmp.Or(KeepState(j.State, j.State), ErrFinished)
		}
		if j.state.has(j.jobID, j.Finished) {
			return ErrFinished
		}
	}
	if err := j.checkFounders(); err != nil {
		return err
	}
	return j.state.forget()
}

// readModel reads the model that is to be used, and refuses one of other fields
// before any work is done.
func (j *job) readModel() (err error) {
	if j.Model == "" {
		return nil
	}
	if j.given, err = model.ReadDocument(j.Model); err != nil {
		return err
	}
	_, err = j.given.Apply(j.scheme, model.Counts{})
	return err
}

func (j *job) files() (files []*cohort.File) {
	for _, c := range j.cohorts {
		files = append(files, c.File)
	}
	return files
}

// readColumns reads what is held of each record, columns side by side.
func (j *job) readColumns(ctx context.Context) error {
	if err := j.chooseBlocking(); err != nil {
		return err
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(max(j.Threads, 1))
	tokens := make([][]cohort.Fold, len(j.cohorts))
	for i, c := range j.cohorts {
		c.blocks = make([]cohort.TagValues, len(j.tags))
		group.Go(func() (err error) {
			if c.ids, err = c.ReadIDs(inner); err == nil {
				c.digest, err = c.CheckIDs(c.ids)
			}
			return err
		})
		group.Go(func() (err error) {
			tokens[i], err = c.ReadTokens(inner)
			return err
		})
		for b, name := range j.tags {
			group.Go(func() (err error) {
				c.blocks[b], err = c.ReadTags(inner, cohort.BlockPrefix+name, j.rounded)
				return err
			})
		}
		if j.lsh != nil {
			group.Go(func() error { return j.hash(inner, c) })
		}
	}
	if err := group.Wait(); err != nil {
		return err
	}
	numbers, last, err := exact.Number(ctx, tokens, j.Threads)
	if err != nil {
		return err
	}
	j.lastNo = last
	for i, c := range j.cohorts {
		c.numbers = numbers[i]
		c.count(j.tags)
	}
	return nil
}

// count counts the records that have a token, each tag, and neither.
func (c *party) count(names []string) {
	for row, number := range c.numbers {
		linkable := number != 0
		if linkable {
			c.tokens++
		}
		for b := range c.blocks {
			linkable = linkable || c.blocks[b].Present[row]
		}
		if !linkable {
			c.bare++
		}
	}
	add := func(field string, present int64) {
		c.presence = append(c.presence, result.FieldPresence{SourceDataset: c.SourceDataset(), Field: field, Rows: int64(c.Rows()), Present: present})
	}
	add(compare.TokenField, c.tokens)
	for b, name := range names {
		n := int64(0)
		for _, ok := range c.blocks[b].Present {
			if ok {
				n++
			}
		}
		add(cohort.BlockPrefix+name, n)
	}
}

// identify computes run_id from what the result depends on. With a job before
// it, its run_id stands for what that has left.
func (j *job) identify() error {
	identity := struct {
		Cohorts    []string          `json:"cohorts"`
		Rows       []string          `json:"rows"`
		Comparison cohort.Comparison `json:"comparison"`
		Parameters result.Parameters `json:"parameters"`
		State      string            `json:"state"`
		Model      *model.Document   `json:"model"`
		Earlier    string            `json:"earlier,omitempty"`
	}{Model: j.given, Parameters: j.parameters(), State: j.state.check(), Comparison: j.cohorts[0].Manifest.Comparison}
	for _, c := range j.cohorts {
		identity.Cohorts = append(identity.Cohorts, c.Manifest.CohortID)
		identity.Rows = append(identity.Rows, c.digest)
	}
	var err error
	if j.jobID, err = RunID(identity); err != nil {
		return err
	}
	j.runID, j.number = j.jobID, 1
	if before := j.state.before(j.jobID); len(before) > 0 {
		last := before[len(before)-1]
		j.earlier, j.number = last.RunID, last.Number+1
		identity.Earlier = j.earlier
		j.runID, err = RunID(identity)
	}
	return err
}

// affordablePairs is how many pairs are compared where nothing says which:
// some minutes on two cores. Beyond it hashes of the filters say which.
const affordablePairs = 2e10

// chooseBlocking decides how pairs are brought together.
func (j *job) chooseBlocking() error {
	j.tags = nil
	for _, column := range j.cohorts[0].Layout.Blocks {
		common := true
		for _, c := range j.cohorts {
			common = common && c.HasColumn(column)
		}
		if common {
			j.tags = append(j.tags, column[len(cohort.BlockPrefix):])
		}
	}
	pairs := 0.0
	for a, left := range j.cohorts {
		for _, right := range j.cohorts[a:] {
			pairs += float64(left.Rows()) * float64(right.Rows())
		}
	}
	j.lsh = block.NewLSH(j.shape)
	way := j.Blocking
	if way == BlockAuto {
		switch {
		case len(j.tags) > 0:
			way = BlockTags
		case pairs <= affordablePairs || j.lsh.Hashes() == 0:
			way = BlockAll
		default:
			way = BlockLSH
		}
	}
	switch {
	case way == BlockTags && len(j.tags) == 0:
		return fault.New(fault.Usage, "planning the job", "the cohorts have no blocking tag in common", "use --blocking all or lsh, or a profile with blocking tags")
	case way == BlockLSH && j.lsh.Hashes() == 0:
		return fault.New(fault.Usage, "planning the job", "the profile has no filter to hash", "use --blocking tags or all")
	case way != BlockTags && len(j.tags) > 0 && j.keyedByRecord():
		return fault.New(fault.Usage, "planning the job", "the profile's filters are keyed by the record's own date of birth, so that filters of two dates cannot be compared", "use --blocking tags")
	}
	if way != BlockTags {
		j.tags = nil
	}
	if way != BlockLSH {
		j.lsh = nil
	}
	j.way = way
	return nil
}

// keyedByRecord reports whether filters can be compared inside a block only:
// the sort tag is of the date by which they are keyed. A profile that compares
// dates of birth does not key by them: in a block they would all be equal.
func (j *job) keyedByRecord() bool {
	compared := slices.ContainsFunc(j.cohorts[0].Manifest.Comparison.Fields, func(f cohort.FieldComparison) bool { return f.Name == "date_of_birth" })
	return j.cohorts[0].HasColumn(cohort.BlockDateOfBirth) && !compared
}

// passNames returns a name for each pass.
func (j *job) passNames() []string {
	switch j.way {
	case BlockTags:
		return j.tags
	case BlockLSH:
		return slices.Repeat([]string{block.LSHName}, j.lsh.Hashes())
	}
	return []string{block.All}
}

// hash computes the hashes of a party's filters, as block keys.
func (j *job) hash(ctx context.Context, c *party) error {
	c.blocks = make([]cohort.TagValues, j.lsh.Hashes())
	for t := range c.blocks {
		c.blocks[t] = cohort.TagValues{Value: make([]int64, c.Rows()), Present: make([]bool, c.Rows())}
	}
	stream, rows := c.Stream(j.shape, j.rounded), new(cohort.Rows)
	for from := 0; from < c.Rows(); from += textRows {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(textRows, c.Rows()-from)
		if err := stream.Read(rows, n); err != nil {
			return err
		}
		for t := range c.blocks {
			for i := range n {
				c.blocks[t].Value[from+i], c.blocks[t].Present[from+i] = j.lsh.Hash(t, rows, j.shape.RowWords(), i)
			}
		}
	}
	return nil
}
