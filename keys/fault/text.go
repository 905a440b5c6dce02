package fault

import (
	"fmt"
	"regexp"
	"runtime"
	"strings"
)

// memberName is what the name of a member or key of Tarn's documents, or an index,
// looks like. Anything else may be a value that stands where a name should:
// documents of people are keyed by who they are about.
var memberName = regexp.MustCompile(`^(?:[a-z](?:[A-Za-z_]+|[0-9]{1,3}(?:[A-Za-z_]|$))*|[0-9]{1,6})$`)

const maxName = 40

// Name returns the name of an unknown member or key, if it looks like one and not
// like a value; else a text that says that it is withheld.
func Name(name string) string {
	if len(name) > maxName || !memberName.MatchString(name) {
		return "(a name that is withheld)"
	}
	return name
}

// quoted is all from the first quotation mark to the last, since what is quoted may
// hold some, too; number is what is more than a line's or a byte's.
var (
	quoted = regexp.MustCompile(`(?s)["'\x60].*["'\x60]`)
	number = regexp.MustCompile(`[-+0-9._eE]*[0-9]{3}[-+0-9._eE]*`)
)

// Unquoted returns the text of a format's parser without what it quotes from its
// input. It is for parsers of configuration; a parser of rows says a code.
func Unquoted(text string) string {
	return number.ReplaceAllString(quoted.ReplaceAllString(text, "(withheld)"), "(withheld)")
}

// Contain is deferred by a goroutine that handles what may be somebody's: a panic
// becomes an Error of kind Internal that says where it was, by function and line,
// and of its value the type only. err is the goroutine's named result.
func Contain(err *error) {
	if value := recover(); value != nil {
		*err = New(Internal, "working", fmt.Sprintf("internal failure (panic with a value of type %T, withheld because it could hold data) in %s", value, origin()), "please report it")
	}
}

// Contained returns f with Contain around it.
func Contained(f func() error) func() error {
	return func() (err error) {
		defer Contain(&err)
		return f()
	}
}

// origin returns the function and line in which the panic that is being recovered
// from was raised.
func origin() string {
	var callers [32]uintptr
	frames := runtime.CallersFrames(callers[:runtime.Callers(3, callers[:])])
	for {
		frame, more := frames.Next()
		if !more || !strings.HasPrefix(frame.Function, "runtime.") {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
	}
}
