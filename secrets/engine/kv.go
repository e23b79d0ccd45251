package engine

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func readKV(ctx context.Context, caller Caller, kv *v1alpha1.KVSource, place secrets.SyncPlace, options Options) (*Result, error) {
	path := place.Accesses[0].Path
	doing := "reading " + path
	call := secrets.Call{Method: http.MethodGet, Path: path, Shared: true}
	if place.Version != 0 {
		call.Query = url.Values{"version": {strconv.FormatInt(place.Version, 10)}}
	}
	reply, err := caller.Do(ctx, call)
	if err != nil {
		return nil, notThere(doing, place, err)
	}
	// Only now: a secret that is not there is NotFound, whatever else is wrong. What was read goes nowhere before.
	if err := checkMount(ctx, caller, place, options); err != nil {
		return nil, err
	}
	result := &Result{}
	held := dataOf(reply)
	if place.Engine == secrets.EngineKV2 {
		if held, err = result.version2(doing, place, held); err != nil {
			return nil, err
		}
	}
	if held == nil {
		return nil, malformed(doing, "there is no data")
	}
	all, err := valuesOf(doing, held)
	if err != nil {
		return nil, err
	}
	result.Data, err = choose(doing, all, kv.Keys)
	return result, err
}

// version2 takes an answer of version 2 apart. https://developer.hashicorp.com/vault/api-docs/secret/kv/kv-v2#read-secret-version
func (r *Result) version2(doing string, place secrets.SyncPlace, data map[string]any) (map[string]any, error) {
	metadata := objectOf(data, "metadata")
	version, ok := numberOf(metadata, "version")
	if !ok || version <= 0 {
		return nil, malformed(doing, "there is no metadata with a version")
	}
	if place.Version != 0 && version != place.Version {
		return nil, malformed(doing, "version %d was asked for, and it is version %d", place.Version, version)
	}
	held, ok := data["data"].(map[string]any)
	if !ok {
		if destroyed, _ := metadata["destroyed"].(bool); destroyed || textOf(metadata, "deletion_time") != "" {
			return nil, &secrets.Error{Reason: secrets.NotFound, Doing: doing, Message: gone(place)}
		}
		return nil, malformed(doing, "there is no data")
	}
	r.Number, r.Version, r.Created = version, strconv.FormatInt(version, 10), timeOf(metadata, "created_time")
	return held, nil
}

// notThere says what a 404 means. Version 2 answers it for a version that was deleted or destroyed, too.
func notThere(doing string, place secrets.SyncPlace, err error) error {
	if secrets.ReasonOf(err) != secrets.NotFound {
		return err
	}
	return retold(err, doing, gone(place))
}

func gone(place secrets.SyncPlace) string {
	switch {
	case place.Engine == secrets.EngineKV1:
		return "there is no such secret: write it to Vault, or correct mount and path"
	case place.Version != 0:
		return "version " + strconv.FormatInt(place.Version, 10) + " is not there, or was deleted or destroyed: undelete it, or pin another"
	}
	return "there is no such secret, or its latest version was deleted or destroyed: write or undelete it, or correct mount and path"
}
