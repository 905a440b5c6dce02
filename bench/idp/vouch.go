package idp

import (
	"fmt"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-json-experiment/json"
	"github.com/google/uuid"
)

// Vouch signs an ID token for a user in their first role, without a browser and with their
// roles in it, whatever [Options] say of those: for programs that call an interface as
// somebody whose sign-in is tried elsewhere. Each is a session of its own.
func (p *Provider) Vouch(user, acr string) (idToken string, err error) {
	for i := range p.options.Users {
		u := &p.options.Users[i]
		if u.ID != user {
			continue
		}
		as := &signIn{user: u, assurance: acr, at: p.storage.clock(), session: uuid.NewString()}
		if len(u.Roles) > 0 {
			as.role = u.Roles[0].ID
		}
		return p.sign(as)
	}
	return "", fmt.Errorf("idp: there is no user %q", user)
}

func (p *Provider) sign(as *signIn) (string, error) {
	claims := as.claims()
	claims["iss"], claims["aud"], claims["sub"] = p.URL, p.ClientID, as.user.Subject
	claims["iat"], claims["auth_time"], claims["exp"] = as.at.Unix(), as.at.Unix(), as.at.Add(p.options.Lifetime).Unix()
	claims["acr"] = as.assurance
	payload, err := json.Marshal(claims, json.Deterministic(true))
	if err != nil {
		return "", err
	}
	first := p.storage.keys[0]
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: first.algorithm, Key: jose.JSONWebKey{Key: first.key, KeyID: first.id}}, (&jose.SignerOptions{}).WithType("JWT"))
	if err != nil {
		return "", err
	}
	signed, err := signer.Sign(payload)
	if err != nil {
		return "", err
	}
	return signed.CompactSerialize()
}
