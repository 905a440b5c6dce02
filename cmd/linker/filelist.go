package main

import (
	"strings"

	"tarn/keys/fault"
)

// fileList is a flag that takes several files: --cohorts A B, as a shell expands
// --cohorts *.parquet, or --cohorts A,B, or the flag repeated. A command line
// reader hands over A alone and keeps B as an argument without a flag, so the
// lists of a command remember when each flag was met.
type fileList struct {
	paths []string
	met   *meetings
}

// meetings are the flags of a command that take files, in the order in which
// they were met.
type meetings struct {
	arguments func() int // how many arguments without a flag were met so far
	list      []meeting
}

type meeting struct {
	flag *fileList
	from int // the arguments before it
}

func (l *fileList) String() string { return strings.Join(l.paths, ",") }
func (l *fileList) Type() string   { return "files" }
func (l *fileList) Set(text string) error {
	l.paths = append(l.paths, strings.Split(text, ",")...)
	l.met.list = append(l.met.list, meeting{l, l.met.arguments()})
	return nil
}

// takeArguments gives each argument to the flag that was met last before it.
func (m *meetings) takeArguments(doing string, arguments []string) error {
	for i, path := range arguments {
		var owner *fileList
		for _, met := range m.list {
			if met.from <= i {
				owner = met.flag
			}
		}
		if owner == nil {
			return fault.New(fault.Usage, doing, "a file is named that belongs to no flag", "see: "+doing+" --help")
		}
		owner.paths = append(owner.paths, path)
	}
	return nil
}
