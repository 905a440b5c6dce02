// Package synth makes synthetic people of the United Kingdom and their records
// in several regional data sets, with the errors that real ones have, and the
// truth. Nobody in them exists.
//
// The same configuration gives the same bytes on any number of cores, and
// nothing is held but the rows being written: every person follows from the
// seed and a number.
package synth

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"tarn/keys/fault"
)

// Error models.
const (
	ErrorsNHS   = "nhs"
	ErrorsCRATE = "crate"
	ErrorsHard  = "hard"
	ErrorsNone  = "none"
)

// Config says what to make.
type Config struct {
	People   int // records of each party, 1 to MaxPeople
	Parties  int // 1 to MaxParties
	Seed     uint64
	Errors   string
	Overlap  float64 // share of each party's people that all parties have
	NamesDir string  // larger frequency tables; empty uses the built-in ones
	// NoNumbers leaves every NHS number out: the same people, to be linked by
	// demographics alone.
	NoNumbers bool
	Threads   int

	// Mint, if not nil, returns for a party what makes ids of source ids, so that
	// truth.csv and groups.csv speak of minted ids. It is called once a worker.
	Mint func(party string) func(sourceID string) (id string)
}

// Limits of a configuration.
const (
	MaxPeople  = 10_000_000
	MaxParties = 8
)

// Names of the files beside the parties' tables.
const (
	TruthFile  = "truth.csv"
	GroupsFile = "groups.csv"
)

// Summary says what was made.
type Summary struct {
	Parties []string
	Rows    int // of each party
	Shared  int // people whom every party has
}

// GroupColumns are the columns by which error rates differ or may be compared.
var GroupColumns = []string{"sex", "ethnicity", "deprivation_decile", "age_band"}

// columns of a party's table, canonical names first.
var columns = []string{"unique_id", "nhs_number", "given_name", "other_given_names", "family_name", "previous_family_name",
	"date_of_birth", "sex", "postcode", "gp_practice_code", "ethnicity", "deprivation_decile", "age_band"}

// PartyName returns the name of party i: north, south, east, west, party5, ..
func PartyName(i int) string {
	if compass := []string{"north", "south", "east", "west"}; i < len(compass) {
		return compass[i]
	}
	return "party" + strconv.Itoa(i+1)
}

// Check reports the first mistake in c, of kind [fault.Usage].
func (c *Config) Check() error {
	wrong := func(wrong, next string) error { return fault.New(fault.Usage, "making synthetic people", wrong, next) }
	switch {
	case c.People < 1 || c.People > MaxPeople:
		return wrong("the number of people is out of range", fmt.Sprintf("give --people from 1 to %d", MaxPeople))
	case c.Parties < 1 || c.Parties > MaxParties:
		return wrong("the number of parties is out of range", fmt.Sprintf("give --parties from 1 to %d", MaxParties))
	case !(c.Overlap >= 0 && c.Overlap <= 1):
		return wrong("the overlap is out of range", "give --overlap from 0 to 1")
	}
	if c.ratesOf(0) == nil {
		return wrong("the error model is not known", "give --errors nhs, crate, hard or none")
	}
	return nil
}

// ratesOf returns the error rates of a party, nil where the model is not known.
func (c *Config) ratesOf(party int) *Rates {
	switch c.Errors {
	case ErrorsNHS:
		return &nhsRates
	case ErrorsCRATE:
		if party == 0 {
			return &crateReferenceRates
		}
		return &crateRates
	case ErrorsHard:
		return &hardRates
	case ErrorsNone:
		return &Rates{}
	}
	return nil
}

// Generate writes NAME.csv for each party, groups.csv, truth.csv and
// synth.json, which says how they were made, into an existing folder.
func Generate(ctx context.Context, c Config, folder string, progress func(done, total int64)) (*Summary, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	names, err := loadNames(c.NamesDir)
	if err != nil {
		return nil, err
	}
	g := &generator{Config: c, shared: int(float64(c.People)*c.Overlap + .5)}
	everyone := g.shared + c.Parties*(c.People-g.shared)
	g.population = newPopulation(c.Seed, uint64(everyone), names)
	s := &Summary{Rows: c.People, Shared: g.shared}
	truth, err := create(folder, TruthFile, "source_dataset,unique_id,cluster\n")
	if err != nil {
		return nil, err
	}
	defer truth.abandon()
	groups, err := create(folder, GroupsFile, "source_dataset,unique_id,sex,ethnicity,deprivation_decile,age_band\n")
	if err != nil {
		return nil, err
	}
	defer groups.abandon()
	for i := range c.Parties {
		s.Parties = append(s.Parties, PartyName(i))
		party := newParty(g, i)
		if err := party.write(ctx, folder, truth, groups, progress); err != nil {
			return nil, err
		}
	}
	if err := truth.close(); err != nil {
		return nil, err
	}
	if err := groups.close(); err != nil {
		return nil, err
	}
	return s, writeDescription(folder, &c, s)
}

type generator struct {
	Config
	*population
	shared int
}

// party is one data set: which people it has, in what order, under what ids.
type party struct {
	*generator
	index     int
	name      string
	rates     *Rates
	order     permutation // row to person, so that order tells nothing of the overlap
	sourceIDs permutation
}

