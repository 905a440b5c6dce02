package linkage

import (
	"fmt"
	"strings"

	"tarn/keys"
	"tarn/keys/fault"
	"tarn/linkage/cohort"
	"tarn/linkage/result"
)

// tokensOf says what a cohort's tokens are.
func tokensOf(m *cohort.Manifest) *result.Tokens {
	return &result.Tokens{Scheme: m.TokenScheme, Release: m.TokenRelease, Domain: m.TokenDomain, Epoch: m.TokenEpoch}
}

// skipped is a pair of cohorts whose tokens are not compared.
type skipped struct {
	pair string // both, and of two epochs these
	why  string // which facts differ; empty of two epochs
	// older is to be brought to an epoch, where two are the reason; else it is nil.
	older *cohort.Manifest
	epoch uint32
}

// tokensComparable reports whether equal numbers have equal tokens in both cohorts. If not,
// it says which of the facts differ, and of two epochs what is to be done.
func tokensComparable(a, b *cohort.Manifest) (bool, skipped) {
	kcv := func(m *cohort.Manifest) string {
		if m.TokenKCV == nil {
			return "unknown"
		}
		return *m.TokenKCV
	}
	var differ []string
	for _, x := range []struct {
		what  string
		equal bool
	}{
		{"scheme", a.TokenScheme == b.TokenScheme && a.TokenRelease == b.TokenRelease},
		{"domain", a.TokenDomain == b.TokenDomain},
		{"token epoch", a.TokenEpoch == b.TokenEpoch},
		{"token key check value", kcv(a) == kcv(b) && a.TokenKCV != nil},
	} {
		if !x.equal {
			differ = append(differ, x.what)
		}
	}
	switch {
	case len(differ) == 0:
		return true, skipped{}
	// Another epoch is another key, and so another check value.
	case differ[0] == "token epoch":
		older, newer := a, b
		if older.TokenEpoch > newer.TokenEpoch {
			older, newer = b, a
		}
		return false, skipped{pair: fmt.Sprintf("%s (token epoch %d) and %s (token epoch %d)", a.SourceDataset, a.TokenEpoch, b.SourceDataset, b.TokenEpoch), older: older, epoch: newer.TokenEpoch}
	}
	return false, skipped{pair: a.SourceDataset + " and " + b.SourceDataset, why: strings.Join(differ, ", ")}
}

// mostNamed is how many pairs of cohorts, or things to do, a warning names.
const mostNamed = 10

// skippedText says of all pairs whose tokens were not compared that they were not, and what
// to do. The pairs of twenty parties are 190: some are named, and the others counted.
func skippedText(all []skipped) string {
	if s := all[0]; len(all) == 1 && s.older == nil {
		return "tokens of " + s.pair + " were not compared: " + s.why
	} else if len(all) == 1 {
		return "tokens of " + s.pair + " were not compared, and the two were linked by demographics alone: " + bringTo(s.older, s.epoch) + ", then link again"
	}
	var pairs, todo []string
	var older []*cohort.Manifest
	latest := map[*cohort.Manifest]uint32{} // to which each is to be brought
	for _, s := range all {
		if s.why != "" {
			s.pair += ": " + s.why
		}
		pairs = append(pairs, s.pair)
		if s.older != nil {
			if latest[s.older] == 0 {
				older = append(older, s.older)
			}
			latest[s.older] = max(latest[s.older], s.epoch)
		}
	}
	for _, m := range older {
		todo = append(todo, bringTo(m, latest[m]))
	}
	text := fmt.Sprintf("tokens of %d pairs of data sets were not compared, and these were linked by demographics alone: %s", len(all), named(pairs))
	if len(todo) > 0 {
		text += "; to compare them " + named(todo) + ", then link again"
	}
	return text
}

// named joins the first of some texts, and says how many more there are.
func named(texts []string) string {
	if more := len(texts) - mostNamed; more > 0 {
		return strings.Join(texts[:mostNamed], "; ") + fmt.Sprintf("; and %d more", more)
	}
	return strings.Join(texts, "; ")
}

// bringTo says how a cohort of an older epoch comes to a newer one. Only tokens of
// scheme oblivious can be moved without the numbers, and none that were made into
// release tokens.
func bringTo(older *cohort.Manifest, epoch uint32) string {
	if older.TokenScheme == keys.SchemeOblivious && !older.TokenRelease {
		return fmt.Sprintf("bring %s to epoch %d with tokeniser rotate", older.SourceDataset, epoch)
	}
	return fmt.Sprintf("encode %s again with the project's record of epoch %d (tokeniser run)", older.SourceDataset, epoch)
}

// checkTokenEpochs refuses, with kind [fault.Disagreement], cohorts whose tokens
// are not of the epoch that the run expects; 0 expects none. Every one is named.
// Tokens of an older epoch than the project's record, which may be nil, are a
// warning: they are as good as ever, until the parties have brought theirs over.
func checkTokenEpochs(expected uint32, record *keys.Project, cohorts []*cohort.File) ([]result.Warning, error) {
	var disagreements []string
	var warnings []result.Warning
	for _, c := range cohorts {
		m := c.Manifest
		if expected != 0 && m.TokenEpoch != expected {
			disagreements = append(disagreements, fmt.Sprintf("token epoch is %d in %s and %d in what the run expects", m.TokenEpoch, m.SourceDataset, expected))
		}
		if record != nil && m.TokenDomain == record.Domain && m.TokenEpoch != record.Keys.TokenEpoch {
			text := fmt.Sprintf("tokens of %s are of token epoch %d, and the project's record is of epoch %d: ", m.SourceDataset, m.TokenEpoch, record.Keys.TokenEpoch)
			if m.TokenEpoch < record.Keys.TokenEpoch {
				text += bringTo(m, record.Keys.TokenEpoch)
			} else {
				text += "give the project's current record"
			}
			warnings = append(warnings, result.Warning{Code: "record_token_epoch_differs", Text: text})
		}
	}
	if len(disagreements) > 0 {
		return nil, fault.New(fault.Disagreement, "comparing the cohorts with the token epoch that was asked for", strings.Join(disagreements, "; "),
			"give the cohorts of this epoch (tokeniser rotate brings one to a later epoch); or leave --token-epoch out, and cohorts of different epochs are linked by demographics alone")
	}
	return warnings, nil
}
