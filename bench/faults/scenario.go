// Package faults runs Tarn's services and does to them what a bad day does: kills
// them, takes the power from their disks, fills those, has system calls fail,
// tampers with the log, puts back old copies. The service is the binary as it is
// shipped, in a process of its own.
//
// What the service acknowledged is kept in a [Ledger], on another filesystem than
// the service's. Whether it is still there is asked by another process, tarn faults
// check: whatever becomes of the service, or of the one that puts load on it, the
// ledger says what was promised.
//
// A [Scenario] has controls: the same without the fault, or with a fault that must
// be found. A scenario whose control does not fail as it must has shown nothing, and
// does not pass.
//
// The scenarios are numbered as the design's list of twenty. To add one write a
// function that takes a [Trial] and put it into [All] in the place of its number.
package faults

import (
	"slices"
	"strconv"

	"tarn/keys/fault"
)

// Scenario is one of the twenty.
type Scenario struct {
	Number  int
	Name    string // one word, for the command line
	Does    string // what is done, and what must hold
	Control string // what must fail, or be found, for it to have shown something
	// Run runs it. It tells the Trial what it found; an error says that it could not be
	// run to its end.
	Run func(*Trial) error
}

// All returns the twenty scenarios, in order.
func All() []Scenario {
	return []Scenario{
		{Number: 1, Name: "kill", Run: killed,
			Does:    "The key holder is killed (SIGKILL) again and again while callers change it and lease keys. It comes back with everything that it acknowledged, and is ready in 5 s.",
			Control: "An acknowledgement that is planted in the ledger is missed, and one that is altered is seen to differ."},
		{Number: 2, Name: "power", Run: powerCut,
			Does:    "The disks of store and anchor lose their power while callers change it: nothing acknowledged is missing.",
			Control: "The same with a key holder whose syncs do nothing loses what it acknowledged, or sees that it has."},
		{Number: 3, Name: "calls", Run: failingCalls,
			Does:    "A sync, write, open or rename of the key holder fails, or kills it, every thirtieth time from some moment on. It goes on, or ends and says why; started again it has everything that it acknowledged.",
			Control: "The trace shows the fault in at least half of the rounds; traced without one, the key holder goes on; a planted acknowledgement is missed."},
		{Number: 4, Name: "full", Run: both(fullDisk, fullRegion),
			Does:    "The disk of the key holder's store is full: changes are refused with 507, reading goes on, and with room again it takes changes by itself. The same with the disk of a region's store: new rows are refused with 507, what was answered is answered again.",
			Control: "A key holder, and a region, that do not look at free space do not live through it; a request that was never acknowledged is charged."},
		{Number: 5, Name: "damage", Run: damaged,
			Does:    "One byte of a store file is flipped, or the file is cut short, each file in turn, with the key holder stopped. It refuses to start, or everything that it acknowledged is there and equal: nothing is wrong or empty.",
			Control: "The untouched copy starts and is whole; of the damaged ones some are refused."},
		{Number: 6, Name: "log-away", Run: logAway,
			Does:    "The log cannot be written: its folder is in the way, its disk is full, its disk fails. Every use of a key and every change is answered 503 log_unavailable, asking, approving and opening too, and nobody is told who a patient is; reading goes on, the metric says so; it recovers by itself, with an alarm in the log, and of what was begun the store has nothing that the log has not. What was ready is opened then, once, and so is an opening that was on its way when the log failed: it had opened nothing, and is given back.",
			Control: "The same calls with the log well are all answered, before and after."},
		{Number: 7, Name: "tamper", Run: tampered,
			Does:    "In copies of a key holder's log one entry is flipped, removed, put in, moved or cut off with all after it, those of a re-identification (request, decision, approval, intent, outcome, redelivery) among them: auditor verify names its index. Asked for: within 10 s a million entries.",
			Control: "The untouched copy is whole."},
		{Number: 8, Name: "rollback", Run: rolledBack,
			Does:    "Log, or store, or both with the anchor, are put back to an older copy that is consistent: the start is refused, by the store, the anchor or the witness. So an approval to open a request, used after that copy was made, is not used again; in a backup of then it is void.",
			Control: "Without a witness the key holder starts on the older copy, opens the request again, and only an auditor who kept a checkpoint notices; the newest copy starts."},
		{Number: 9, Name: "enumerate", Run: both(enumerated, enumeratedThroughService),
			Does:    "A client of the key holder, and callers of the tokenise service, enumerate a million numbers: they are stopped at their budgets, the service's own and the key holder's, with 429 and Retry-After; there is an alarm within 10 s; and all holds over restarts and kills. (That no clock refills a budget: TestNoClockRefillsABudget of the source.)",
			Control: "A client inside its budget is not stopped, and neither is one whose budget was given back; without budgets every number is answered."},
		{Number: 10, Name: "probe", Run: probed,
			Does:    "Somebody who may encode makes a cohort of one row again and again, and has each linked, to find out who is in another party's cohort: the key holder's budget stops them, with 429, over a kill too. No count of 1 to 9 is in the report or the equity tables of such a linkage. (Totals of summary.json are exact by the contract, and none is shown as none, in the report too: whoever has the result of one row knows. So it is the budget that bounds the probing.)",
			Control: "links.parquet, where nothing is suppressed, finds each row; without a budget the probing is not stopped; a small count that is planted in a report is found."},
		{Number: 11, Name: "identity", Run: identified,
			Does:    "No, an expired, a revoked, a foreign or a wrong role's certificate at the key holder, and strangers' at a region's service; tokens of no algorithm, of another audience, issuer or role, expired, signed with a public key, that bring a key or say where one is; a certificate for a token, and a token for a certificate: all are refused, and the key holder's refusals recorded, and nothing is fetched.",
			Control: "The right certificate and the right token are answered, the region answers the key holder, and who does fetch is counted."},
		{Number: 12, Name: "leak", Run: both(leaked, leakedFromService),
			Does:    "5,000 people go through the tokeniser, done, refused, wrong and killed, and are put wherever a caller of the key holder could put them by mistake: none is in a log, metric, store, backup or output. They come to the tokenise service as rows, and wherever a caller of its could put them, done, refused, wrong, too slow and while it is killed: none is in its logs at level debug, metrics, refusals, store or key files, nor in an answer but by the own id. (Panics, timeouts, memory and core files: TestNothingLeaks of the source.)",
			Control: "Who is planted there is found."},
		{Number: 13, Name: "hostile", Run: hostile,
			Does:    "Bombs, fields of 100 MB, bad UTF-8, bidirectional text, formulas, and valid requests with bytes changed, in all forms, for a minute: no 5xx but 503, no crash, bounded memory; an id comes back in its cell as it was sent, and nothing else of a row.",
			Control: "Without limits the same requests take more memory than that; what they are made of is answered."},
		{Number: 14, Name: "self-approval", Run: selfApproved,
			Does:    "Somebody tries to approve her own request by every entrance: as herself, in another session, role or account of hers, with the command, with an operator's certificate, as an operation. She reviews her own break-glass, opens her own worklist, and one operator of two sets a policy. None is open, nothing changes, and her tries are in the log.",
			Control: "Another's approval, review and opening count; with two operators the policy is set."},
		{Number: 15, Name: "races", Run: raced,
			Does:    "An edit after approval, 200 openings at once, replay, approvers who disagree at once, and kills in the middle of openings: what was approved is opened once, or nobody knows what came of it, which the log says once. (Expiry, and redelivery after five minutes: the tests of keys/reidentify, since a key holder's clock cannot be moved.)",
			Control: "Two approvals of two requests execute twice."},
		{Number: 16, Name: "http", Run: abused,
			Does:    "Requests of which two readers could think that they end in different places, and 500 slow connections: one answer a request, or the connection is closed, and others do not wait for them.",
			Control: "Two well-formed requests, one behind the other, are answered with two answers, and one between the slow ones is answered."},
		{Number: 17, Name: "sealed", Run: sealed,
			Does:    "A key holder that was started with no, too few or wrong shares answers 503 to every use of a key, its memory holds no key, and the tries are in the log.",
			Control: "With enough shares it answers, and the key is found in its memory."},
		{Number: 18, Name: "backup", Run: backedUp,
			Does:    "Backups are taken under load and restored: everything acknowledged before is there. Copies that are cut short, flipped, of another backup or older than the anchor are refused.",
			Control: "The untouched copy is restored; what was acknowledged after it is missed."},
		{Number: 19, Name: "stalled", Run: both(stalled, stalledService),
			Does:    "The key holder stalls, or is cut off, or revokes the client, in the middle of a tokeniser's run, with leased keys or while it evaluates: the run ends before its leases do, without a storm of requests, goes on later to the same bytes, and nothing is recorded twice, nor evaluated again that a checkpoint holds. It is ready again within 2 s. A tokenise service whose key holder stalls or is cut off answers 503 within its deadline once it needs it, without a storm, and recovers by itself within 2 s and the 2 s between its tries.",
			Control: "A key holder that stalls for less than the leases last ends no run, and stops no service."},
		{Number: 20, Name: "load", Run: soaked,
			Does:    "60 s of open-loop load on two tokenise services, of a keyed-hash and of an oblivious project, with a rotation of their domains' keys and a SIGTERM in the middle, then the same with the race detector: every request is answered in the end, every answer is what a run of the tokeniser makes, what was acknowledged is answered again as it was and charged once, memory and goroutines are flat.",
			Control: "A stall of 2 s shows in the latencies; an answer that is altered in the ledger, and a request that was never acknowledged, are found."},
	}
}

// Find returns the scenarios of these names or numbers, in order; of none all.
func Find(names []string) (found []Scenario, err error) {
	known := map[string]bool{}
	for _, s := range All() {
		wanted := len(names) == 0
		for _, name := range names {
			if name == s.Name || name == strconv.Itoa(s.Number) {
				wanted, known[name] = true, true
			}
		}
		if wanted {
			found = append(found, s)
		}
	}
	if slices.ContainsFunc(names, func(name string) bool { return !known[name] }) {
		return nil, fault.New(fault.Usage, "finding the scenario", "there is none of this name or number", "list them: tarn faults list")
	}
	return found, nil
}
