package console

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"net/http"
	"path"
	"strings"
	"sync"

	"tarn/keys/holder/console/nhsuk"
)

//go:embed assets
var ownFiles embed.FS

// asset is a file that pages load: by a name that has a hash of its content, so that a
// browser keeps it for as long as it likes.
type asset struct {
	media   string
	content []byte
}

var mediaTypes = map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}

// ownNames are the files of our own, by the names that pages load them by.
var ownNames = sync.OnceValue(func() map[string]string {
	names := map[string]string{}
	files, err := ownFiles.ReadDir("assets")
	if err != nil {
		panic("console: the assets that are in this program cannot be read")
	}
	for _, file := range files {
		content, err := ownFiles.ReadFile("assets/" + file.Name())
		if err != nil {
			panic("console: an asset that is in this program cannot be read")
		}
		sum := sha256.Sum256(content)
		extension := path.Ext(file.Name())
		names[file.Name()] = strings.TrimSuffix(file.Name(), extension) + "." + hex.EncodeToString(sum[:6]) + extension
	}
	return names
})

// assets are all files, by their names.
var assets = sync.OnceValue(func() map[string]asset {
	all := map[string]asset{}
	for name, as := range ownNames() {
		content, err := ownFiles.ReadFile("assets/" + name)
		if err != nil {
			panic("console: an asset that is in this program cannot be read")
		}
		all[as] = asset{mediaTypes[path.Ext(name)], content}
	}
	for _, one := range nhsuk.Assets() {
		all[one.Name] = asset{one.ContentType, one.Content}
	}
	return all
})

func assetPath(name string) string { return "/assets/" + ownNames()[name] }

func stylesheetPath() string { return "/assets/" + nhsuk.Stylesheet() }

// asset gives a browser a file, which it may keep.
func (c *Console) asset(w http.ResponseWriter, r *http.Request) {
	one, there := assets()[r.PathValue("name")]
	if !there {
		http.NotFound(w, r)
		return
	}
	header := w.Header()
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("Content-Type", one.media)
	_, _ = w.Write(one.content) // the browser has gone: nothing to tell it
}
