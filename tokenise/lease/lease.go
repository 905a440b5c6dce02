// Package lease is what a run of the tokeniser asks of a key holder: a project's
// record and keys, for as long as the run takes. keys/client gives it.
package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/fault"
	"tarn/keys/nhsnumber"
)

// Session is the keys of a run.
type Session interface {
	// Keys returns the project's record as the key holder has it, and the keys,
	// without row keys. Those that were not leased are not valid.
	Keys() (*keys.Project, *keys.KeyFile)
	// Evaluated reports whether tokens are made by the key holder, of numbers that it
	// does not see, and Tokens has it make them.
	Evaluated() bool
	Tokens(ctx context.Context, numbers []nhsnumber.Number) ([][keys.TokenSize]byte, error)
	// Pin reports the check value of the encoding key, and returns the record with
	// it pinned.
	Pin(ctx context.Context, encodingKCV string) (*keys.Project, error)
	// Take says that the keys are about to be used for so many more rows. Those that
	// the key holder does not allow are refused, and must not be used.
	Take(ctx context.Context, rows int64) error
	// Canaries counts rows, of those that were taken, with an NHS number of the test
	// range.
	Canaries(rows int64)
	// Expires returns when the first of the leases ends, unless it is renewed; the zero
	// time where there is none.
	Expires() time.Time
	// Close ends the leases and destroys the keys. Its error says that rows could
	// not be reported.
	Close(ctx context.Context) error
}

// Refused is an error that is a refusal by the key holder.
type Refused interface {
	error
	RefusedAs() api.Code
}

// RefusedAs returns the code of a refusal by the key holder, empty for any other error.
func RefusedAs(err error) api.Code {
	var refused Refused
	if errors.As(err, &refused) {
		return refused.RefusedAs()
	}
	return ""
}

// Open leases the keys of a project that a run over about so many rows uses (0:
// not known). The context ends when a lease is lost; its cause is a fault.
type Open func(ctx context.Context, project string, rows int64, uses ...api.Use) (context.Context, Session, error)

// Agree holds a project file to the key holder's record, by which the run goes.
// What determines tokens, encodings or who may be linked must be the same, or the
// error is of kind [fault.Disagreement] and names it; of what else differs a line
// is written to messages, which may be nil.
func Agree(file, record *keys.Project, messages io.Writer) error {
	if file.Digest() == record.Digest() {
		return nil
	}
	number := func(n uint32) string { return fmt.Sprint(n) }
	type member struct{ name, file, record string }
	members := []member{
		{"name", file.Name, record.Name}, {"domain", file.Domain, record.Domain}, {"scheme", file.Scheme, record.Scheme}, {"profile", file.Profile, record.Profile},
		{"keys.domain_no", number(file.Keys.DomainNo), number(record.Keys.DomainNo)}, {"keys.token_epoch", number(file.Keys.TokenEpoch), number(record.Keys.TokenEpoch)},
		{"keys.encoding_epoch", number(file.Keys.EncodingEpoch), number(record.Keys.EncodingEpoch)}, {"reidentify.mode", file.Reidentify.Mode, record.Reidentify.Mode},
		{"parties", strings.Join(file.SourceDatasets(), ", "), strings.Join(record.SourceDatasets(), ", ")},
	}
	if file.Keys.TokenPublicKey != nil && record.Keys.TokenPublicKey != nil {
		members = append(members, member{"keys.token_public_key", *file.Keys.TokenPublicKey, *record.Keys.TokenPublicKey})
	}
	if file.Keys.TokenKCV != nil && record.Keys.TokenKCV != nil {
		members = append(members, member{"keys.token_kcv", *file.Keys.TokenKCV, *record.Keys.TokenKCV})
	}
	if file.Keys.EncodingKCV != nil && record.Keys.EncodingKCV != nil {
		members = append(members, member{"keys.encoding_kcv", *file.Keys.EncodingKCV, *record.Keys.EncodingKCV})
	}
	for _, m := range members {
		if m.file != m.record {
			return fault.New(fault.Disagreement, "comparing the project file with the key holder's record", fmt.Sprintf("%s is %s in the file and %s at the key holder", m.name, m.file, m.record),
				"if the project was changed, get its record: tokeniser project "+file.Name+"; else name the right project file or key holder")
		}
	}
	differ := others(file, record)
	if messages == nil || len(differ) == 0 {
		return nil
	}
	_, err := fmt.Fprintf(messages, "the key holder's record of project %s differs from the project file in %s, and is the one that is used\n", file.Name, strings.Join(differ, ", "))
	return err
}

// others names the members that differ though nothing is linked by them. The escrow key
// is one: the key holder changes it, and tells nobody.
func others(file, record *keys.Project) (differ []string) {
	for _, m := range []struct {
		name string
		same bool
	}{
		{"purpose", file.Purpose == record.Purpose}, {"expires", file.Expires == record.Expires}, {"groups", slices.Equal(file.Groups, record.Groups)},
		{"controllers", slices.Equal(file.Controllers, record.Controllers)}, {"opt_outs", file.OptOuts == record.OptOuts},
		{"keys.escrow_public_key", sameKey(file.Keys.EscrowPublicKey, record.Keys.EscrowPublicKey)},
		{"legal_basis", file.LegalBasis.Article6 == record.LegalBasis.Article6 && file.LegalBasis.Article9 == record.LegalBasis.Article9 &&
			file.LegalBasis.Confidentiality == record.LegalBasis.Confidentiality && slices.Equal(file.LegalBasis.Refs, record.LegalBasis.Refs)},
	} {
		if !m.same {
			differ = append(differ, m.name)
		}
	}
	return differ
}

// sameKey reports whether two sides state no different keys; one that states none is not
// asked.
func sameKey(file, record *string) bool { return file == nil || record == nil || *file == *record }
