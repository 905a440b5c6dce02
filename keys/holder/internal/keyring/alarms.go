package keyring

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"

	"tarn/keys/audit"
)

// kindAlert are alarms that nobody has heard of yet.
const kindAlert = "alert"

// Alert is an alarm that is to be told to somebody.
type Alert struct {
	Index uint64 // of its entry in the log
	Leaf  audit.Leaf
}

// alarm records that something is not as it should be, and keeps it to be told.
func (t *transaction) alarm(leaf audit.Leaf) {
	leaf.Kind = audit.KindAlarm
	leaf.Time, leaf.Holder = audit.FormatTime(t.now), t.keyring.options.Holder
	index := t.keyring.events
	t.event(leaf)
	t.alarms = append(t.alarms, leaf.Rule)
	if t.keyring.options.Alerts {
		t.keyring.alerts[index] = Alert{index, leaf}
		t.put(kindAlert, alertName(index), leaf)
	}
}

func alertName(index uint64) string { return fmt.Sprintf("%020d", index) }

func (k *Keyring) loadAlert(name string, value []byte) error {
	index, err := strconv.ParseUint(name, 10, 64)
	if err != nil {
		return err
	}
	leaf, err := audit.Decode(value)
	k.alerts[index] = Alert{index, leaf}
	return err
}

// Alerts returns the alarms that were not taken yet, oldest first.
func (k *Keyring) Alerts() []Alert {
	k.mu.RLock()
	defer k.mu.RUnlock()
	all := make([]Alert, 0, len(k.alerts))
	for _, a := range k.alerts {
		all = append(all, a)
	}
	slices.SortFunc(all, func(a, b Alert) int { return cmp.Compare(a.Index, b.Index) })
	return all
}

// AlertsTaken forgets alarms that are kept elsewhere now.
func (k *Keyring) AlertsTaken(ctx context.Context, taken []Alert) error {
	return k.change(ctx, func(t *transaction) error {
		for _, a := range taken {
			if _, there := k.alerts[a.Index]; there {
				delete(k.alerts, a.Index)
				t.remove(kindAlert, alertName(a.Index))
			}
		}
		return nil
	})
}
