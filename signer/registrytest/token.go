package registrytest

import (
	"crypto/rand"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// tokens is a token server: whoever has the password gets a token for a scope.
type tokens struct {
	mu     sync.Mutex
	issued map[string]string // token to scope
}

func newTokens() *tokens { return &tokens{issued: map[string]string{}} }

func (t *tokens) serve(w http.ResponseWriter, r *http.Request) {
	name, password, ok := r.BasicAuth()
	if !ok || name != Username || password != Password {
		unauthorized(w, `Basic realm="token server"`)
		return
	}
	token := rand.Text()
	t.mu.Lock()
	t.issued[token] = r.FormValue("scope")
	t.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(map[string]any{"token": token, "expires_in": 300})
}

// allows says whether a token was issued for at least a scope.
func (t *tokens) allows(token, scope string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	issued, ok := t.issued[token]
	if !ok {
		return false
	}
	cut := strings.LastIndexByte(issued, ':')
	want := strings.LastIndexByte(scope, ':')
	if cut < 0 || want < 0 || issued[:cut] != scope[:want] {
		return want < 0
	}
	have := strings.Split(issued[cut+1:], ",")
	for action := range strings.SplitSeq(scope[want+1:], ",") {
		if !slices.Contains(have, action) {
			return false
		}
	}
	return true
}

// scopeOf is the scope that a request needs, "" for the version check.
func scopeOf(r *http.Request) string {
	path := strings.TrimPrefix(r.URL.Path, "/v2/")
	for _, part := range []string{"/manifests/", "/blobs/", "/referrers/", "/tags/"} {
		if name, _, ok := strings.Cut(path, part); ok {
			actions := "pull"
			switch r.Method {
			case http.MethodGet, http.MethodHead:
			case http.MethodDelete:
				actions = "delete"
			default:
				actions = "pull,push"
			}
			return "repository:" + name + ":" + actions
		}
	}
	return ""
}

func unauthorized(w http.ResponseWriter, challenge string) {
	w.Header().Set("WWW-Authenticate", challenge)
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	_, _ = w.Write([]byte(`{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`))
}
