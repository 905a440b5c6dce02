package browser

import (
	"fmt"
)

// helpers are the functions that find things in a page. What cannot be seen is not there:
// the person clicks where the thing is, and whatever lies over it would get the click.
const helpers = `
const squash = s => (s || "").replace(/\s+/g, " ").trim();
const seen = e => e.getClientRects().length > 0 && e.checkVisibility({visibilityProperty: true});
const name = e => squash(e.getAttribute("aria-label") || (e.tagName === "INPUT" ? e.value : e.textContent));
const labelText = l => { const c = l.cloneNode(true); c.querySelectorAll("select,textarea,input").forEach(e => e.remove()); return squash(c.textContent); };
const one = (all, text, name, same) => {
	for (const hit of [e => name(e) === text, e => name(e).includes(text)]) {
		let found = [...new Set(all.filter(hit))];
		if (found.length > 1 && same && new Set(found.map(same)).size === 1) found = found.slice(0, 1);
		if (found.length > 0) return {count: found.length, e: found[0]};
	}
	return {count: 0};
};
const pressable = text => one([...document.querySelectorAll("a[href],button,input[type=submit],input[type=button],summary,[role=button]")].filter(seen), text, name, e => e.href || e);
const field = (text, kind) => {
	const all = [...document.querySelectorAll("input,select,textarea")].filter(e => e.type !== "hidden" && kind(e));
	const named = one(all.flatMap(e => [...(e.labels || [])]), text, labelText, l => l.control);
	if (named.count > 0) return {count: named.count, e: named.e.control};
	const other = all.filter(e => e.name === text || e.getAttribute("aria-label") === text);
	return {count: other.length, e: other[0]};
};
const spot = found => {
	if (found.count !== 1) return {count: found.count};
	const e = found.e;
	if (e.disabled) return {count: 1, disabled: true};
	e.scrollIntoView({block: "center", inline: "nearest", behavior: "instant"});
	const r = e.getClientRects()[0];
	if (!r) return {count: 0};
	const x = r.left + r.width / 2, y = r.top + r.height / 2;
	const over = document.elementFromPoint(x, y);
	const hit = over && (over === e || e.contains(over) || over.contains(e) || (over.closest("label") || {}).control === e || (e.control && e.control === over));
	return {count: 1, x: x, y: y, covered: !hit};
};
`

// script is one that has the helpers.
func script(body string) string { return "(() => {" + helpers + body + "})()" }

// spot is where something is.
type spot struct {
	Count    int     `json:"count"`
	X        float64 `json:"x"`
	Y        float64 `json:"y"`
	Covered  bool    `json:"covered"`
	Disabled bool    `json:"disabled"`
	Done     bool    `json:"done"` // nothing needs to be done
}

// find returns where something is that there is once, and that a click would reach.
func (p *Person) find(what, body string) (spot, error) {
	s, err := eval[spot](p, script(body))
	if err == nil {
		err = s.wrong()
	}
	if err != nil {
		return s, p.fail("looking for %s: %w", what, err)
	}
	return s, nil
}

func (s *spot) wrong() error {
	switch {
	case s.Count == 0:
		return fmt.Errorf("there is none")
	case s.Count > 1:
		return fmt.Errorf("there are %d", s.Count)
	case s.Disabled:
		return fmt.Errorf("it is switched off")
	case s.Covered:
		return fmt.Errorf("something lies over it")
	}
	return nil
}
