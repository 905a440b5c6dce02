package keyring

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/budget"
)

// Budgets say how many rows clients may use keys for.
type Budgets struct {
	Period time.Duration // over which they are counted
	// UnstatedRows is the budget of a client of whose parties the project's record
	// states none.
	UnstatedRows int64
	// CeilingRows bounds all clients together, for each use of a key.
	CeilingRows int64
	// ReservedShare is the part of the ceiling, 0 to 1, that is divided among the
	// clients, each of which can count on its own.
	ReservedShare float64
	// RateFactor is how many times its usual use a client's use in a period is when it
	// is abnormal.
	RateFactor float64
}

// The budgets of a key holder that says nothing else.
const (
	DefaultBudgetPeriod  = 24 * time.Hour
	DefaultUnstatedRows  = 100_000_000 // everybody in England, once, and as many again
	DefaultCeilingRows   = 450_000_000 // half of all NHS numbers that there can be
	DefaultReservedShare = .5
	DefaultRateFactor    = 5
)

// withDefaults fills in what is not set.
func (b Budgets) withDefaults() Budgets {
	b.Period = cmp.Or(b.Period, DefaultBudgetPeriod)
	b.UnstatedRows = cmp.Or(b.UnstatedRows, DefaultUnstatedRows)
	b.CeilingRows = cmp.Or(b.CeilingRows, DefaultCeilingRows)
	b.RateFactor = cmp.Or(b.RateFactor, DefaultRateFactor)
	return b
}

// The kinds of the records on budgets.
const (
	kindBudget        = "budget"
	kindRestoredTime  = "budget-restored" // when the store was restored
	restoredTimeName  = "time"
	openGrantParts    = 20     // of a budget, granted at a time where nobody says how many rows there are
	leastOpenGrant    = 10_000 // rows
	rateFloor         = 10_000 // rows of a period that are never abnormal
	usualPeriods      = 14     // from which the usual use is taken
	leastUsualPeriods = 3      // below which nothing is usual
	lowShare          = .9     // of a budget, used, that is worth an alarm
)

// accountKey is what rows are counted for. Each use of a key counts by itself: a row
// that gets a token and an encoding costs one of each.
type accountKey struct {
	project, client string
	use             api.Use
}

func (a accountKey) name() string { return a.project + "/" + a.client + "/" + string(a.use) }

// account is what a client has used of a project's budget.
type account struct {
	Project string        `json:"project"`
	Client  string        `json:"client"`
	Use     api.Use       `json:"use"`
	Window  budget.Window `json:"window"`
	Slot    int64         `json:"slot_ns"` // how long the window's slots are
	// Number is the period, without overlap, of Total; Usual are the totals of the
	// periods before it in which anything was used, the newest last.
	Number int64   `json:"number"`
	Total  int64   `json:"total"`
	Usual  []int64 `json:"usual,omitzero"`
	// Alarmed says in which period each rule gave its alarm.
	Alarmed map[string]int64 `json:"alarmed,omitzero"`
	// Reset is when operators gave the whole budget back.
	Reset time.Time `json:"reset,omitzero"`
}

func (a *account) key() accountKey { return accountKey{a.Project, a.Client, a.Use} }

// budgets is what the keyring knows of them. It is guarded by the keyring's lock.
type budgets struct {
	limits   Budgets
	clock    *budget.Clock
	known    time.Time // the latest time in what was read
	accounts map[accountKey]*account
	// sums over the accounts of a client, and over all.
	clients  map[clientUse]*budget.Window
	all      map[api.Use]*budget.Window
	restored time.Time
}

type clientUse struct {
	client string
	use    api.Use
}

func (b *budgets) period() budget.Period { return budget.Period(b.limits.Period) }
func (b *budgets) slotLength() int64     { return int64(b.limits.Period) / (budget.Slots - 1) }

