package demographics

// Ordinal returns a number that orders dates, 0 for the zero Date.
func (d Date) Ordinal() uint32 {
	return uint32(d.Year)<<9 | uint32(d.Month)<<5 | uint32(d.Day)
}

// DateOfOrdinal returns the date of an Ordinal.
func DateOfOrdinal(n uint32) Date {
	return Date{Year: int(n >> 9), Month: int(n >> 5 & 15), Day: int(n & 31)}
}
