package browser

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/chromedp"
)

// download is a file on its way. It is read when it has ended.
type download struct {
	frame    cdp.FrameID
	id, name string
	state    browser.DownloadProgressState
	ended    chan struct{}
}

// event takes what the browser tells of all its downloads, in its order.
func (d *download) event(event any) {
	switch e := event.(type) {
	case *browser.EventDownloadWillBegin:
		if d.id == "" && e.FrameID == d.frame {
			d.id, d.name = e.GUID, e.SuggestedFilename
		}
	case *browser.EventDownloadProgress:
		if d.id != "" && e.GUID == d.id && d.state == "" && e.State != browser.DownloadProgressStateInProgress {
			d.state = e.State
			close(d.ended)
		}
	}
}

// Download clicks the link or button of a text, behind which there is a file, and returns the
// file and the name that it is given. The page stays.
func (p *Person) Download(text string) (name string, content []byte, err error) {
	what := fmt.Sprintf("the link or button %q", text)
	s, err := p.find(what, "return spot(pressable("+quoted(text)+"))")
	if err != nil {
		return "", nil, err
	}
	folder, err := os.MkdirTemp(p.browser.folder, "download-")
	if err != nil {
		return "", nil, p.fail("no folder for a file can be made: %w", err)
	}
	d, err := p.fetch(folder, s)
	if err != nil {
		return "", nil, p.fail("fetching what is behind %s: %w", what, err)
	}
	if content, err = os.ReadFile(filepath.Join(folder, d.id)); err != nil {
		return "", nil, p.fail("fetching what is behind %s: %w", what, err)
	}
	return d.name, content, nil
}

// fetch clicks, and waits for the file.
func (p *Person) fetch(folder string, s spot) (*download, error) {
	ctx, cancel := context.WithTimeout(p.ctx, p.browser.step)
	defer cancel()
	p.seen.mu.Lock()
	d := &download{frame: p.seen.main, ended: make(chan struct{})}
	p.seen.mu.Unlock()
	if err := chromedp.ListenBrowser(ctx, d.event); err != nil {
		return nil, err
	}
	if _, err := chromedp.CallBrowser(ctx, browser.SetDownloadBehavior, browser.SetDownloadBehaviorParams{
		Behavior: browser.SetDownloadBehaviorBehaviorAllowAndName, BrowserContextID: chromedp.FromContext(p.ctx).BrowserContextID, DownloadPath: folder, EventsEnabled: new(true),
	}); err != nil {
		return nil, err
	}
	g := p.seen.begin()
	defer p.seen.stop()
	if err := chromedp.Do(ctx, chromedp.MouseClickXY(s.X, s.Y)); err != nil {
		return nil, err
	}
	page := g.done
	for {
		select {
		case <-page:
			if p.seen.has(g) {
				return nil, errors.New("a page came instead")
			}
			page = nil // the page that was asked for became the file
		case <-d.ended:
			if d.state != browser.DownloadProgressStateCompleted {
				return nil, errors.New("it was cut off")
			}
			return d, nil
		case <-ctx.Done():
			return nil, errors.New("no file came in time")
		}
	}
}
