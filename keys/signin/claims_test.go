package signin

import (
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"

	"tarn/keys/reidentify"
)

// base are claims of a token of no preset.
func base() object {
	return object{"iss": issuer, "aud": audience, "sub": "u-1", "exp": noon.Add(time.Minute).Unix(), "iat": noon.Unix(), "auth_time": noon.Unix(), "sid": "s"}
}

// TestProviders: what each kind of provider says of a person.
func TestProviders(t *testing.T) {
	entra := Claims{Preset: PresetEntra, Organisations: map[string]string{"t-1": "QMJ"}}
	keycloak := Claims{Preset: PresetKeycloak, AppRoles: []string{"gp", "approver"}}
	for name, tt := range map[string]struct {
		claims Claims
		token  object
		want   *reidentify.Person // nil: refused
	}{
		"entra": {entra, object{"tid": "t-1", "oid": "o-1", "sub": "_pairwise", "roles": []string{"gp"}}, &reidentify.Person{Subject: "o-1", Organisation: "QMJ", Role: "gp"}},
		"entra, by iat": {entra, object{"tid": "t-1", "oid": "o-1", "roles": []string{"gp"}, "auth_time": nil},
			&reidentify.Person{Subject: "o-1", Organisation: "QMJ", Role: "gp"}},
		"entra, no time":        {entra, object{"tid": "t-1", "oid": "o-1", "roles": []string{"gp"}, "auth_time": nil, "iat": nil}, nil},
		"entra, a stranger":     {entra, object{"tid": "t-2", "oid": "o-1", "roles": []string{"gp"}}, nil},
		"entra, an ODS code":    {entra, object{"tid": "QMJ", "oid": "o-1", "roles": []string{"gp"}}, nil},
		"entra, no oid":         {entra, object{"tid": "t-1", "roles": []string{"gp"}}, nil},
		"entra, an application": {entra, object{"tid": "t-1", "oid": "o-1"}, nil},
		"entra, an extension": {Claims{Preset: PresetEntra, Organisation: `extn\.ods`}, object{"oid": "o-1", "roles": []string{"gp"}, "extn.ods": []string{"A81001"}},
			&reidentify.Person{Subject: "o-1", Organisation: "A81001", Role: "gp"}},
		"entra, two organisations": {Claims{Preset: PresetEntra, Organisation: `extn\.ods`}, object{"oid": "o-1", "roles": []string{"gp"}, "extn.ods": []string{"A81001", "A81002"}}, nil},
		"keycloak": {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []string{"offline_access", "gp"}}, "acr": "1"},
			&reidentify.Person{Subject: "u-1", Organisation: "A81001", Role: "gp", Assurance: "1"}},
		"keycloak, no role here": {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []string{"offline_access"}}}, nil},
		"keycloak, two roles":    {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp", "approver"}}}, nil},
		"keycloak, one selected": {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp", "approver"}}, "selected_role": "approver"},
			&reidentify.Person{Subject: "u-1", Organisation: "A81001", Role: "approver"}},
		"keycloak, another's selected":   {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp"}}, "selected_role": "approver"}, nil},
		"keycloak, no app role selected": {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp", "admin"}}, "selected_role": "admin"}, nil},
		"keycloak, one role twice": {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp", "gp"}}},
			&reidentify.Person{Subject: "u-1", Organisation: "A81001", Role: "gp"}},
		"keycloak, of a client": {
			Claims{Preset: PresetKeycloak, Roles: "resource_access.tarn.roles", UserID: "nhsid_useruid", Activities: "activities"},
			object{"organisation": "A81001", "resource_access": object{"tarn": object{"roles": []string{"gp"}}}, "nhsid_useruid": "555", "activities": []string{"B0264"}},
			&reidentify.Person{Subject: "u-1", UserID: "555", Organisation: "A81001", Role: "gp", Activities: []string{"B0264"}},
		},
		"keycloak, no user id":         {Claims{Preset: PresetKeycloak, UserID: "uid"}, object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp"}}}, nil},
		"keycloak, no organisation":    {keycloak, object{"realm_access": object{"roles": []string{"gp"}}}, nil},
		"keycloak, roles not nested":   {keycloak, object{"organisation": "A81001", "realm_access": []string{"gp"}}, nil},
		"keycloak, a name for a path":  {keycloak, object{"organisation": "A81001", "realm_access.roles": []string{"gp"}}, nil},
		"keycloak, roles of numbers":   {keycloak, object{"organisation": "A81001", "realm_access": object{"roles": []any{1}}}, nil},
		"keycloak, an activity":        {Claims{Preset: PresetKeycloak, Activities: "activities"}, object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp"}}, "activities": "B0264"}, nil},
		"of no preset":                 {Claims{}, object{"organisation": "A81001", "roles": []string{"gp"}}, &reidentify.Person{Subject: "u-1", Organisation: "A81001", Role: "gp"}},
		"of no preset, no auth_time":   {Claims{}, object{"organisation": "A81001", "roles": []string{"gp"}, "auth_time": nil}, nil},
		"of no preset, a role's words": {Claims{}, object{"organisation": "A81001", "roles": []string{"a GP"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(t)
			o.Claims = tt.claims
			v, token := verifier(t, o), signers()["ec"].token(but(base(), tt.token))
			if tt.want == nil {
				refused(t, v, token, BadClaims)
				return
			}
			got := taken(t, v, token)
			tt.want.Issuer, tt.want.SignedIn, tt.want.Session = issuer, noon, got.Session
			if !reflect.DeepEqual(got, *tt.want) {
				t.Errorf("it is %+v, not %+v", got, *tt.want)
			}
		})
	}
}

// TestUserInfo: what the userinfo endpoint says adds to a token of the same person, and
// changes nothing of it.
func TestUserInfo(t *testing.T) {
	v, ec := verifier(t, options(t)), signers()["ec"]
	whole := taken(t, v, ec.token(cis2()))
	short := ec.token(but(cis2(), object{"nhsid_useruid": nil, "nhsid_nrbac_roles": nil}))
	refused(t, v, short, BadClaims)
	more := object{"sub": cis2()["sub"], "nhsid_useruid": cis2()["nhsid_useruid"], "nhsid_nrbac_roles": cis2()["nhsid_nrbac_roles"]}
	for name, differ := range map[string]object{
		"as it should be":     nil,
		"more than it should": {"iss": "https://evil.example", "aud": "another", "exp": 1, "auth_time": 1, "acr": "AAL1", "sid": "s-2", "selected_roleid": "1"},
	} {
		if got, err := v.VerifyWith(t.Context(), short, []byte(document(but(more, differ)))); err != nil || !reflect.DeepEqual(got, whole) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for name, info := range map[string]string{
		"of somebody else": document(but(more, object{"sub": "910000000002"})), "of nobody": document(but(more, object{"sub": nil})), "empty": "{}", "null": "null", "nothing": "",
		"no JSON": "<html>", "twice": strings.Replace(document(more), "{", `{"sub":"910000000001",`, 1), "long": document(more) + strings.Repeat(" ", maxUserInfo),
		"without the role": document(but(more, object{"nhsid_nrbac_roles": []any{role("1", "A81001", "R1")}})),
	} {
		p, err := v.VerifyWith(t.Context(), short, []byte(info))
		var known *Error
		if !errors.As(err, &known) || known.Reason != BadClaims || p.Subject != "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
	// It makes no token good.
	for reason, token := range map[Reason]string{
		Expired: ec.token(but(cis2(), object{"exp": 1})), Audience: ec.token(but(cis2(), object{"aud": "another"})), Signature: signer{"ed", "EdDSA", stranger()}.token(cis2()),
		BadClaims: ec.token(but(cis2(), object{"auth_time": nil})),
	} {
		_, err := v.VerifyWith(t.Context(), token, []byte(document(but(more, object{"aud": audience, "exp": noon.Add(time.Hour).Unix(), "auth_time": noon.Unix()}))))
		var known *Error
		if !errors.As(err, &known) || known.Reason != reason {
			t.Errorf("not refused for %s: %v", reason, err)
		}
	}
	if got, err := v.VerifyWith(t.Context(), ec.token(cis2()), []byte(document(but(more, object{"nhsid_useruid": "555000000002", "nhsid_nrbac_roles": []any{}})))); err != nil || !reflect.DeepEqual(got, whole) {
		t.Errorf("what the token says is changed: %+v, %v", got, err)
	}
	// How, and in which role, somebody has signed in is the token's to say.
	if p, err := v.VerifyWith(t.Context(), ec.token(but(cis2(), object{"acr": nil})), []byte(document(but(more, object{"acr": "AAL3"})))); err != nil || p.Assurance != "" {
		t.Errorf("%+v, %v", p, err)
	}
	if p, err := v.VerifyWith(t.Context(), ec.token(but(cis2(), object{"selected_roleid": nil})), []byte(document(but(more, object{"selected_roleid": "2"})))); err == nil {
		t.Errorf("%+v", p)
	}
	// Its sid is no token's.
	without := but(cis2(), object{"sid": nil})
	bare := taken(t, v, ec.token(without))
	if got, err := v.VerifyWith(t.Context(), ec.token(without), []byte(document(but(more, object{"sid": "s-1"})))); err != nil || got.Session != bare.Session {
		t.Errorf("%+v, %v", got, err)
	}
}

// FuzzClaims: whatever is signed, a person that comes of it is one that the log takes, and
// what is refused is refused for one of the reasons.
func FuzzClaims(f *testing.F) {
	f.Add([]byte(document(cis2())), byte(0))
	f.Add([]byte(document(but(base(), object{"organisation": "A81001", "realm_access": object{"roles": []string{"gp"}}}))), byte(1))
	f.Add([]byte(document(but(base(), object{"tid": "t", "oid": "o", "roles": []string{"gp"}}))), byte(2))
	f.Add([]byte(`{"iss":"https://identity.example/realms/nhs","aud":["tarn",null]}`), byte(3))
	f.Add([]byte(`{"sub":"a","sub":"b"}`), byte(0))
	f.Add([]byte("null"), byte(0))
	var all []*Verifier
	for _, c := range []Claims{{Preset: PresetCIS2}, {Preset: PresetKeycloak}, {Preset: PresetEntra, Organisations: map[string]string{"t": "QMJ"}}, {Activities: "a.b"}} {
		o := options(f)
		o.Claims = c
		all = append(all, verifier(f, o))
	}
	known := map[Reason]bool{}
	for _, reason := range Reasons() {
		known[reason] = true
	}
	f.Fuzz(func(t *testing.T, payload []byte, preset byte) {
		p, _, err := all[int(preset)%len(all)].read(&compact{signed: "a.b"}, payload, Reply{})
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || !known[e.Reason] {
				t.Fatalf("it is refused without a reason: %v", err)
			}
			return
		}
		for _, name := range append([]string{p.Issuer, p.Subject, p.Role, p.Session}, p.Activities...) {
			if !nameText.MatchString(name) || !utf8.ValidString(name) {
				t.Errorf("%q is no name", name)
			}
		}
		if !organisationText.MatchString(p.Organisation) || p.SignedIn.After(noon.Add(clockSkew)) || noon.Sub(p.SignedIn) > defaultMaxAge || len(p.Session) != 64 {
			t.Errorf("%+v", p)
		}
		// A second reader agrees that the document is one, without a member twice.
		var again map[string]any
		if err := json.Unmarshal(payload, &again); err != nil || again["iss"] != issuer {
			t.Errorf("%v", err)
		}
	})
}

// FuzzToken: whatever text is given, it is not taken, and does not panic.
func FuzzToken(f *testing.F) {
	v := verifier(f, options(f))
	for _, s := range signers() {
		f.Add(s.token(but(cis2(), object{"exp": 1})))
	}
	f.Add("a.b.c")
	f.Add(hmacToken([]byte("secret"), "rsa", cis2()))
	f.Fuzz(func(t *testing.T, token string) {
		if _, err := v.Verify(t.Context(), token); err == nil {
			t.Error("it is taken")
		}
	})
}
