package signin

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net/http"
	"os"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"tarn/keys/fault"
	"tarn/keys/reidentify"
)

// TestKnownAnswers holds a token and names of sessions to those that another implementation
// made (Python's json, hashlib and cryptography, whose Ed25519 is OpenSSL's), with the key
// whose seed is the bytes 0 to 31.
func TestKnownAnswers(t *testing.T) {
	o := options(t)
	o.Keys = keysOf(t, object{"kty": "OKP", "crv": "Ed25519", "kid": "ed", "x": "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"})
	v := verifier(t, o)
	for file, session := range map[string]string{
		"eddsa.jwt":             "924f360f1e950c76564b7a0122e67fe38013d8aef479ed9ee321418e4afe8625",
		"eddsa-without-sid.jwt": "d5b5e24562684d16b3817fdf2a30d87d4c38da3664e956aa311ff088ebbca539",
	} {
		token, err := os.ReadFile("testdata/" + file)
		if err != nil {
			t.Fatal(err)
		}
		want := reidentify.Person{
			Issuer: issuer, Subject: "910000000001", UserID: "555000000001", Organisation: "A81001", Role: "S0030:G0100:R0570",
			Activities: []string{"B0264", "B0370"}, Assurance: "AAL3", SignedIn: noon.Add(-time.Minute), Session: session,
		}
		if got := taken(t, v, string(token)); !reflect.DeepEqual(got, want) {
			t.Errorf("%s is of %+v, not %+v", file, got, want)
		}
	}
}

// TestEachAlgorithm: what the issuer signs with each of its keys is taken, whatever form a
// token of that kind may have.
func TestEachAlgorithm(t *testing.T) {
	o := options(t)
	ps := signer{"rsa-pss", "PS256", signers()["rsa"].private}
	o.Algorithms = append(o.Algorithms, "PS256")
	o.Keys = keysOf(t, ps.jwk(), signers()["rsa"].jwk(), signers()["ec"].jwk(), signers()["ed"].jwk())
	v := verifier(t, o)
	for _, s := range []signer{signers()["rsa"], ps, signers()["ec"], signers()["ed"]} {
		person := taken(t, v, s.token(cis2()))
		if person.UserID != "555000000001" || !person.Does([]string{"B0264"}) || person.Does([]string{"B0001"}) {
			t.Errorf("%s: %+v", s.id, person)
		}
	}
	ec := signers()["ec"]
	for _, kind := range []any{"JWT", "jwt", "at+jwt", "application/at+jwt", nil} {
		taken(t, v, ec.raw(document(but(ec.header(), object{"typ": kind})), document(cis2())))
	}
	taken(t, v, ec.token(but(cis2(), object{"aud": []string{audience}})))
	taken(t, v, ec.token(but(cis2(), object{"aud": []string{"another", audience}, "azp": audience})))
	taken(t, v, ec.raw(document(but(ec.header(), object{"x5t": "dGhpcyBpcyBub3QgdXNlZA"})), document(cis2())))
}

