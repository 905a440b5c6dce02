package browser

import (
	"context"
	"errors"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// goes does something that leads to another page, and returns when that has been loaded.
func (p *Person) goes(act func(ctx context.Context, t *chromedp.Target) error) error {
	ctx, cancel := context.WithTimeout(p.ctx, p.browser.step)
	defer cancel()
	_, err := chromedp.Run(ctx, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		g := p.seen.begin()
		err := act(ctx, t)
		if err == nil {
			select {
			case <-g.done:
			case <-ctx.Done():
				err = errors.New("no page came in time")
			}
		}
		if failed := p.seen.stop(); failed != "" {
			err = errors.New(failed)
		}
		return chromedp.Void{}, err
	})
	return err
}

// Open goes to an address.
func (p *Person) Open(address string) error {
	err := p.goes(func(ctx context.Context, t *chromedp.Target) error {
		// A page that does not come is told by its event, too, and then the browser shows its own.
		_, err := cdp.Call(ctx, t, page.Navigate, page.NavigateParams{URL: address})
		return err
	})
	if err != nil {
		return p.fail("opening %s: %w", address, err)
	}
	return nil
}

// Reload asks for the page again.
func (p *Person) Reload() error {
	err := p.goes(func(ctx context.Context, t *chromedp.Target) error {
		_, err := cdp.Call(ctx, t, page.Reload, page.ReloadParams{})
		return err
	})
	if err != nil {
		return p.fail("reloading: %w", err)
	}
	return nil
}

// Back goes to the page before, as the browser's button does.
func (p *Person) Back() error {
	err := p.goes(func(ctx context.Context, t *chromedp.Target) error {
		history, err := cdp.Call(ctx, t, page.GetNavigationHistory, cdp.Empty{})
		if err != nil {
			return err
		}
		if history.CurrentIndex <= 0 {
			return errors.New("there is no page before")
		}
		_, err = cdp.Call(ctx, t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: history.Entries[history.CurrentIndex-1].ID})
		return err
	})
	if err != nil {
		return p.fail("going back: %w", err)
	}
	return nil
}
