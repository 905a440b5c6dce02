package browser

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/dom"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// Click clicks the link or button of a text, which leads to another page, and returns when
// that has been loaded. The text is all of it, or a part that only one has.
func (p *Person) Click(text string) error {
	return p.follow(fmt.Sprintf("the link or button %q", text), "return spot(pressable("+quoted(text)+"))")
}

// ClickAt clicks the one element of a CSS selector, which leads to another page.
func (p *Person) ClickAt(selector string) error {
	return p.follow(selector, "const all = [...document.querySelectorAll("+quoted(selector)+")].filter(seen); return spot({count: all.length, e: all[0]})")
}

// Submit clicks the one button of the page's main part that sends its form.
func (p *Person) Submit() error {
	return p.follow("the button that sends the form", `
		const all = [...document.querySelectorAll("main form button, main form input[type=submit]")].filter(e => e.type === "submit" && seen(e));
		return spot({count: all.length, e: all[0]})`)
}

func (p *Person) follow(what, body string) error {
	s, err := p.find(what, body)
	if err != nil {
		return err
	}
	err = p.goes(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.MouseClickXY(s.X, s.Y)(ctx, t)
		return err
	})
	if err != nil {
		return p.fail("clicking %s: %w", what, err)
	}
	return nil
}

// Press clicks the link or button of a text, which leads to no other page: it opens or
// closes something.
func (p *Person) Press(text string) error {
	return p.press(fmt.Sprintf("the link or button %q", text), "return spot(pressable("+quoted(text)+"))")
}

func (p *Person) press(what, body string) error {
	s, err := p.find(what, body)
	if err != nil || s.Done {
		return err
	}
	if _, err := within(p, chromedp.MouseClickXY(s.X, s.Y)); err != nil {
		return p.fail("clicking %s: %w", what, err)
	}
	return nil
}

// Fill writes a value into the field of a label (or of a name), instead of what is in it.
func (p *Person) Fill(label, value string) error {
	what := fmt.Sprintf("the field %q", label)
	const kind = `e => e.tagName !== "SELECT" && !["radio", "checkbox", "file", "submit", "button"].includes(e.type)`
	found := "const found = field(" + quoted(label) + ", " + kind + ");"
	if _, err := p.find(what, found+`
		if (found.count !== 1 || found.e.disabled || !seen(found.e)) return spot(found);
		found.e.focus();
		found.e.value = "";
		found.e.dispatchEvent(new Event("input", {bubbles: true}));
		return {count: document.activeElement === found.e ? 1 : 0}`); err != nil {
		return err
	}
	if value == "" {
		return nil
	}
	if _, err := call(p, input.InsertText, input.InsertTextParams{Text: value}); err != nil {
		return p.fail("writing into %s: %w", what, err)
	}
	taken, err := eval[bool](p, script(found+"return found.e.value.replace(/\\r/g, '') === "+quoted(strings.ReplaceAll(value, "\r", ""))))
	if err != nil {
		return p.fail("writing into %s: %w", what, err)
	}
	if !taken {
		return p.fail("writing into %s: it did not take all of it", what)
	}
	return nil
}

// Choose takes the radio button, or the option of a list, of a label.
func (p *Person) Choose(label string) error {
	what := fmt.Sprintf("the choice %q", label)
	ticked, err := p.tick(what, label, "radio", true)
	if err != nil || ticked {
		return err
	}
	_, err = p.find(what, `
		const found = one([...document.querySelectorAll("option")].filter(e => seen(e.closest("select"))), `+quoted(label)+`, e => squash(e.label));
		if (found.count !== 1 || found.e.disabled) return {count: found.count, disabled: true};
		found.e.selected = true;
		for (const kind of ["input", "change"]) found.e.closest("select").dispatchEvent(new Event(kind, {bubbles: true}));
		return {count: 1}`)
	return err
}

// Check ticks the box of a label.
func (p *Person) Check(label string) error { return p.box(label, true) }

// Uncheck takes the tick away.
func (p *Person) Uncheck(label string) error { return p.box(label, false) }

func (p *Person) box(label string, on bool) error {
	what := fmt.Sprintf("the box %q", label)
	there, err := p.tick(what, label, "checkbox", on)
	if err == nil && !there {
		err = p.fail("looking for %s: there is none", what)
	}
	return err
}

// tick clicks the label of a radio button or box, unless that is as it should be. It is
// false where there is none.
func (p *Person) tick(what, label, kind string, on bool) (there bool, err error) {
	found := "const found = field(" + quoted(label) + ", e => e.type === " + quoted(kind) + ");"
	n, err := eval[int](p, script(found+"return found.count"))
	if err != nil {
		return false, p.fail("looking for %s: %w", what, err)
	}
	if n == 0 {
		return false, nil
	}
	// The label is what is seen: a design may draw the box itself.
	err = p.press(what, fmt.Sprintf(found+`
		if (found.count === 1 && found.e.checked === %v) return {count: 1, done: true};
		if (found.count === 1 && found.e.disabled) return {count: 1, disabled: true};
		return spot(found.count === 1 && found.e.labels.length > 0 ? {count: 1, e: found.e.labels[0]} : found)`, on))
	if err != nil {
		return true, err
	}
	got, err := eval[bool](p, script(found+"return found.e.checked"))
	if err != nil || got != on {
		return true, p.fail("clicking %s: it stays as it was", what)
	}
	return true, nil
}

// Upload gives a file to the field of a label. Its name is all of it that the page is told
// beside its content.
func (p *Person) Upload(label, name string, content []byte) error {
	what := fmt.Sprintf("the field for a file %q", label)
	folder, err := os.MkdirTemp(p.browser.folder, "upload-")
	if err != nil {
		return p.fail("the file cannot be written: %w", err)
	}
	path := filepath.Join(folder, filepath.Base(name))
	if err := os.WriteFile(path, content, 0o600); err != nil {
		return p.fail("the file cannot be written: %w", err)
	}
	return p.upload(label, path, what)
}

// upload gives a file that there is to the field of a label.
func (p *Person) upload(label, path, what string) error {
	found := "const found = field(" + quoted(label) + `, e => e.type === "file");`
	if _, err := p.find(what, found+"return {count: found.count, disabled: found.count === 1 && found.e.disabled}"); err != nil {
		return err
	}
	_, err := within(p, func(ctx context.Context, t *chromedp.Target) (chromedp.Void, error) {
		e, err := cdp.Call(ctx, t, runtime.Evaluate, runtime.EvaluateParams{Expression: script(found + "return found.e")})
		if err == nil {
			_, err = cdp.Call(ctx, t, dom.SetFileInputFiles, dom.SetFileInputFilesParams{Files: []string{path}, ObjectID: e.Result.ObjectID})
		}
		return chromedp.Void{}, err
	})
	if err != nil {
		return p.fail("giving a file to %s: %w", what, err)
	}
	return nil
}

// Key presses keys, of package kb, that lead to no other page.
func (p *Person) Key(keys string) error {
	if _, err := within(p, chromedp.KeyEvent(keys)); err != nil {
		return p.fail("pressing a key: %w", err)
	}
	return nil
}

// Enter presses the enter key, which leads to another page.
func (p *Person) Enter() error {
	err := p.goes(func(ctx context.Context, t *chromedp.Target) error {
		_, err := chromedp.KeyEvent(kb.Enter)(ctx, t)
		return err
	})
	if err != nil {
		return p.fail("pressing enter: %w", err)
	}
	return nil
}
