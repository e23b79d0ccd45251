package engine

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Caller makes one request to a Vault as somebody who has logged in. Its errors are *secrets.Error.
type Caller interface {
	Do(context.Context, secrets.Call) (*secrets.Reply, error)
}

// Options are what Read, Renew and Lookup need besides. The zero value takes the system's clock and randomness and asks Vault about mounts each time.
type Options struct {
	Clock clock.PassiveClock
	Rand  io.Reader // for the private keys of CSR mode
	// Mounts remembers what Vault said about mounts: one for each VaultConnection.
	Mounts *Mounts
}

func (o Options) now() time.Time {
	if o.Clock == nil {
		return time.Now()
	}
	return o.Clock.Now()
}

func (o Options) rand() io.Reader {
	if o.Rand == nil {
		return rand.Reader
	}
	return o.Rand
}

// Result is what was read.
type Result struct {
	Data secrets.Data
	// Version is for people and statuses: a version of KV v2 or of a transit key, the serial of a certificate, the accessor of a secret id; "" for
	// none. Number is the version of KV v2 or of a transit key, 0 for none.
	Version string
	Number  int64
	// Created is when the version was written; for what is issued, when it was. Zero where Vault does not say.
	Created time.Time
	// Lease is nil for what does not end by itself.
	Lease    *secrets.Lease
	Metadata secrets.SyncResult
}

// Read reads a source. What was issued and then turns out not to be what was asked for is revoked before the error is returned.
func Read(ctx context.Context, caller Caller, source *v1alpha1.Source, options Options) (*Result, error) {
	place, err := Place(source)
	if err != nil {
		return nil, err
	}
	var result *Result
	switch {
	case source.KV != nil:
		result, err = readKV(ctx, caller, source.KV, place, options)
	case source.Dynamic != nil:
		result, err = readDynamic(ctx, caller, source.Dynamic, place, options)
	case source.PKI != nil:
		result, err = readPKI(ctx, caller, source.PKI, place, options)
	case source.Transit != nil && source.Transit.PublicKeys:
		result, err = readPublicKeys(ctx, caller, source.Transit, place, options)
	case source.Transit != nil:
		result, err = decrypt(ctx, caller, source.Transit, place, options)
	default:
		result, err = readSecretID(ctx, caller, source.AppRoleSecretID, place, options)
	}
	if err != nil {
		return nil, err
	}
	result.describe(options.now())
	return result, nil
}

// describe fills in what policies may know.
func (r *Result) describe(now time.Time) {
	r.Metadata = secrets.SyncResult{Keys: r.Data.Keys(), Version: r.Number, AgeSeconds: -1}
	if r.Metadata.Keys == nil {
		r.Metadata.Keys = []string{} // an empty array for Rego, not null
	}
	if !r.Created.IsZero() {
		r.Metadata.Created = r.Created.UTC().Format(time.RFC3339)
		r.Metadata.AgeSeconds = max(0, int64(now.Sub(r.Created)/time.Second))
	}
	if r.Lease != nil {
		r.Metadata.LifetimeSeconds = int64(r.Lease.Duration / time.Second)
		r.Metadata.Renewable = r.Lease.Renewable
	}
}

// DefaultRenewPercent is the share of a lifetime after which it is renewed where a source does not say.
const DefaultRenewPercent = 67

// RenewPercent is the share of its lifetime after which what the source issues is renewed or issued anew; 0 for sources that issue nothing.
func RenewPercent(source *v1alpha1.Source) int64 {
	var percent int64
	switch {
	case source.Dynamic != nil:
		percent = source.Dynamic.RenewPercent
	case source.PKI != nil:
		percent = source.PKI.RenewPercent
	case source.AppRoleSecretID != nil:
		percent = source.AppRoleSecretID.RenewPercent
	default:
		return 0
	}
	if percent == 0 {
		return DefaultRenewPercent
	}
	return percent
}

// Revokes says whether what the source issued is revoked when it has been replaced, and with the object.
func Revokes(source *v1alpha1.Source) bool {
	switch {
	case source.Dynamic != nil:
		return source.Dynamic.RevokeOnDelete == nil || *source.Dynamic.RevokeOnDelete
	case source.PKI != nil:
		return source.PKI.RevokeOnDelete
	case source.AppRoleSecretID != nil:
		return source.AppRoleSecretID.DestroyOnReplace == nil || *source.AppRoleSecretID.DestroyOnReplace
	}
	return false
}

// choose keeps the keys that are asked for, all for none. Those that are missing are named in the error, beside those that there are.
func choose(doing string, data secrets.Data, keys []string) (secrets.Data, error) {
	if len(keys) == 0 {
		return data, nil
	}
	chosen := secrets.Data{}
	var missing []string
	for _, key := range keys {
		if value, ok := data[key]; ok {
			chosen[key] = value
		} else {
			missing = append(missing, key)
		}
	}
	if len(missing) == 0 {
		return chosen, nil
	}
	return nil, &secrets.Error{Reason: secrets.KeyMissing, Doing: doing, Message: fmt.Sprintf("it lacks %s; it has %s: write the key to Vault, or take it out of keys", names(missing), names(data.Keys()))}
}

// names lists names of keys, at most ten. Whoever writes to Vault chooses them: they are quoted, and cut at 64 bytes.
func names(keys []string) string {
	if len(keys) == 0 {
		return "none"
	}
	var quoted []string
	for i, key := range keys {
		if i == 10 {
			return strings.Join(quoted, ", ") + fmt.Sprintf(" and %d more", len(keys)-i)
		}
		if len(key) > 64 {
			key = key[:64] + "…"
		}
		quoted = append(quoted, fmt.Sprintf("%q", key))
	}
	return strings.Join(quoted, ", ")
}
