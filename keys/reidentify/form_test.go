package reidentify

import (
	"crypto/rand"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestNamesOfReferences: a source data set has the names that a project's record allows,
// which are more than a project's own.
func TestNamesOfReferences(t *testing.T) {
	for name, taken := range map[string]bool{"north": true, "North_1": true, "": false, "north/1": false, "set-9434765919": false} {
		_, err := New(Draft{
			Project: "care", Organisation: "QMJ", Purpose: CareManagement, Route: ToSource, Reason: Reason{Code: "invitation", Text: "Invitations to a review."},
			Items: []Item{{Row: 1, Reference: &Reference{SourceDataset: name, UniqueID: strings.Repeat("a", 32)}}},
		}, "lake", 7, time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC), rand.Reader)
		var form *FormError
		if taken != (err == nil) || !taken && (!errors.As(err, &form) || form.Pointer != "/items/0/reference/source_dataset") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// TestHashesByTheirForm: what is no hash is no other request's either.
func TestHashesByTheirForm(t *testing.T) {
	for text, is := range map[string]bool{strings.Repeat("0a", 32): true, strings.Repeat("0A", 32): false, strings.Repeat("0", 63): false, "": false, strings.Repeat("0", 64) + "\n": false} {
		if IsHash(text) != is {
			t.Errorf("%q: %t", text, !is)
		}
	}
}
