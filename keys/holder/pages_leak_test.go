package holder_test

import (
	"bytes"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/uuid"
)

// upload sends a list as a file.
func (b *browser) upload(want int, path, list string) (page, location string) {
	t := b.site.t
	t.Helper()
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	for name, value := range map[string]string{"form_id": uuid.NewString(), "purpose": "TREAT care", "reason": "care", "text": "Called back about blood results."} {
		if err := form.WriteField(name, value); err != nil {
			t.Fatal(err)
		}
	}
	file, err := form.CreateFormFile("file", "list.csv")
	if err == nil {
		_, err = file.Write([]byte(list))
	}
	if err == nil {
		err = form.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+b.site.people+path, &body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	got, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = got.Body.Close() }()
	var said bytes.Buffer
	if _, err := said.ReadFrom(got.Body); err != nil || got.StatusCode != want {
		t.Fatalf("%s: %d %v\n%s", path, got.StatusCode, err, textOf(said.String()))
	}
	return textOf(said.String()), got.Header.Get("Location")
}

// TestPagesLists: a list is pasted or a file; what is wrong is told by its line, and nothing
// of it is asked. No part of it is ever written to a disk: there is none that could be.
func TestPagesLists(t *testing.T) {
	t.Setenv("TMPDIR", filepath.Join(t.TempDir(), "not there"))
	s := withPages(t)
	tokens := s.patients(40)
	for _, token := range tokens {
		s.region.registers(token, "Y12345")
	}
	gp := s.browser("gp/1")
	list := "Row,Given name,Token\r\n"
	for i, token := range tokens {
		list += strings.Repeat("7", 1+i%3) + string(rune('0'+i%10)) + string(rune('0'+i/10)) + ",Somebody," + token + "\r\n"
	}
	_, to := gp.upload(http.StatusSeeOther, "/ask/list", list)
	gp.has(to, "Request for 40 patients", "Ready to open")
	if page, _ := gp.do(http.StatusOK, http.MethodPost, to+"/open", nil); !strings.Contains(page, "40 of 40 patients") {
		t.Errorf("opened: %s", page)
	}
	page, _ := gp.upload(http.StatusUnprocessableEntity, "/ask/list", "token\n"+tokens[0]+"\n"+tokens[1][:70]+"qqqq\n")
	if !strings.Contains(page, "line 3") || strings.Contains(page, tokens[1][:70]) {
		t.Errorf("a wrong line: %s", page)
	}
	gp.upload(http.StatusUnprocessableEntity, "/ask/list", "")
	page, _ = gp.upload(http.StatusUnprocessableEntity, "/ask/list", "token\n"+strings.Repeat(tokens[0]+"\n", 14_000))
	if !strings.Contains(page, "nothing was sent") {
		t.Errorf("a long list: %s", page)
	}
	gp.upload(http.StatusRequestEntityTooLarge, "/ask/list", strings.Repeat("x", 2_000_000))
}

// TestPagesLeaveNothing: whatever is typed into pages, and whatever they show, no file of
// the key holder's and no line of its log holds it.
func TestPagesLeaveNothing(t *testing.T) {
	t.Parallel()
	s := withPages(t)
	token := s.token(patientNumber)
	s.region.registers(token, "Y12345")
	gp, guardian := s.browser("gp/1"), s.browser("guardian/1")
	to := gp.asks("/ask", token, "TREAT", url.Values{"text": {"Telephoned about her thyroid medication."}})
	gp.do(http.StatusOK, http.MethodPost, to+"/open", nil)
	guardian.do(http.StatusOK, http.MethodPost, "/who-asked", url.Values{"token": {token}, "project": {"care"}})
	secrets := []string{patientNumber, "943 476 5919", token, strings.ToUpper(token), "thyroid", "Mildred Vole", "dr gp"}
	for path, field := range map[string]string{"/ask": "token", "/ask/list": "tokens", "/emergency": "text", "/who-asked": "project", "/approvals/" + strings.Repeat("a", 32): "comment", "/operators/client": "name"} {
		for _, value := range secrets {
			form := url.Values{"form_id": {uuid.NewString()}, field: {value}, "reason": {value}, "purpose": {value + " " + value}, value: {value}}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://"+s.people+path+"?"+url.Values{"q": {value}}.Encode(), strings.NewReader(form.Encode()))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Sec-Fetch-Site", "same-origin")
			r.Header.Set("User-Agent", value)
			got, err := gp.http.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = got.Body.Close()
			if got.StatusCode < 400 || got.StatusCode >= 500 {
				t.Errorf("%s with %s: %d", path, field, got.StatusCode)
			}
		}
	}
	for _, value := range secrets {
		gp.get(http.StatusNotFound, "/"+url.PathEscape(value))
		gp.get(http.StatusNotFound, "/requests/"+url.PathEscape(value))
		gp.get(http.StatusForbidden, "/log?"+url.Values{"subject": {value}, "project": {value}}.Encode())
	}
	s.stop()
	looked := 0
	err := filepath.WalkDir(s.options.Dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		for _, secret := range secrets {
			if bytes.Contains(b, []byte(secret)) {
				t.Errorf("%s holds %s", path, secret)
			}
		}
		looked++
		return err
	})
	if err != nil || looked < 10 {
		t.Errorf("%d files were looked at, %v", looked, err)
	}
	for _, secret := range secrets {
		if strings.Contains(s.log.String(), secret) {
			t.Errorf("the log has a line with %s", secret)
		}
	}
	if !strings.Contains(s.log.String(), "POST /ask") {
		t.Error("the log has no line of pages: the search is blind")
	}
}
