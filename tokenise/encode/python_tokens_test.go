package encode_test

import (
	"encoding/hex"
	"testing"

	"pgregory.net/rapid"

	"tarn/keys"
	"tarn/keys/nhsnumber"
	"tarn/keys/secret"
	"tarn/tokenise"
	"tarn/tokenise/encode"
)

// TestPythonAgreesOnTokens: of NHS numbers, for both modes of a project.
func TestPythonAgreesOnTokens(t *testing.T) {
	ask := encode.AskTwin(t)
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) (string, secret.Key) {
			b := rapid.SliceOfN(rapid.Byte(), secret.Size, secret.Size).Draw(t, name)
			return hex.EncodeToString(b), secret.New([secret.Size]byte(b))
		}
		tokenText, tokenKey := draw("token key")
		releaseText, releaseKey := draw("release key")
		name := rapid.StringMatching(`[a-z0-9][a-z0-9-]{0,31}`)
		project := keys.Project{Name: name.Draw(t, "project"), Domain: name.Draw(t, "domain"), Scheme: keys.SchemeKeyedHash}
		project.Keys.TokenEpoch = rapid.Uint32Range(1, 65535).Draw(t, "epoch")
		file := keys.KeyFile{Project: project.Name, Domain: project.Domain, Scheme: project.Scheme, TokenKey: tokenKey, ReleaseKey: releaseKey}
		digits := rapid.StringMatching(`[0-9]{10}`).Draw(t, "number")
		var answer map[string]any
		ask(t, map[string]any{"token_key": tokenText, "release_key": releaseText, "domain": project.Domain, "token_epoch": project.Keys.TokenEpoch, "nhs_numbers": []string{digits}}, &answer)
		for mode, names := range map[string][2]string{"direct": {"tokens", "token_kcv"}, "none": {"release_tokens", "release_kcv"}} {
			project.Reidentify.Mode = mode
			k, err := tokenise.NewTokenKeys(&project, &file)
			if err != nil {
				t.Fatal(err)
			}
			token := k.NewTokens().Of(nhsnumber.Number([]byte(digits)))
			if got, want := hex.EncodeToString(token[:]), answer[names[0]].([]any)[0]; got != want {
				t.Fatalf("mode %s: token %s here, %s in Python", mode, got, want)
			}
			if k.KCV() != answer[names[1]] {
				t.Fatalf("mode %s: key check value %s here, %s in Python", mode, k.KCV(), answer[names[1]])
			}
		}
	})
}
