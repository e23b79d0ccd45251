package controller

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"testing"
)

func TestCallersShowTheSecretAsTheirForgesDo(t *testing.T) {
	secret, body := []byte("correct-horse-battery-staple"), []byte(`{"ref":"refs/heads/main"}`)
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	sum := hex.EncodeToString(mac.Sum(nil))
	for name, test := range map[string]struct {
		secret        []byte
		header, value string
		want          bool
	}{
		"GitHub":                      {secret, "X-Hub-Signature-256", "sha256=" + sum, true},
		"Gitea":                       {secret, "X-Gitea-Signature", sum, true},
		"GitLab":                      {secret, "X-Gitlab-Token", string(secret), true},
		"a registry, by bearer token": {secret, "Authorization", "Bearer " + string(secret), true},
		"nothing":                     {secret, "X-Nothing", "", false},
		"an empty token":              {secret, "X-Gitlab-Token", "", false},
		"a signature by SHA-1":        {secret, "X-Hub-Signature", "sha1=" + sum, false},
		"a signature cut short":       {secret, "X-Hub-Signature-256", "sha256=" + sum[:8], false},
		"the secret without Bearer":   {secret, "Authorization", string(secret), false},
		"the secret as basic":         {secret, "Authorization", "Basic " + string(secret), false},
		"no secret, and an empty one": {nil, "Authorization", "Bearer ", false},
		"no secret, and no signature": {nil, "X-Gitea-Signature", emptyMAC(), false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := signedWith(test.secret, http.Header{http.CanonicalHeaderKey(test.header): {test.value}}, body); got != test.want {
				t.Errorf("%s: %s: got %v, want %v", test.header, test.value, got, test.want)
			}
		})
	}
}

// emptyMAC is what anybody can make where the secret is empty.
func emptyMAC() string {
	mac := hmac.New(sha256.New, nil)
	mac.Write([]byte(`{"ref":"refs/heads/main"}`))
	return hex.EncodeToString(mac.Sum(nil))
}
