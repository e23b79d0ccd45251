package leases

import (
	"context"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Sealer encrypts tokens so that they may lie in the cluster. owner is the UID of the VaultSecret: what was sealed for one cannot be opened for
// another, so that nobody who may write VaultLeases has somebody else's token used for a secret of theirs.
//
// Seal fills in By, Ciphertext and Annotations. Errors are *secrets.Error.
type Sealer interface {
	Seal(ctx context.Context, token secrets.Value, owner string) (v1alpha1.SealedToken, error)
	Open(ctx context.Context, sealed v1alpha1.SealedToken, owner string) (secrets.Value, error)
}

// Caller makes one request to a Vault as somebody who has logged in. Its errors are *secrets.Error.
type Caller interface {
	Do(context.Context, secrets.Call) (*secrets.Reply, error)
}

// bound is what a token is sealed with besides: the purpose, so that the key may have other uses, and the owner.
func bound(owner string) []byte { return []byte("secrets.portcullis.dev/v1alpha1/VaultLease/" + owner) }

func check(doing string, token secrets.Value, owner string) error {
	if token.Len() == 0 || owner == "" {
		return &secrets.Error{Reason: secrets.Misconfigured, Doing: doing, Message: "there is no token, or nobody whose it is"}
	}
	return nil
}

// otherSealer is the error for what was sealed in another way than the one that is configured.
func otherSealer(doing, by, have string) error {
	return &secrets.Error{Reason: secrets.Misconfigured, Doing: doing, Message: "it was sealed by " + by + ", and there is " + have + ": configure the former until no VaultLease names it, or delete the VaultLease; its leases then end by themselves"}
}

type transit struct {
	caller     Caller
	mount, key string
}

// NewTransit seals with a key of the transit engine. The owner is bound as associated data, so the key is of an AEAD (aes128-gcm96, aes256-gcm96,
// chacha20-poly1305), and as the context of derived keys, if it is one. https://developer.hashicorp.com/vault/api-docs/secret/transit#encrypt-data
func NewTransit(caller Caller, mount, key string) Sealer {
	if mount == "" {
		mount = "transit"
	}
	return transit{caller: caller, mount: mount, key: key}
}

func (t transit) by() string { return "transit:" + t.mount + "/" + t.key }

func (t transit) Seal(ctx context.Context, token secrets.Value, owner string) (v1alpha1.SealedToken, error) {
	doing := "sealing a token by " + t.by()
	if err := check(doing, token, owner); err != nil {
		return v1alpha1.SealedToken{}, err
	}
	encoded := base64.StdEncoding.EncodeToString(bound(owner))
	reply, err := t.caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: t.mount + "/encrypt/" + t.key, Body: map[string]any{
		"plaintext":       base64.StdEncoding.EncodeToString(token.Reveal()),
		"associated_data": encoded,
		"context":         encoded,
	}})
	if err != nil {
		return v1alpha1.SealedToken{}, t.explain(doing, err, "the key must encrypt with associated data (type aes256-gcm96)")
	}
	ciphertext, _ := reply.Data["ciphertext"].(string)
	if !strings.HasPrefix(ciphertext, "vault:v") {
		return v1alpha1.SealedToken{}, &secrets.Error{Reason: secrets.Malformed, Doing: doing, Message: "the answer holds no ciphertext: see what answers at the address of the VaultConnection"}
	}
	return v1alpha1.SealedToken{By: t.by(), Ciphertext: ciphertext}, nil
}

func (t transit) Open(ctx context.Context, sealed v1alpha1.SealedToken, owner string) (secrets.Value, error) {
	doing := "opening a token sealed by " + t.by()
	if sealed.By != t.by() {
		return secrets.Value{}, otherSealer("opening a token", sealed.By, t.by())
	}
	encoded := base64.StdEncoding.EncodeToString(bound(owner))
	reply, err := t.caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: t.mount + "/decrypt/" + t.key, Body: map[string]any{
		"ciphertext":      sealed.Ciphertext,
		"associated_data": encoded,
		"context":         encoded,
	}})
	if err != nil {
		return secrets.Value{}, t.explain(doing, err, "it was sealed for another VaultSecret, by a version of the key that is gone, or is damaged; delete the VaultLease: its leases then end by themselves")
	}
	text, _ := reply.Data["plaintext"].(string)
	plain, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(plain) == 0 {
		return secrets.Value{}, &secrets.Error{Reason: secrets.Malformed, Doing: doing, Message: "the answer holds no plaintext: see what answers at the address of the VaultConnection"}
	}
	return secrets.NewValue(plain), nil
}

// explain says what a refusal (400) means; other failures say so themselves.
func (t transit) explain(doing string, err error, refused string) error {
	failed := (*secrets.Error)(nil)
	if !errors.As(err, &failed) {
		return err
	}
	told := *failed
	told.Doing = doing
	if failed.Reason == secrets.Refused {
		told.Message = "Vault refuses: " + refused
	}
	return &told
}
