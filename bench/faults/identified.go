package faults

import (
	"crypto"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"maps"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"

	"tarn/bench/care"
	"tarn/bench/keyholder"
	"tarn/keys/api"
	"tarn/keys/relationship"
	"tarn/keys/trialcert"
)

// identified is scenario 11.
func identified(t *Trial) error {
	d, err := t.desk(4, keyholder.Options{})
	if err != nil {
		return err
	}
	var expires time.Time // while other parts are tried
	if t.Full {
		if expires, err = d.expiring("expired"); err != nil {
			return err
		}
	} else {
		t.leaveOut("an expired certificate", "none lasts less than a minute: it is tried at full scale")
	}
	if err := d.tokens(); err != nil {
		return err
	}
	if err := d.regionCertificates(); err != nil {
		return err
	}
	time.Sleep(time.Until(expires))
	return d.certificates()
}

// shortest is the shortest time that a client's certificate may last.
const shortest = time.Minute

// attempt is a call of somebody who may not call, and what it is answered with.
type attempt struct {
	name, certificate, authorisation, verb, path string
	status                                       int
	code                                         api.Code
}

// certificates tries certificates where programs call.
func (d *desk) certificates() error {
	t := d.t
	t.note("certificates")
	if err := d.AddTokeniser(t.ctx, "revoked", care.Project); err != nil {
		return err
	}
	operator, err := d.As(keyholder.Operator)
	if err != nil {
		return err
	}
	_, err = operator.Ask(t.ctx, api.OpClientRevoke, api.ClientNamed{Name: "revoked", Reason: "the scenario goes on"})
	operator.Close()
	if err != nil {
		return err
	}
	shown := map[string]*tls.Certificate{"no": nil}
	for _, name := range []string{care.Tokeniser, "revoked", "expired"} {
		if name == "expired" && !t.Full {
			continue
		}
		pair, err := d.Pair(name)
		if err != nil {
			return err
		}
		shown[name] = &pair
	}
	foreign, err := d.foreign(keyholder.Operator)
	if err != nil {
		return err
	}
	shown["foreign"] = &foreign
	bearer, err := d.Token(doctor, nil)
	if err != nil {
		return err
	}
	before := map[api.Code]int64{}
	tried := []attempt{
		{"no certificate", "no", "", http.MethodGet, "/v1/events", 401, api.CodeNoCertificate},
		{"no certificate, to a change", "no", "", http.MethodPost, "/v1/operations", 401, api.CodeNoCertificate},
		{"a foreign certificate of an operator's name", "foreign", "", http.MethodGet, "/v1/events", 403, api.CodeCertificate},
		{"an expired certificate", "expired", "", http.MethodGet, "/v1/self", 403, api.CodeExpired},
		{"an expired certificate, to a key", "expired", "", http.MethodPost, "/v1/projects/" + care.Project + "/leases", 403, api.CodeExpired},
		{"a revoked certificate", "revoked", "", http.MethodGet, "/v1/self", 403, api.CodeRevoked},
		{"a wrong role's certificate", care.Tokeniser, "", http.MethodGet, "/v1/events", 403, api.CodeRole},
		{"a wrong role's certificate, to a change", care.Tokeniser, "", http.MethodPost, "/v1/operations", 403, api.CodeRole},
		{"a person's token instead of a certificate", "no", "Bearer " + bearer, http.MethodGet, "/v1/events", 401, api.CodeNoCertificate},
	}
	if !t.Full {
		tried = slices.DeleteFunc(tried, func(one attempt) bool { return one.certificate == "expired" })
	}
	wanted := map[api.Code]int64{}
	for _, one := range tried {
		wanted[one.code]++
	}
	for code := range wanted {
		if before[code], err = d.refusals(code, 0); err != nil {
			return err
		}
	}
	for _, one := range tried {
		a, err := d.calls(d.URL, shown[one.certificate], one.authorisation, one.verb, one.path, struct{}{})
		if err != nil {
			return err
		}
		t.check(a.Status == one.status && a.Code == one.code, "refused: "+one.name, "status %d, %s", a.Status, a.Code)
	}
	for _, path := range []string{"/v1/me", requestsPath} { // nobody is told that there is such a thing here
		a, err := d.calls(d.URL, nil, "Bearer "+bearer, http.MethodGet, path, nil)
		if err != nil {
			return err
		}
		t.check(a.Status == http.StatusNotFound && a.Code == api.CodeNotFound, "refused: a person's token where programs call", "%s: status %d, %s", path, a.Status, a.Code)
	}
	for code, n := range wanted {
		has, err := d.refusals(code, before[code]+n)
		if err != nil {
			return err
		}
		t.check(has == before[code]+n, "each refusal is in the log", "%s: %d of %d", code, has-before[code], n)
	}
	a, err := d.calls(d.URL, shown[care.Tokeniser], "", http.MethodGet, "/v1/self", nil)
	if err != nil {
		return err
	}
	t.control(a.Status == http.StatusOK, "the right certificate is answered", "status %d, %s", a.Status, a.Code)
	return nil
}

