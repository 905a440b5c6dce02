package reidentify

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// rulesTable is what docs/reidentification.md says of every rule.
func rulesTable() string {
	var b strings.Builder
	b.WriteString("| rule | what is so | who can allow it | what to do |\n|---|---|---|---|\n")
	for _, rule := range Rules() {
		r := Refuse(rule)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", rule, r.Why(), r.Who(), r.Next())
	}
	return b.String()
}

// TestThePageHasEveryRule, every state, purpose, route, view and reason, as the code has
// them.
func TestThePageHasEveryRule(t *testing.T) {
	b, err := os.ReadFile("../../docs/reidentification.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(b)
	if table := rulesTable(); !strings.Contains(page, table) || len(Rules()) < 35 {
		t.Errorf("docs/reidentification.md lacks this table of %d rules:\n%s", len(Rules()), table)
	}
	var names []string
	for _, state := range States() {
		names = append(names, string(state))
	}
	for _, purpose := range Purposes() {
		names = append(names, string(purpose))
	}
	for _, view := range Views() {
		names = append(names, string(view))
	}
	names = append(names, string(ToPractice), string(ToSource), string(Justified), string(NotJustified), string(Inconclusive))
	for _, name := range append(names, ReasonCodes()...) {
		if !strings.Contains(page, "`"+name+"`") {
			t.Errorf("docs/reidentification.md does not name %s", name)
		}
	}
	// The control: what is not there is missed.
	if strings.Contains(page, "`pending_aproval`") || strings.Contains(page, "| `planted` |") {
		t.Error("the test finds what is not there")
	}
}