// TestAttacks: what is not the issuer's, not for this audience or not of now is refused,
// each for its own reason. The control is the token that they all begin with.
func TestAttacks(t *testing.T) {
	v := verifier(t, options(t))
	rsaKey, ec, ed := signers()["rsa"], signers()["ec"], signers()["ed"]
	taken(t, v, rsaKey.token(cis2()))
	der, err := x509.MarshalPKIXPublicKey(rsaKey.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
	unsigned := func(algorithm string) string {
		return text64([]byte(document(object{"alg": algorithm, "kid": "rsa", "typ": "JWT"}))) + "." + text64([]byte(document(cis2()))) + "."
	}
	headed := func(s signer, differ object) string {
		return s.raw(document(but(s.header(), differ)), document(cis2()))
	}
	claiming := func(differ object) string { return ec.token(but(cis2(), differ)) }
	unix := func(d time.Duration) int64 { return noon.Add(d).Unix() }
	good := ec.token(cis2())
	parts := strings.Split(good, ".")
	pss := signer{"rsa", "PS256", rsaKey.private}
	for name, tt := range map[string]struct {
		token  string
		reason Reason
	}{
		"none":                          {"", TokenMissing},
		"alg none without signature":    {unsigned("none"), TokenMalformed},
		"alg none with a signature":     {unsigned("none") + "AA", Algorithm},
		"alg None":                      {unsigned("None") + "AA", Algorithm},
		"no alg":                        {headed(ec, object{"alg": nil}), TokenMalformed},
		"alg a number":                  {headed(ec, object{"alg": 256}), TokenMalformed},
		"HS256 with the PEM":            {hmacToken(block, "rsa", cis2()), Algorithm},
		"HS256 with the PEM's text":     {hmacToken([]byte(strings.TrimSpace(string(block))), "rsa", cis2()), Algorithm},
		"HS256 with the DER":            {hmacToken(der, "rsa", cis2()), Algorithm},
		"HS256 with the JWK":            {hmacToken([]byte(document(rsaKey.jwk())), "rsa", cis2()), Algorithm},
		"HS256 with the Ed25519 key":    {hmacToken(ed.private.Public().(ed25519.PublicKey), "ed", cis2()), Algorithm},
		"an algorithm not listed":       {pss.token(cis2()), Algorithm},
		"another key of the set":        {headed(ec, object{"kid": "ed", "alg": "EdDSA"}), Signature},
		"the set's other RSA key":       {headed(rsaKey, object{"kid": "rsa-2"}), Signature},
		"EdDSA's key used as RSA's":     {headed(ed, object{"alg": "RS256"}), KeyUnknown},
		"RSA's key used as EC's":        {headed(rsaKey, object{"alg": "ES256"}), KeyUnknown},
		"EC's key used as EdDSA's":      {headed(ec, object{"alg": "EdDSA"}), KeyUnknown},
		"another issuer's key":          {signer{"ed", "EdDSA", stranger()}.token(cis2()), Signature},
		"no kid":                        {headed(ec, object{"kid": nil}), KeyUnknown},
		"kid empty":                     {headed(ec, object{"kid": ""}), KeyUnknown},
		"kid unknown":                   {headed(ec, object{"kid": "ec-2"}), KeyUnknown},
		"kid in other letters":          {headed(ec, object{"kid": "EC"}), KeyUnknown},
		"kid a path":                    {headed(ec, object{"kid": "../../../../dev/null"}), KeyUnknown},
		"kid SQL":                       {headed(ec, object{"kid": "ec' UNION SELECT 'secret'; --"}), KeyUnknown},
		"kid with a NUL":                {headed(ec, object{"kid": "ec\x00"}), KeyUnknown},
		"kid an address":                {headed(ec, object{"kid": "https://evil.example/jwks"}), KeyUnknown},
		"kid a list":                    {headed(ec, object{"kid": []string{"ec"}}), TokenMalformed},
		"kid long":                      {headed(ec, object{"kid": strings.Repeat("e", 300)}), TokenMalformed},
		"typ of a logout":               {headed(ec, object{"typ": "logout+jwt"}), TokenMalformed},
		"typ of a JWE":                  {headed(ec, object{"typ": "JWE"}), TokenMalformed},
		"crit":                          {headed(ec, object{"crit": []string{"exp"}, "exp": 1}), TokenMalformed},
		"crit empty":                    {headed(ec, object{"crit": []string{}}), TokenMalformed},
		"b64 false":                     {headed(ec, object{"b64": false}), TokenMalformed},
		"zip":                           {headed(ec, object{"zip": "DEF"}), TokenMalformed},
		"header twice":                  {ec.raw(`{"alg":"ES256","kid":"ec","kid":"ec"}`, document(cis2())), TokenMalformed},
		"header null":                   {ec.raw(`null`, document(cis2())), TokenMalformed},
		"header a list":                 {ec.raw(`[]`, document(cis2())), TokenMalformed},
		"header two documents":          {ec.raw(document(ec.header())+"{}", document(cis2())), TokenMalformed},
		"JWE":                           {text64([]byte(`{"alg":"RSA-OAEP","enc":"A256GCM"}`)) + ".AA.AA.AA.AA", TokenMalformed},
		"JSON serialisation":            {document(object{"protected": parts[0], "payload": parts[1], "signature": parts[2]}), TokenMalformed},
		"detached":                      {parts[0] + ".." + parts[2], TokenMalformed},
		"two parts":                     {parts[0] + "." + parts[1], TokenMalformed},
		"padded":                        {good + "=", TokenMalformed},
		"with a blank":                  {good + " ", TokenMalformed},
		"with a line":                   {good + "\n", TokenMalformed},
		"with a line within":            {parts[0] + ".\n" + parts[1] + "." + parts[2], TokenMalformed},
		"with a NUL":                    {good + "\x00", TokenMalformed},
		"two tokens":                    {good + "," + good, TokenMalformed},
		"too long":                      {claiming(object{"x": strings.Repeat("x", 13<<10)}), TokenMalformed},
		"another issuer":                {claiming(object{"iss": "https://evil.example"}), Issuer},
		"an issuer with a slash more":   {claiming(object{"iss": issuer + "/"}), Issuer},
		"an issuer in capitals":         {claiming(object{"iss": strings.ToUpper(issuer)}), Issuer},
		"no issuer":                     {claiming(object{"iss": nil}), Issuer},
		"issuers":                       {claiming(object{"iss": []string{issuer}}), Issuer},
		"another audience":              {claiming(object{"aud": "another"}), Audience},
		"an audience that begins so":    {claiming(object{"aud": audience + "2"}), Audience},
		"an audience with a NUL":        {claiming(object{"aud": audience + "\x00"}), Audience},
		"no audience":                   {claiming(object{"aud": nil}), Audience},
		"an empty audience":             {claiming(object{"aud": []string{}}), Audience},
		"an audience of numbers":        {claiming(object{"aud": []any{1, audience}}), Audience},
		"two audiences without azp":     {claiming(object{"aud": []string{audience, "another"}}), Audience},
		"two audiences, another's":      {claiming(object{"aud": []string{audience, "another"}, "azp": "another"}), Audience},
		"twice one audience, no azp":    {claiming(object{"aud": []string{audience, audience}}), Audience},
		"expired":                       {claiming(object{"exp": unix(-30 * time.Second)}), Expired},
		"seventeen audiences":           {claiming(object{"aud": append(many(16), audience), "azp": audience}), Audience},
		"expired long ago":              {claiming(object{"exp": 1}), Expired},
		"never expires":                 {claiming(object{"exp": nil}), BadClaims},
		"expires at a text":             {claiming(object{"exp": "1795694700"}), BadClaims},
		"expires at the end of days":    {claiming(object{"exp": 1e300}), BadClaims},
		"expires before time":           {claiming(object{"exp": -1}), BadClaims},
		"nbf in the future":             {claiming(object{"nbf": unix(31 * time.Second)}), NotYet},
		"iat in the future":             {claiming(object{"iat": unix(31 * time.Second)}), NotYet},
		"auth_time in the future":       {claiming(object{"auth_time": unix(31 * time.Second)}), NotYet},
		"nbf a text":                    {claiming(object{"nbf": "now"}), BadClaims},
		"iat null":                      {ec.raw(document(ec.header()), strings.Replace(document(cis2()), `"iat":`, `"iat":null,"at":`, 1)), BadClaims},
		"auth_time too long ago":        {claiming(object{"auth_time": unix(-12*time.Hour - time.Second)}), TooOld},
		"no auth_time":                  {claiming(object{"auth_time": nil}), BadClaims},
		"a logout":                      {claiming(object{"events": object{"http://schemas.openid.net/event/backchannel-logout": object{}}}), BadClaims},
		"no subject":                    {claiming(object{"sub": nil}), BadClaims},
		"an empty subject":              {claiming(object{"sub": ""}), BadClaims},
		"a subject in words":            {claiming(object{"sub": "Wendy Withers"}), BadClaims},
		"a subject with a NUL":          {claiming(object{"sub": "910000000001\x00"}), BadClaims},
		"a subject with a line":         {claiming(object{"sub": "910000000001\n"}), BadClaims},
		"a subject in other letters":    {claiming(object{"sub": "９10000000001"}), BadClaims},
		"a subject of 129":              {claiming(object{"sub": strings.Repeat("9", 129)}), BadClaims},
		"a subject of a number":         {claiming(object{"sub": 910000000001}), BadClaims},
		"no user id":                    {claiming(object{"nhsid_useruid": nil}), BadClaims},
		"an acr in words":               {claiming(object{"acr": "very sure"}), BadClaims},
		"an sid that is no text":        {claiming(object{"sid": 1}), BadClaims},
		"a long sid":                    {claiming(object{"sid": strings.Repeat("s", 256)}), BadClaims},
		"a member twice":                {ec.raw(document(ec.header()), strings.Replace(document(cis2()), `"acr":`, `"acr":"AAL1","acr":`, 1)), BadClaims},
		"a member twice, deeper":        {ec.raw(document(ec.header()), strings.Replace(document(cis2()), `"org_code":`, `"org_code":"A81009","org_code":`, 1)), BadClaims},
		"a member twice, escaped":       {ec.raw(document(ec.header()), strings.Replace(document(cis2()), `"sub":`, `"\u0073ub":"1","sub":`, 1)), BadClaims},
		"a member twice, unused":        {ec.raw(document(ec.header()), strings.Replace(document(cis2()), `"name":`, `"unused":{"a":1,"a":2},"name":`, 1)), BadClaims},
		"a member in capitals":          {ec.raw(document(ec.header()), strings.Replace(document(cis2()), `"name":`, `"ISS":"https://evil.example","name":`, 1)), BadClaims},
		"claims null":                   {ec.raw(document(ec.header()), "null"), BadClaims},
		"claims a list":                 {ec.raw(document(ec.header()), "[]"), BadClaims},
		"claims of two documents":       {ec.raw(document(ec.header()), document(cis2())+"{}"), BadClaims},
		"claims that are no UTF-8":      {ec.raw(document(ec.header()), strings.Replace(document(cis2()), "Wendy", "W\xffndy", 1)), BadClaims},
		"claims very deep":              {ec.raw(document(ec.header()), `{"a":`+strings.Repeat("[", 8000)), BadClaims},
		"a role that they have not":     {claiming(object{"selected_roleid": "3"}), BadClaims},
		"no role selected":              {claiming(object{"selected_roleid": nil}), BadClaims},
		"an empty role selected":        {claiming(object{"selected_roleid": "", "nhsid_nrbac_roles": []any{object{"org_code": "A81001", "role_code": "R1"}}}), BadClaims},
		"a role selected with a NUL":    {claiming(object{"selected_roleid": "2\x00"}), BadClaims},
		"a role that is two":            {claiming(object{"nhsid_nrbac_roles": []any{role("2", "A81001", "R1"), role("2", "A81002", "R2")}}), BadClaims},
		"a role that is twice the same": {claiming(object{"nhsid_nrbac_roles": []any{role("2", "A81001", "R1"), role("2", "A81001", "R1")}}), BadClaims},
		"no roles":                      {claiming(object{"nhsid_nrbac_roles": nil}), BadClaims},
		"roles that are none":           {claiming(object{"nhsid_nrbac_roles": "2"}), BadClaims},
		"a role's name a number":        {claiming(object{"nhsid_nrbac_roles": []any{object{"person_roleid": 2}}}), BadClaims},
		"no organisation":               {claiming(object{"nhsid_nrbac_roles": []any{role("2", "", "R1")}}), BadClaims},
		"an organisation in words":      {claiming(object{"nhsid_nrbac_roles": []any{role("2", "The Surgery", "R1")}}), BadClaims},
		"an organisation with a line":   {claiming(object{"nhsid_nrbac_roles": []any{role("2", "A81001\n", "R1")}}), BadClaims},
		"a role in words":               {claiming(object{"nhsid_nrbac_roles": []any{role("2", "A81001", "General Practitioner")}}), BadClaims},
		"an activity in words":          {claiming(object{"nhsid_nrbac_roles": []any{role("2", "A81001", "R1", "Break glass")}}), BadClaims},
		"very many activities":          {claiming(object{"nhsid_nrbac_roles": []any{role("2", "A81001", "R1", many(257)...)}}), BadClaims},
	} {
		t.Run(name, func(t *testing.T) { refused(t, v, tt.token, tt.reason) })
	}
	// What is only just good.
	for name, differ := range map[string]object{
		"expired within the skew":    {"exp": unix(-29 * time.Second)},
		"nbf within the skew":        {"nbf": unix(30 * time.Second)},
		"signed in twelve hours ago": {"auth_time": unix(-12 * time.Hour)},
		"without nbf and iat":        {"nbf": nil, "iat": nil},
		"times with fractions":       {"exp": float64(unix(0)) + 10.5},
		"sixteen audiences":          {"aud": append(many(15), audience), "azp": audience},
		"many activities":            {"nhsid_nrbac_roles": []any{role("2", "A81001", "R1", many(256)...)}},
		"a role that has none":       {"nhsid_nrbac_roles": []any{role("2", "A81001", "R1")}},
		"without acr":                {"acr": nil},
	} {
		if _, err := v.Verify(t.Context(), claiming(differ)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func role(id, organisation, code string, activities ...string) object {
	return object{"person_roleid": id, "org_code": organisation, "role_code": code, "activity_codes": activities}
}

func many(n int) []string {
	return strings.Split(strings.TrimSuffix(strings.Repeat("B0264,", n), ","), ",")
}

// TestTokensBringNoKeys: a token that says where its key is, or brings it, is refused, and
// nobody is asked.
func TestTokensBringNoKeys(t *testing.T) {
	var asked atomic.Int32
	mine := signer{"mine", "EdDSA", stranger()}
	server := serveTLS(t, newAuthority(t), func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		_, _ = w.Write([]byte(document(object{"keys": []object{mine.jwk()}})))
	})
	o := options(t)
	o.Keys = keysOf(t, signers()["ec"].jwk())
	v := verifier(t, o)
	certificate := base64.StdEncoding.EncodeToString(server.certificate)
	for name, header := range map[string]object{
		"jku": {"jku": server.URL + "/jwks"}, "x5u": {"x5u": server.URL + "/cert"}, "jwk": {"jwk": mine.jwk()}, "x5c": {"x5c": []string{certificate}},
		"JKU": {"JKU": server.URL + "/jwks"}, "jku of nothing": {"jku": ""}, "jwk null": {"jwk": nil},
	} {
		for _, id := range []string{"mine", "ec"} {
			all := but(mine.header(), object{"kid": id})
			for member, value := range header {
				all[member] = value
			}
			refused(t, v, mine.raw(document(all), document(cis2())), TokenMalformed)
		}
		_ = name
	}
	if asked.Load() != 0 {
		t.Errorf("a token has made us ask somebody, %d times", asked.Load())
	}
	// Controls: without the header the key is just not known; the server would answer.
	refused(t, v, mine.token(cis2()), KeyUnknown)
	source, err := KeysAtURL(URLOptions{URL: server.URL + "/jwks", Roots: server.roots, Clock: func() time.Time { return noon }, Logger: silent})
	if err != nil {
		t.Fatal(err)
	}
	o.Keys = source
	taken(t, verifier(t, o), mine.token(cis2()))
	if asked.Load() != 1 {
		t.Errorf("asked %d times for keys", asked.Load())
	}
}

// TestOnlyWhatIsSigned: no byte of a token may be another, wherever it is.
func TestOnlyWhatIsSigned(t *testing.T) {
	v := verifier(t, options(t))
	for _, id := range []string{"rsa", "ec", "ed"} {
		token := signers()[id].token(cis2())
		taken(t, v, token)
		for i := range token {
			// The neighbours in the alphabet differ in the lowest bits: those that a lax
			// decoder does not see at the end of a part.
			for _, c := range []byte{token[i] ^ 1, token[i] + 1, token[i] - 1, 'A', '.', 0} {
				if c == token[i] {
					continue
				}
				changed := []byte(token)
				changed[i] = c
				if p, err := v.Verify(t.Context(), string(changed)); err == nil {
					t.Fatalf("%s: byte %d may be %q: %+v", id, i, c, p)
				}
			}
		}
	}
}

// TestOnlyTheIssuer: whatever header and claims a stranger signs, nobody is signed in.
func TestOnlyTheIssuer(t *testing.T) {
	v := verifier(t, options(t))
	kids := rapid.SampledFrom([]string{"rsa", "rsa-2", "ec", "ed", "", "none"})
	algorithms := rapid.SampledFrom([]string{"RS256", "PS256", "ES256", "EdDSA", "HS256", "none", ""})
	mine := stranger()
	rapid.Check(t, func(t *rapid.T) {
		s := signer{kids.Draw(t, "kid"), algorithms.Draw(t, "alg"), mine}
		claims := but(cis2(), object{"sub": rapid.String().Draw(t, "sub"), "acr": rapid.String().Draw(t, "acr")})
		if p, err := v.Verify(t.Context(), s.token(claims)); err == nil {
			t.Fatalf("%+v", p)
		}
	})
}

// TestSessions: a session is one for all tokens of a sign-in, and another for each sign-in.
func TestSessions(t *testing.T) {
	v, ec := verifier(t, options(t)), signers()["ec"]
	session := func(differ object) string { return taken(t, v, ec.token(but(cis2(), differ))).Session }
	first := session(nil)
	if again := session(object{"iat": noon.Add(time.Second).Unix()}); again != first || len(first) != 64 {
		t.Errorf("a second token of a sign-in is of session %s, not %s", again, first)
	}
	seen := map[string]bool{first: true}
	for _, differ := range []object{
		{"sid": "s-2"}, {"sub": "910000000002"}, {"sid": nil}, {"sid": nil, "iat": noon.Add(time.Second).Unix()}, {"sub": "91", "sid": "0000000001s-1"},
	} {
		if s := session(differ); seen[s] {
			t.Errorf("%v is of a session that was there", differ)
		} else {
			seen[s] = true
		}
	}
	// A second signature of the same is no second sign-in.
	again, once := session(object{"sid": nil}), session(object{"sid": nil})
	if again != once {
		t.Error("a second signature makes a second session")
	}
}

// TestOptionsThatAreNone: nothing is verified with a configuration that is wrong.
func TestOptionsThatAreNone(t *testing.T) {
	for name, change := range map[string]func(*Options){
		"no issuer":              func(o *Options) { o.Issuer = "" },
		"an issuer without TLS":  func(o *Options) { o.Issuer = "http://identity.example" },
		"an issuer with a query": func(o *Options) { o.Issuer += "?a=b" },
		"an issuer's fragment":   func(o *Options) { o.Issuer += "#" },
		"an issuer with a user":  func(o *Options) { o.Issuer = "https://a@identity.example" },
		"a long issuer":          func(o *Options) { o.Issuer += strings.Repeat("a", 128) },
		"no audience":            func(o *Options) { o.Audience = "" },
		"no algorithms":          func(o *Options) { o.Algorithms = nil },
		"none":                   func(o *Options) { o.Algorithms = []string{"RS256", "none"} },
		"HS256":                  func(o *Options) { o.Algorithms = []string{"RS256", "HS256"} },
		"HS512":                  func(o *Options) { o.Algorithms = []string{"HS512"} },
		"an algorithm in small":  func(o *Options) { o.Algorithms = []string{"rs256"} },
		"no keys":                func(o *Options) { o.Keys = nil },
		"a negative age":         func(o *Options) { o.MaxAge = -time.Second },
		"no such preset":         func(o *Options) { o.Claims.Preset = "adfs" },
		"cis2 with app roles":    func(o *Options) { o.Claims.AppRoles = []string{"gp"} },
		"cis2 with organisation": func(o *Options) { o.Claims.Organisation = "org" },
		"entra, no organisation": func(o *Options) { o.Claims = Claims{Preset: PresetEntra} },
		"organisations in words": func(o *Options) {
			o.Claims = Claims{Preset: PresetEntra, Organisations: map[string]string{"a": "The Surgery"}}
		},
		"app roles in words":       func(o *Options) { o.Claims = Claims{Preset: PresetKeycloak, AppRoles: []string{"a GP"}} },
		"a claim's name of points": func(o *Options) { o.Claims = Claims{Preset: PresetKeycloak, Roles: "realm_access..roles"} },
	} {
		o := options(t)
		change(&o)
		if v, err := New(o); v != nil || fault.KindOf(err) != fault.Usage || err == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestBearer(t *testing.T) {
	for _, tt := range []struct {
		values []string
		want   string
	}{
		{[]string{"Bearer abc"}, "abc"}, {[]string{"bearer  abc"}, "abc"},
		{nil, ""}, {[]string{""}, ""}, {[]string{"Bearer"}, ""}, {[]string{"Bearer "}, ""}, {[]string{"Basic abc"}, ""}, {[]string{"abc"}, ""},
		{[]string{"Bearer abc", "Bearer abc"}, ""},
	} {
		got, err := Bearer(http.Header{"Authorization": tt.values})
		if got != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%q is the token %q, %v", tt.values, got, err)
		}
	}
}
