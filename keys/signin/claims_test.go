package signin

import (
	"errors"
	"reflect"
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
		p, err := all[int(preset)%len(all)].read(&compact{signed: "a.b"}, payload)
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
