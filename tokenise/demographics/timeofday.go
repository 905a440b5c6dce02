package demographics

// ends accepts what may follow a date: nothing, a zone as dates of XML have it
// (Z, +01:00), or a time of day after a blank or a T.
func (r *reader) ends() bool {
	start := r.at
	_, timed := r.one(" t")
	if r.done() && !timed || timed && r.time() || !timed && r.zone(false) {
		return true
	}
	r.at = start
	return false
}

// time accepts h:mm, seconds and fractions of them, am or pm, and a zone.
func (r *reader) time() bool {
	hour, digits := r.number(2)
	if _, ok := r.one(":"); !ok || digits == 0 || hour > 23 || !r.sixty() {
		return false
	}
	if _, ok := r.one(":"); ok && (!r.sixty() || !r.fraction()) {
		return false
	}
	r.one(" ")
	if _, ok := r.one("ap"); ok {
		if _, ok := r.one("m"); !ok || hour < 1 || hour > 12 {
			return false
		}
		r.one(" ")
	}
	return r.zone(true)
}

// basicTime accepts hhmm or hhmmss with a fraction and a zone, after a T or
// straight after the digits of the date, as ISO 8601 and HL7 version 2 have it.
func (r *reader) basicTime() bool {
	r.one("t")
	hour, digits := r.number(2)
	if digits != 2 || hour > 23 || !r.sixty() {
		return false
	}
	if !r.done() && digit(r.text[r.at]) && (!r.sixty() || !r.fraction()) {
		return false
	}
	return r.zone(true)
}

// sixty accepts two digits below 60.
func (r *reader) sixty() bool {
	n, digits := r.number(2)
	return digits == 2 && n < 60
}

// fraction accepts nothing, or a full stop and digits.
func (r *reader) fraction() bool {
	if _, ok := r.one("."); !ok {
		return true
	}
	_, digits := r.number(9)
	return digits > 0
}

// zone accepts the end, Z, or a sign with hh:mm and, after a time, hhmm and hh.
func (r *reader) zone(short bool) bool {
	if _, ok := r.one("z"); ok || r.done() {
		return r.done()
	}
	if _, ok := r.one("+-"); !ok {
		return false
	}
	hour, digits := r.number(2)
	if digits != 2 || hour > 14 {
		return false
	}
	if _, ok := r.one(":"); !ok && (!short || r.done()) {
		return short
	}
	return r.sixty() && r.done()
}
