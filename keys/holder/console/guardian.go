package console

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys/api"
	"tarn/keys/audit"
	"tarn/keys/reidentify"
)

// What a guardian reads: who asked about a patient, the log, and proof of an entry.

// eventView is an entry of the log in words.
type eventView struct {
	Index uint64
	Leaf  audit.Leaf
	When  time.Time
	What  string
	Raw   string
}

// Who did it.
func (e eventView) Who() string {
	a := &e.Leaf.Actor
	if a.Subject == "" {
		return "the key holder"
	}
	who := a.Subject
	if a.Role != "" {
		who += ", role " + a.Role
	}
	if a.Organisation != "" {
		who += " at " + a.Organisation
	}
	return who
}

// For is for what, and of which project's patients.
func (e eventView) For() string {
	text := purposeText(e.Leaf.Purpose)
	if e.Leaf.Project == "" {
		return text
	}
	if text != "" {
		text += ", "
	}
	return text + "project " + e.Leaf.Project
}

func eventsOf(events []api.Event) []eventView {
	all := []eventView{}
	for _, e := range events {
		leaf, err := audit.Decode(e.Leaf)
		if err != nil {
			leaf = audit.Leaf{Kind: "unknown"}
		}
		when, _ := time.Parse(audit.TimeLayout, leaf.Time)
		all = append(all, eventView{Index: e.Index, Leaf: leaf, When: when, What: whatHappened(&leaf), Raw: indented(e.Leaf)})
	}
	return all
}

func indented(leaf jsontext.Value) string {
	text := jsontext.Value(append([]byte{}, leaf...))
	if err := text.Indent(jsontext.WithIndent("  ")); err != nil {
		return string(leaf)
	}
	return string(text)
}

// kindWords say what an entry of each kind is about.
var kindWords = map[audit.Kind]string{
	audit.KindReidRequest: "Asked who a patient is", audit.KindReidDecision: "Decision on a request", audit.KindApproval: "An approver decided", audit.KindReidIntent: "About to open",
	audit.KindReidOutcome: "Opening", audit.KindRedeliver: "Shown again", audit.KindBreakGlassReview: "Emergency reviewed", audit.KindWorklist: "Worklist sent",
	audit.KindWhoAsked: "A guardian looked up who asked", audit.KindRelationship: "The region was asked", audit.KindLease: "A key was used", audit.KindEvaluate: "Tokens were made",
	audit.KindClient: "A client was changed", audit.KindEnrol: "A client enrolled", audit.KindProject: "A project was changed", audit.KindDomain: "A domain was changed",
	audit.KindPolicy: "The policy was changed", audit.KindOperatorApproval: "Operators asked or decided", audit.KindKeyState: "A key was changed", audit.KindRotate: "Tokens were rotated",
	audit.KindConvert: "Tokens were converted", audit.KindUnseal: "The key holder was unlocked", audit.KindBackup: "A backup was made", audit.KindRestore: "A backup was restored",
	audit.KindRefuse: "Something was refused", audit.KindAlarm: "Alarm", audit.KindStart: "The key holder started", audit.KindGrant: "A grant was changed",
}

// decisionWords go on from what an entry is about.
var decisionWords = map[audit.Decision]string{audit.Allow: "allowed", audit.Approve: "approved", audit.Deny: "refused", audit.Pending: "waits for approval"}

// outcomeWords are those of openings and reviews.
var outcomeWords = map[string]string{
	string(reidentify.Released): "the patient was named", string(reidentify.Failed): "nobody was named", string(reidentify.Unknown): "cut off: it is not known whether anybody was named", string(reidentify.Void): "taken back",
	"justified": "justified", "not-justified": "not justified", "inconclusive": "inconclusive",
}

