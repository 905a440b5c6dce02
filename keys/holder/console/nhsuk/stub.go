// Package nhsuk is a stand-in while the real one is written.
package nhsuk

import _ "embed"

//go:embed assets/nhsuk.css
var css []byte

type Asset struct {
	Name, MediaType string
	Content         []byte
}

func Assets() []Asset    { return []Asset{{"nhsuk.css", "text/css", css}} }
func Stylesheet() string { return "nhsuk.css" }
