package demo

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tarn/bench/browser"
	"tarn/bench/clinic"
	"tarn/bench/process"
	"tarn/bench/tour"
)

// Folders of the console's step.
const (
	picturesFolder = "console"
	clinicFolder   = "clinic" // taken away at the end
)

// Console is what was seen of the key holder's pages.
type Console struct {
	Pages int `json:"pages"`
}

// console has people use the key holder's pages in a real browser, and keeps pictures.
func (d *demo) console() (detail string, err error) {
	binary, err := process.Find("keyholder")
	if err != nil {
		return "", err
	}
	if err := d.folder(clinicFolder); err != nil {
		return "", err
	}
	folder := filepath.Join(d.Folder, clinicFolder)
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	c, err := clinic.Open(d.ctx, clinic.Options{Folder: folder, Binary: binary, Software: d.Software, Clock: d.Wall})
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	seen := &Console{}
	seen.Pages, err = tour.Pictures(d.ctx, c, filepath.Join(d.Folder, picturesFolder), browser.Desk)
	switch {
	case errors.Is(err, browser.ErrNone):
		return "there is no Chromium here, so that there are no pictures of the pages", nil
	case err != nil:
		return "", err
	}
	d.document.Console = seen
	return fmt.Sprintf("a clinician, approvers, a doctor in an emergency, a guardian, an analyst and operators used the pages in a browser: %d pages are in pictures", seen.Pages), nil
}
