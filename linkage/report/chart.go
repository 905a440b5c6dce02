package report

import (
	"math"
	"strconv"
)

// Charts are drawn with horizontal positions in per cent of the width and all
// else in CSS pixels, so that they fill any screen while text stays one size.
// Each carries its numbers twice more: as a table and as JSON.

type chart struct {
	ID, Title, Desc string
	Height          int
	Read            string // how to read it
	Legend          []legendItem
	Shapes          []shape
	Table           dataTable
	Data            any // what the JSON block holds
	Note            string
}

type legendItem struct{ Class, Text string }

// shape is one SVG element; Kind says which of the other members it uses.
type shape struct {
	Kind          string // rect, line, text, dot, square, diamond
	X, X2, W      string // per cent of the width
	Y, Y2, H      string // pixels
	Anchor, Class string
	Text          string
}

type dataTable struct {
	Caption string
	Head    []string
	Rows    [][]string // first cell names the row
}

func pct(v float64) string { return strconv.FormatFloat(math.Round(v*100)/100, 'f', -1, 64) + "%" }

func px(v float64) string { return strconv.FormatFloat(math.Round(v*10)/10, 'f', -1, 64) }

func rect(x, y, w, h float64, class string) shape {
	return shape{Kind: "rect", X: pct(x), Y: px(y), W: pct(max(w, .15)), H: px(h), Class: class}
}

func line(x1, y1, x2, y2 float64, class string) shape {
	return shape{Kind: "line", X: pct(x1), Y: px(y1), X2: pct(x2), Y2: px(y2), Class: class}
}

func label(x, y float64, anchor, class, text string) shape {
	return shape{Kind: "text", X: pct(x), Y: px(y), Anchor: anchor, Class: class, Text: text}
}

func mark(kind string, x, y float64, class string) shape {
	return shape{Kind: kind, X: pct(x), Y: px(y), Class: class}
}

// bar is one row of a horizontal chart.
type bar struct {
	Heading string // a line of its own above the row; empty where the row goes on under the last one
	Label   string
	From    float64 // where the bar begins; its end is From + Value
	Value   float64
	Lo, Hi  float64 // interval; equal for none
	Text    string  // the value in words
	Class   string
	Hidden  bool // nothing is drawn, Text says why
}

const (
	rowHeight     = 24
	headingHeight = 26
	plotLeft      = 36.0 // per cent
	plotRight     = 84.0
	labelRunes    = 16
	headingRunes  = 46
)

// bars draws rows from zero (or, with dots, marks with intervals) over the
// domain from least to most.
func bars(rows []bar, least, most float64, dots bool, ticks []tick) (shapes []shape, height int) {
	if most <= least {
		most = least + 1
	}
	at := func(v float64) float64 {
		return plotLeft + (plotRight-plotLeft)*(min(max(v, least), most)-least)/(most-least)
	}
	y := 4.0
	var body []shape
	for _, b := range rows {
		if b.Heading != "" {
			body = append(body, label(0, y+18, "start", "heading", shorten(b.Heading, headingRunes)))
			y += headingHeight
		}
		middle := y + rowHeight/2
		body = append(body, label(plotLeft-1.5, middle+4, "end", "label", shorten(b.Label, labelRunes)),
			label(100, middle+4, "end", "value", b.Text))
		switch {
		case b.Hidden:
		case dots:
			body = append(body, line(at(b.Lo), middle, at(b.Hi), middle, "interval "+b.Class),
				mark("dot", at(b.Value), middle, b.Class))
		default:
			from, to := at(b.From+min(b.Value, 0)), at(b.From+max(b.Value, 0))
			body = append(body, rect(from, y+4, to-from, rowHeight-8, b.Class))
		}
		y += rowHeight
	}
	bottom := y + 4
	for _, t := range ticks {
		if t.at < least || t.at > most {
			continue
		}
		class := "grid"
		if t.strong {
			class = "axis"
		}
		shapes = append(shapes, line(at(t.at), 4, at(t.at), bottom, class), label(at(t.at), bottom+14, "middle", "tick", t.text))
	}
	return append(shapes, body...), int(bottom) + 22
}