// calls sends one request with whatever identifies its sender.
func (d *desk) calls(url string, shown *tls.Certificate, authorisation, verb, path string, body any) (*keyholder.Answer, error) {
	c, err := d.CallAt(url, shown, authorisation)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	return c.Send(d.t.ctx, care.NewID(), verb, path, body)
}

// expiring adds a client whose certificate expires soon, and returns when it has.
func (d *desk) expiring(name string) (expired time.Time, err error) {
	restarted := func(ttl time.Duration) error {
		d.CertificateTTL = ttl
		err := d.Stop()
		if err == nil {
			err = d.Configure()
		}
		if err == nil {
			err = d.Start(d.t.ctx)
		}
		return err
	}
	if err := restarted(shortest); err != nil {
		return expired, err
	}
	if err := d.AddTokeniser(d.t.ctx, name, care.Project); err != nil {
		return expired, err
	}
	expired = time.Now().Add(shortest + time.Second)
	return expired, restarted(0)
}

// foreign is a certificate of another authority, for the name of a client.
func (d *desk) foreign(name string) (tls.Certificate, error) {
	folder, err := d.t.sub("foreign-" + name)
	if err == nil {
		err = trialcert.Make(folder, []string{"127.0.0.1"}, []string{name}, time.Now())
	}
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.LoadX509KeyPair(filepath.Join(folder, name+".pem"), filepath.Join(folder, name+".key"))
}

// bait is a server that nobody may call, and counts who does.
type bait struct {
	address string
	calls   atomic.Int64
	socket  net.Listener
}

func newBait() (*bait, error) {
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	b := &bait{address: socket.Addr().String(), socket: socket}
	go func() {
		for {
			c, err := socket.Accept()
			if err != nil {
				return // it is closed
			}
			b.calls.Add(1)
			_ = c.Close()
		}
	}()
	return b, nil
}

// forged makes a token of a header and claims; sign gives its signature.
func forged(header, claims map[string]any, sign func([]byte) ([]byte, error)) (string, error) {
	var text string
	for _, part := range []map[string]any{header, claims} {
		b, err := json.Marshal(part, json.Deterministic(true))
		if err != nil {
			return "", err
		}
		if text != "" {
			text += "."
		}
		text += base64.RawURLEncoding.EncodeToString(b)
	}
	signature, err := sign([]byte(text))
	if err != nil {
		return "", err
	}
	return text + "." + base64.RawURLEncoding.EncodeToString(signature), nil
}

// byKey signs as RS256 does.
func byKey(key *rsa.PrivateKey) func([]byte) ([]byte, error) {
	return func(text []byte) ([]byte, error) {
		sum := sha256.Sum256(text)
		return rsa.SignPKCS1v15(rand.Reader, key, crypto.SHA256, sum[:])
	}
}

// bySecret signs as HS256 does.
func bySecret(secret []byte) func([]byte) ([]byte, error) {
	return func(text []byte) ([]byte, error) {
		mac := hmac.New(sha256.New, secret)
		_, _ = mac.Write(text) // it never fails
		return mac.Sum(nil), nil
	}
}

// unsigned is a signature that is none.
func unsigned([]byte) ([]byte, error) { return nil, nil }

// forgery is a token that nobody may take.
type forgery struct {
	name   string
	header map[string]any // besides alg, typ and kid
	claims func(map[string]any)
	sign   func([]byte) ([]byte, error)
}

