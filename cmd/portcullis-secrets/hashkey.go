package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// hashKeyField is the key of the Secret that holds the key of hashes.
const hashKeyField = "key"

// askAgain is the time between two questions to an API server that does not answer.
const askAgain = time.Second

// hashKey is the key of keyed hashes, which all replicas share: the Secret v1alpha1.HashKeyName, which is made where it is not there. An API server that
// does not answer is waited for; whoever may not read the Secret is told so.
func hashKey(ctx context.Context, client kubernetes.Interface, namespace string, log *slog.Logger) (secrets.Value, error) {
	doing := fmt.Sprintf("reading the key of hashes, Secret %s/%s", namespace, v1alpha1.HashKeyName)
	said := false
	for {
		key, err := hashKeyOnce(ctx, client, namespace)
		switch {
		case err == nil:
			return key, nil
		case apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err):
			return secrets.Value{}, fmt.Errorf("%s: %w: apply what portcullis-secrets roles prints, and bind the roles to the service account", doing, err)
		case apierrors.IsNotFound(err):
			return secrets.Value{}, fmt.Errorf("%s: %w: correct --namespace", doing, err)
		case ctx.Err() != nil:
			return secrets.Value{}, context.Cause(ctx)
		}
		if _, broken := errors.AsType[brokenKey](err); broken {
			return secrets.Value{}, fmt.Errorf("%s: %w: delete it, and it is made anew; hashes in statuses then say nothing until the next refresh", doing, err)
		}
		if !said {
			said = true
			log.Warn(doing+": it is tried again", "error", err)
		}
		select {
		case <-ctx.Done():
			return secrets.Value{}, context.Cause(ctx)
		case <-time.After(askAgain):
		}
	}
}

// brokenKey is a Secret that holds no key.
type brokenKey struct{ size int }

func (b brokenKey) Error() string {
	return fmt.Sprintf("its field %s has %d bytes and not %d", hashKeyField, b.size, secrets.HashKeySize)
}

func hashKeyOnce(ctx context.Context, client kubernetes.Interface, namespace string) (secrets.Value, error) {
	of := client.CoreV1().Secrets(namespace)
	found, err := of.Get(ctx, v1alpha1.HashKeyName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		made := make([]byte, secrets.HashKeySize)
		_, _ = rand.Read(made) // it never fails (crypto/rand)
		found, err = of.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.HashKeyName, Labels: map[string]string{v1alpha1.ManagedByLabel: v1alpha1.ManagedBy}},
			Type:       corev1.SecretTypeOpaque, Immutable: new(true), Data: map[string][]byte{hashKeyField: made},
		}, metav1.CreateOptions{FieldManager: v1alpha1.FieldManager})
		if apierrors.IsAlreadyExists(err) { // another replica was faster
			found, err = of.Get(ctx, v1alpha1.HashKeyName, metav1.GetOptions{})
		}
	}
	if err != nil {
		return secrets.Value{}, err
	}
	key := found.Data[hashKeyField]
	if len(key) != secrets.HashKeySize {
		return secrets.Value{}, brokenKey{len(key)}
	}
	return secrets.NewValue(key), nil
}
