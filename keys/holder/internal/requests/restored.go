package requests

import (
	"fmt"
	"slices"
	"time"

	"github.com/go-json-experiment/json"

	"tarn/keys/holder/internal/store"
	"tarn/keys/reidentify"
)

// Restored returns a request of a backup as it comes back: what could still be opened is
// void, since nobody knows whether it was opened after the backup was made.
func Restored(key store.Key, value []byte) (changed []byte, err error) {
	if key.Kind != kindRequest {
		return value, nil
	}
	r := new(reidentify.Request)
	if err := json.Unmarshal(value, r); err != nil {
		return nil, fmt.Errorf("a request for re-identification in the backup cannot be read")
	}
	if r.State == reidentify.Ready || r.State == reidentify.Pending {
		r.State = reidentify.Void
	}
	for _, o := range r.Underway() {
		r.Finish(o.By.Organisation, slices.Repeat([]reidentify.Outcome{reidentify.Unknown}, len(o.Items)), o.Unwitnessed, time.Time{})
	}
	return json.Marshal(r, json.Deterministic(true))
}
