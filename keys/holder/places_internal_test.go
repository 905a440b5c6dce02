package holder

import "testing"

// TestNobodyTakesAllPlaces: one person has a part of the places, others have theirs, and
// who leaves makes room.
func TestNobodyTakesAllPlaces(t *testing.T) {
	p := newPlaces(maxInFlight)
	var leaving []func()
	for range maxOfPerson {
		leave, there := p.enterAs("gp")
		if !there {
			t.Fatal("a part is refused")
		}
		leaving = append(leaving, leave)
	}
	if _, there := p.enterAs("gp"); there {
		t.Error("one person takes more than their part")
	}
	if _, there := p.enterAs("other-gp"); !there {
		t.Error("one person takes the part of another")
	}
	leaving[0]()
	if _, there := p.enterAs("gp"); !there {
		t.Error("who leaves makes no room")
	}
	for range maxInFlight {
		if _, there := p.enter(); !there {
			t.Fatal("a place is refused")
		}
	}
	if _, there := p.enter(); there {
		t.Error("there are more places than there are")
	}
}
