package engine

import (
	"context"
	"net/http"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func readDynamic(ctx context.Context, caller Caller, dynamic *v1alpha1.DynamicSource, place secrets.SyncPlace, options Options) (*Result, error) {
	path := place.Accesses[0].Path
	doing := "issuing by " + path
	if err := checkMount(ctx, caller, place, options); err != nil {
		return nil, err
	}
	call := secrets.Call{Method: http.MethodGet, Path: path}
	if len(dynamic.Parameters) > 0 {
		call.Method, call.Body = http.MethodPost, map[string]any{}
		for name, value := range dynamic.Parameters {
			call.Body[name] = value
		}
	}
	// Before the request: Vault counts from when it answers, so that the lease never ends sooner than it is thought to.
	issued := options.now()
	reply, err := caller.Do(ctx, call)
	if err != nil {
		return nil, err
	}
	result := &Result{Created: issued}
	if reply != nil && reply.LeaseID != "" && reply.LeaseDuration > 0 {
		duration := bounded(reply.LeaseDuration)
		result.Version = reply.LeaseID
		result.Lease = &secrets.Lease{ID: reply.LeaseID, Mount: dynamic.Mount, Issued: issued, Expires: issued.Add(duration), Duration: duration, Renewable: reply.Renewable}
	} else {
		// Nothing says when static credentials were made.
		result.Created = time.Time{}
	}
	if err := result.take(doing, reply, dynamic.Keys); err != nil {
		giveBack(ctx, caller, result.Lease)
		return nil, err
	}
	return result, nil
}

func (r *Result) take(doing string, reply *secrets.Reply, keys []string) error {
	held := dataOf(reply)
	if len(held) == 0 {
		return malformed(doing, "there is no data")
	}
	all, err := valuesOf(doing, held)
	if err != nil {
		return err
	}
	r.Data, err = choose(doing, all, keys)
	return err
}

// giveBack revokes what was issued and is of no use. A failure to is no error: it ends by itself.
func giveBack(ctx context.Context, caller Caller, lease *secrets.Lease) {
	if lease == nil {
		return
	}
	// Also when the caller has given up meanwhile.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	_ = Revoke(ctx, caller, *lease)
}
