package session

import (
	"encoding/base64"
	"encoding/json"
	"math"
	"strings"
	"time"
)

// ExpiryOf is when a JSON Web Token says that it expires (RFC 7519, section 4.1.4), zero where it is none or does not say. It is not verified: the API
// server decides, and who changes it has no token any more. It is for the cookie to end with it.
func ExpiryOf(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expires float64 `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil || !(claims.Expires > 0 && claims.Expires < math.MaxInt32*1000) {
		return time.Time{}
	}
	return time.Unix(int64(claims.Expires), 0)
}
