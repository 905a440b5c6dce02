package answers

import (
	"bytes"
	"strings"
	"testing"

	"tarn/bench/load"
	"tarn/keys"
	"tarn/linkage/cohort"
	"tarn/tokenise/online/wire"
)

// made is a truth of two people, of whom the second has no number, and a third who was
// refused; and their answer in a form.
func made(t *testing.T, f wire.Format) (*Truth, []string, []byte) {
	t.Helper()
	first := &cohort.Row{Token: [keys.TokenSize]byte{1, 2, 3}, HasToken: true, Filters: [][]byte{{1, 2, 3, 4, 5, 6, 7, 8}}, Blocks: []cohort.Tag{{Value: -5, Present: true}}, Tags: []cohort.Tag{{Value: 1 << 60, Present: true}}}
	second := &cohort.Row{Filters: [][]byte{nil}, Blocks: []cohort.Tag{{}}, Tags: []cohort.Tag{{Value: 7, Present: true}}}
	made := &Truth{Epoch: 3, layout: cohort.Layout{Filters: []cohort.FilterColumn{{Name: "bf_a", Bytes: 8}}, Blocks: []string{"blk_b"}, Tags: []string{"tag_c"}}, rows: map[string]*cohort.Row{"a": first, "b": second}}
	token := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 3, Value: first.Token}.String()
	object := func(id, rest string) string { return `{"unique_id":"` + id + `",` + rest + `}` }
	rows := []string{
		object("a", `"status":"ok","nhs_token":"`+token+`","encodings":{"bf_a":"AQIDBAUGBwg="},"tags":{"blk_b":"-5","tag_c":"1152921504606846976"}`),
		object("b", `"status":"ok","nhs_token":null,"encodings":{"bf_a":null},"tags":{"blk_b":null,"tag_c":"7"}`),
		object("c", `"status":"refused","errors":[]`),
	}
	body := map[wire.Format]string{
		wire.JSON:   `{"rows":[` + strings.Join(rows, ",") + `],"counts":{"rows":3}}`,
		wire.NDJSON: strings.Join(rows, "\n") + "\n",
		wire.CSV:    "unique_id,status,nhs_token,bf_a,blk_b,tag_c,codes\na,ok," + token + ",AQIDBAUGBwg=,-5,1152921504606846976,\nb,ok,,,,7,\nc,refused,,,,,row_nothing_linkable\n",
	}[f]
	return made, []string{"a", "b", "c"}, []byte(body)
}

// TestWrongAnswersAreFound: an answer that is right is none, and each way of being wrong is
// found in every form of text.
func TestWrongAnswersAreFound(t *testing.T) {
	for _, f := range []wire.Format{wire.JSON, wire.NDJSON, wire.CSV} {
		truth, ids, body := made(t, f)
		if err := truth.Wrong(f, ids, body); err != nil {
			t.Errorf("%v: the right answer: %v", f, err)
		}
		other := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 3, Value: [keys.TokenSize]byte{1, 2, 4}}.String()
		older := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 2, Value: [keys.TokenSize]byte{1, 2, 3}}.String()
		own := keys.Token{Scheme: keys.SchemeNoKeyedHash, DomainNo: 1, TokenEpoch: 3, Value: [keys.TokenSize]byte{1, 2, 3}}.String()
		for _, change := range [][2]string{{own, other}, {own, older}, {own, ""}, {"AQIDBAUGBwg=", "AQIDBAUGBwk="}, {"1152921504606846976", "1152921504606846977"}, {"-5", "5"}, {"7", "8"}, {"refused", "ok"}} {
			changed := bytes.Replace(body, []byte(change[0]), []byte(change[1]), 1)
			if bytes.Equal(changed, body) || truth.Wrong(f, ids, changed) == nil {
				t.Errorf("%v: %q for %q is not found", f, change[1], change[0])
			}
		}
		if truth.Wrong(f, []string{"b", "a", "c"}, body) == nil || truth.Wrong(f, ids[:2], body) == nil || truth.Wrong(f, ids, body[:len(body)/2]) == nil {
			t.Errorf("%v: an answer to other rows, to fewer, or half of one is not found", f)
		}
	}
}

// TestArrowIsRead: Arrow's cells are the same as the other forms'.
func TestArrowIsRead(t *testing.T) {
	body, err := load.Body(wire.Arrow, []string{"unique_id", "status", "tag_c"}, [][]string{{"a", "ok", "x"}, {"b", "refused", ""}})
	if err != nil {
		t.Fatal(err)
	}
	rows, err := read(wire.Arrow, body)
	if err != nil || len(rows) != 2 || rows[0].id != "a" || rows[1].status != "refused" || rows[0].cells["tag_c"] != "x" || rows[1].cells["tag_c"] != "" {
		t.Errorf("%+v, %v", rows, err)
	}
}
