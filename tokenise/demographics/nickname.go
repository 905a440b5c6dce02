package demographics

import (
	"slices"
	"strings"
)

// formalNames is the table nicknames: short forms, each with its formal name.
var formalNames = loadNicknames()

func loadNicknames() map[string]string {
	formal := map[string]string{}
	for _, line := range lines(TableNicknames) {
		name, short, ok := strings.Cut(line, ":")
		if !ok || name == "" {
			bad(TableNicknames, line)
		}
		if name == "?" {
			continue
		}
		for _, nickname := range strings.Fields(short) {
			if other, twice := formal[nickname]; twice && other != name {
				bad(TableNicknames, line)
			}
			formal[nickname] = name
		}
	}
	return formal
}

// Formal returns the parts of a given name, as Name returns them, with each
// short form of the table nicknames replaced by its formal name: in ascending
// order, each once. Short forms of several names (Alex, Sam, Chris) stay what
// they are. parts is not changed, and returned if there is nothing to replace.
func Formal(parts []string) []string {
	if !slices.ContainsFunc(parts, func(part string) bool { return formalNames[part] != "" }) {
		return parts
	}
	all := make([]string, len(parts))
	for i, part := range parts {
		all[i] = part
		if formal, ok := formalNames[part]; ok {
			all[i] = formal
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
