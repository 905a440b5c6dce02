package holder_test

import (
	"strings"
	"testing"
	"time"

	"tarn/keys/api"
	"tarn/keys/holder"
)

// TestWrongTriesAreBounded: wrong shares and wrong codes are refused as what
// they are, then as too many, the right one too; when time passes it is taken.
func TestWrongTriesAreBounded(t *testing.T) {
	s := newSite(t, holder.Custody{Method: "shares", Threshold: 2, Shares: 3})
	anyone := s.anyone()
	wrong := api.Unseal{Share: strings.Replace(s.made.Shares[0], "q", "p", 1)}
	right := func(i int) api.Unseal { return api.Unseal{Share: s.made.Shares[i]} }
	for range 10 {
		anyone.refused(api.CodeUnsealRefused, "POST", "/v1/unseal", wrong)
	}
	anyone.refused(api.CodeTooManyTries, "POST", "/v1/unseal", right(0))
	_, body := anyone.call("POST", "/v1/unseal", right(0))
	if !strings.Contains(string(body), "the next try is in ") {
		t.Errorf("it is not said when to come again: %s", body)
	}
	s.late.Store(int64(31 * time.Second))
	must[api.SealStatus](anyone, "POST", "/v1/unseal", right(0))
	must[api.SealStatus](anyone, "POST", "/v1/unseal", right(1)) // and a right one costs nothing
	code := api.EnrolRequest{Code: "tarn-enrol-0000", CSR: []byte{1}, SealingKey: []byte{1}}
	for range 10 {
		anyone.refused(api.CodeEnrolCode, "POST", "/v1/enrol", code)
	}
	anyone.refused(api.CodeTooManyTries, "POST", "/v1/enrol", code)
	s.late.Store(int64(62 * time.Second))
	s.enrol(s.made.Codes["ann"])
}
