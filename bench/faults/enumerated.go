package faults

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"tarn/bench/enumerate"
	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/audit"
)

// enumerationBudget is how many rows the client may use a key for in a day.
const enumerationBudget = 100_000

// enumerated is scenario 9.
func enumerated(t *Trial) error {
	duty, err := enumerate.NewDuty()
	if err != nil {
		return err
	}
	t.later(duty.Close)
	k, err := t.keyHolder(keyholder.Options{BudgetRows: enumerationBudget, AlertsURL: duty.URL})
	if err == nil {
		err = t.populate(k)
	}
	if err != nil {
		return err
	}
	folder, err := t.sub("region")
	if err != nil {
		return err
	}
	path := func(name string) string { return filepath.Join(folder, name) }
	few, many := enumerationBudget/4, t.times(300_000, 1_000_000)
	for name, count := range map[string]int{"few.csv": few, "many.csv": many} {
		if err := os.WriteFile(path(name), []byte(enumerate.Numbers(count)), 0o600); err != nil {
			return err
		}
	}
	as := k.Credentials(loadClient)
	if code, _, said, err := t.command("tokeniser", "project", loadProject, "--as", as, "--keyholder", k.URL, "--out", path("project.json")); err != nil || code != 0 {
		return fmt.Errorf("tokeniser project: exit %d: %s%s", code, said, wrong(err))
	}
	column := func(table, out string) (int, string, error) {
		code, _, said, err := t.command("tokeniser", "column", "--project", path("project.json"), "--as", as, "--keyholder", k.URL, "--in", path(table), "--column", "nhs_number", "--out", path(out))
		return code, said, err
	}
	code, said, err := column("few.csv", "few.out.csv")
	if err != nil {
		return err
	}
	t.control(code == 0, "a client inside its budget is not stopped", "exit %d: %s", code, said)

	t.note("%d numbers, one after another", many)
	begun := time.Now()
	if code, said, err = column("many.csv", "many.out.csv"); err != nil {
		return err
	}
	ended := time.Now()
	_, there := os.Stat(path("many.out.csv"))
	t.check(code == 4 && os.IsNotExist(there), "it is stopped at its budget, and no table comes of it", "exit %d: %s", code, said)
	t.check(duty.Wait(audit.RuleBudgetExhausted), "the alarm is heard within 10 s", "")
	t.figure("heard_after_s", time.Since(begun).Seconds())
	t.figure("heard_after_the_end_s", time.Since(ended).Seconds())

	ask := func(rows int64) (int, api.Code, error) {
		caller, err := k.CallAs(loadClient)
		if err != nil {
			return 0, "", err
		}
		defer caller.Close()
		return caller.Call(t.ctx, http.MethodPost, "/v1/projects/"+loadProject+"/leases", api.LeaseRequest{Use: api.UseToken, RowsExpected: rows}, nil)
	}
	stillRefused := func(when string) error {
		used, err := t.budgetUsed(k)
		if err != nil {
			return err
		}
		status, code, err := ask(enumerationBudget - used + 1)
		if err != nil {
			return err
		}
		t.figure("rows_granted", float64(used))
		t.check(status == http.StatusTooManyRequests && code == api.CodeBudget && used <= enumerationBudget, "429 at the budget: "+when, "status %d %s, %d rows were granted", status, code, used)
		return nil
	}
	if err := stillRefused("at once"); err != nil {
		return err
	}
	for round := range t.times(1, 5) {
		if err := k.Kill(); err != nil {
			return err
		}
		if err := k.Start(t.ctx); err != nil {
			return err
		}
		if err := stillRefused(fmt.Sprintf("after kill %d", round+1)); err != nil {
			return err
		}
	}
	operator, err := k.As(keyholder.Operator)
	if err != nil {
		return err
	}
	defer operator.Close()
	alarms := 0
	err = eachEntry(t.ctx, operator, func(leaf audit.Leaf) {
		if leaf.Kind == audit.KindAlarm && leaf.Rule == audit.RuleBudgetExhausted && leaf.Actor.Subject == loadClient {
			alarms++
		}
	})
	if err != nil {
		return err
	}
	t.check(alarms == 1, "the alarm is in the log, once", "%d are", alarms)

	// That it was the budget and nothing else.
	if _, err := operator.Ask(t.ctx, api.OpBudgetReset, api.BudgetReset{Project: loadProject, Client: loadClient, Reason: "the scenario goes on"}); err != nil {
		return err
	}
	status, refused, err := ask(enumerationBudget)
	if err != nil {
		return err
	}
	t.control(status == http.StatusCreated, "with its budget given back the client is answered", "status %d %s", status, refused)
	t.figure("numbers", float64(many))
	return nil
}

// budgetUsed is how many rows of the token key the load's client was granted.
func (t *Trial) budgetUsed(k *keyholder.KeyHolder) (int64, error) {
	operator, err := k.As(keyholder.Operator)
	if err != nil {
		return 0, err
	}
	defer operator.Close()
	all, err := operator.Budgets(t.ctx)
	if err != nil {
		return 0, err
	}
	for _, b := range all {
		if b.Client == loadClient && b.Use == api.UseToken {
			return b.Used, nil
		}
	}
	return 0, fmt.Errorf("the client has no budget")
}
