package console

import (
	"fmt"
	"html/template"
	"strings"
)

// A plot is a bar for each day, small enough to stand beside a number. It needs no style
// sheet to be read, and says in words what it shows.
const (
	plotBar    = 5 // pixels, with a gap of one
	plotHeight = 40
)

// plot draws days, oldest first; most is drawn as a line where it is within reach.
func plot(days []int, most int, what string) template.HTML {
	if len(days) == 0 {
		return ""
	}
	highest, total := 1, 0
	for _, n := range days {
		highest, total = max(highest, n), total+n
	}
	line := most > 0 && most <= 2*highest
	if line {
		highest = max(highest, most)
	}
	width := len(days)*(plotBar+1) + 6
	var b strings.Builder
	label := fmt.Sprintf("%s on each of the last %d days: %d in all, at most %d on one day", what, len(days), total, maxOf(days))
	fmt.Fprintf(&b, `<svg class="tarn-plot" role="img" viewBox="0 0 %d %d" aria-label="%s">`, width, plotHeight, template.HTMLEscapeString(label))
	fmt.Fprintf(&b, `<line class="tarn-plot__none" x1="0" y1="%d" x2="%d" y2="%d"/>`, plotHeight-1, width, plotHeight-1)
	for i, n := range days {
		if n <= 0 {
			continue
		}
		height := max(2, n*(plotHeight-2)/highest)
		class := "tarn-plot__bar"
		if most > 0 && n > most {
			class += " tarn-plot__bar--over"
		}
		fmt.Fprintf(&b, `<rect class="%s" x="%d" y="%d" width="%d" height="%d"/>`, class, 3+i*(plotBar+1), plotHeight-1-height, plotBar, height)
	}
	if line {
		y := plotHeight - 1 - most*(plotHeight-2)/highest
		fmt.Fprintf(&b, `<line class="tarn-plot__most" x1="0" y1="%d" x2="%d" y2="%d"/>`, y, width, y)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

func maxOf(days []int) (most int) {
	for _, n := range days {
		most = max(most, n)
	}
	return most
}