func whatHappened(leaf *audit.Leaf) string {
	text := kindWords[leaf.Kind]
	if text == "" {
		text = string(leaf.Kind)
	}
	more := []string{}
	if word := decisionWords[leaf.Decision]; word != "" {
		more = append(more, word)
	}
	if word := outcomeWords[leaf.Outcome]; word != "" {
		more = append(more, word)
	}
	if rule := reidentify.Rule(leaf.Rule); leaf.Rule != "" && rule.Why() != "" {
		more = append(more, ofOthers(rule.Why()))
	} else if limit, is := strings.CutPrefix(leaf.Rule, "limit/"); is {
		more = append(more, reidentify.LimitText(limit))
	}
	if leaf.Unwitnessed {
		more = append(more, "before the second record had signed")
	}
	if len(more) == 0 {
		return text
	}
	return text + ": " + strings.Join(more, "; ")
}

// ofOthers turns what a rule says to whoever it is about into what it says of them.
func ofOthers(text string) string {
	return strings.TrimSpace(strings.NewReplacer(" your ", " their ", " yours ", " theirs ", " you ", " they ").Replace(" " + text + " "))
}

// whoAskedView is the form by which a guardian asks, and the answer.
type whoAskedView struct {
	Projects []choice
	Token    string
	Wrong    wrong
	Asked    bool
	Events   []eventView
	Others   int // of the entries: those that are not of guardians who looked
	Searched uint64
}

func (v *visit) whoAskedForm() error { return v.whoAskedPage(whoAskedView{}) }

func (v *visit) whoAskedPage(page whoAskedView) error {
	if !v.may().Guardian {
		return noUse("You cannot read who asked", "Your role does not read who asked about whom.")
	}
	register, err := v.console.options.Registrar.Register(v.r.Context())
	if err != nil {
		return err
	}
	chosen := v.value("project")
	for i := range register.Projects {
		if p := &register.Projects[i]; p.Reidentify != "none" {
			page.Projects = append(page.Projects, choice{Value: p.Name, Text: p.Name, Hint: p.Purpose, Chosen: p.Name == chosen})
		}
	}
	if len(page.Projects) == 1 {
		page.Projects[0].Chosen = true
	}
	title, status := "Who asked about a patient", http.StatusOK
	if len(page.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, "who-asked", title, &page)
	return nil
}

// whoAsked searches the log. The token is in the form, and the answer at no address.
func (v *visit) whoAsked() error {
	if err := v.readForm(); err != nil {
		return err
	}
	page := whoAskedView{Token: v.token()}
	if text := tokenWrong(page.Token); text != "" {
		page.Wrong.add("token", text)
	}
	if v.value("project") == "" {
		page.Wrong.add("project", "Choose the project that the token is from.")
	}
	if len(page.Wrong) > 0 {
		return v.whoAskedPage(page)
	}
	found, err := v.console.options.Auditor.WhoAsked(v.r.Context(), v.caller(""), &api.WhoAskedRequest{Project: v.value("project"), Token: page.Token})
	switch {
	case ofForm(err, map[string]string{"/token": "token", "/project": "project"}, &page.Wrong):
	case err != nil:
		return err
	default:
		page.Asked, page.Events, page.Searched = true, eventsOf(found.Items), found.Searched
		for i := range page.Events {
			if page.Events[i].Leaf.Kind != audit.KindWhoAsked {
				page.Others++
			}
		}
	}
	return v.whoAskedPage(page)
}

// logView is the search of the log.
type logView struct {
	Filter   api.EventFilter
	From, To string // days, as the form has them
	Kinds    []choice
	Events   []eventView
	Found    int
	Searched uint64
	Wrong    wrong
}

// kindsOffered are the kinds that a search offers, those of people first.
func kindsOffered(chosen string) []choice {
	all := []choice{{Value: "", Text: "Anything"}}
	for _, kind := range []audit.Kind{audit.KindReidRequest, audit.KindReidDecision, audit.KindApproval, audit.KindReidIntent, audit.KindReidOutcome, audit.KindRedeliver, audit.KindBreakGlassReview,
		audit.KindWorklist, audit.KindWhoAsked, audit.KindRefuse, audit.KindAlarm, audit.KindPolicy, audit.KindProject, audit.KindClient, audit.KindOperatorApproval, audit.KindGrant, audit.KindKeyState,
		audit.KindLease, audit.KindRotate, audit.KindConvert, audit.KindUnseal, audit.KindBackup, audit.KindRestore, audit.KindStart} {
		all = append(all, choice{Value: string(kind), Text: kindWords[kind], Chosen: string(kind) == chosen})
	}
	return all
}

