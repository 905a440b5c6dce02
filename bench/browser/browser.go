// Package browser drives a real browser, Chromium without a window, as people would: it
// clicks what can be seen, fills in fields by their labels, and waits for pages, never for
// a time. Each person has a browser of their own. No connection leaves this machine, and a
// server is believed only if its certificate is one of those that are given. Errors say
// what was looked for and on which page, never what else is on it.
package browser

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/chromedp/chromedp"
)

// ErrNone says that there is no Chromium here: a test skips then, with this as its reason.
var ErrNone = errors.New("browser: no Chromium: install it (Debian: apt-get install chromium) or name it in TARN_CHROMIUM")

const (
	defaultStep = 30 * time.Second
	closeWithin = 10 * time.Second
	erasePause  = 50 * time.Millisecond
)

// Options are the settings of a browser.
type Options struct {
	Program string // empty is TARN_CHROMIUM, or the first Chromium or Chrome of PATH
	// Certificates are those that servers show: paths of PEM files, or what [Pin] gives. The
	// authority's helps only where a server shows it, too. No other certificate is believed.
	Certificates []string
	Step         time.Duration // within which a step is done, or has failed; 0 is 30 seconds
}

// Browser is a running browser, in which nobody is yet.
type Browser struct {
	ctx    context.Context
	cancel context.CancelFunc // of what is left of it
	step   time.Duration
	folder string
	closed func() error
}

// Start starts a browser, which ends with Close or the context. The error is [ErrNone] where
// there is no program.
func Start(ctx context.Context, o Options) (*Browser, error) {
	program, err := program(o.Program)
	if err != nil {
		return nil, err
	}
	pins, err := pins(o.Certificates)
	if err != nil {
		return nil, err
	}
	folder, err := os.MkdirTemp("", "tarn-browser-")
	if err != nil {
		return nil, errors.New("browser: no folder for the browser's files can be made")
	}
	b := &Browser{step: o.Step, folder: folder}
	if b.step == 0 {
		b.step = defaultStep
	}
	ctx, b.cancel = context.WithCancel(ctx)
	allocator, _ := chromedp.NewExecAllocator(ctx, flags(program, filepath.Join(folder, "profile"), pins)...)
	b.ctx, _ = chromedp.NewContext(allocator)
	if err := chromedp.Do(b.ctx); err != nil {
		// The library would wait for the end of what has not begun.
		b.cancel()
		return nil, errors.Join(fmt.Errorf("browser: %s does not start: %w", program, err), os.RemoveAll(folder))
	}
	b.closed = sync.OnceValue(b.end)
	return b, nil
}

// program finds the browser's.
func program(given string) (string, error) {
	if given == "" {
		given = os.Getenv("TARN_CHROMIUM")
	}
	if given != "" {
		return given, nil
	}
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", ErrNone
}

// flags are those of a browser that reaches nothing but this machine, and believes nobody
// but who shows a pinned certificate.
func flags(program, profile string, pins []string) []chromedp.ExecAllocatorOption {
	all := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]), chromedp.ExecPath(program), chromedp.DisableGPU, chromedp.UserDataDir(profile),
		// Nobody listens there, and what is not this machine has no address.
		chromedp.ProxyServer("127.0.0.1:9"), chromedp.Flag("proxy-bypass-list", "localhost;127.0.0.1;[::1]"),
		chromedp.Flag("host-resolver-rules", "MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE 127.0.0.1"),
		// Frames of other origins stay in the page's process, where their requests are seen.
		chromedp.Flag("disable-site-isolation-trials", true), chromedp.Flag("disable-features", "Translate,IsolateOrigins,site-per-process"),
	)
	if len(pins) > 0 {
		all = append(all, chromedp.Flag("ignore-certificate-errors-spki-list", strings.Join(pins, ",")))
	}
	if os.Geteuid() == 0 {
		all = append(all, chromedp.NoSandbox)
	}
	return all
}

// Pin is what a certificate's key is known by: SHA-256 of its SubjectPublicKeyInfo, base64.
func Pin(c *x509.Certificate) string {
	sum := sha256.Sum256(c.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// pins reads those of certificates.
func pins(given []string) ([]string, error) {
	var all []string
	for _, one := range given {
		if b, err := base64.StdEncoding.DecodeString(one); err == nil && len(b) == sha256.Size {
			all = append(all, one)
			continue
		}
		rest, err := os.ReadFile(one)
		if err != nil {
			return nil, fmt.Errorf("browser: a certificate cannot be read: %w", err)
		}
		before := len(all)
		for block, rest := pem.Decode(rest); block != nil; block, rest = pem.Decode(rest) {
			c, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return nil, fmt.Errorf("browser: %s holds what is no certificate", one)
			}
			all = append(all, Pin(c))
		}
		if len(all) == before {
			return nil, fmt.Errorf("browser: %s holds no certificate in PEM", one)
		}
	}
	return all, nil
}

// Close ends the browser and everybody in it, and erases what it kept.
func (b *Browser) Close() error { return b.closed() }

func (b *Browser) end() error {
	ctx, cancel := context.WithTimeout(b.ctx, closeWithin)
	err := chromedp.Cancel(ctx)
	cancel()
	b.cancel()
	if errors.Is(err, context.Canceled) {
		err = nil // it has ended before
	}
	return errors.Join(err, erase(b.folder))
}

// erase removes a folder into which processes of the browser that are about to end may still
// write.
func erase(folder string) error {
	for until := time.Now().Add(closeWithin); ; time.Sleep(erasePause) {
		if err := os.RemoveAll(folder); err == nil || time.Now().After(until) {
			return err
		}
	}
}
