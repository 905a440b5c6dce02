package demo

import (
	"context"
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

// walk is people's use of the key holder's pages, while other steps go on.
type walk struct {
	done   chan struct{}
	pages  int
	failed error // [browser.ErrNone] where there is no browser
}

// beginWalk has people use the key holder's pages in a real browser, and keeps pictures.
func (d *demo) beginWalk(ctx context.Context) *walk {
	w := &walk{done: make(chan struct{})}
	go func() {
		defer close(w.done)
		w.pages, w.failed = d.walkThrough(ctx)
	}()
	return w
}

func (d *demo) walkThrough(ctx context.Context) (pages int, err error) {
	binary, err := process.Find("keyholder")
	if err != nil {
		return 0, err
	}
	if err := d.folder(clinicFolder); err != nil {
		return 0, err
	}
	folder := filepath.Join(d.Folder, clinicFolder)
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	c, err := clinic.Open(ctx, clinic.Options{Folder: folder, Binary: binary, Software: d.Software, Clock: d.Wall})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return tour.Pictures(ctx, c, filepath.Join(d.Folder, picturesFolder), browser.Desk)
}

// console waits for whoever walks through the pages.
func (d *demo) console() (detail string, err error) {
	select {
	case <-d.walk.done:
	case <-d.ctx.Done():
		return "", d.ctx.Err()
	}
	switch {
	case errors.Is(d.walk.failed, browser.ErrNone):
		return "there is no Chromium here, so that there are no pictures of the pages", nil
	case d.walk.failed != nil:
		return "", d.walk.failed
	}
	d.document.Console = &Console{Pages: d.walk.pages}
	return fmt.Sprintf("a clinician, approvers, a doctor in an emergency, a guardian, an analyst and operators used the pages in a browser meanwhile: %d pages are in pictures", d.walk.pages), nil
}
