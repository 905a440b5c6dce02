package nhsuk_test

import (
	"html/template"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"tarn/keys/holder/console/nhsuk"
)

// hostile would be an element, leave an attribute, or run as an address, if a component
// let it.
const hostile = `javascript:alert(1)//"'></textarea></title><script>alert(1)</script><b onclick=alert(1) style=a>`

// filler puts a value into every field of a component, and one item into every list.
type filler struct {
	text   string        // of every string
	markup template.HTML // of every template.HTML
	depth  int
}

func (f *filler) fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			f.fill(v.Field(i))
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		f.fill(v.Elem())
	case reflect.Slice:
		if f.depth > 3 { // a contents list has contents lists
			return
		}
		f.depth++
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			f.fill(v.Index(i))
		}
		f.depth--
	case reflect.Map:
		v.Set(reflect.ValueOf(nhsuk.Attributes{"data-a": f.text, f.text: f.text, "onclick": f.text, "style": f.text, "href": f.text}))
	case reflect.String:
		if v.Type() == reflect.TypeFor[template.HTML]() {
			v.SetString(string(f.markup))
			return
		}
		v.SetString(f.text)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int:
		v.SetInt(3)
	default:
		panic("a field of a kind that is not known: " + v.Kind().String())
	}
}

// found is what is in a page that no text of ours may put there.
func found(n *html.Node) []string {
	var all []string
	for c := range n.Descendants() {
		if c.Type == html.CommentNode || slices.Contains([]string{"script", "style", "b"}, c.Data) && c.Type == html.ElementNode {
			all = append(all, "<"+c.Data+">")
		}
		for _, a := range c.Attr {
			address := slices.Contains([]string{"href", "src", "action"}, a.Key) && strings.Contains(a.Val, ":")
			if address || a.Key == "style" || strings.HasPrefix(a.Key, "on") || strings.ContainsAny(a.Key, `<>"'=()`) {
				all = append(all, a.Key+"="+a.Val)
			}
		}
	}
	return all
}

// filled is every component with this text in every field, with the alternatives that
// exclude one another: links and buttons, items and dividers.
func filled(f func() *filler) map[string]nhsuk.Component {
	all := map[string]nhsuk.Component{}
	for name, c := range components() {
		with := f()
		with.fill(reflect.ValueOf(c).Elem())
		all[name] = c
		for _, empty := range []string{"Href", "Type", "Divider", "Ellipsis", "Current", "Action", "Items", "Fieldset", "Variant", "Heading", "Card", "Element"} {
			other := reflect.New(reflect.TypeOf(c).Elem())
			f().fill(other.Elem())
			emptied(other.Elem(), empty)
			all[name+" without "+empty] = other.Interface().(nhsuk.Component)
		}
	}
	return all
}

// emptied empties the fields of this name, wherever they are.
func emptied(v reflect.Value, name string) {
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).Name == name {
				v.Field(i).SetZero()
			} else {
				emptied(v.Field(i), name)
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			emptied(v.Index(i), name)
		}
	case reflect.Pointer:
		if !v.IsNil() {
			emptied(v.Elem(), name)
		}
	}
}

// TestTextIsText: whatever a text says, in whichever field of whichever component, it
// makes no element, no attribute and no address.
func TestTextIsText(t *testing.T) {
	all := filled(func() *filler { return &filler{text: hostile} })
	for _, name := range slices.Sorted(maps.Keys(all)) {
		markup := string(all[name].Render())
		if wrong := found(parse(t, markup)); len(wrong) > 0 {
			t.Errorf("%s: %q in\n%s", name, wrong, markup)
		}
		if component, _, alternative := strings.Cut(name, " "); !alternative && !strings.Contains(markup, "alert") {
			t.Errorf("%s does not have its text: nothing is shown by it", component)
		}
	}
	// What goes out as it is is seen: so would a text be that did.
	planted := filled(func() *filler { return &filler{text: "a", markup: hostile} })
	for _, name := range []string{"button", "fieldset", "radios", "tables", "header", "footer", "summary-list"} {
		if len(found(parse(t, string(planted[name].Render())))) == 0 {
			t.Errorf("%s with markup of this kind is not seen", name)
		}
	}
}
