package nhsuk_test

import (
	"fmt"
	"io"
	"testing"

	"tarn/keys/holder/console/nhsuk"
)

// BenchmarkPage is a page with a form.
func BenchmarkPage(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if err := page.Execute(io.Discard, newExample()); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkTable is a hundred rows with a link and a tag.
func BenchmarkTable(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		t := nhsuk.Table{Caption: nhsuk.Heading{Text: "Requests"}, Responsive: true, Head: []nhsuk.TableHead{{Text: "Request"}, {Text: "State"}, {Text: "Approvals", Format: "numeric"}}}
		for i := range 100 {
			t.Rows = append(t.Rows, []nhsuk.TableCell{{Text: fmt.Sprint("Request ", i), Href: "/request"}, {HTML: nhsuk.Tag{Text: "Open", Colour: "green"}.Render()}, {Text: "2"}})
		}
		t.Render()
	}
}
