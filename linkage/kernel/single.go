package kernel

// Kernel compares one filter with n rows of filters of the same width laid end
// to end. len(rows) is n*len(filter) and len(counts) is at least n.
type Kernel interface {
	// EqualBits sets counts[i] to the number of bits that are equal in filter
	// and row i.
	EqualBits(counts []uint32, filter, rows []uint64)
	// CommonBits sets counts[i] to the number of bits that are set in both
	// filter and row i.
	CommonBits(counts []uint32, filter, rows []uint64)
}

// New returns the kernel for this machine.
func New() Kernel { return single(Best()) }

type single Path

func (s single) EqualBits(counts []uint32, filter, rows []uint64) {
	if len(filter) > 0 {
		s.fields(len(filter)).EqualBits(counts, filter, rows)
	}
}

func (s single) CommonBits(counts []uint32, filter, rows []uint64) {
	if len(filter) > 0 {
		s.fields(len(filter)).CommonBits(counts, filter, rows)
	}
}

func (s single) fields(width int) *Fields {
	return &Fields{shape: []int{width}, words: width, path: Path(s), whole: width == fieldWords}
}
