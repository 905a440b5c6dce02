package browser

import (
	"fmt"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Violation is a rule of axe-core that a page breaks.
type Violation struct {
	Rule string   `json:"rule"`
	Help string   `json:"help"`
	At   []string `json:"at"` // CSS selectors of some of the elements
}

func (v Violation) String() string { return fmt.Sprintf("%s: %s at %q", v.Rule, v.Help, v.At) }

// leastRules is how many rules apply to every page: fewer means that nothing was looked at.
const leastRules = 10

// Axe holds the page to WCAG 2.0 to 2.2, A and AA, and to best practice. source is that of
// axe-core (axe.min.js). It needs scripts; the page's policy does not hinder it.
func (p *Person) Axe(source string) ([]Violation, error) {
	if !p.scripts {
		return nil, p.fail("looking with axe-core: scripts are switched off")
	}
	if _, err := eval[chromedp.Void](p, source+";0"); err != nil {
		return nil, p.fail("looking with axe-core: it cannot be loaded")
	}
	report, err := eval[struct {
		Violations []Violation `json:"violations"`
		Passes     int         `json:"passes"`
	}](p, `axe.run(document, {runOnly: ["wcag2a","wcag2aa","wcag21a","wcag21aa","wcag22aa","best-practice"]}).then(r => ({
		violations: r.violations.map(v => ({rule: v.id, help: v.help, at: v.nodes.slice(0, 5).map(n => n.target.join(" "))})), passes: r.passes.length}))`)
	if err != nil {
		return nil, p.fail("looking with axe-core: %w", err)
	}
	if applied := report.Passes + len(report.Violations); applied < leastRules {
		return nil, p.fail("looking with axe-core: %d rules applied only, it is blind", applied)
	}
	return report.Violations, nil
}

// TooWide lists, by tag, name and class, what leaves a screen of a width in CSS pixels, if the
// page can be scrolled sideways.
func (p *Person) TooWide(width int) ([]string, error) {
	wide, err := eval[[]string](p, fmt.Sprintf(`(width => document.documentElement.scrollWidth <= width ? [] :
		["page: " + document.documentElement.scrollWidth].concat([...document.querySelectorAll("body *")].filter(e => e.getBoundingClientRect().right > width + 1).slice(0, 5)
		.map(e => e.tagName.toLowerCase() + (e.id ? "#" + e.id : "") + (e.classList.length ? "." + [...e.classList].join(".") : ""))))(%d)`, width))
	if err != nil {
		return nil, p.fail("measuring the page: %w", err)
	}
	return wide, nil
}

// mostTabs bounds how often the tab key is pressed.
const mostTabs = 500

// Tabs presses the tab key from the start of the page until nothing new is reached, and
// returns what was, in order, as tag and name: "a Sign out".
func (p *Person) Tabs() ([]string, error) {
	const start = `document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute("tabindex"); // where the next tab begins
		document.querySelectorAll("[data-reached]").forEach(e => e.removeAttribute("data-reached")); return 0`
	const reached = `const e = document.activeElement;
		if (!e || e === document.body || e === document.documentElement || e.hasAttribute("data-reached")) return "";
		e.setAttribute("data-reached", "");
		return e.tagName.toLowerCase() + " " + (e.labels && e.labels.length ? labelText(e.labels[0]) : name(e)).slice(0, 80)`
	if _, err := eval[int](p, script(start)); err != nil {
		return nil, p.fail("tabbing: %w", err)
	}
	var all []string
	for range mostTabs {
		if err := p.Key(kb.Tab); err != nil {
			return nil, err
		}
		at, err := eval[string](p, script(reached))
		if err != nil {
			return nil, p.fail("tabbing: %w", err)
		}
		if at == "" {
			return all, nil
		}
		all = append(all, at)
	}
	return nil, p.fail("tabbing: the tab key reaches no end")
}
