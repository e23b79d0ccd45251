package engine

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Renew asks for as much time again as was granted last. What is returned holds what Vault granted: near the end of its maximal lifetime
// Duration shrinks, and where Vault renews no more, Renewable is false and Duration is what is left. LeaseLost where the lease is no more.
//
// Only Clock of the options counts.
func Renew(ctx context.Context, caller Caller, lease secrets.Lease, options ...Options) (secrets.Lease, error) {
	const doing = "renewing the lease"
	if lease.ID == "" {
		return lease, misconfigured(doing, "it has no id: certificates and secret ids are issued anew")
	}
	now := clockOf(options)
	body := map[string]any{"lease_id": lease.ID}
	if seconds := int64((lease.Duration + time.Second - 1) / time.Second); seconds > 0 {
		body["increment"] = seconds
	}
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: "sys/leases/renew", Body: body})
	if reason := secrets.ReasonOf(err); reason == secrets.Refused || reason == secrets.NotFound {
		// 400 is "lease not found", but also "not renewable" and "past the maximal lifetime": ask which.
		return renewedNoMore(ctx, caller, lease, options)
	}
	if err != nil {
		return lease, err
	}
	if reply == nil || reply.LeaseID != lease.ID {
		return lease, malformed(doing, "it is about another lease")
	}
	duration := bounded(reply.LeaseDuration)
	if duration == 0 {
		return renewedNoMore(ctx, caller, lease, options)
	}
	lease.Duration, lease.Expires, lease.Renewable = duration, now.Add(duration), reply.Renewable
	return lease, nil
}

func renewedNoMore(ctx context.Context, caller Caller, lease secrets.Lease, options []Options) (secrets.Lease, error) {
	found, err := Lookup(ctx, caller, lease, options...)
	switch secrets.ReasonOf(err) {
	case "":
		if found.Duration == 0 {
			return lease, lost("renewing the lease")
		}
		found.Renewable = false
		return found, nil
	case secrets.LeaseLost, secrets.Forbidden:
		// Who may not look it up takes Vault's first word for it: issuing anew is never wrong.
		return lease, lost("renewing the lease")
	}
	return lease, err
}

// Lookup asks what is left of a lease, in whole seconds: Duration is 0 in its last one, in which Vault still renews it. LeaseLost where it is
// no more.
func Lookup(ctx context.Context, caller Caller, lease secrets.Lease, options ...Options) (secrets.Lease, error) {
	const doing = "looking the lease up"
	if lease.ID == "" {
		return lease, misconfigured(doing, "it has no id: certificates and secret ids are not looked up")
	}
	now := clockOf(options)
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: "sys/leases/lookup", Body: map[string]any{"lease_id": lease.ID}})
	if reason := secrets.ReasonOf(err); reason == secrets.Refused || reason == secrets.NotFound {
		return lease, lost(doing) // 400 "invalid lease"
	}
	if err != nil {
		return lease, err
	}
	data := dataOf(reply)
	if textOf(data, "id") != lease.ID {
		return lease, malformed(doing, "it is about another lease")
	}
	if _, ok := numberOf(data, "ttl"); !ok {
		return lease, malformed(doing, "it does not say how much is left")
	}
	left := secondsOf(data, "ttl")
	lease.Duration, lease.Expires = left, now.Add(left)
	lease.Renewable, _ = data["renewable"].(bool)
	return lease, nil
}

func lost(doing string) error {
	return &secrets.Error{Reason: secrets.LeaseLost, Doing: doing, Message: "Vault does not know it: it has ended, was revoked, or its token has ended; new credentials are issued"}
}

// Revoke ends what was issued: a certificate by its serial, a secret id by its accessor, anything else by its lease, and waits until Vault has
// done so. What has ended already is no error.
func Revoke(ctx context.Context, caller Caller, lease secrets.Lease) error {
	switch {
	case lease.Serial != "":
		return revokeCertificate(ctx, caller, lease)
	case lease.Accessor != "":
		return destroySecretID(ctx, caller, lease)
	case lease.ID == "":
		return misconfigured("revoking", "there is neither a lease id, nor a serial, nor an accessor")
	}
	_, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: "sys/leases/revoke", Body: map[string]any{"lease_id": lease.ID, "sync": true}})
	switch secrets.ReasonOf(err) {
	case secrets.NotFound:
		return nil
	case secrets.Refused:
		// 400 is "invalid lease", but also what an engine says that could not take its credentials back: ask which.
		if _, lookup := Lookup(ctx, caller, lease); secrets.ReasonOf(lookup) == secrets.LeaseLost {
			return nil
		}
		return retold(err, "revoking the lease", "the engine could not take the credentials back: see Vault's log; it is tried again")
	}
	return err
}

// revokeCertificate puts a certificate on the revocation list. One that Vault does not know is an error: it goes on being valid.
func revokeCertificate(ctx context.Context, caller Caller, lease secrets.Lease) error {
	doing := "revoking the certificate " + quote(lease.Serial)
	if err := checkMountName(doing, "the mount", lease.Mount); err != nil {
		return err
	}
	_, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: join(lease.Mount, "revoke"), Body: map[string]any{"serial_number": lease.Serial}})
	if reason := secrets.ReasonOf(err); reason == secrets.Refused || reason == secrets.NotFound {
		return retold(err, doing, "Vault does not know it, or its role does not store certificates (no_store): it is good until it ends")
	}
	return err
}

func destroySecretID(ctx context.Context, caller Caller, lease secrets.Lease) error {
	const doing = "destroying the secret id"
	below, _ := strings.CutPrefix(lease.Mount, "auth/")
	if err := checkMountName(doing, "the mount", below); err != nil {
		return err
	}
	if err := checkName(doing, "the role", lease.Role); err != nil {
		return err
	}
	base := join("auth", below, "role", lease.Role, "secret-id-accessor")
	body := map[string]any{"secret_id_accessor": lease.Accessor}
	_, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: join(base, "destroy"), Body: body})
	switch secrets.ReasonOf(err) {
	case secrets.NotFound:
		return nil
	case secrets.Failed:
		// Vault 1.21 answers 500 for one that is gone already, and 404 to whoever looks it up, if that is allowed.
		if _, lookup := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: join(base, "lookup"), Body: body}); secrets.ReasonOf(lookup) == secrets.NotFound {
			return nil
		}
	}
	return err
}

// retold is an error of Vault's with what it means here.
func retold(err error, doing, message string) error {
	failed := (*secrets.Error)(nil)
	if !errors.As(err, &failed) {
		return err
	}
	told := *failed
	told.Doing, told.Message = doing, message
	return &told
}

// RevokeAccesses are what Revoke needs for what the source issues, whether it is set to revoke or not; none for what issues nothing.
func RevokeAccesses(source *v1alpha1.Source) []secrets.Access {
	place, err := Place(source)
	if err != nil {
		return nil
	}
	switch place.Engine {
	case secrets.EngineDynamic:
		return []secrets.Access{{Path: "sys/leases/revoke", Capability: "update"}}
	case secrets.EnginePKI:
		return []secrets.Access{{Path: join(place.Mount, "revoke"), Capability: "update"}}
	case secrets.EngineAppRole:
		return []secrets.Access{{Path: join(place.Mount, "role", place.Path, "secret-id-accessor/destroy"), Capability: "update"}}
	}
	return nil
}

func clockOf(options []Options) time.Time {
	if len(options) == 0 {
		return time.Now()
	}
	return options[0].now()
}