// load takes an account from the store.
func (b *budgets) load(a *account) {
	old := budget.Period(a.Slot * (budget.Slots - 1))
	if old.Check() == nil {
		if last := old.Begin(a.Window.Newest()); last.After(b.known) {
			b.known = last
		}
		if a.Slot != b.slotLength() {
			// The period is another one now: all that counted begins to count when it was last
			// used.
			used, last := a.Window.Used(a.Window.Newest()), old.Begin(a.Window.Newest()+1)
			a.Window = budget.Window{}
			a.Window.Charge(b.period().Slot(last), used)
			a.Slot, a.Number, a.Total, a.Usual, a.Alarmed = b.slotLength(), 0, 0, nil, nil
		}
	}
	b.accounts[a.key()] = a
}

// begin makes the sums and the clock of what was loaded.
func (b *budgets) begin(now func() time.Time) {
	b.clock = budget.NewClock(now, b.known)
	b.sumAgain()
}

func (b *budgets) sumOf(client string, use api.Use) *budget.Window {
	key := clientUse{client, use}
	if b.clients[key] == nil {
		b.clients[key] = new(budget.Window)
	}
	return b.clients[key]
}

func (b *budgets) sum(use api.Use) *budget.Window {
	if b.all[use] == nil {
		b.all[use] = new(budget.Window)
	}
	return b.all[use]
}

// slot is the slot that it is now.
func (b *budgets) slot() budget.Slot { return b.period().Slot(b.clock.Now()) }

// account returns a copy of an account, or a new one.
func (b *budgets) account(key accountKey) *account {
	if held := b.accounts[key]; held != nil {
		a := *held
		return &a
	}
	return &account{Project: key.project, Client: key.client, Use: key.use, Slot: b.slotLength()}
}

// allowance is how many rows of a project a client may use in a period: the sum over
// its parties.
func (b *budgets) allowance(p *project, c *client) int64 {
	rows := int64(0)
	for _, party := range p.base.Parties {
		if len(c.SourceDatasets) > 0 && !slices.Contains(c.SourceDatasets, party.SourceDataset) {
			continue
		}
		if party.BudgetRows == 0 {
			return b.limits.UnstatedRows
		}
		rows += min(party.BudgetRows, math.MaxInt64/2-rows)
	}
	if rows == 0 {
		return b.limits.UnstatedRows // its parties are of other projects
	}
	return rows
}

// usedUp is until when an account counts as used up because the store was restored:
// what was used after the backup nobody knows.
func (b *budgets) usedUp(a *account) time.Time {
	if b.restored.IsZero() || a.Reset.After(b.restored) {
		return time.Time{}
	}
	return b.restored.Add(b.limits.Period)
}

// left is what an account has left at a slot.
func (b *budgets) left(a *account, slot budget.Slot, allowance int64) int64 {
	if b.clock.Now().Before(b.usedUp(a)) {
		return 0
	}
	return max(0, allowance-a.Window.Used(slot))
}

// exhausted is a refusal for want of budget: it knows when to come back.
type exhausted struct {
	refusal *api.Error
	key     accountKey
	rule    string
	rows    int64         // that were asked for
	wait    time.Duration // 0: it never fits
}

func (e *exhausted) Error() string { return e.refusal.Error() }

// Unwrap gives the refusal that is answered.
func (e *exhausted) Unwrap() error { return e.refusal }

// RetryAfter says how long to wait; false where waiting does not help.
func (e *exhausted) RetryAfter() (time.Duration, bool) { return e.wait, e.wait > 0 }

// promised are rows of a client that are counted with what is asked about, if that is
// allowed: what fits by itself may not fit beside them.
type promised struct {
	client string
	rows   int64
}

