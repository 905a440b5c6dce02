package spill

import (
	"bytes"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
)

// maxFanIn is the number of sections that are merged at a time. More are first
// merged to fewer, so that neither open files nor buffers grow with the job.
const maxFanIn = 128

// Merger gives the records of one section of many chunks in ascending order of
// their bytes.
type Merger struct {
	ctx   context.Context
	front front
	open  []*Reader
	given int64
}

// Merge opens a section of chunks, each of which holds it in ascending order.
// With very many chunks it writes intermediate ones into folder, which stay
// until the caller removes them with it.
func Merge(ctx context.Context, chunks []*Chunk, section int, folder string) (*Merger, error) {
	return merge(ctx, chunks, section, folder, maxFanIn)
}

func merge(ctx context.Context, chunks []*Chunk, section int, folder string, fanIn int) (*Merger, error) {
	name := fmt.Sprintf("merge-%d", section)
	for level := 0; len(chunks) > fanIn; level++ {
		var fewer []*Chunk
		for at := 0; at < len(chunks); at += fanIn {
			c, err := combine(ctx, chunks[at:min(at+fanIn, len(chunks))], section, filepath.Join(folder, fmt.Sprintf("%s-%d-%d", name, level, at)))
			if err != nil {
				return nil, err
			}
			fewer = append(fewer, c)
		}
		chunks, section = fewer, 0 // an intermediate chunk has this section only
	}
	return mergeOnce(ctx, chunks, section)
}

func combine(ctx context.Context, chunks []*Chunk, section int, path string) (*Chunk, error) {
	w, err := Create(path)
	if err != nil {
		return nil, err
	}
	defer w.Abort()
	w.Begin()
	m, err := mergeOnce(ctx, chunks, section)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	for {
		record, err := m.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		if err := w.Append(record); err != nil {
			return nil, err
		}
	}
	if err := w.Commit(nil); err != nil {
		return nil, err
	}
	return Open(path)
}

func mergeOnce(ctx context.Context, chunks []*Chunk, section int) (m *Merger, err error) {
	m = &Merger{ctx: ctx}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	for _, c := range chunks {
		r, err := c.Reader(section)
		if err != nil {
			return nil, err
		}
		m.open = append(m.open, r)
		record, err := r.Next()
		if errors.Is(err, io.EOF) {
			continue
		}
		if err != nil {
			return nil, err
		}
		m.front = append(m.front, head{record, r})
	}
	heap.Init(&m.front)
	return m, nil
}

// checkEvery is the number of records between two looks at the context.
const checkEvery = 4096

// Next returns the next record, valid until the following call, or io.EOF.
func (m *Merger) Next() ([]byte, error) {
	if m.given%checkEvery == 0 {
		if err := m.ctx.Err(); err != nil {
			return nil, err
		}
	}
	if m.given > 0 {
		if err := m.advance(); err != nil {
			return nil, err
		}
	}
	if len(m.front) == 0 {
		m.given = 0
		return nil, io.EOF
	}
	m.given++
	return m.front[0].record, nil
}

// advance replaces the record that was given last.
func (m *Merger) advance() error {
	if len(m.front) == 0 {
		return nil
	}
	lowest := &m.front[0]
	record, err := lowest.reader.Next()
	switch {
	case errors.Is(err, io.EOF):
		heap.Pop(&m.front)
	case err != nil:
		return err
	default:
		lowest.record = record
		heap.Fix(&m.front, 0)
	}
	return nil
}

// Close ends reading.
func (m *Merger) Close() {
	for _, r := range m.open {
		_ = r.Close() // opened for reading
	}
}

// front is the next record of each section, the lowest first.
type front []head

type head struct {
	record []byte
	reader *Reader
}

func (f front) Len() int           { return len(f) }
func (f front) Less(i, j int) bool { return bytes.Compare(f[i].record, f[j].record) < 0 }
func (f front) Swap(i, j int)      { f[i], f[j] = f[j], f[i] }
func (f *front) Push(x any)        { *f = append(*f, x.(head)) }
func (f *front) Pop() any {
	last := (*f)[len(*f)-1]
	*f = (*f)[:len(*f)-1]
	return last
}