// forgeries are tokens that nobody may take. The bait is where they say that their keys are.
func (d *desk) forgeries(b *bait) ([]forgery, error) {
	own, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	right, ours := byKey(d.Key()), byKey(own)
	der, err := x509.MarshalPKIXPublicKey(d.Key().Public())
	if err != nil {
		return nil, err
	}
	public := jose.JSONWebKey{Key: d.Key().Public(), KeyID: care.KeyID, Algorithm: "RS256", Use: "sig"}
	jwk, err := public.MarshalJSON()
	if err != nil {
		return nil, err
	}
	brought := jose.JSONWebKey{Key: own.Public(), KeyID: "brought", Algorithm: "RS256", Use: "sig"}
	keep := func(map[string]any) {}
	claim := func(name string, value any) func(map[string]any) {
		return func(claims map[string]any) {
			if value == nil {
				delete(claims, name)
				return
			}
			claims[name] = value
		}
	}
	past := d.Clock().Add(-2 * time.Hour)
	hmacked := map[string]any{"alg": "HS256"}
	all := []forgery{
		{"expired", nil, func(c map[string]any) {
			c["iat"], c["auth_time"], c["exp"] = past.Unix(), past.Unix(), past.Add(time.Hour).Unix()
		}, right},
		{"of another audience", nil, claim("aud", "another-client"), right},
		{"of another issuer", nil, claim("iss", "https://sign-in.example.org"), right},
		{"of the issuer, with another's key", nil, keep, ours},
		{"of no algorithm", map[string]any{"alg": "none"}, keep, unsigned},
		{"of no algorithm, in other letters", map[string]any{"alg": "nOnE"}, keep, unsigned},
		{"of no algorithm, with the right signature", map[string]any{"alg": "none"}, keep, right},
		{"without a signature", nil, keep, unsigned},
		{"HS256 with the public key as PEM", hmacked, keep, bySecret(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))},
		{"HS256 with the public key as PEM of PKCS #1", hmacked, keep, bySecret(pem.EncodeToMemory(&pem.Block{Type: "RSA PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&d.Key().PublicKey)}))},
		{"HS256 with the public key as DER", hmacked, keep, bySecret(der)},
		{"HS256 with the public key as JWK", hmacked, keep, bySecret(jwk)},
		{"HS256 with the public key's modulus", hmacked, keep, bySecret(d.Key().N.Bytes())},
		{"HS256 with no secret", hmacked, keep, bySecret(nil)},
		{"of a key that nobody knows", map[string]any{"kid": "another"}, keep, ours},
		{"of a key that nobody knows, signed by the right one", map[string]any{"kid": "another"}, keep, right},
		{"with its own key in it", map[string]any{"kid": "brought", "jwk": brought}, keep, ours},
		{"in no role", nil, claim("selected_roleid", nil), right},
		{"in a role that is not the person's", nil, claim("selected_roleid", "556"), right},
		{"without roles", nil, claim("nhsid_nrbac_roles", nil), right},
	}
	for _, scheme := range []string{"http", "https"} {
		for _, name := range []string{"jku", "x5u"} {
			for _, key := range []string{care.KeyID, "brought"} {
				at := map[string]any{name: scheme + "://" + b.address + "/keys.json", "kid": key}
				all = append(all, forgery{"whose keys are at an address of its own (" + name + ")", at, keep, ours})
			}
		}
	}
	return append(all,
		forgery{"that is right but for an address of keys (jku)", map[string]any{"jku": "https://" + b.address + "/keys.json"}, keep, right},
		forgery{"whose issuer is an address of its own", nil, claim("iss", "https://"+b.address), ours},
	), nil
}

// tokens tries tokens where people call.
func (d *desk) tokens() error {
	t := d.t
	t.note("tokens")
	b, err := newBait()
	if err != nil {
		return err
	}
	t.later(b.socket.Close)
	all, err := d.forgeries(b)
	if err != nil {
		return err
	}
	before, err := d.refusals(api.CodeSignIn, 0)
	if err != nil {
		return err
	}
	n := int64(0)
	refused := func(name string, shown *tls.Certificate, authorisation string) error {
		for _, ask := range []struct {
			verb, path string
			body       any
		}{{http.MethodGet, "/v1/me", nil}, {http.MethodPost, requestsPath, d.about(0, doctor.Organisation)}} {
			if ask.body != nil && n%5 != 0 && !t.Full { // each of these waits 300 ms
				continue
			}
			a, err := d.calls(d.People, shown, authorisation, ask.verb, ask.path, ask.body)
			if err != nil {
				return err
			}
			n++
			t.check(a.Status == http.StatusUnauthorized && a.Code == api.CodeSignIn, "refused: "+name, "%s: status %d, %s", ask.path, a.Status, a.Code)
		}
		return nil
	}
	for _, f := range all {
		header := map[string]any{"alg": "RS256", "typ": "JWT", "kid": care.KeyID}
		maps.Copy(header, f.header)
		claims := d.Claims(doctor)
		f.claims(claims)
		token, err := forged(header, claims, f.sign)
		if err == nil {
			err = refused("a token "+f.name, nil, "Bearer "+token)
		}
		if err != nil {
			return err
		}
	}
	t.figure("tokens", float64(len(all)))
	pair, err := d.Pair(keyholder.Operator)
	if err != nil {
		return err
	}
	right, err := forged(map[string]any{"alg": "RS256", "typ": "JWT", "kid": care.KeyID}, d.Claims(doctor), byKey(d.Key()))
	if err != nil {
		return err
	}
	for name, one := range map[string]struct {
		shown         *tls.Certificate
		authorisation string
	}{
		"no token":                         {nil, ""},
		"a certificate instead of a token": {&pair, ""},
		"an empty token":                   {nil, "Bearer "},
		"a right token of another scheme":  {nil, "Basic " + right},
	} {
		if err := refused(name, one.shown, one.authorisation); err != nil {
			return err
		}
	}
	has, err := d.refusals(api.CodeSignIn, before+n)
	if err != nil {
		return err
	}
	t.check(has == before+n, "each refused sign-in is in the log", "%d of %d", has-before, n)
	t.check(b.calls.Load() == 0, "nothing is fetched from where a token says that its keys are", "%d connections", b.calls.Load())

	for name, token := range map[string]string{"the right token": right} {
		a, err := d.calls(d.People, nil, "Bearer "+token, http.MethodGet, "/v1/me", nil)
		if err != nil {
			return err
		}
		var me api.PersonShown
		t.control(a.Done() && json.Unmarshal(a.Body, &me) == nil && me.Subject == doctor.Subject && me.Organisation == care.Practice, name+" is answered", "status %d, %s", a.Status, a.Code)
	}
	c, err := net.Dial("tcp", b.address)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	_, late, err := until(5*time.Second, func() (bool, error) { return b.calls.Load() == 1, nil })
	t.control(!late, "somebody who does call there is counted", "%d", b.calls.Load())
	return err
}

// regionCertificates tries certificates at the region's service, which answers the key holder.
func (d *desk) regionCertificates() error {
	t := d.t
	t.note("the region's service")
	north, err := d.Pair(care.Tokeniser)
	if err != nil {
		return err
	}
	own, err := d.RegionStranger()
	if err != nil {
		return err
	}
	foreign, err := d.foreign("keyholder")
	if err != nil {
		return err
	}
	question := relationship.Question{Token: d.Patients[0].Token, Organisation: care.Practice, At: d.Clock()}
	for _, one := range []struct {
		name    string
		shown   *tls.Certificate
		refused func(*keyholder.Answer) bool
	}{
		{"no certificate", nil, func(a *keyholder.Answer) bool { return a == nil }},
		{"a certificate of the region's own authority", &own, func(a *keyholder.Answer) bool { return a == nil }},
		{"a foreign certificate of the key holder's name", &foreign, func(a *keyholder.Answer) bool { return a == nil }},
		{"another client's certificate of the key holder's authority", &north, func(a *keyholder.Answer) bool {
			return a != nil && a.Status == http.StatusForbidden && a.Code == api.CodeCertificate
		}},
	} {
		c, err := keyholder.CallAt(d.Region, d.RegionCA(), one.shown, "")
		if err != nil {
			return err
		}
		a, _ := c.Send(t.ctx, care.NewID(), http.MethodPost, "/v1/relationships/check", question) // no answer is what most get
		c.Close()
		told := "no answer"
		if a != nil {
			told = fmt.Sprintf("status %d, %s", a.Status, a.Code)
		}
		t.check(one.refused(a), "the region refuses "+one.name, "%s", told)
	}
	r, err := d.asked(doctor, 1)
	t.control(err == nil && r.State == "ready" && r.Decision.Rule == "relationship", "the region answers the key holder", "%s", wrong(err))
	return nil
}
