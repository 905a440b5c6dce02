package demo

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"tarn/bench/enumerate"
	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/fault"
)

// What somebody has who tries every number.
const (
	numbersFile  = "numbers.csv"
	enumerated   = "enumerated.csv" // what would have come of it
	enumeration  = 1_000_000        // numbers that are tried
	budgetPeople = 5                // times the people of a party is the budget of its client
	leastBudget  = 20_000           // rows; small runs encode more than once
)

// enumerate has the first region's tokeniser try a million numbers, one after another,
// as somebody would who wants to know whose each token is. The key holder stops it at
// its budget.
func (d *demo) enumerate() (string, error) {
	const doing = "trying every number"
	if err := d.write(numbersFile, enumerate.Numbers(enumeration)); err != nil {
		return "", err
	}
	party := d.parties[0]
	from := d.Wall()
	_, stopped := d.run("tokeniser", "column", "--project", rotatedRecord, "--as", d.credentials(party), "--in", numbersFile, "--column", "nhs_number", "--out", enumerated)
	heard := d.duty.Wait(audit.RuleBudgetExhausted)
	after := d.Wall().Sub(from).Seconds()
	var budgets []api.Budget
	if err := d.runInto(&budgets, "keyholder", "budget", "list", "--as", d.credentials(operator)); err != nil {
		return "", err
	}
	e := &Enumeration{Numbers: enumeration, Alarm: audit.RuleBudgetExhausted, AlarmAfterS: after}
	for _, b := range budgets {
		if b.Client == party && b.Use == api.UseToken {
			e.Budget = b.Rows
		}
	}
	switch _, err := os.Stat(filepath.Join(d.Folder, enumerated)); {
	case stopped == nil || err == nil:
		return "", fault.New(fault.Internal, doing, "nothing stopped it", "")
	case !strings.Contains(stopped.Error(), "budget"):
		return "", stopped
	case !heard:
		return "", fault.New(fault.Internal, doing, "it was stopped, and nobody heard of it", "")
	case e.Budget >= enumeration:
		return "", fault.New(fault.Internal, doing, "the budget is larger than what was tried", "give fewer people")
	}
	d.document.Enumeration = e
	return fmt.Sprintf("%d numbers were tried one after another; the key holder stopped it at its budget of %d rows, and its alarm was heard %.1f s after the first", e.Numbers, e.Budget, after), nil
}
