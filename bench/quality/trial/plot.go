package trial

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// Plot draws a reliability table as SVG: probability across, true share up,
// the bins as dots with their intervals, as large as they have pairs. A dot on
// the diagonal is a probability that is what it says.
func Plot(title string, bins []Bin) string {
	const side, left, top, bottom = 360.0, 56.0, 44.0, 52.0
	x := func(v float64) float64 { return left + v*side }
	y := func(v float64) float64 { return top + (1-v)*side }
	var b strings.Builder
	width, height := left+side+24, top+side+bottom
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %.0f %.0f" width="%.0f" height="%.0f" font-family="sans-serif" font-size="12" role="img">`+"\n", width, height, width, height)
	fmt.Fprintf(&b, "<title>%s</title>\n<rect width=\"%.0f\" height=\"%.0f\" fill=\"#fff\"/>\n", html.EscapeString(title), width, height)
	fmt.Fprintf(&b, "<text x=\"%.0f\" y=\"24\" font-size=\"14\" fill=\"#212b32\">%s</text>\n", left, html.EscapeString(title))
	for _, v := range []float64{0, .2, .4, .6, .8, 1} {
		fmt.Fprintf(&b, "<path d=\"M%.1f %.1fH%.1fM%.1f %.1fV%.1f\" stroke=\"#d8dde0\"/>\n", x(0), y(v), x(1), x(v), y(0), y(1))
		fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"end\" fill=\"#425563\">%.1f</text><text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#425563\">%.1f</text>\n",
			x(0)-8, y(v)+4, v, x(v), y(0)+18, v)
	}
	fmt.Fprintf(&b, "<path d=\"M%.1f %.1fL%.1f %.1f\" stroke=\"#768692\" stroke-dasharray=\"4 4\"/>\n", x(0), y(0), x(1), y(1))
	for _, bin := range bins {
		fmt.Fprintf(&b, "<path d=\"M%.1f %.1fV%.1f\" stroke=\"#005eb8\"/><circle cx=\"%.1f\" cy=\"%.1f\" r=\"%.1f\" fill=\"#005eb8\" fill-opacity=\".8\"><title>%g to %g: %d pairs, mean %.4f, true %.4f (%.4f to %.4f)</title></circle>\n",
			x(bin.Mean), y(bin.Lo), y(bin.Hi), x(bin.Mean), y(bin.True), 2.5+math.Log10(float64(bin.Pairs)), bin.From, bin.To, bin.Pairs, bin.Mean, bin.True, bin.Lo, bin.Hi)
	}
	fmt.Fprintf(&b, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" fill=\"#212b32\">mean link probability</text>\n", x(.5), y(0)+40)
	fmt.Fprintf(&b, "<text transform=\"translate(16 %.1f) rotate(-90)\" text-anchor=\"middle\" fill=\"#212b32\">share of true matches, 95%% interval</text>\n</svg>\n", y(.5))
	return b.String()
}
