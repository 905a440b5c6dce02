package console

import (
	"crypto/sha256"
	"encoding/base64"
	"io"
	"net/http"
	"sync"
	"time"

	"tarn/keys/reidentify"
	"tarn/keys/signin"
)

// Sessions of browsers. They lie in memory, by the hash of what the browser's cookie holds,
// and end with the process.
const (
	sessionCookie = "__Host-tarn-session"
	signingCookie = "__Host-tarn-signing-in"

	maxSessions         = 20_000
	maxSessionsOfPerson = 8
)

// session is somebody who has signed in, in one browser. No token of the sign-in is kept.
type session struct {
	person reidentify.Person
	shown  signin.Shown // for the person's own eyes

	began, seen time.Time
}

// sessions are those of all browsers. It is safe for concurrent use.
type sessions struct {
	idle, longest time.Duration
	clock         func() time.Time
	rand          io.Reader

	mu  sync.Mutex
	all map[[sha256.Size]byte]*session
}

// begin makes a session, and returns what the browser's cookie holds. Nothing that the
// browser brought is used: whatever it had before is of no use any more.
func (s *sessions) begin(person reidentify.Person, shown signin.Shown) (cookie string, there bool) {
	var id [32]byte
	if _, err := io.ReadFull(s.rand, id[:]); err != nil {
		return "", false
	}
	cookie = base64.RawURLEncoding.EncodeToString(id[:])
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sweep(now, &person)
	if len(s.all) >= maxSessions {
		return "", false
	}
	s.all[sha256.Sum256([]byte(cookie))] = &session{person: person, shown: shown, began: now, seen: now}
	return cookie, true
}

// sweep forgets sessions that have ended, and the oldest of a person who has too many.
func (s *sessions) sweep(now time.Time, person *reidentify.Person) {
	var oldest [sha256.Size]byte
	var since time.Time
	of := 0
	for id, one := range s.all {
		switch {
		case s.ended(one, now):
			delete(s.all, id)
		case one.person.Is(person):
			if of++; since.IsZero() || one.seen.Before(since) {
				oldest, since = id, one.seen
			}
		}
	}
	if of >= maxSessionsOfPerson {
		delete(s.all, oldest)
	}
}

// ended reports whether nobody has used a session for too long, or it has lasted too long.
// A clock that was put back ends it, too.
func (s *sessions) ended(one *session, now time.Time) bool {
	return now.Sub(one.seen) > s.idle || now.Sub(one.began) > s.longest || now.Before(one.began.Add(-time.Minute))
}

// of returns the session of a request's cookie, and that it is used now. was says that there
// is a cookie, of a session that has ended.
func (s *sessions) of(r *http.Request) (found session, id [sha256.Size]byte, there, was bool) {
	cookie, err := r.Cookie(sessionCookie)
	if err != nil || cookie.Value == "" {
		return found, id, false, false
	}
	id = sha256.Sum256([]byte(cookie.Value))
	now := s.clock()
	s.mu.Lock()
	defer s.mu.Unlock()
	one := s.all[id]
	if one == nil {
		return found, id, false, true
	}
	if s.ended(one, now) {
		delete(s.all, id)
		return found, id, false, true
	}
	one.seen = now
	return *one, id, true, false
}

// end ends a session.
func (s *sessions) end(id [sha256.Size]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, id)
}

// ends is when a session ends if nothing more is done in it, and at the latest.
func (s *sessions) ends(one *session) (idle, latest time.Time) {
	latest = one.began.Add(s.longest)
	if idle = one.seen.Add(s.idle); idle.After(latest) {
		idle = latest
	}
	return idle, latest
}

// count is how many sessions there are, those included whose time is up.
func (s *sessions) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

// setCookie gives the browser a cookie that only this origin gets back, over TLS, and that
// no script reads. It lasts until the browser is closed: the server ends the session.
func setCookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{Name: name, Value: value, Path: "/", Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}

func dropCookie(w http.ResponseWriter, name string) {
	http.SetCookie(w, &http.Cookie{Name: name, Path: "/", MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode})
}
