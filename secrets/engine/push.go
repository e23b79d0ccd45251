package engine

import (
	"context"
	"net/http"
	"unicode/utf8"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Push writes a secret of the key-value engine. previous is the version that was written last, 0 for none, and what is returned is the next
// one's previous. Version 2 of the engine writes with check-and-set, so that whatever somebody else wrote meanwhile is not lost: that is NotOurs
// unless the destination overwrites. Version 1 has no check-and-set: what is there before the first push is NotOurs, and a write of somebody
// else between the look and the write is lost; its version is always 1.
func Push(ctx context.Context, caller Caller, destination *v1alpha1.PushDestination, data secrets.Data, previous int64) (int64, error) {
	place, err := PushPlace(destination)
	if err != nil {
		return 0, err
	}
	path := place.Accesses[0].Path
	doing := "writing " + path
	if len(data) == 0 {
		return 0, misconfigured(doing, "there is nothing to write")
	}
	values := map[string]any{}
	for _, key := range data.Keys() {
		raw := data[key].Reveal()
		if !utf8.Valid(raw) {
			return 0, misconfigured(doing, "the value of %s is not text, and Vault's are JSON: encode it as base64", names([]string{key}))
		}
		values[key] = string(raw)
	}
	if err := checkMount(ctx, caller, place, Options{}); err != nil {
		return 0, err
	}
	if place.Engine == secrets.EngineKV1 {
		return pushVersion1(ctx, caller, path, values, previous, destination.Overwrite)
	}
	cas := previous
	for attempt := 0; ; attempt++ {
		version, err := writeVersion2(ctx, caller, path, values, cas)
		if secrets.ReasonOf(err) != secrets.Refused {
			return version, err
		}
		// 400 is a check-and-set that does not match, but also what else makes no sense: see which.
		current, lookup := currentVersion(ctx, caller, destination)
		switch {
		case lookup != nil:
			return 0, lookup
		case current == cas:
			return 0, err
		case !destination.Overwrite:
			return 0, notOurs(doing)
		case attempt == 3:
			return 0, &secrets.Error{Reason: secrets.Failed, Doing: doing, Message: "somebody else writes it at the same time, again and again: find out who"}
		}
		cas = current
	}
}

func notOurs(doing string) error {
	return &secrets.Error{Reason: secrets.NotOurs, Doing: doing, Message: "somebody else wrote it: take another path, or set destination.overwrite"}
}

func pushVersion1(ctx context.Context, caller Caller, path string, values map[string]any, previous int64, overwrite bool) (int64, error) {
	if previous == 0 && !overwrite {
		_, err := caller.Do(ctx, secrets.Call{Method: http.MethodGet, Path: path})
		switch secrets.ReasonOf(err) {
		case secrets.NotFound:
		case "":
			return 0, notOurs("writing " + path)
		default:
			return 0, err
		}
	}
	if _, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: path, Body: values}); err != nil {
		return 0, err
	}
	return 1, nil
}

func writeVersion2(ctx context.Context, caller Caller, path string, values map[string]any, cas int64) (int64, error) {
	body := map[string]any{"options": map[string]any{"cas": cas}, "data": values}
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodPut, Path: path, Body: body})
	if err != nil {
		return 0, err
	}
	version, ok := numberOf(dataOf(reply), "version")
	if !ok || version <= 0 {
		return 0, malformed("writing "+path, "there is no version")
	}
	return version, nil
}

// currentVersion is the newest version, deleted ones included, which only metadata tell; 0 for none.
func currentVersion(ctx context.Context, caller Caller, destination *v1alpha1.PushDestination) (int64, error) {
	path := join(destination.Mount, "metadata", destination.Path)
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodGet, Path: path})
	switch secrets.ReasonOf(err) {
	case "":
		if version, ok := numberOf(dataOf(reply), "current_version"); ok {
			return version, nil
		}
		return 0, malformed("reading "+path, "there is no current_version")
	case secrets.NotFound:
		return 0, nil
	case secrets.Forbidden:
		// Whoever may not read metadata still sees a version that is not deleted.
		_, version, err := ReadPushed(ctx, caller, destination)
		if secrets.ReasonOf(err) == secrets.NotFound {
			return 0, &secrets.Error{Reason: secrets.Forbidden, Doing: "reading " + path, Message: "which version is the newest is not to be found out otherwise, since it is deleted: allow to read the path"}
		}
		return version, err
	}
	return 0, err
}

// ReadPushed reads what is at the destination now, and its version, which is 1 for version 1 of the engine. NotFound where nothing is.
func ReadPushed(ctx context.Context, caller Caller, destination *v1alpha1.PushDestination) (secrets.Data, int64, error) {
	place, err := PushPlace(destination)
	if err != nil {
		return nil, 0, err
	}
	path := place.Accesses[0].Path
	doing := "reading " + path
	reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodGet, Path: path})
	if err != nil {
		return nil, 0, notThere(doing, place, err)
	}
	held, version := dataOf(reply), int64(1)
	if place.Engine == secrets.EngineKV2 {
		result := &Result{}
		if held, err = result.version2(doing, place, held); err != nil {
			return nil, 0, err
		}
		version = result.Number
	}
	if held == nil {
		return nil, 0, malformed(doing, "there is no data")
	}
	data, err := valuesOf(doing, held)
	return data, version, err
}

// DeletePushed deletes what was pushed: of version 2 that version only, which can be undeleted in Vault. What is gone already is no error.
func DeletePushed(ctx context.Context, caller Caller, destination *v1alpha1.PushDestination, version int64) error {
	place, err := PushPlace(destination)
	if err != nil {
		return err
	}
	if version <= 0 {
		return nil // never pushed
	}
	if err := checkMount(ctx, caller, place, Options{}); err != nil {
		return err
	}
	call := secrets.Call{Method: http.MethodDelete, Path: place.Accesses[0].Path}
	if place.Engine == secrets.EngineKV2 {
		call = secrets.Call{Method: http.MethodPut, Path: join(destination.Mount, "delete", destination.Path), Body: map[string]any{"versions": []int64{version}}}
	}
	_, err = caller.Do(ctx, call)
	if secrets.ReasonOf(err) == secrets.NotFound {
		return nil
	}
	return err
}
