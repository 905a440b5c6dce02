// Package alerts tells somebody that something is not as it should be. An alert lies
// in a folder from when it is given until who is to hear it has said that it has: it
// outlives the process, and an address that is away.
package alerts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/cenkalti/backoff/v5"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"

	"tarn/keys"
	"tarn/keys/fault"
)

// Schema is the schema member of an alert.
const Schema = "tarn.alert/1"

// Alert is what is sent, as JSON: no identifier, no token, no free text that anybody
// wrote.
type Alert struct {
	Schema string `json:"schema"`
	// ID is the same when an alert is sent again: it is also sent as X-Request-ID.
	ID           string    `json:"id"`
	Time         time.Time `json:"time"`
	Holder       string    `json:"holder"`          // the key holder's name
	Rule         string    `json:"rule"`            // see docs/operations.md
	Text         string    `json:"text"`            // the rule in words
	Entry        *uint64   `json:"entry,omitzero"`  // its index in the log; none where the log could not be written
	Client       string    `json:"client,omitzero"` // who did it
	Organisation string    `json:"organisation,omitzero"`
	Project      string    `json:"project,omitzero"`
	Use          string    `json:"use,omitzero"`   // of a key
	Count        int64     `json:"count,omitzero"` // rows
}

// ID makes an alert's id from what makes it one.
func ID(parts ...string) string {
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(strings.Join(append([]string{Schema}, parts...), "\n"))).String()
}

// Times of sending.
const (
	sendTimeout  = 5 * time.Second
	firstWait    = 500 * time.Millisecond
	longestWait  = 5 * time.Minute
	maxSpooled   = 10_000
	spoolEnding  = ".json"
	maxAlertSize = 16 << 10
)

// Meter takes what is counted. It must be safe for concurrent use.
type Meter interface {
	AlertDelivered()
	AlertFailed()
}

// Options are what a spool is given.
type Options struct {
	Folder string
	URL    string // https, or http to this machine
	HTTP   *http.Client
	Meter  Meter
}

// Spool keeps alerts and sends them, the oldest first. It is safe for concurrent use.
type Spool struct {
	options Options
	wake    chan struct{}

	mu      sync.Mutex
	waiting []string // file names, in order
}

// Open opens a spool, and makes its folder.
func Open(o Options) (*Spool, error) {
	doing := "opening the spool of alerts " + o.Folder
	if err := checkURL(o.URL); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Folder, 0o700); err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give a folder that the key holder may write as [alerts] spool")
	}
	entries, err := os.ReadDir(o.Folder)
	if err != nil {
		return nil, fault.Wrap(fault.Usage, doing, err, "give a folder that the key holder may write as [alerts] spool")
	}
	s := &Spool{options: o, wake: make(chan struct{}, 1)}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), spoolEnding) {
			s.waiting = append(s.waiting, e.Name())
		}
	}
	slices.Sort(s.waiting)
	return s, nil
}

func checkURL(text string) error {
	const doing, next = "reading [alerts] url", "give https://host/path, or http:// and an address of this machine"
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fault.New(fault.Usage, doing, "it is no plain address", next)
	case u.Scheme == "https":
		return nil
	case u.Scheme != "http":
		return fault.New(fault.Usage, doing, "it is neither https nor http", next)
	}
	if ip := net.ParseIP(u.Hostname()); u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fault.New(fault.Usage, doing, "it is http to another machine: anybody between could read and stop alerts", next)
	}
	return nil
}

// Put keeps an alert: it is on the disk when Put returns. One that is there already
// stays.
func (s *Spool) Put(a Alert) error {
	const doing = "keeping an alert"
	a.Schema = Schema
	b, err := json.Marshal(a, json.Deterministic(true))
	if err != nil || len(b) > maxAlertSize {
		return fault.New(fault.Internal, doing, "it could not be written", "")
	}
	name := a.Time.UTC().Format("20060102T150405.000000000Z") + "-" + a.ID + spoolEnding
	s.mu.Lock()
	defer s.mu.Unlock()
	at, there := slices.BinarySearch(s.waiting, name)
	switch {
	case there:
		return nil
	case len(s.waiting) >= maxSpooled:
		return fault.New(fault.Unavailable, doing, fmt.Sprintf("%d wait to be sent already", maxSpooled), "see that [alerts] url answers; the log has every alarm")
	}
	if err := keys.WriteFile(filepath.Join(s.options.Folder, name), b); err != nil {
		return fault.New(fault.Internal, doing, "the spool cannot be written", "look at the disk of [alerts] spool; the log has every alarm")
	}
	if err := keys.SyncFolder(s.options.Folder); err != nil {
		return fault.New(fault.Internal, doing, "the spool cannot be written", "look at the disk of [alerts] spool; the log has every alarm")
	}
	s.waiting = slices.Insert(s.waiting, at, name)
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// Waiting is how many alerts were not heard yet.
func (s *Spool) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting)
}

func (s *Spool) first() (name string, there bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		return "", false
	}
	return s.waiting[0], true
}

// Work sends alerts until the context ends.
func (s *Spool) Work(ctx context.Context) {
	wait := backoff.NewExponentialBackOff()
	wait.InitialInterval, wait.MaxInterval = firstWait, longestWait
	for ctx.Err() == nil {
		name, there := s.first()
		if !there {
			select {
			case <-ctx.Done():
			case <-s.wake:
			}
			continue
		}
		if err := s.send(ctx, name); err == nil {
			s.options.Meter.AlertDelivered()
			wait.Reset()
			s.heard(name)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		s.options.Meter.AlertFailed()
		timer := time.NewTimer(wait.NextBackOff())
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// heard forgets an alert. A file that cannot be removed is sent again after the next
// start.
func (s *Spool) heard(name string) {
	_ = os.Remove(filepath.Join(s.options.Folder, name))
	s.mu.Lock()
	defer s.mu.Unlock()
	if at, there := slices.BinarySearch(s.waiting, name); there {
		s.waiting = slices.Delete(s.waiting, at, at+1)
	}
}

var errNotHeard = errors.New("not heard")

// send sends one alert. A file that is none is put aside, so that it does not stand in
// the way of others.
func (s *Spool) send(ctx context.Context, name string) error {
	path := filepath.Join(s.options.Folder, name)
	b, err := os.ReadFile(path)
	var a Alert
	if errors.Is(err, os.ErrNotExist) {
		return nil // somebody has removed it
	} else if err != nil {
		return err
	}
	if json.Unmarshal(b, &a) != nil {
		return os.Rename(path, path+".damaged")
	}
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, s.options.URL, bytes.NewReader(b))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-ID", a.ID)
	answer, err := s.options.HTTP.Do(request)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(answer.Body, maxAlertSize)) // so that the connection can be used again
	_ = answer.Body.Close()
	if answer.StatusCode < 200 || answer.StatusCode > 299 {
		return errNotHeard
	}
	return nil
}
