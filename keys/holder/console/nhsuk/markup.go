package nhsuk

import (
	"html/template"
	"maps"
	"slices"
	"strings"
)

// Attributes are further attributes of an element, by name. Those that begin with
// data- or aria- are taken and these: accept, autocapitalize, autofocus, dir, enctype,
// hidden, inputmode, lang, max, maxlength, min, minlength, pattern, readonly, rel,
// required, role, step, tabindex, target, title, translate. Any other is left out:
// scripts and styles in attributes are refused by the pages' policy, and the rest are
// fields of the component. An empty value is an attribute without one.
type Attributes map[string]string

var permitted = map[string]bool{
	"accept": true, "autocapitalize": true, "autofocus": true, "dir": true, "enctype": true, "hidden": true, "inputmode": true,
	"lang": true, "max": true, "maxlength": true, "min": true, "minlength": true, "pattern": true, "readonly": true, "rel": true,
	"required": true, "role": true, "step": true, "tabindex": true, "target": true, "title": true, "translate": true,
}

func mayBe(name string) bool {
	if permitted[name] {
		return true
	}
	rest, data := strings.CutPrefix(name, "data-")
	if !data {
		rest, data = strings.CutPrefix(name, "aria-")
	}
	return data && rest != "" && strings.Trim(rest, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// html is the attributes in the order of their names, a space before each.
func (a Attributes) html() template.HTMLAttr {
	if len(a) == 0 {
		return ""
	}
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if mayBe(name) {
			attribute(&b, name, a[name])
		}
	}
	return template.HTMLAttr(b.String())
}

func attribute(b *strings.Builder, name, value string) {
	b.WriteByte(' ')
	b.WriteString(name)
	if value == "" {
		return
	}
	b.WriteString(`="`)
	b.WriteString(template.HTMLEscapeString(value))
	b.WriteByte('"')
}

// with is these attributes and further ones, of which the latter hold.
func (a Attributes) with(further Attributes) Attributes {
	if len(further) == 0 {
		return a
	}
	all := maps.Clone(a)
	if all == nil {
		all = Attributes{}
	}
	maps.Copy(all, further)
	return all
}

// elements are those whose name may be chosen. A template cannot: to html/template a
// name of an element is not a value.
var elements = map[string]bool{
	"caption": true, "div": true, "h1": true, "h2": true, "h3": true, "h4": true, "h5": true, "h6": true, "label": true,
	"legend": true, "p": true, "span": true, "strong": true, "td": true, "th": true,
}

// own is an attribute that a component gives itself, where it has a value.
type own struct{ name, value string }

// open is the start tag of one of elements; of a span where it is none.
func open(element, class, id string, attributes Attributes, extra ...own) template.HTML {
	var b strings.Builder
	b.WriteString("<" + oneOf(element))
	for _, a := range append([]own{{"class", class}, {"id", id}}, extra...) {
		if a.value != "" {
			attribute(&b, a.name, a.value)
		}
	}
	b.WriteString(string(attributes.html()))
	b.WriteByte('>')
	return template.HTML(b.String())
}

func closeTag(element string) template.HTML {
	return template.HTML("</" + oneOf(element) + ">")
}

func oneOf(element string) string {
	element = strings.ToLower(element)
	if !elements[element] {
		return "span"
	}
	return element
}

// classes is a list of classes that grows.
type classes struct {
	list  []string
	extra string // the caller's own, which are last
}

// newClasses begins with the component's class; extra are the caller's.
func newClasses(base, extra string) *classes {
	return &classes{list: []string{base}, extra: extra}
}

// add adds a class where it is so, and the caller has not given it already.
func (c *classes) add(class string, so bool) *classes {
	if so && !strings.Contains(c.extra, class) {
		c.list = append(c.list, class)
	}
	return c
}

// choose adds prefix+value where value is one of those allowed and the caller has
// given none of them.
func (c *classes) choose(prefix, value string, allowed ...string) *classes {
	if value == "" || !slices.Contains(allowed, value) {
		return c
	}
	for _, other := range allowed {
		if strings.Contains(c.extra, prefix+other) {
			return c
		}
	}
	c.list = append(c.list, prefix+value)
	return c
}

func (c *classes) String() string {
	return joined(strings.Join(c.list, " "), c.extra)
}

// modified is the classes of a component that comes in variants.
func modified(base, variant, extra string, allowed ...string) string {
	return newClasses(base, extra).choose(base+"--", variant, allowed...).String()
}

// joined is the words with one space between, without those that are empty.
func joined(words ...string) string {
	return strings.Join(slices.DeleteFunc(words, func(s string) bool { return s == "" }), " ")
}
