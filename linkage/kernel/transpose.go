package kernel

// transpose turns a square of 64 by 64 bits: bit j of word i becomes bit i of
// word j. It swaps ever smaller blocks (Warren, Hacker's Delight, 7-3).
func transpose(square *[64]uint64) {
	mask := uint64(1)<<32 - 1
	for width := 32; width > 0; width >>= 1 {
		for i := 0; i < 64; i = (i + width + 1) &^ width {
			low, high := &square[i], &square[(i+width)&63]
			swap := (*low>>width ^ *high) & mask
			*low ^= swap << width
			*high ^= swap
		}
		mask ^= mask << (width >> 1)
	}
}
