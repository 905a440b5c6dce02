package attack

import (
	"context"
	"slices"
	"time"

	"tarn/keys/secret"
	"tarn/tokenise/demographics"
	"tarn/tokenise/encode"
)

// dictionary is attack 1 on a profile: with the project's key, lists of dates, names
// and sexes, and no register. It returns how many of the records it names right, in
// every listed field.
func (r *run) dictionary(ctx context.Context, s *profileScheme) (records, right int, err error) {
	targets, err := readAll(ctx, s, r.world.elsewhere[:r.world.targets])
	if err != nil {
		return 0, 0, err
	}
	e, err := s.encode(ctx, r.victim, targets)
	if err != nil {
		return 0, 0, err
	}
	words, err := r.words(ctx, s)
	if err != nil {
		return 0, 0, err
	}
	dates, err := r.datesOf(ctx, s, e, targets)
	if err != nil {
		return 0, 0, err
	}
	var meanings []map[string]string // under one key for all
	if !s.byDate() {
		if meanings, err = lookUp(ctx, s, r.victim, words, demographics.Date{}); err != nil {
			return 0, 0, err
		}
	}
	for i := range targets {
		of := meanings
		if s.byDate() {
			if dates[i].IsZero() {
				continue // a tag that no date has
			}
			if of, err = lookUp(ctx, s, r.victim, words, dates[i]); err != nil {
				return 0, 0, err
			}
		}
		named := dates[i] == targets[i].born || dates[i].IsZero()
		for f, public := range s.public {
			c := &e.columns[f]
			if public.listed != "" && !c.missing[i] && of[f][string(c.at(i))] != targets[i].values[f] {
				named = false
			}
		}
		if named {
			right++
		}
	}
	return len(targets), right, nil
}

// words makes records whose fields are the entries of lists: the first of each
// field in the first record, and so on.
func (r *run) words(ctx context.Context, s *profileScheme) ([]individual, error) {
	reference, err := readAll(ctx, s, r.world.reference)
	if err != nil {
		return nil, err
	}
	var words []individual
	for f, public := range s.public {
		if public.listed == "" {
			continue
		}
		var entries []encode.Value
		if public.listed == listedDates {
			for _, d := range allDates() {
				entries = append(entries, encode.Value{Date: d})
			}
		} else {
			seen := map[string]bool{}
			for i := range reference {
				if v := reference[i].values[f]; v != "" && !seen[v] {
					seen[v] = true
					entries = append(entries, reference[i].record.Values[f])
				}
			}
		}
		for k, v := range entries {
			if k == len(words) {
				words = append(words, individual{record: encode.Record{Values: make([]encode.Value, len(s.public))}, values: make([]string, len(s.public))})
			}
			words[k].record.Values[f] = v
			words[k].values[f] = textOf(&v)
		}
	}
	return words, nil
}

// lookUp encodes the lists under the key of a date, and returns for each field what
// an encoding stands for.
func lookUp(ctx context.Context, s *profileScheme, key [secret.Size]byte, words []individual, date demographics.Date) ([]map[string]string, error) {
	dated := slices.Clone(words)
	for i := range dated {
		dated[i].record.DateOfBirth = date
	}
	e, err := s.encode(ctx, key, dated)
	if err != nil {
		return nil, err
	}
	meanings := make([]map[string]string, len(s.public))
	for f := range s.public {
		meanings[f] = make(map[string]string, len(words))
		c := &e.columns[f]
		for i := range words {
			if !c.missing[i] {
				meanings[f][string(c.at(i))] = words[i].values[f]
			}
		}
	}
	return meanings, nil
}

// datesOf finds the date of each record by its block tag. Of a profile without
// block tags the attacker is told the dates that keys are of: each he tried would
// say whether it is the one.
func (r *run) datesOf(ctx context.Context, s *profileScheme, e *encodings, targets []individual) ([]demographics.Date, error) {
	found := make([]demographics.Date, e.n)
	if e.blocks == nil {
		for i := range found {
			if s.byDate() {
				found[i] = targets[i].born
			}
		}
		return found, nil
	}
	dates := allDates()
	bare := make([]individual, len(dates))
	for i, d := range dates {
		bare[i].record = encode.Record{DateOfBirth: d, Values: make([]encode.Value, len(s.public))}
	}
	tags, err := s.encode(ctx, r.victim, bare)
	if err != nil {
		return nil, err
	}
	of := make(map[int64]demographics.Date, len(dates))
	for i, d := range dates {
		of[tags.blocks[i]] = d
	}
	for i := range found {
		found[i] = of[e.blocks[i]]
	}
	return found, nil
}

// allDates are those on which somebody who lives may have been born.
func allDates() (dates []demographics.Date) {
	for d := time.Date(1915, 1, 1, 0, 0, 0, 0, time.UTC); d.Year() < today.Year; d = d.AddDate(0, 0, 1) {
		dates = append(dates, demographics.DateOf(d))
	}
	return dates
}

// registerLookUp is attack 1 where whole records are one encoding: the attacker
// encodes the registers under the key. It returns how many of the cohort he finds.
func (r *run) registerLookUp(ctx context.Context, s scheme) (records, right int, err error) {
	for i := range r.world.registers {
		register, err := readAll(ctx, s, r.world.registers[i])
		if err != nil {
			return 0, 0, err
		}
		e, err := s.encode(ctx, r.victim, some(register, r.world.cohort[i]))
		if err != nil {
			return 0, 0, err
		}
		mine, err := s.encode(ctx, r.victim, register)
		if err != nil {
			return 0, 0, err
		}
		for k, person := range r.world.cohort[i] {
			records++
			matching := -1
			for u := range register {
				if sameEncoding(e, k, mine, u) {
					matching = u
					break
				}
			}
			if matching == person {
				right++
			}
		}
	}
	return records, right, nil
}

// sameEncoding reports whether two records are encoded alike in all fields.
func sameEncoding(a *encodings, i int, b *encodings, j int) bool {
	for f := range a.columns {
		x, y := &a.columns[f], &b.columns[f]
		if x.missing[i] != y.missing[j] || string(x.at(i)) != string(y.at(j)) {
			return false
		}
	}
	return true
}
