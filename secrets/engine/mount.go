package engine

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
)

// Mounts remembers for a while what Vault said about the mounts of one VaultConnection. It is for many goroutines; the zero value is empty.
type Mounts struct {
	mu    sync.Mutex
	known map[string]knownMount // by mount
}

type knownMount struct {
	kind string // kv-v1, kv-v2, or Vault's type
	at   time.Time
}

// mountsLast is how long an answer is believed. Whoever moves mounts rules Vault: this is no boundary to tenants.
const mountsLast = 10 * time.Minute

func (m *Mounts) get(mount string, now time.Time) (string, bool) {
	if m == nil {
		return "", false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	known, ok := m.known[mount]
	if !ok || now.Sub(known.at) > mountsLast || now.Before(known.at) {
		return "", false
	}
	return known.kind, true
}

func (m *Mounts) put(mount, kind string, now time.Time) {
	if m == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.known == nil || len(m.known) >= 1024 {
		m.known = map[string]knownMount{}
	}
	m.known[mount] = knownMount{kind: kind, at: now}
}

// checkMount has Vault say which mount answers at a place, and of which engine it is. Without that, a source could claim the mount
// "secret/data/production" and the path "shop/db", or read a mount of version 2 as if it were of version 1 by the path "data/…": policies
// about mounts and first segments would judge a place of which Vault knows nothing.
//
// It is the request that "vault kv" makes first, and allowed to whoever may do anything in the mount.
// https://developer.hashicorp.com/vault/api-docs/system/internal-ui-mounts
func checkMount(ctx context.Context, caller Caller, place secrets.SyncPlace, options Options) error {
	doing := "asking Vault about the mount " + place.Mount
	kind, known := options.Mounts.get(place.Mount, options.now())
	if !known {
		asked := place.Accesses[0].Path
		reply, err := caller.Do(ctx, secrets.Call{Method: http.MethodGet, Path: "sys/internal/ui/mounts/" + asked, Shared: true})
		if err != nil {
			return mountError(doing, err)
		}
		data := dataOf(reply)
		mount, engine := strings.Trim(textOf(data, "path"), "/"), textOf(data, "type")
		if mount == "" || engine == "" {
			return malformed(doing, "it does not say what is mounted")
		}
		if strings.HasPrefix(place.Mount, "auth/") {
			mount = "auth/" + strings.TrimPrefix(mount, "auth/")
		}
		if mount != place.Mount {
			return misconfigured(doing, "there is none of that name: %s is in the mount %s; name that mount, and the rest as the path", quote(asked), quote(mount))
		}
		kind = engine
		if engine == "kv" || engine == "generic" {
			kind = secrets.EngineKV1
			if version, _ := numberOf(objectOf(data, "options"), "version"); version == 2 {
				kind = secrets.EngineKV2
			}
		}
		options.Mounts.put(place.Mount, kind, options.now())
	}
	return checkKind(doing, place, kind)
}

func checkKind(doing string, place secrets.SyncPlace, kind string) error {
	switch place.Engine {
	case secrets.EngineDynamic:
		// A policy about key-value secrets (their age, their versions) must not be passed by calling them dynamic.
		if slices.Contains([]string{secrets.EngineKV1, secrets.EngineKV2, "cubbyhole", "system", "identity", "token", "ns_cubbyhole", "ns_system", "ns_identity", "ns_token"}, kind) {
			return misconfigured(doing, "it is of the engine %s, which issues nothing: name it as source.kv", kind)
		}
	case secrets.EngineKV1, secrets.EngineKV2:
		switch {
		case kind == place.Engine:
		case kind == secrets.EngineKV1:
			return misconfigured(doing, "it is version 1 of the key-value engine: set engineVersion to 1")
		case kind == secrets.EngineKV2:
			return misconfigured(doing, "it is version 2 of the key-value engine: set engineVersion to 2, and the path without data/")
		default:
			return misconfigured(doing, "it is of the engine %s, not of kv", quote(kind))
		}
	default:
		if kind != place.Engine {
			return misconfigured(doing, "it is of the engine %s, not of %s", quote(kind), place.Engine)
		}
	}
	return nil
}

// mountError says of a failure what it means here. Vault answers 403 for a mount that is not there, lest mounts be guessed, and never 404.
func mountError(doing string, err error) error {
	switch secrets.ReasonOf(err) {
	case secrets.NotFound:
		return malformed(doing, "404, which Vault does not say here")
	case secrets.Forbidden:
		return retold(err, doing, "it is not there, or Vault's policy allows nothing in it: mount it, or allow the paths that the source needs")
	}
	return err
}
