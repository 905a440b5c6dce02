// Package fault is the error type that crosses Tarn's packages: what was being
// done, what is wrong, what to do next, and which kind of failure it is. The
// kinds are the exit codes of the command line, so that a package can say
// "the inputs disagree" without knowing about processes.
//
// A fault never carries a value read from a data row: neither Doing, Wrong nor
// Next may contain one.
package fault

import (
	"context"
	"errors"
	"strings"
)

// Kind says what kind of failure an error is. Its number is the exit code.
type Kind int

// The kinds, with the exit codes of the command line.
const (
	Internal     Kind = 1 // an internal or I/O failure
	Usage        Kind = 2 // wrong usage, or an input that is not what it claims to be
	RowsRefused  Kind = 3 // more rows refused than allowed
	Policy       Kind = 4 // refused by policy
	Unavailable  Kind = 5 // a service is unavailable
	Disagreement Kind = 6 // inputs disagree: project, profile, epoch or key check value
)

// Error says what was being done, what is wrong and what to do next.
type Error struct {
	Kind  Kind
	Doing string // "reading the key file k.json"
	Wrong string // "it can be read by others (mode 0644)"
	Next  string // "run: chmod 600 k.json"; may be empty
	Cause error  // may be nil; not printed unless Wrong is empty
}

// New makes an Error without a cause.
func New(kind Kind, doing, wrong, next string) *Error {
	return &Error{Kind: kind, Doing: doing, Wrong: wrong, Next: next}
}

// Wrap makes an Error of kind from a cause, whose text becomes what is wrong.
// Only causes whose text cannot hold a data value may be wrapped (errors of
// the operating system, of a format reader), never those of a value's parser.
func Wrap(kind Kind, doing string, cause error, next string) *Error {
	return &Error{Kind: kind, Doing: doing, Next: next, Cause: cause}
}

// Error returns "doing: wrong; next".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Doing)
	wrong := e.Wrong
	if wrong == "" && e.Cause != nil {
		wrong = e.Cause.Error()
	}
	if wrong != "" {
		b.WriteString(": ")
		b.WriteString(wrong)
	}
	if e.Next != "" {
		b.WriteString("; ")
		b.WriteString(e.Next)
	}
	return b.String()
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Cause }

// KindOf returns the kind of the first Error in err's chain, and Internal
// where there is none.
func KindOf(err error) Kind {
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Internal
}

// Ended returns err, or, if err says no more than that ctx was cancelled, the
// Error that it was cancelled for.
func Ended(ctx context.Context, err error) error {
	var cause *Error
	if errors.Is(err, context.Canceled) && errors.As(context.Cause(ctx), &cause) {
		return cause
	}
	return err
}
