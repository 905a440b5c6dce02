package nhsuk_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"tarn/keys/holder/console/nhsuk"
)

// components are ours by the name of their folder in the design system.
func components() map[string]nhsuk.Component {
	return map[string]nhsuk.Component{
		"action-link":         &nhsuk.ActionLink{},
		"back-link":           &nhsuk.BackLink{},
		"breadcrumb":          &nhsuk.Breadcrumb{},
		"button":              &nhsuk.Button{},
		"card":                &nhsuk.Card{},
		"character-count":     &nhsuk.CharacterCount{},
		"checkboxes":          &nhsuk.Checkboxes{},
		"contents-list":       &nhsuk.ContentsList{},
		"details":             &nhsuk.Details{},
		"error-message":       &nhsuk.ErrorMessage{},
		"error-summary":       &nhsuk.ErrorSummary{},
		"fieldset":            &nhsuk.Fieldset{},
		"file-upload":         &nhsuk.FileUpload{},
		"footer":              &nhsuk.Footer{},
		"header":              &nhsuk.Header{},
		"heading":             &nhsuk.Heading{},
		"hint":                &nhsuk.Hint{},
		"input":               &nhsuk.Input{},
		"inset-text":          &nhsuk.InsetText{},
		"label":               &nhsuk.Label{},
		"legend":              &nhsuk.Legend{},
		"notification-banner": &nhsuk.NotificationBanner{},
		"pagination":          &nhsuk.Pagination{},
		"panel":               &nhsuk.Panel{},
		"radios":              &nhsuk.Radios{},
		"select":              &nhsuk.Select{},
		"skip-link":           &nhsuk.SkipLink{},
		"summary-list":        &nhsuk.SummaryList{},
		"tables":              &nhsuk.Table{},
		"tabs":                &nhsuk.Tabs{},
		"tag":                 &nhsuk.Tag{},
		"textarea":            &nhsuk.Textarea{},
		"warning-callout":     &nhsuk.WarningCallout{},
	}
}

// modules is the folder of the npm package that a test compares with.
func modules(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("TARN_NODE_MODULES")
	if folder == "" {
		folder = "../../../../build/node/node_modules"
	}
	folder = filepath.Join(folder, "nhsuk-frontend")
	if _, err := os.Stat(folder); err != nil {
		t.Skip("no nhsuk-frontend: run npm ci with testdata/node/package.json and name its node_modules in TARN_NODE_MODULES")
	}
	return folder
}

// fixture is an example of the design system's own.
type fixture struct {
	Name      string
	Context   json.RawMessage
	CallBlock string // markup that stands for the html option
	HTML      string
}

func fixtures(t *testing.T, component string) []fixture {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(modules(t), "dist", "nhsuk", "components", component, "fixtures.json"))
	if err != nil {
		t.Fatal(err)
	}
	var all struct{ Fixtures []fixture }
	if err := json.Unmarshal(b, &all); err != nil {
		t.Fatal(err)
	}
	if len(all.Fixtures) == 0 {
		t.Fatal("the component has no fixture")
	}
	return all.Fixtures
}

// blocks says which option the markup of a block stands for; html unless it is said.
var blocks = map[string]string{"card": "description", "error-summary": "description", "footer": "meta"}

// options are a fixture's with its block among them.
func (f fixture) options(t *testing.T, component string) json.RawMessage {
	t.Helper()
	if f.CallBlock == "" {
		return f.Context
	}
	all := map[string]any{}
	if err := json.Unmarshal(f.Context, &all); err != nil {
		t.Fatal(err)
	}
	if of, ok := blocks[component]; ok {
		all[of] = map[string]any{"html": f.CallBlock}
	} else {
		all["html"] = f.CallBlock
	}
	b, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestFixtures holds each component to the design system's own examples of it. Those
// that it does not take are the ones of notTaken, no more and no fewer.
func TestFixtures(t *testing.T) {
	modules(t)
	taken, total := 0, 0
	for _, component := range slices.Sorted(maps.Keys(components())) {
		t.Run(component, func(t *testing.T) {
			all, mine := fixtures(t, component), 0
			left := maps.Clone(notTaken[component])
			for i, f := range all {
				name := unique(all, i)
				reason, listed := left[name]
				delete(left, name)
				err := f.hold(t, component)
				switch {
				case err == nil && listed:
					t.Errorf("%s is taken: remove it from notTaken", name)
				case err != nil && !listed:
					t.Errorf("%s: %v", name, err)
				case err != nil:
					if not, ok := errors.AsType[notTakenError](err); ok && not.option != reason {
						t.Errorf("%s is not taken for %s, and notTaken says %s", name, not.option, reason)
					}
				default:
					mine++
				}
			}
			for name := range left {
				t.Errorf("%s is in notTaken, and is no fixture", name)
			}
			t.Logf("%d of %d fixtures taken", mine, len(all))
			taken, total = taken+mine, total+len(all)
		})
	}
	t.Logf("%d of %d fixtures taken in all", taken, total)
	for component := range notTaken {
		if components()[component] == nil {
			t.Errorf("notTaken has %s, which is no component", component)
		}
	}
}

// unique is a fixture's name, with its number where several have it.
func unique(all []fixture, i int) string {
	n := 0
	for _, f := range all[:i] {
		if f.Name == all[i].Name {
			n++
		}
	}
	if n == 0 {
		return all[i].Name
	}
	return fmt.Sprintf("%s #%d", all[i].Name, n+1)
}

func (f fixture) hold(t *testing.T, component string) error {
	t.Helper()
	c := reflect.New(reflect.TypeOf(components()[component]).Elem()).Interface().(nhsuk.Component)
	if err := decode(f.options(t, component), c); err != nil {
		return err
	}
	want := parse(t, f.HTML)
	switch component {
	case "header":
		withoutLogo(want)
	case "footer":
		withoutOwner(want, c.(*nhsuk.Footer).Copyright)
	}
	if same, difference := compare(t, want, parse(t, string(c.Render()))); !same {
		return errors.New(difference)
	}
	return nil
}

// withoutLogo takes out of a header what ours does not have: the logo, the "NHS" that
// stands for it in the name of its link, and a link around nothing else.
func withoutLogo(n *html.Node) {
	for c := n.FirstChild; c != nil; {
		next := c.NextSibling
		switch {
		case has(c, "nhsuk-header__logo"):
			n.RemoveChild(c)
		case has(c, "nhsuk-header__service-logo"):
			withoutLogo(c)
			for i, a := range c.Attr {
				if a.Key == "aria-label" {
					c.Attr[i].Val = strings.TrimPrefix(a.Val, "NHS ")
				}
			}
			if len(lines(c, 0, false)) == 0 {
				n.RemoveChild(c)
			}
		default:
			withoutLogo(c)
		}
		c = next
	}
}

// withoutOwner takes out of a footer whose copyright nobody said that it is that of NHS
// England.
func withoutOwner(n *html.Node, said nhsuk.Content) {
	for c := n.FirstChild; c != nil; {
		next := c.NextSibling
		if c.FirstChild != nil && c.FirstChild.Data == "© NHS England" && said.Text == "" && said.HTML == "" {
			n.RemoveChild(c)
		} else {
			withoutOwner(c, said)
		}
		c = next
	}
}

func has(n *html.Node, class string) bool {
	for _, a := range n.Attr {
		if a.Key == "class" && slices.Contains(strings.Fields(a.Val), class) {
			return true
		}
	}
	return false
}
