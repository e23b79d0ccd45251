package session

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"time"
)

// errSealed is of a cookie that was not sealed by this process, or was changed. Why is nobody's business.
var errSealed = errors.New("the session is not one of this console")

// sealer seals values by a key that no other process has.
type sealer struct{ aead cipher.AEAD }

func newSealer() sealer {
	var key [32]byte
	_, _ = rand.Read(key[:]) // it never fails (crypto/rand)
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic(err) // of a key of another size
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err)
	}
	return sealer{aead}
}

// seal makes text that only open reads, for the same purpose.
func (s sealer) seal(purpose string, value any) (string, error) {
	plain, err := json.Marshal(value)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(s.aead.Seal(nil, nil, plain, []byte(purpose))), nil
}

func (s sealer) open(purpose, sealed string, into any) error {
	raw, err := base64.RawURLEncoding.DecodeString(sealed)
	if err != nil {
		return errSealed
	}
	plain, err := s.aead.Open(nil, nil, raw, []byte(purpose))
	if err != nil || json.Unmarshal(plain, into) != nil {
		return errSealed
	}
	return nil
}

// Session is one login. It prints as its id: the token is in no log.
type Session struct {
	// ID is random. Name is what the API server calls the user.
	ID   string `json:"id"`
	Name string `json:"name"`
	// Token is what is sent to the API server; "" acts as the console's kubeconfig says.
	Token   string    `json:"token,omitempty"`
	Expires time.Time `json:"expires"`
}

// String implements fmt.Stringer.
func (s Session) String() string { return "session " + s.ID[:min(8, len(s.ID))] }

// GoString implements fmt.GoStringer.
func (s Session) GoString() string { return s.String() }

// LogValue implements [slog.LogValuer].
func (s Session) LogValue() slog.Value { return slog.StringValue(s.String()) }
