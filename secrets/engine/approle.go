package engine

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// readSecretID issues a secret id of a role. https://developer.hashicorp.com/vault/api-docs/auth/approle#generate-new-secret-id
func readSecretID(ctx context.Context, caller Caller, role *v1alpha1.AppRoleSecretIDSource, place secrets.SyncPlace, options Options) (*Result, error) {
	if err := checkMount(ctx, caller, place, options); err != nil {
		return nil, err
	}
	// The role id first: it issues nothing, so that a role that is not there, or not allowed, costs no secret id.
	doing := "reading " + place.Accesses[0].Path
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodGet, Path: place.Accesses[0].Path})
	if secrets.ReasonOf(err) == secrets.NotFound {
		return nil, retold(err, doing, "there is no such role: make it in Vault, or correct appRoleSecretID.role")
	}
	if err != nil {
		return nil, err
	}
	roleID := textOf(dataOf(reply), "role_id")
	if roleID == "" {
		return nil, malformed(doing, "there is no role_id")
	}

	doing = "issuing a secret id by " + place.Accesses[1].Path
	body := map[string]any{}
	if len(role.Metadata) > 0 {
		metadata, err := json.Marshal(role.Metadata)
		if err != nil {
			return nil, misconfigured(doing, "appRoleSecretID.metadata is not text")
		}
		body["metadata"] = string(metadata)
	}
	if len(role.CIDRs) > 0 {
		body["cidr_list"] = role.CIDRs
	}
	if role.TTL != nil {
		body["ttl"] = seconds(role.TTL.Duration)
	}
	issued := options.now()
	reply, err = caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: place.Accesses[1].Path, Body: body})
	if err != nil {
		return nil, err
	}
	data := dataOf(reply)
	accessor, secretID, ttl := textOf(data, "secret_id_accessor"), textOf(data, "secret_id"), secondsOf(data, "secret_id_ttl")
	if accessor == "" {
		return nil, malformed(doing, "there is no secret_id_accessor")
	}
	lease := &secrets.Lease{Accessor: accessor, Mount: place.Mount, Role: role.Role, Issued: issued, Expires: issued.Add(ttl), Duration: ttl}
	if secretID == "" {
		giveBack(ctx, caller, lease)
		return nil, malformed(doing, "there is no secret_id")
	}
	if ttl == 0 {
		giveBack(ctx, caller, lease)
		return nil, misconfigured(doing, "it would never end: set appRoleSecretID.ttl, or secret_id_ttl of the role; what was issued is destroyed again")
	}
	return &Result{
		Data:    secrets.Data{"role_id": secrets.ValueOf(roleID), "secret_id": secrets.ValueOf(secretID)},
		Version: accessor,
		Created: issued,
		Lease:   lease,
	}, nil
}
