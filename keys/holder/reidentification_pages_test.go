package holder_test

import (
	"testing"

	"tarn/keys/api"
	"tarn/keys/holder"
)

// TestTheNextPageComesAfterWhatHasMoved: a list of a state goes on where it was, though the
// last request of the page before has another state by now.
func TestTheNextPageComesAfterWhatHasMoved(t *testing.T) {
	s := newReid(t, func(*holder.Options) {})
	gp := s.as("gp/1")
	var ids []string
	for _, token := range s.patients(3) {
		ids = append(ids, must[api.Reidentification](gp, "POST", "/v1/reidentifications", asks(token, "TREAT", "Y12345")).ID)
	}
	const list = "/v1/reidentifications?state=pending_approval&after="
	for _, moved := range []bool{false, true} {
		if moved {
			must[api.Reidentification](gp, "POST", "/v1/reidentifications/"+ids[0]+"/cancel", nil)
		}
		page := must[api.List[api.Reidentification]](gp, "GET", list+ids[0], nil)
		if len(page.Items) != 2 || page.Items[0].ID != ids[1] || page.Items[1].ID != ids[2] {
			t.Errorf("moved: %v, %+v", moved, page)
		}
	}
	s.as("other-gp/1").refused(api.CodeMalformed, "GET", list+ids[0], nil) // somebody else's
}
