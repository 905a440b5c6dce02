package tour

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"tarn/bench/browser"
	"tarn/bench/clinic"
)

// Pictures takes the short tour and leaves pictures of every page in a folder, at these widths in
// CSS pixels: NAME-1280.png. It returns how many pages there are. The error is
// [browser.ErrNone] where there is no browser.
func Pictures(ctx context.Context, c *clinic.Clinic, folder string, widths ...int) (pages int, err error) {
	b, err := browser.Start(ctx, browser.Options{Certificates: []string{c.Certificate}})
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return 0, err
	}
	g := Guide{Clinic: c, Browser: b, Short: true, Look: func(name string, p *browser.Person) error {
		pages++
		for _, width := range widths {
			if err := p.Width(width); err != nil {
				return err
			}
			if err := p.Save(filepath.Join(folder, fmt.Sprintf("%s-%d.png", name, width))); err != nil {
				return err
			}
		}
		return p.Width(browser.Desk)
	}}
	return pages, g.Tour(ctx)
}
