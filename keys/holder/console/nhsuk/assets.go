package nhsuk

import (
	"bytes"
	"compress/gzip"
	"embed"
	"path"
	"strings"
	"sync"
)

// Version is the design system's.
const Version = "10.6.1"

// served are the files that pages ask for, and what says where they are from. They are
// derived from the design system's npm package: assets/SOURCE.json has its digest and
// theirs, and TestAssets derives them again, or anew with -update. The licence is the one
// of the package's repository: the package has none in it.
//
//go:embed assets
var served embed.FS

// Asset is a file that a page asks for. Its name changes with its content, so that a
// browser may keep it for good; the style sheet names the pictures relative to itself, so
// that all are served from one folder, whichever it is.
type Asset struct {
	Name        string // of the file, without a folder: nhsuk-frontend-10.6.1.0123456789abcdef.css
	ContentType string
	Content     []byte // not to be changed
	Gzip        []byte // the same, compressed
}

var types = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

var assets = sync.OnceValue(func() []Asset {
	folder, err := served.ReadDir("assets")
	if err != nil {
		panic("nhsuk: the assets are not in the binary")
	}
	var all []Asset
	for _, file := range folder {
		kind, ok := types[path.Ext(file.Name())]
		if !ok {
			continue // the licence, and where they are from
		}
		content, err := served.ReadFile("assets/" + file.Name())
		if err != nil {
			panic("nhsuk: the assets are not in the binary")
		}
		all = append(all, Asset{Name: file.Name(), ContentType: kind, Content: content, Gzip: compressed(content)})
	}
	return all
})

func compressed(content []byte) []byte {
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err != nil {
		panic("nhsuk: there is no such level of compression")
	}
	_, _ = w.Write(content) // into memory
	_ = w.Close()
	return b.Bytes()
}

// Assets are all files that pages ask for: the style sheet, the script and the pictures
// that the style sheet names. There is no icon for the browser's tab: the design system's
// are the NHS logo.
func Assets() []Asset { return assets() }

// Stylesheet is the name of the style sheet.
func Stylesheet() string { return named(".css") }

// Script is the name of the script, a module, which a page may do without: with it the
// parts that belong to a choice are hidden until it is made, characters are counted,
// buttons are pressed once, and a page with errors begins at their summary. It starts
// itself, and marks the body with the classes js-enabled and nhsuk-frontend-supported, of
// which the style sheet makes what needs it; a page needs no script of its own.
//
//	<script type="module" src="/assets/..."></script>
func Script() string { return named(".js") }

func named(extension string) string {
	for _, a := range assets() {
		if strings.HasSuffix(a.Name, extension) {
			return a.Name
		}
	}
	panic("nhsuk: the asset is not in the binary")
}