// allow refuses rows that do not fit into a budget or, with those that are promised, below
// the ceiling.
func (t *transaction) allow(a *account, p *project, c *client, rows int64, also promised) error {
	b := &t.keyring.budgets
	slot, allowance := b.slot(), b.allowance(p, c)
	refuse := func(rule, detail string, at time.Time, next string) error {
		// In whole seconds: it is told as a header.
		wait := max(time.Second, at.Sub(b.clock.Now()).Truncate(time.Second)+time.Second)
		return &exhausted{key: a.key(), rule: rule, rows: rows, wait: wait, refusal: api.Refuse(api.CodeBudget, detail, "come back in "+wait.String()+"; "+next)}
	}
	const ask = "if that is too late, ask the project's controllers for a larger budget_rows, or the key holder's operators: keyholder budget reset"
	if until := b.usedUp(a); b.clock.Now().Before(until) {
		return refuse(audit.RuleBudgetExhausted, "the key holder was restored from a backup, and what was used since then is not known: budgets count as used up for a period", until,
			"if that is too late, ask the key holder's operators: keyholder budget reset")
	}
	at, fits := a.Window.Fits(slot, rows, allowance)
	if !fits {
		return &exhausted{key: a.key(), rule: audit.RuleBudgetExhausted, rows: rows, refusal: api.Refuse(api.CodeForbidden,
			fmt.Sprintf("it is for more rows than the %d that this client may use the %s key of the project for in %s", allowance, a.Use, b.limits.Period),
			"give fewer rows, or ask the project's controllers for a larger budget_rows")}
	}
	if at > slot {
		return refuse(audit.RuleBudgetExhausted, fmt.Sprintf("of the %d rows that this client may use the %s key of the project for in %s, %d are left", allowance, a.Use, b.limits.Period, b.left(a, slot, allowance)),
			b.period().Begin(at), ask)
	}
	if at, fits := t.keyring.belowCeiling(c.Name, a.Use, slot, rows, also); !fits {
		return refuse(audit.RuleCeilingReached, "all clients together have used what they may, and this client has used the share that is its own", b.period().Begin(at),
			"if that is too late, ask the key holder's operators")
	}
	return nil
}

// belowCeiling reports whether rows of a client fit below the ceiling: into its own
// reserved share, or into what is for all. If not it returns a slot at which they
// may.
func (k *Keyring) belowCeiling(client string, use api.Use, slot budget.Slot, rows int64, also promised) (budget.Slot, bool) {
	b := &k.budgets
	if also.rows > 0 {
		b.sumOf(also.client, use) // so that it is among the clients below, though it has used nothing yet
	}
	used := func(client string, at budget.Slot) int64 {
		n := b.sumOf(client, use).Used(at)
		if client == also.client {
			n += also.rows
		}
		return n
	}
	reserved := int64(float64(b.limits.CeilingRows) * b.limits.ReservedShare)
	pool := b.limits.CeilingRows - reserved
	if b.sum(use).Used(slot)+also.rows <= pool-rows {
		return slot, true // whoever used it
	}
	tokenisers := int64(0)
	for _, c := range k.clients {
		if c.Role == api.RoleTokeniser && c.State == clientEnrolled {
			tokenisers++
		}
	}
	share := reserved / max(1, tokenisers)
	for at := slot; at < slot+budget.Slots; at++ {
		beyond := int64(0) // what clients use beyond their shares
		for key := range b.clients {
			if key.use == use && key.client != client {
				beyond += max(0, used(key.client, at)-share)
			}
		}
		own := max(0, used(client, at)+rows-share)
		if own == 0 || beyond+own <= pool {
			return at, at == slot
		}
	}
	return slot + budget.Slots, false
}

// spend counts rows in an account and in the sums, and gives the alarms that it is
// time for.
func (t *transaction) spend(a *account, caller Caller, rows, allowance int64) budget.Slot {
	b := &t.keyring.budgets
	slot := b.slot()
	at := a.Window.Charge(slot, rows)
	b.sumOf(a.Client, a.Use).Charge(slot, rows)
	b.sum(a.Use).Charge(slot, rows)
	if number := at.Number(); number != a.Number {
		if a.Total > 0 {
			a.Usual = append(slices.Clone(a.Usual), a.Total)
			a.Usual = a.Usual[max(0, len(a.Usual)-usualPeriods):]
		}
		a.Number, a.Total = number, 0
	}
	a.Total += rows
	if usual := a.usual(); usual > 0 && a.Total > rateFloor && float64(a.Total) > b.limits.RateFactor*float64(usual) {
		t.alarmOnce(a, audit.RuleRateAbnormal, caller, a.Total)
	}
	if used := a.Window.Used(slot); float64(used) >= lowShare*float64(allowance) {
		t.alarmOnce(a, audit.RuleBudgetLow, caller, used)
	}
	t.putAccount(a)
	return at
}

