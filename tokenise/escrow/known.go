package escrow

import "sync"

// knownKey is a token, and the key it was sealed to, under a keyed hash of this process.
type knownKey [16]byte

// known remembers lately seen tokens, of each generation so many. It forgets the older
// half when the newer one is full.
type known struct {
	limit int

	mu           sync.Mutex
	newer, older map[knownKey]struct{}
}

func newKnown(limit int) *known { return &known{limit: limit, newer: map[knownKey]struct{}{}} }

// has reports whether each of some is remembered.
func (k *known) has(all []knownKey, there []bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for i, key := range all {
		if _, there[i] = k.newer[key]; there[i] {
			continue
		}
		if _, there[i] = k.older[key]; there[i] {
			k.add(key)
		}
	}
}

// remember adds some.
func (k *known) remember(all []knownKey) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range all {
		k.add(key)
	}
}

func (k *known) add(key knownKey) {
	if len(k.newer) >= k.limit {
		k.newer, k.older = make(map[knownKey]struct{}, k.limit/8), k.newer
	}
	k.newer[key] = struct{}{}
}
