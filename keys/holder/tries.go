package holder

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"tarn/keys/api"
)

// How many wrong tries there may be, of each method by itself. What is guessed
// has at least 128 bits, or is a passphrase behind argon2: this bounds what
// guessing costs the service, and how much of it is recorded. A try that is not
// wrong costs nothing.
const (
	triesOfAddress    = 10               // in a row, from one address
	triesEvery        = 30 * time.Second // one more, from one address
	triesOfAll        = 100              // in a row, from all addresses but the machine's own
	triesOfAllEvery   = 2 * time.Second  // one more, from all
	maxTriesAddresses = 1024             // that are remembered; more than can have wrong tries left over
)

// tries bounds wrong tries. An address is an IPv4 address or an IPv6 network of
// 64 bits, which one caller has to itself. The machine's own address is not
// counted with all: whoever has a shell on it can unseal whatever others try.
// It is safe for concurrent use.
type tries struct {
	mu sync.Mutex
	// The time at which all that was tried is forgotten: an allowance of n tries
	// and one more every span lasts while that is less than n spans away.
	all       time.Time
	addresses map[netip.Prefix]time.Time
}

// spend takes one try at a time from an allowance, or says how long to wait.
func spend(forgotten, now time.Time, n int, every time.Duration) (next time.Time, wait time.Duration) {
	if forgotten.Before(now) {
		forgotten = now
	}
	next = forgotten.Add(every)
	return next, next.Sub(now) - time.Duration(n)*every
}

// begin takes a try from this address, which is given back unless it was wrong:
// so those that run at once are counted, too.
func (t *tries) begin(remote string, now time.Time) (giveBack func(), err error) {
	from := network(remote)
	t.mu.Lock()
	defer t.mu.Unlock()
	own, wait := spend(t.addresses[from], now, triesOfAddress, triesEvery)
	all, others := t.all, !from.Addr().IsLoopback()
	if others {
		var longer time.Duration
		all, longer = spend(t.all, now, triesOfAll, triesOfAllEvery)
		wait = max(wait, longer)
	}
	if _, known := t.addresses[from]; !known && wait <= 0 && len(t.addresses) >= maxTriesAddresses {
		for address, forgotten := range t.addresses {
			if !forgotten.After(now) {
				delete(t.addresses, address)
			}
		}
		if len(t.addresses) >= maxTriesAddresses {
			wait = triesEvery
		}
	}
	if wait > 0 {
		return nil, &tooManyTries{wait}
	}
	if t.addresses == nil {
		t.addresses = map[netip.Prefix]time.Time{}
	}
	t.addresses[from], t.all = own, all
	return func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if forgotten, known := t.addresses[from]; known {
			t.addresses[from] = forgotten.Add(-triesEvery)
		}
		if others {
			t.all = t.all.Add(-triesOfAllEvery)
		}
	}, nil
}

// network returns whose tries are counted together; all whose address cannot be
// read are one.
func network(remote string) netip.Prefix {
	at, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Prefix{}
	}
	address := at.Addr().Unmap().WithZone("")
	if address.IsLoopback() {
		address = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	bits := 64
	if address.Is4() {
		bits = 32
	}
	prefix, err := address.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return prefix
}

// tooManyTries says how long to wait for the next try.
type tooManyTries struct{ wait time.Duration }

func (e *tooManyTries) Error() string { return "too many tries" }

// RetryAfter says how long to wait.
func (e *tooManyTries) RetryAfter() (time.Duration, bool) { return e.wait, true }

// seconds is a waiting time as Retry-After has it.
func seconds(wait time.Duration) int { return int(math.Ceil(wait.Seconds())) }

// Unwrap gives the refusal that is answered.
func (e *tooManyTries) Unwrap() error {
	return api.Refuse(api.CodeTooManyTries, fmt.Sprintf("too many were wrong; the next try is in %d s", seconds(e.wait)),
		"wait, and compare what is given with what was handed out; on the key holder's own machine only its own tries count")
}

// counted answers, and counts the try where it was wrong.
func (c *call) counted(t *tries, wrong api.Code, answer func() (any, error)) (document any, err error) {
	giveBack, err := t.begin(c.request.RemoteAddr, c.holder.options.Clock())
	if err != nil {
		c.holder.tooManyTries(c.ring, c.method.Name)
		return nil, err
	}
	right := true
	defer func() {
		if right {
			giveBack()
		}
	}()
	document, err = answer()
	var refused *api.Error
	right = !errors.As(err, &refused) || refused.Code != wrong
	return document, err
}

// setRetryAfter says when to come again, where an error knows.
func setRetryAfter(w http.ResponseWriter, err error, refused *api.Error) {
	wait := retryAfter * time.Second
	var early interface {
		RetryAfter() (wait time.Duration, helps bool)
	}
	switch {
	case errors.As(err, &early):
		var helps bool
		if wait, helps = early.RetryAfter(); !helps {
			return
		}
	case refused.Status() != http.StatusServiceUnavailable && refused.Code != api.CodeTooManyTries:
		return
	}
	w.Header().Set("Retry-After", strconv.Itoa(seconds(wait)))
}