// sourceIDSpace is the number of different source ids of a party.
const sourceIDSpace = 100_000_000

func newParty(g *generator, i int) *party {
	return &party{generator: g, index: i, name: PartyName(i), rates: g.ratesOf(i), order: newPermutation(uint64(g.People), g.Seed, streamOrder, uint64(i)),
		sourceIDs: newPermutation(sourceIDSpace, g.Seed, streamSourceID, uint64(i))}
}

// personOf returns the number of the person of a row.
func (p *party) personOf(row int) uint64 {
	local := p.order.at(uint64(row))
	if local < uint64(p.shared) {
		return local
	}
	return uint64(p.shared) + uint64(p.index)*uint64(p.People-p.shared) + local - uint64(p.shared)
}

// sourceID looks like a hospital number and says nothing of the person.
func (p *party) sourceID(person uint64) string {
	return fmt.Sprintf("%c%08d", 'A'+byte(p.index), p.sourceIDs.at(person%sourceIDSpace))
}

// chunkRows is the number of rows a worker makes at a time.
const chunkRows = 4096

type chunk struct {
	rows, truth, groups []byte
	n                   int
	done                chan struct{}
}

func (p *party) write(ctx context.Context, folder string, truth, groups *output, progress func(done, total int64)) error {
	out, err := create(folder, p.name+".csv", strings.Join(columns, ",")+"\n")
	if err != nil {
		return err
	}
	defer out.abandon()
	threads := max(p.Threads, 1)
	group, ctx := errgroup.WithContext(ctx)
	type task struct {
		from int
		*chunk
	}
	work, order := make(chan task, threads), make(chan *chunk, 2*threads)
	group.Go(func() error {
		defer close(work)
		defer close(order)
		for from := 0; from < p.People; from += chunkRows {
			c := &chunk{n: min(chunkRows, p.People-from), done: make(chan struct{})}
			select {
			case order <- c:
			case <-ctx.Done():
				return ctx.Err()
			}
			work <- task{from, c}
		}
		return nil
	})
	for range threads {
		group.Go(func() error {
			id := func(sourceID string) string { return sourceID }
			if p.Mint != nil {
				id = p.Mint(p.name)
			}
			for t := range work {
				for row := t.from; row < t.from+t.n; row++ {
					p.row(row, t.chunk, id)
				}
				close(t.done)
			}
			return nil
		})
	}
	group.Go(func() error {
		written := 0
		for c := range order {
			<-c.done
			for to, b := range map[*output][]byte{out: c.rows, truth: c.truth, groups: c.groups} {
				if err := to.write(b); err != nil {
					return err
				}
			}
			written += c.n
			if progress != nil {
				progress(int64(p.index*p.People+written), int64(p.Parties*p.People))
			}
		}
		return ctx.Err()
	})
	if err := group.Wait(); err != nil {
		return err
	}
	return out.close()
}

func (p *party) row(row int, c *chunk, minted func(sourceID string) string) {
	index := p.personOf(row)
	x := p.person(index)
	r := p.record(x, uint64(p.index), p.rates)
	if p.NoNumbers {
		r.number = ""
	}
	id := p.sourceID(index)
	d := newDraw(p.Seed, streamSourceID, index+1)
	ethnicity, decile, age := ethnicNames[x.ethnic], strconv.Itoa(x.decile), x.ageBand()
	for i, value := range [...]string{id, r.number, r.given, r.middle, r.family, r.previous, r.dateText, r.sexText, r.postcode,
		practiceCode(x.postcode, &d), ethnicity, decile, age} {
		if i > 0 {
			c.rows = append(c.rows, ',')
		}
		c.rows = append(c.rows, value...) // no value holds a comma or a quote
	}
	c.rows = append(c.rows, '\n')
	known := minted(id)
	c.truth = fmt.Appendf(c.truth, "%s,%s,%d\n", p.name, known, index)
	sex := "M"
	if x.female {
		sex = "F"
	}
	c.groups = fmt.Appendf(c.groups, "%s,%s,%s,%s,%s,%s\n", p.name, known, sex, ethnicity, decile, age)
}

// output is a file being written.
type output struct {
	path   string
	file   *os.File
	buffer *bufio.Writer
}

func create(folder, name, header string) (*output, error) {
	path := filepath.Join(folder, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fault.Wrap(fault.Internal, "writing "+path, err, "choose a folder that can be written")
	}
	o := &output{path: path, file: f, buffer: bufio.NewWriterSize(f, 1<<20)}
	return o, o.write([]byte(header))
}

func (o *output) write(b []byte) error {
	if _, err := o.buffer.Write(b); err != nil {
		return fault.Wrap(fault.Internal, "writing "+o.path, err, "free space on the disk, then run again")
	}
	return nil
}

func (o *output) close() error {
	err := o.buffer.Flush()
	if e := o.file.Close(); err == nil {
		err = e
	}
	o.file = nil
	if err != nil {
		return fault.Wrap(fault.Internal, "writing "+o.path, err, "free space on the disk, then run again")
	}
	return nil
}

// abandon closes a file that was not completed; after close it does nothing.
func (o *output) abandon() {
	if o.file != nil {
		_ = o.file.Close()
		o.file = nil
	}
}
