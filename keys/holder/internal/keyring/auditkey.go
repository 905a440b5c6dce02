package keyring

import (
	"encoding/hex"
	"strconv"

	"tarn/keys"
	"tarn/keys/escrow"
	"tarn/keys/secret"
)

// auditKey is the record of K_audit, with which the log's hashes of tokens and subjects are
// made. It never changes inside one log: two entries about one patient would no longer be
// found to be. It comes back from backups and is destroyed by nobody.
const auditKey = "audit"

// firstAuditKey draws K_audit where there is none; it is not valid where there is one.
func (k *Keyring) firstAuditKey() (secret.Key, error) {
	if k.keys[auditKey].Valid() {
		return secret.Key{}, nil
	}
	return secret.Generate(k.options.Rand)
}

// TokenH returns a token as the log has it, token_h of specification (i), in hex:
// HMAC(K_audit, LP("tarn/audit-token/v1", domain, u32(token_epoch), token))[0:16].
func (k *Keyring) TokenH(token keys.Token) string {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.tokenHash("tarn/audit-token/v1", token)
}

// Subject returns whom a token is about as the log and limits have it, subject_h of
// specification (i), in hex: HMAC(K_audit, LP("tarn/subject/v1", digits))[0:16]. It is the
// same whatever the token's epoch, domain and scheme. The digits stay in here.
//
// A token that Open would not open, for whatever reason, has a subject of its own that looks
// like any other: whoever counts subjects, or reads the log, does not learn that it is
// nobody's. Such a one is another in each epoch and domain, and is another than the
// patient's if the token can be opened later.
func (k *Keyring) Subject(projectName string, token keys.Token, e *escrow.Envelope) string {
	// Held throughout: who destroys a key clears it.
	k.mu.RLock()
	defer k.mu.RUnlock()
	number, _, err := k.open(projectName, token, e)
	if err != nil {
		return k.tokenHash("tarn/no-subject/v1", token)
	}
	defer clear(number[:])
	return k.auditHash(keys.LP(keys.Text("tarn/subject/v1"), number[:]))
}

// tokenHash hashes a token for the log.
func (k *Keyring) tokenHash(label string, token keys.Token) string {
	return k.auditHash(keys.LP(keys.Text(label), keys.Text(k.domainName(token.DomainNo)), keys.U32(uint32(token.TokenEpoch)), token.Value[:]))
}

// domainName returns the name of the domain of a number; of a number that no domain has,
// what is no name.
func (k *Keyring) domainName(no uint32) string {
	for name, d := range k.domains {
		if d.No == no {
			return name
		}
	}
	return "#" + strconv.FormatUint(uint64(no), 10)
}

// auditHash returns the first 16 bytes of HMAC(K_audit, message), in hex.
func (k *Keyring) auditHash(message []byte) (text string) {
	key := k.keys[auditKey]
	if !key.Valid() {
		panic("keyring: something is hashed for the log before the key holder has started")
	}
	sum := key.Derive(message)
	sum.Use(func(b *[secret.Size]byte) { text = hex.EncodeToString(b[:16]) })
	return text
}