const eventsShown = 100

// log searches the log by what its entries say: never by a patient.
func (v *visit) log() error {
	query := v.r.URL.Query()
	get := func(name string) string { return strings.TrimSpace(query.Get(name)) }
	page := logView{From: get("from"), To: get("to"), Kinds: kindsOffered(get("kind"))}
	page.Filter = api.EventFilter{Kind: get("kind"), Project: get("project"), Organisation: strings.ToUpper(get("organisation")), Subject: get("subject"), Request: strings.ToLower(get("request")), Most: eventsShown}
	var there bool
	if page.Filter.From, there = dayOf(page.From); !there {
		page.Wrong.add("from", "Give the first day as in 2026-11-27.")
	}
	if page.Filter.Before, there = dayOf(page.To); !there {
		page.Wrong.add("to", "Give the last day as in 2026-11-27.")
	} else if page.To != "" {
		page.Filter.Before = page.Filter.Before.AddDate(0, 0, 1)
	}
	if page.Filter.Request != "" && !reidentify.IsHash(page.Filter.Request) {
		page.Wrong.add("request", "A request's hash has 64 characters: 0 to 9 and a to f. Copy the whole of it.")
	}
	status, title := http.StatusOK, "Search the log"
	if len(page.Wrong) > 0 {
		status, title = http.StatusUnprocessableEntity, "Error: Search the log"
	} else {
		found, err := v.console.options.Auditor.Events(v.r.Context(), v.caller(""), &page.Filter)
		if err != nil {
			return err
		}
		page.Events, page.Found, page.Searched = eventsOf(found.Items), found.Found, found.Searched
	}
	v.render(status, "log", title, &page)
	return nil
}

// dayOf reads a day of the form; none is any.
func dayOf(text string) (time.Time, bool) {
	if text == "" {
		return time.Time{}, true
	}
	day, err := time.ParseInLocation(time.DateOnly, text, reidentify.London())
	return day, err == nil
}

// entryIndex is the entry that an address names.
func (v *visit) entryIndex() (uint64, error) {
	index, err := strconv.ParseUint(v.r.PathValue("index"), 10, 62)
	if err != nil {
		return 0, api.Refuse(api.CodeNotFound, "", "")
	}
	return index, nil
}

// entry shows one entry of the log, whole.
func (v *visit) entry() error {
	index, err := v.entryIndex()
	if err != nil {
		return err
	}
	document, err := v.console.options.Auditor.EventReceipt(v.r.Context(), v.caller(""), index)
	if err != nil {
		return err
	}
	leaf := struct {
		Leaf jsontext.Value `json:"leaf"`
	}{}
	if err := json.Unmarshal(document, &leaf); err != nil {
		return err
	}
	v.render(http.StatusOK, "entry", "Entry "+strconv.FormatUint(index, 10)+" of the log", eventsOf([]api.Event{{Index: index, Leaf: leaf.Leaf}})[0])
	return nil
}

// entryReceipt is a file that proves that an entry is in the log.
func (v *visit) entryReceipt() error {
	index, err := v.entryIndex()
	if err != nil {
		return err
	}
	document, err := v.console.options.Auditor.EventReceipt(v.r.Context(), v.caller(""), index)
	if err != nil {
		return err
	}
	return v.file("receipt-"+strconv.FormatUint(index, 10)+".json", "application/json", document)
}

// hashSearch is the address of all entries about a request.
func hashSearch(hash string) string { return "/log?" + url.Values{"request": {hash}}.Encode() }
