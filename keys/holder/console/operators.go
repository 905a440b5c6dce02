package console

import (
	"html/template"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"tarn/keys"
	"tarn/keys/api"
	"tarn/keys/holder/console/nhsuk"
)

// What operators change, two by two: one asks, another approves exactly what they read.

// operatorsView is what there is, and what waits.
type operatorsView struct {
	*api.OperatorsSee
	Waiting []changeView // for another operator
	Done    []changeView // newest first
}

// changeView is a change that was asked for.
type changeView struct {
	*api.Operation
	What   string // in words
	Mine   bool
	Facts  []fact
	Body   string // as it is approved
	Now    time.Time
	Wrong  wrong
	Chosen string
}

var operationWords = map[api.OperationKind]string{
	api.OpProjectAdd: "Add project", api.OpProjectRenew: "Renew project", api.OpClientAdd: "Add client", api.OpClientRenew: "New code for client", api.OpClientRevoke: "Revoke client",
}

// operationStates say how far a change has come, with the design system's colour.
var operationStates = map[api.OperationState][2]string{
	api.OpPending: {"Waiting for another operator", "yellow"}, api.OpApproved: {"Approved: its code is to be collected", "green"}, api.OpExecuted: {"Done", "blue"},
	api.OpRejected: {"Rejected", "red"}, api.OpExpired: {"Expired", "grey"}, api.OpRefusedAt: {"No longer possible", "red"}, api.OpVoid: {"Void", "grey"},
}

// ByPerson reports whether somebody has asked for it in the console.
func (c changeView) ByPerson() bool { return c.Person != (api.OperatorPerson{}) }

// FactList is what an operator looks at first.
func (c changeView) FactList() template.HTML {
	var rows []nhsuk.SummaryRow
	for _, f := range c.Facts {
		rows = append(rows, row(f.Name, nhsuk.Cell{Text: f.Value}))
	}
	return summaryListHTML(rows...)
}

// StateText is how far the change has come, in words.
func (c changeView) StateText() string { return operationStates[c.State][0] }

// StateColour is that of its tag.
func (c changeView) StateColour() string { return operationStates[c.State][1] }

func (v *visit) changeOf(o *api.Operation) changeView {
	c := changeView{Operation: o, What: operationWords[o.Kind], Now: v.arrived, Body: indented(o.Body)}
	var named struct {
		Name   string `json:"name"`
		Record struct {
			Name string `json:"name"`
		} `json:"record"`
	}
	if json.Unmarshal(o.Body, &named) == nil {
		c.What = strings.TrimSpace(c.What + " " + named.Name + named.Record.Name)
	}
	c.Facts = factsOf(o)
	p := o.Person
	c.Mine = p.Issuer != "" && p.Issuer == v.session.person.Issuer && p.Subject == v.session.person.Subject || p.UserID != "" && p.UserID == v.session.person.UserID
	return c
}

// fact is one of what a change says, in words.
type fact struct{ Name, Value string }

// factsOf are those that an operator looks at first. The whole is beside them.
func factsOf(o *api.Operation) (all []fact) {
	add := func(name, value string) {
		if value != "" {
			all = append(all, fact{name, value})
		}
	}
	switch o.Kind {
	case api.OpProjectAdd, api.OpProjectRenew:
		var body api.ProjectAdd
		var p keys.Project
		if json.Unmarshal(o.Body, &body) != nil || json.Unmarshal(body.Record, &p) != nil {
			return nil
		}
		add("Project", p.Name)
		add("Purpose", p.Purpose)
		add("UK GDPR, Article 6", p.LegalBasis.Article6)
		add("UK GDPR, Article 9", p.LegalBasis.Article9)
		add("Duty of confidence", p.LegalBasis.Confidentiality)
		add("Data controllers", strings.Join(p.Controllers, ", "))
		add("Can patients be looked up?", lookUpsText(api.RegisterProject{Reidentify: p.Reidentify.Mode, Purposes: p.Reidentify.Purposes}))
		add("Runs until", p.Expires)
	case api.OpClientAdd, api.OpClientRenew, api.OpClientRevoke:
		var c api.ClientAdd
		if json.Unmarshal(o.Body, &c) != nil {
			return nil
		}
		add("Client", c.Name)
		add("Role", string(c.Role))
		add("Organisation", c.Organisation)
		add("Projects", strings.Join(c.Projects, ", "))
		add("Source data sets", strings.Join(c.SourceDatasets, ", "))
	}
	return all
}

// see is what an operator sees.
func (v *visit) see() (*api.OperatorsSee, error) {
	if !v.may().Operator {
		return nil, noUse("You cannot change projects and clients", "You are not one of the key holder's operators.")
	}
	return v.console.options.Operators.See(v.r.Context(), v.caller(""))
}