// usual is the median of what the account used in a period, or 0 where that is not
// known yet.
func (a *account) usual() int64 {
	if len(a.Usual) < leastUsualPeriods {
		return 0
	}
	sorted := slices.Sorted(slices.Values(a.Usual))
	return sorted[len(sorted)/2]
}

// giveBack takes back what was granted and not used.
func (t *transaction) giveBack(a *account, charges []charge, rows int64) {
	b := &t.keyring.budgets
	for i := len(charges) - 1; i >= 0 && rows > 0; i-- {
		back := min(rows, charges[i].Rows)
		rows -= back
		a.Window.Refund(charges[i].Slot, back)
		b.sumOf(a.Client, a.Use).Refund(charges[i].Slot, back)
		b.sum(a.Use).Refund(charges[i].Slot, back)
		if charges[i].Slot.Number() == a.Number {
			a.Total = max(0, a.Total-back)
		}
	}
	t.putAccount(a)
}

func (t *transaction) putAccount(a *account) {
	t.keyring.budgets.accounts[a.key()] = a
	t.put(kindBudget, a.key().name(), a)
}

// alarmedIn reports whether a rule gave its alarm in a period.
func (a *account) alarmedIn(number int64, rule string) bool {
	last, given := a.Alarmed[rule]
	return given && last == number
}

// alarmOnce gives an alarm unless it was given in this period.
func (t *transaction) alarmOnce(a *account, rule string, caller Caller, count int64) {
	number := t.keyring.budgets.slot().Number()
	if a.alarmedIn(number, rule) {
		return
	}
	alarmed := map[string]int64{}
	maps.Copy(alarmed, a.Alarmed) // others may read the one that was
	alarmed[rule] = number
	a.Alarmed = alarmed
	t.alarm(audit.Leaf{Rule: rule, Actor: caller.actor(), Project: a.Project, Purpose: string(a.Use), Count: count})
}

// noteExhausted gives the alarm of a refusal, once in a period.
func (k *Keyring) noteExhausted(ctx context.Context, caller Caller, e *exhausted) error {
	k.mu.RLock()
	held := k.budgets.accounts[e.key]
	given := held != nil && held.alarmedIn(k.budgets.slot().Number(), e.rule)
	k.mu.RUnlock()
	if given {
		return nil
	}
	return k.change(ctx, func(t *transaction) error {
		a := k.budgets.account(e.key)
		t.alarmOnce(a, e.rule, caller, e.rows)
		t.putAccount(a)
		return nil
	})
}

// charge is what a lease was granted at a time.
type charge struct {
	Slot budget.Slot `json:"slot"`
	Rows int64       `json:"rows"`
}

// grant lets a lease be used for more rows: for as many as it wants, or where it does
// not know, for a part of the budget.
func (t *transaction) grant(l *lease, caller Caller, p *project, c *client, wanted int64) error {
	b := &t.keyring.budgets
	a := b.account(accountKey{p.Name, c.Name, l.Use})
	allowance := b.allowance(p, c)
	rows := wanted
	if wanted == 0 {
		rows = max(1, min(b.left(a, b.slot(), allowance), b.openGrant(p, c)))
	}
	if err := t.allow(a, p, c, rows, promised{}); err != nil {
		return err
	}
	l.RowsGranted += rows
	l.Charges = append(slices.Clone(l.Charges), charge{t.spend(a, caller, rows, allowance), rows})
	return nil
}

