package partition

import (
	"context"
	"encoding/binary"
	"os"
	"slices"
	"sort"

	"tarn/keys/fault"
	"tarn/linkage/block"
	"tarn/linkage/cohort"
)

// scattered holds the records of each part in a bucket.
type scattered struct {
	pass    Pass
	buckets []bucket
	part    int
	width   int // bytes of a record
	file    *os.File
	end     int64
	read    cohort.Rows
	piece   []byte
}

// bucket is what belongs to one part: on disk first, then in memory.
type bucket struct {
	records int32
	extents []extent
	memory  []byte
}

type extent struct{ at, bytes int64 }

// Scatter returns a source for a cohort that does not lie in the order of the
// pass. It reads all of it, and holds up to memory bytes of it; the rest goes
// to a file without a name in the folder tmp, "" for that of the system. disk
// is told how many bytes are on disk.
func Scatter(ctx context.Context, p Pass, tmp string, memory int64, disk func(bytes int64)) (Source, error) {
	s := &scattered{pass: p, buckets: make([]bucket, len(p.Parts)), width: recordWidth(p.Shape)}
	stream, held := p.File.Stream(p.Shape, p.Rounded), int64(0)
	for from := 0; from < p.File.Rows(); from += pieceRows {
		if err := ctx.Err(); err != nil {
			s.Close()
			return nil, err
		}
		n := min(pieceRows, p.File.Rows()-from)
		if err := stream.Read(&s.read, n); err != nil {
			s.Close()
			return nil, err
		}
		p.seen(&s.read)
		for i := range n {
			if b := s.bucketOf(from + i); b >= 0 {
				s.buckets[b].memory = s.append(s.buckets[b].memory, i)
				held += int64(s.width)
			}
		}
		if held > memory {
			if err := s.spill(tmp); err != nil {
				s.Close()
				return nil, err
			}
			held = 0
			disk(s.end)
		}
	}
	return s, nil
}

func recordWidth(shape *cohort.Shape) int {
	width := 4 + 8 + 8*shape.RowWords()
	for _, words := range shape.Words {
		if words == 0 {
			width += 8
		}
	}
	return width
}

// bucketOf returns the part of a record, -1 where it has no key or belongs to
// none: parts may be some of a pass, or hold some of a block.
func (s *scattered) bucketOf(row int) int {
	key := int64(0)
	if tags := s.pass.Tags; tags != nil {
		if !tags.Present[row] {
			return -1
		}
		key = tags.Value[row]
	}
	i := sort.Search(len(s.pass.Parts), func(i int) bool { return s.pass.Parts[i].Last >= key })
	if i == len(s.pass.Parts) {
		return -1
	}
	b, part := &s.buckets[i], &s.pass.Parts[i]
	if b.records == part.To[s.pass.Cohort]-part.From[s.pass.Cohort] {
		return -1
	}
	b.records++
	return i
}

func (s *scattered) append(b []byte, i int) []byte {
	b = binary.LittleEndian.AppendUint32(b, uint32(s.read.Number[i]))
	b = binary.LittleEndian.AppendUint64(b, s.read.Present[i])
	words := s.pass.Shape.RowWords()
	for _, word := range s.read.Filters[i*words : (i+1)*words] {
		b = binary.LittleEndian.AppendUint64(b, word)
	}
	for _, tags := range s.read.Tags {
		if tags != nil {
			b = binary.LittleEndian.AppendUint64(b, uint64(tags[i]))
		}
	}
	return b
}

// spill moves all buckets to disk. The file has no name, so that nothing is
// left of it when the process ends, however it ends.
func (s *scattered) spill(tmp string) error {
	doing, next := "keeping records on disk", "free space there, or name another folder with --tmp-dir"
	if s.file == nil {
		file, err := os.CreateTemp(tmp, "tarn-linker-")
		if err != nil {
			return fault.Wrap(fault.Internal, doing, err, next)
		}
		s.file = file
		if err := os.Remove(file.Name()); err != nil {
			return fault.Wrap(fault.Internal, doing, err, next)
		}
	}
	for i := range s.buckets {
		b := &s.buckets[i]
		if len(b.memory) == 0 {
			continue
		}
		if _, err := s.file.WriteAt(b.memory, s.end); err != nil {
			return fault.Wrap(fault.Internal, doing, err, next)
		}
		b.extents = append(b.extents, extent{s.end, int64(len(b.memory))})
		s.end += int64(len(b.memory))
		b.memory = b.memory[:0]
	}
	return nil
}

func (s *scattered) Load(ctx context.Context, rows *cohort.Rows) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	b := &s.buckets[s.part]
	s.part++
	s.piece = s.piece[:0]
	for _, e := range b.extents {
		at := len(s.piece)
		s.piece = append(s.piece, make([]byte, e.bytes)...)
		if _, err := s.file.ReadAt(s.piece[at:], e.at); err != nil {
			return fault.Wrap(fault.Internal, "reading records that were kept on disk", err, "")
		}
	}
	s.piece = append(s.piece, b.memory...)
	b.memory, b.extents = nil, nil

	n := len(s.piece) / s.width
	rows.Reset(s.pass.Shape, n)
	order := make([]int32, n) // of the records in the piece, as the pass takes them
	for i := range order {
		order[i] = int32(i)
	}
	number := func(i int32) int32 { return int32(binary.LittleEndian.Uint32(s.piece[int(i)*s.width:])) }
	slices.SortFunc(order, func(x, y int32) int { return block.Compare(s.pass.Tags, s.pass.IDs, number(x), number(y)) })
	for i, at := range order {
		s.decode(rows, i, s.piece[int(at)*s.width:])
	}
	return nil
}

func (s *scattered) decode(rows *cohort.Rows, i int, b []byte) {
	rows.Number[i] = int32(binary.LittleEndian.Uint32(b))
	rows.Key[i] = 0
	if s.pass.Tags != nil {
		rows.Key[i] = s.pass.Tags.Value[rows.Number[i]]
	}
	rows.Present[i] = binary.LittleEndian.Uint64(b[4:])
	b = b[12:]
	words := s.pass.Shape.RowWords()
	for w := range words {
		rows.Filters[i*words+w] = binary.LittleEndian.Uint64(b[8*w:])
	}
	b = b[8*words:]
	for _, tags := range rows.Tags {
		if tags != nil {
			tags[i] = int64(binary.LittleEndian.Uint64(b))
			b = b[8:]
		}
	}
}

// Finish has nothing to do: every record was seen while they were scattered.
func (s *scattered) Finish(context.Context) error { return nil }

func (s *scattered) Close() {
	if s.file != nil {
		_ = s.file.Close() // it has no name
		s.file = nil
	}
}