const changesShown = 20

func (v *visit) operators() error {
	see, err := v.see()
	if err != nil {
		return err
	}
	page := operatorsView{OperatorsSee: see}
	for i := range see.Operations {
		c := v.changeOf(&see.Operations[i])
		if c.State == api.OpPending || c.State == api.OpApproved {
			page.Waiting = append(page.Waiting, c)
		} else {
			page.Done = append(page.Done, c)
		}
	}
	slices.Reverse(page.Done)
	page.Done = page.Done[:min(len(page.Done), changesShown)]
	v.render(http.StatusOK, "operators", "Projects and clients", &page)
	return nil
}

// projectView is the form by which a project is added or renewed.
type projectView struct {
	FormID string
	Record string
	Kind   string
	Kinds  []choice
	Wrong  wrong
}

func (v *visit) projectForm() error { return v.projectPage(projectView{}) }

func (v *visit) projectPage(page projectView) error {
	if _, err := v.see(); err != nil {
		return err
	}
	if page.FormID == "" {
		page.FormID = v.newID()
	}
	page.Kinds = []choice{
		{Value: string(api.OpProjectAdd), Text: "Add a project", Chosen: page.Kind != string(api.OpProjectRenew)},
		{Value: string(api.OpProjectRenew), Text: "Renew a project", Hint: "Its record is replaced, and its keys stay.", Chosen: page.Kind == string(api.OpProjectRenew)},
	}
	title, status := "Add or renew a project", http.StatusOK
	if len(page.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, "project", title, &page)
	return nil
}

func (v *visit) sendProject() error {
	if err := v.readForm(); err != nil {
		return err
	}
	id, err := v.formID()
	if err != nil {
		return err
	}
	page := projectView{FormID: id, Record: v.value("record"), Kind: v.value("kind")}
	record := jsontext.Value(page.Record)
	switch {
	case page.Kind != string(api.OpProjectAdd) && page.Kind != string(api.OpProjectRenew):
		page.Wrong.add("kind", "Choose what to do.")
	case page.Record == "":
		page.Wrong.add("record", "Paste the project's record, project.json.")
	case !record.IsValid() || record.Kind() != '{':
		page.Wrong.add("record", "This is no JSON object. Paste the whole of project.json.")
	}
	if len(page.Wrong) > 0 {
		return v.projectPage(page)
	}
	body, err := json.Marshal(api.ProjectAdd{Record: record}, json.Deterministic(true))
	if err != nil {
		return err
	}
	return v.askChange(id, api.OperationKind(page.Kind), body, func(text string) error {
		page.Wrong.add("record", text)
		return v.projectPage(page)
	})
}

// askChange asks for a change, and goes to its page. What is wrong with its form is shown by
// the form.
func (v *visit) askChange(id string, kind api.OperationKind, body jsontext.Value, formWrong func(text string) error) error {
	operation, err := v.console.options.Operators.AskChange(v.r.Context(), v.caller(id), &api.OperationRequest{Kind: kind, Body: body})
	if err != nil {
		if s := v.explain(err); s.Status == http.StatusBadRequest || s.Status == http.StatusConflict {
			return formWrong(strings.TrimSpace(s.Text + " " + s.Next))
		}
		return err
	}
	v.redirect("/operators/changes/" + operation.ID)
	return nil
}

// clientView is the form by which a client is added.
type clientView struct {
	FormID             string
	Name, Organisation string
	Sources            string
	Roles, Projects    []choice
	Wrong              wrong
}

func (v *visit) clientForm() error { return v.clientPageOf(clientView{}) }

func (v *visit) clientPageOf(page clientView) error {
	see, err := v.see()
	if err != nil {
		return err
	}
	if page.FormID == "" {
		page.FormID = v.newID()
	}
	role := v.value("role")
	page.Roles = []choice{
		{Value: string(api.RoleTokeniser), Text: "Tokeniser", Hint: "A program that makes tokens of a source's records.", Chosen: role == string(api.RoleTokeniser) || role == ""},
		{Value: string(api.RoleAuditor), Text: "Auditor", Hint: "A program that reads the log and what there is.", Chosen: role == string(api.RoleAuditor)},
	}
	for _, project := range see.Projects {
		page.Projects = append(page.Projects, choice{Value: project.Name, Text: project.Name, Chosen: slices.Contains(v.r.PostForm["project"], project.Name)})
	}
	title, status := "Add a client", http.StatusOK
	if len(page.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, "client-add", title, &page)
	return nil
}

