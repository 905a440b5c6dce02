package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestLook(t *testing.T) {
	to := os.Getenv("LOOK")
	if to == "" {
		t.Skip()
	}
	s := newSite(t)
	s.signIn()
	u, _ := url.Parse(s.server.URL)
	cookie := s.browser.Jar.Cookies(u)[0]
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/sign-in") {
			r.AddCookie(cookie)
		}
		if r.URL.Query().Get("post") != "" {
			r.Method = "POST"
			r.URL.RawQuery = ""
		}
		s.server.Config.Handler.ServeHTTP(w, r)
	}))
	defer srv.Close()
	for _, path := range append(everyPage, "/sign-in", "/requests/"+readyID+"/open?post=1") {
		if only := os.Getenv("ONLY"); only != "" && !strings.HasPrefix(path, only) {
			continue
		}
		name := strings.Trim(strings.ReplaceAll(path, "/", "_"), "_")
		name = strings.SplitN(name, "?", 2)[0]
		for _, w := range []string{"1280", "500"} {
			out, err := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size="+w+",1600", "--screenshot="+filepath.Join(to, name+"-"+w+".png"), srv.URL+path).CombinedOutput()
			if err != nil {
				t.Fatal(string(out))
			}
		}
	}
}