// openGrant is how many rows are granted at a time where nobody knows how many there
// will be.
func (b *budgets) openGrant(p *project, c *client) int64 {
	return max(leastOpenGrant, b.allowance(p, c)/openGrantParts)
}

// settleLease brings an account in line with what a lease that has ended was used for.
func (t *transaction) settleLease(l *lease) {
	if unused := l.RowsGranted - l.RowsReported; unused > 0 && len(l.Charges) > 0 {
		t.giveBack(t.keyring.budgets.account(accountKey{l.Project, l.Client, l.Use}), l.Charges, unused)
	}
}

// Budgets returns what clients have left, by project, client and use.
func (k *Keyring) Budgets() []api.Budget {
	k.mu.RLock()
	defer k.mu.RUnlock()
	b := &k.budgets
	slot := b.slot()
	all := []api.Budget{}
	for _, c := range k.clients {
		if c.Role != api.RoleTokeniser || c.State == clientRevoked {
			continue
		}
		for _, name := range c.Projects {
			p := k.projects[name]
			for _, use := range api.Uses() {
				a := b.account(accountKey{name, c.Name, use})
				allowance := b.allowance(p, c)
				row := api.Budget{
					Project: name, Client: c.Name, Use: use, Rows: allowance, Period: b.limits.Period.String(),
					Used: a.Window.Used(slot), Left: b.left(a, slot, allowance),
				}
				if until := b.usedUp(a); b.clock.Now().Before(until) {
					row.UsedUpUntil = &until
				}
				all = append(all, row)
			}
		}
	}
	slices.SortFunc(all, func(x, y api.Budget) int {
		return cmp.Or(cmp.Compare(x.Project, y.Project), cmp.Compare(x.Client, y.Client), cmp.Compare(x.Use, y.Use))
	})
	return all
}

// resets returns the accounts that a reset names.
func (k *Keyring) resets(body *api.BudgetReset) (all []accountKey) {
	for _, c := range k.clients {
		if c.Role != api.RoleTokeniser || c.State == clientRevoked || body.Client != "" && c.Name != body.Client {
			continue
		}
		for _, project := range c.Projects {
			if body.Project != "" && project != body.Project {
				continue
			}
			for _, use := range api.Uses() {
				all = append(all, accountKey{project, c.Name, use})
			}
		}
	}
	slices.SortFunc(all, func(a, b accountKey) int { return cmp.Compare(a.name(), b.name()) })
	return all
}

func (k *Keyring) checkBudgetReset(body *api.BudgetReset) error {
	switch {
	case len(k.resets(body)) == 0:
		return noSuch("client with a part in such a project", "see: keyholder budget list")
	case !k.reason(body.Reason):
		return noReason()
	}
	return nil
}

// resetBudget gives clients the whole of their budgets back, for every use.
func (t *transaction) resetBudget(body *api.BudgetReset) (string, error) {
	b := &t.keyring.budgets
	now, all := b.clock.Now(), t.keyring.resets(body)
	for _, key := range all {
		a := b.account(key)
		a.Window, a.Alarmed, a.Reset = budget.Window{}, nil, now
		t.putAccount(a)
	}
	b.sumAgain()
	t.event(audit.Leaf{Kind: audit.KindPolicy, Project: body.Project, Request: body.Client, Outcome: "budget-reset", Count: int64(len(all))})
	return fmt.Sprintf("%d budgets are whole again", len(all)), nil
}

// sumAgain makes the sums anew.
func (b *budgets) sumAgain() {
	clear(b.clients)
	clear(b.all)
	for _, a := range b.accounts {
		b.sumOf(a.Client, a.Use).Add(&a.Window)
		b.sum(a.Use).Add(&a.Window)
	}
}

// RestoredAt is the record that tells a restored store when it was restored.
func RestoredAt(now time.Time) (kind, name string, value []byte) {
	return kindRestoredTime, restoredTimeName, []byte(audit.FormatTime(now))
}