func (v *visit) sendClient() error {
	if err := v.readForm(); err != nil {
		return err
	}
	id, err := v.formID()
	if err != nil {
		return err
	}
	page := clientView{FormID: id, Name: v.value("name"), Organisation: strings.ToUpper(v.value("organisation")), Sources: v.value("sources")}
	add := api.ClientAdd{Name: page.Name, Role: api.Role(v.value("role")), Organisation: page.Organisation}
	if add.Role == api.RoleTokeniser {
		add.Projects, add.SourceDatasets = v.r.PostForm["project"], strings.Fields(strings.ReplaceAll(page.Sources, ",", " "))
	}
	if page.Name == "" {
		page.Wrong.add("name", "Give the client a name.")
	}
	if page.Organisation == "" {
		page.Wrong.add("organisation", "Give the ODS code of the organisation that runs it.")
	}
	if add.Role == api.RoleTokeniser && len(add.Projects) == 0 {
		page.Wrong.add("project", "Choose at least one project.")
	}
	if len(page.Wrong) > 0 {
		return v.clientPageOf(page)
	}
	body, err := json.Marshal(add, json.Deterministic(true))
	if err != nil {
		return err
	}
	return v.askChange(id, api.OpClientAdd, body, func(text string) error {
		page.Wrong.add("name", text)
		return v.clientPageOf(page)
	})
}

// oneClient is a client's page.
type oneClient struct {
	api.Client
	FormID string
	Wrong  wrong
	Ours   bool // it is an operator's, which people do not change
}

var clientText = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

func (v *visit) theClient() (*oneClient, error) {
	see, err := v.see()
	if err != nil {
		return nil, err
	}
	name := v.r.PathValue("name")
	at := slices.IndexFunc(see.Clients, func(c api.Client) bool { return c.Name == name })
	if at < 0 || !clientText.MatchString(name) {
		return nil, api.Refuse(api.CodeNotFound, "", "")
	}
	return &oneClient{Client: see.Clients[at], FormID: v.newID(), Ours: see.Clients[at].Role == api.RoleOperator}, nil
}

func (v *visit) clientPage() error {
	c, err := v.theClient()
	if err != nil {
		return err
	}
	v.render(http.StatusOK, "client", "Client "+c.Name, c)
	return nil
}

// changeClient asks for a new code for a client, or that it is revoked.
func (v *visit) changeClient() error {
	if err := v.readForm(); err != nil {
		return err
	}
	id, err := v.formID()
	if err != nil {
		return err
	}
	c, err := v.theClient()
	if err != nil {
		return err
	}
	kind := api.OpClientRenew
	if v.value("action") == "revoke" {
		kind = api.OpClientRevoke
	}
	body, err := json.Marshal(api.ClientNamed{Name: c.Name}, json.Deterministic(true))
	if err != nil {
		return err
	}
	return v.askChange(id, kind, body, func(text string) error {
		return &shown{Status: http.StatusConflict, Title: "This cannot be done now", Text: text, Link: "/operators/clients/" + c.Name, LinkText: "Client " + c.Name}
	})
}

// theChange reads the change that an address names.
func (v *visit) theChange() (*changeView, error) {
	see, err := v.see()
	if err != nil {
		return nil, err
	}
	id := v.r.PathValue("id")
	at := slices.IndexFunc(see.Operations, func(o api.Operation) bool { return o.ID == id })
	if at < 0 {
		return nil, api.Refuse(api.CodeNotFound, "", "")
	}
	c := v.changeOf(&see.Operations[at])
	return &c, nil
}

func (v *visit) change() error {
	c, err := v.theChange()
	if err != nil {
		return err
	}
	return v.changePage(c)
}

func (v *visit) changePage(c *changeView) error {
	title, status := c.What, http.StatusOK
	if len(c.Wrong) > 0 {
		title, status = "Error: "+title, http.StatusUnprocessableEntity
	}
	v.render(status, "change", title, c)
	return nil
}

// decideChange takes an operator's decision on the change of the hash that they were shown.
func (v *visit) decideChange() error {
	if err := v.readForm(); err != nil {
		return err
	}
	c, err := v.theChange()
	if err != nil {
		return err
	}
	if c.Chosen = v.value("decision"); c.Chosen == "" {
		c.Wrong.add("decision", "Choose whether you approve it.")
		return v.changePage(c)
	}
	_, err = v.console.options.Operators.DecideChange(v.r.Context(), v.caller(""), c.ID, &api.ApprovalRequest{Decision: c.Chosen, Hash: v.value("hash")})
	if err != nil {
		return err
	}
	v.redirect("/operators/changes/" + c.ID)
	return nil
}

// collectCode shows the enrolment code of a change, once. It lies at no address.
func (v *visit) collectCode() error {
	c, err := v.theChange()
	if err != nil {
		return err
	}
	collected, err := v.console.options.Operators.CollectChange(v.r.Context(), v.caller(""), c.ID)
	if err != nil {
		return err
	}
	v.render(http.StatusOK, "code", "Enrolment code", collected)
	return nil
}
