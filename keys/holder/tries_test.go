package holder

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"
)

// TestTries: from one address and from all there are so many wrong tries and no
// more until time passes; right ones, other addresses and the machine's own are
// let through.
func TestTries(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	wait := func(tr *tries, from string, right bool) time.Duration {
		giveBack, err := tr.begin(from, now)
		var early *tooManyTries
		switch {
		case errors.As(err, &early):
			return early.wait
		case err != nil:
			t.Fatal(err)
		case right:
			giveBack()
		}
		return 0
	}
	tr := new(tries)
	for range 3 * triesOfAddress {
		if wait(tr, "192.0.2.1:1", true) > 0 {
			t.Fatal("right tries are counted")
		}
	}
	for i := range triesOfAddress {
		if wait(tr, fmt.Sprintf("192.0.2.1:%d", i+1), false) > 0 {
			t.Fatalf("try %d is refused", i+1)
		}
	}
	if got := wait(tr, "[::ffff:192.0.2.1]:9", true); got != triesEvery {
		t.Errorf("one too many: wait %s", got)
	}
	if wait(tr, "192.0.2.2:1", false) > 0 {
		t.Error("another address is refused, too")
	}
	now = now.Add(triesEvery)
	if wait(tr, "192.0.2.1:1", false) > 0 || wait(tr, "192.0.2.1:1", false) != triesEvery {
		t.Error("after a while there is not one more try")
	}

	tr = new(tries)
	for i := range triesOfAddress { // one network of IPv6 is one address
		wait(tr, fmt.Sprintf("[2001:db8::%x]:1", i+1), false)
	}
	if wait(tr, "[2001:db8::ffff]:1", false) == 0 || wait(tr, "[2001:db8:0:1::1]:1", false) > 0 {
		t.Error("networks of IPv6 are not told apart by 64 bits")
	}

	tr = new(tries)
	for i := range triesOfAll {
		if wait(tr, fmt.Sprintf("10.0.%d.1:1", i), false) > 0 {
			t.Fatalf("try %d of all is refused", i+1)
		}
	}
	if got := wait(tr, "10.1.0.1:1", true); got != triesOfAllEvery {
		t.Errorf("one too many of all: wait %s", got)
	}
	if wait(tr, "127.0.0.1:1", true) > 0 || wait(tr, "[::1]:1", true) > 0 {
		t.Error("the machine's own address waits for others")
	}
	now = now.Add(triesOfAllEvery)
	if wait(tr, "10.1.0.1:1", true) > 0 {
		t.Error("after a while there is not one more try of all")
	}

	// Whatever calls, and for however long, memory is bounded, and what was
	// remembered is forgotten.
	tr = new(tries)
	most := 0
	for i := range 20 * maxTriesAddresses {
		now = now.Add(100 * time.Millisecond)
		wait(tr, netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 1).String(), i%3 != 0)
		most = max(most, len(tr.addresses))
	}
	if most > maxTriesAddresses {
		t.Errorf("%d addresses are remembered", most)
	}
	if most < triesOfAll {
		t.Errorf("%d addresses at most: the test is blind", most)
	}
}