type tick struct {
	at     float64
	text   string
	strong bool
}

// niceStep returns a step of 1, 2 or 5 times a power of ten that divides span
// into at most n parts.
func niceStep(span float64, n int) float64 {
	raw := span / float64(n)
	if raw <= 0 {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(raw)))
	for _, m := range []float64{1, 2, 5, 10} {
		if unit*m >= raw*(1-1e-9) {
			return unit * m
		}
	}
	return unit * 10
}

func linearTicks(least, most float64, n int, text func(float64) string) []tick {
	step := niceStep(most-least, n)
	var ticks []tick
	for i := math.Ceil(least/step - 1e-9); i*step <= most+step*1e-9; i++ {
		v := i*step + 0 // + 0 makes a zero positive
		ticks = append(ticks, tick{at: v, text: text(v), strong: i == 0})
	}
	return ticks
}

// Geometry of charts with columns or lines.
const (
	areaTop    = 26.0
	areaBottom = 246.0
	areaLeft   = 7.0 // per cent
	areaRight  = 98.0
	areaHeight = 290
)

// column is one place of a histogram: Whole things, Part of which are of the
// kind that is looked for.
type column struct {
	At          float64 // left end; columns are one unit wide
	Whole, Part int64
}

// columnShapes draws columns on a logarithmic scale, with a line at the
// threshold where it lies among them. columns has at least one.
func columnShapes(columns []column, at float64, atText, axis string, text func(float64) string) (shapes []shape) {
	first, last, most := columns[0].At, columns[0].At, int64(10)
	for _, c := range columns {
		first, last, most = min(first, c.At), max(last, c.At), max(most, c.Whole)
	}
	decades := math.Ceil(math.Log10(float64(most)))
	width := (areaRight - areaLeft) / (last - first + 1)
	x := func(v float64) float64 { return areaLeft + (v-first)*width }
	y := func(n int64) float64 {
		return areaBottom - (areaBottom-areaTop)*math.Log10(max(float64(n), 1))/decades
	}
	for d := 0.0; d <= decades; d++ {
		at := y(int64(math.Pow(10, d)))
		shapes = append(shapes, line(0, at, areaRight, at, "grid"), label(0, at-4, "start", "tick", compact(math.Pow(10, d))))
	}
	for _, c := range columns {
		for _, of := range []struct {
			n     int64
			class string
		}{{c.Whole, "s4"}, {c.Part, "s1"}} {
			if of.n > 0 {
				shapes = append(shapes, rect(x(c.At)+width*.06, y(of.n), width*.88, areaBottom-y(of.n), of.class))
			}
		}
	}
	shapes = append(shapes, line(areaLeft, areaBottom, areaRight, areaBottom, "axis"))
	for _, tk := range linearTicks(first, last+1, 6, text) {
		shapes = append(shapes, label(x(tk.at), areaBottom+16, anchorAt(x(tk.at)), "tick", tk.text))
	}
	shapes = append(shapes, label((areaLeft+areaRight)/2, areaBottom+34, "middle", "tick", axis))
	if at >= first && at <= last+1 {
		shapes = append(shapes, threshold(x(at), atText)...)
	}
	return shapes
}

// anchorAt keeps the words of a tick inside the picture.
func anchorAt(x float64) string {
	switch {
	case x < 4:
		return "start"
	case x > 96:
		return "end"
	}
	return "middle"
}

// around widens a domain to whole steps of its ticks.
func around(least, most float64, n int) (float64, float64) {
	step := niceStep(most-least, n)
	return math.Floor(least/step+1e-9) * step, math.Ceil(most/step-1e-9) * step
}

func shorten(s string, n int) string {
	r := []rune(s)
	if len(r) <= n {
		return s
	}
	return string(r[:n-1]) + "…"
}
