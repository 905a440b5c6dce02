package nhsuk_test

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// A tree is compared as lines: an element a line, with its attributes in order, and a
// text a line. Whitespace counts as a browser counts it: runs of it are one space, and at
// the beginning and end of a block, and beside one, there is none.

func parse(t *testing.T, markup string) *html.Node {
	t.Helper()
	root := &html.Node{Type: html.ElementNode, Data: "body", DataAtom: atom.Body}
	nodes, err := html.ParseFragment(strings.NewReader(markup), root)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		root.AppendChild(n)
	}
	return root
}

func lines(n *html.Node, depth int, verbatim bool) []string {
	var all []string
	indent := strings.Repeat("  ", depth)
	for c := n.FirstChild; c != nil; c = c.NextSibling {
		switch c.Type {
		case html.TextNode:
			text := c.Data
			if !verbatim {
				text = collapse(c)
			}
			if text != "" {
				all = append(all, indent+"«"+text+"»")
			}
		case html.ElementNode:
			all = append(all, indent+"<"+c.Data+attributesOf(c)+">")
			all = append(all, lines(c, depth+1, verbatim || c.DataAtom == atom.Pre || c.DataAtom == atom.Textarea)...)
		case html.CommentNode:
			all = append(all, indent+"<!-- -->")
		}
	}
	return all
}

func attributesOf(n *html.Node) string {
	var all []string
	for _, a := range n.Attr {
		value := a.Val
		if a.Key == "class" {
			words := strings.Fields(value)
			slices.Sort(words)
			value = strings.Join(words, " ")
		}
		all = append(all, " "+a.Key+"="+value)
	}
	slices.Sort(all)
	return strings.Join(all, "")
}

func inline(n *html.Node) bool {
	return slices.Contains([]string{"a", "b", "button", "code", "em", "i", "img", "input", "label", "span", "strong", "svg"}, n.Data)
}

// collapse is a text as it is seen. What begins and ends a box that a style makes of an
// inline element is not: there a space and none are the same.
func collapse(n *html.Node) string {
	text := strings.Join(strings.FieldsFunc(n.Data, space), " ")
	if text == "" && n.PrevSibling != nil && n.NextSibling != nil && inline(n.PrevSibling) && inline(n.NextSibling) {
		return " "
	}
	if text == "" {
		return ""
	}
	if space(rune(n.Data[0])) && !edge(n, n.PrevSibling) {
		text = " " + text
	}
	if space(rune(n.Data[len(n.Data)-1])) && !edge(n, n.NextSibling) {
		text += " "
	}
	return text
}

func space(r rune) bool { return r == ' ' || r == '\n' || r == '\t' || r == '\r' }

// edge is whether a text ends there, beside this sibling.
func edge(n, beside *html.Node) bool {
	if beside == nil {
		return n.Parent.Data != "span"
	}
	return !inline(beside)
}

func compare(t *testing.T, want, got *html.Node) (same bool, difference string) {
	t.Helper()
	w, g := lines(want, 0, false), lines(got, 0, false)
	if slices.Equal(w, g) {
		return true, ""
	}
	i := 0
	for i < min(len(w), len(g)) && w[i] == g[i] {
		i++
	}
	around := func(all []string) string { return strings.Join(all[max(i-3, 0):min(i+4, len(all))], "\n") }
	return false, "expected\n" + around(w) + "\nand not\n" + around(g)
}

// TestTreesAreTold: two trees that differ in what is compared are not taken as one.
func TestTreesAreTold(t *testing.T) {
	const a = `<p class="x y" id="i">A <b>b</b> c</p>`
	for markup, same := range map[string]bool{
		a: true,
		"<p id=i class='y x'>\n  A <b>b</b>\n c\n</p>":  true,
		`<p class="x" id="i">A <b>b</b> c</p>`:          false,
		`<p class="x y" id="j">A <b>b</b> c</p>`:        false,
		`<p class="x y" id="i">A<b>b</b> c</p>`:         false,
		`<p class="x y" id="i">A <b>b</b> d</p>`:        false,
		`<p class="x y" id="i">A <i>b</i> c</p>`:        false,
		`<p class="x y" id="i">A <b>b</b> c</p><p></p>`: false,
		`<p class="x y" id="i" lang>A <b>b</b> c</p>`:   false,
	} {
		if got, difference := compare(t, parse(t, a), parse(t, markup)); got != same {
			t.Errorf("%s: same is %v: %s", markup, got, difference)
		}
	}
}
