package controller

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

const (
	// maxPush bounds the body of a call: forges send what was pushed, of which nothing is read.
	maxPush = 1 << 20
	// minPushSecret keeps a secret from being guessed.
	minPushSecret = 16
	// pushesAtOnce bounds the calls under way: each costs a few calls of the API server.
	pushesAtOnce = 16
)

// Hook answers POST /hooks/BUNDLE: the source of the bundle is looked at now. Who calls shows that they know the bundle's secret (the key
// token of its pushSecretRef): as GitHub and Gitea do (X-Hub-Signature-256, or X-Gitea-Signature, HMAC-SHA256 of the body), as GitLab
// does (X-Gitlab-Token), or by Authorization: Bearer. Nothing else of a call is read: it is a nudge, and what is fetched is verified as ever.
//
// Every replica answers, whoever leads: it leaves a note in the status. Whoever does not know the secret learns nothing, not even
// which bundles there are.
func (c *Controller) Hook() http.Handler { return c.hook.handler() }

// hook answers calls.
type hook struct {
	objects dynamic.Interface
	secrets *opener
	now     func() time.Time
	log     *slog.Logger
}

func (h *hook) handler() http.Handler {
	mux := http.NewServeMux()
	places := make(chan struct{}, pushesAtOnce)
	mux.HandleFunc("POST /hooks/{bundle}", func(w http.ResponseWriter, r *http.Request) {
		select {
		case places <- struct{}{}:
			defer func() { <-places }()
		default:
			http.Error(w, "too many calls at once: call again later", http.StatusServiceUnavailable)
			return
		}
		code, say := h.push(w, r)
		http.Error(w, say, code)
	})
	return mux
}

const unknownCaller = "who calls is not known: sign with the secret that the bundle's pushSecretRef names"

// push answers a call by a status and a line.
func (h *hook) push(w http.ResponseWriter, r *http.Request) (code int, say string) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPush))
	if err != nil {
		return http.StatusRequestEntityTooLarge, fmt.Sprintf("the body has more than %d bytes, or was cut short: call without one, by bearer token", maxPush)
	}
	name := r.PathValue("bundle")
	if !signedWith(h.pushSecret(r.Context(), name), r.Header, body) {
		return http.StatusUnauthorized, unknownCaller
	}
	if err := h.request(r.Context(), name); err != nil {
		h.log.Warn("a call of the push endpoint could not be followed", "bundle", name, "error", err)
		return http.StatusInternalServerError, "the call could not be followed: call again later"
	}
	return http.StatusAccepted, "the source is looked at"
}

// pushSecret is the secret of a bundle, nil where there is none, whatever the reason: the caller is not to learn it.
func (h *hook) pushSecret(ctx context.Context, name string) []byte {
	bundle, err := getBundle(ctx, h.objects, name)
	if err != nil || bundle.Spec.PushSecretRef == "" {
		return nil
	}
	data, err := h.secrets.secret(ctx, bundle.Spec.PushSecretRef)
	secret := []byte(strings.TrimSpace(string(data["token"])))
	if err == nil && len(secret) < minPushSecret {
		err = fmt.Errorf("its key token has %d bytes: give it %d or more", len(secret), minPushSecret)
	}
	if err != nil {
		h.log.Warn("the secret of a push endpoint cannot be used: calls are refused", "bundle", name, "secret", bundle.Spec.PushSecretRef, "error", err)
		return nil
	}
	return secret
}

// signedWith says whether a caller has shown the secret. Without a secret nobody has.
func signedWith(secret []byte, header http.Header, body []byte) bool {
	if len(secret) == 0 {
		return false
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	sum := hex.EncodeToString(mac.Sum(nil))
	is := func(got, want string) bool {
		return got != "" && subtle.ConstantTimeCompare([]byte(got), []byte(want)) == 1
	}
	hub, _ := strings.CutPrefix(header.Get("X-Hub-Signature-256"), "sha256=")
	bearer, isBearer := strings.CutPrefix(header.Get("Authorization"), "Bearer ")
	return is(hub, sum) || is(header.Get("X-Gitea-Signature"), sum) || is(header.Get("X-Gitlab-Token"), string(secret)) || isBearer && is(bearer, string(secret))
}

// request leaves a note in the status, which whoever leads follows.
func (h *hook) request(ctx context.Context, name string) error {
	patch, err := json.Marshal(map[string]any{"status": map[string]any{"fetchRequested": metav1.NewMicroTime(h.now())}})
	if err != nil {
		return err
	}
	_, err = h.objects.Resource(v1alpha1.Bundles).Patch(ctx, name, types.MergePatchType, patch, metav1.PatchOptions{}, "status")
	return err
}
