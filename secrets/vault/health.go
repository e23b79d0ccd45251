package vault

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// Health is how a Vault is.
type Health struct {
	// Reason is "" for one that answers and is unsealed.
	Reason  secrets.Reason
	Sealed  bool
	Version string
	Standby bool
	// Message is for people, where there is a Reason.
	Message string
}

// Health asks a Vault how it is. It shows no token.
func (p *Pool) Health(ctx context.Context, object *v1alpha1.VaultConnection) Health {
	conn, err := p.connect(object)
	if err != nil {
		return unhealthy(err)
	}
	// sys/health tells by its status; asked so, it answers with 200 whatever it is.
	read, err := p.send(ctx, conn, nil, secrets.Call{Method: http.MethodGet, Path: "sys/health", Query: url.Values{
		"standbyok": {"true"}, "perfstandbyok": {"true"}, "sealedcode": {"200"}, "uninitcode": {"200"}, "drsecondarycode": {"200"},
	}}, true)
	if err != nil {
		return unhealthy(err)
	}
	health := Health{Version: read.Version, Standby: read.Standby}
	switch {
	case read.Sealed == nil || read.Initialized == nil:
		health.Reason, health.Message = secrets.Malformed, "the answer is not Vault's: is something else at this address, or a proxy before it?"
	case !*read.Initialized:
		health.Reason, health.Sealed, health.Message = secrets.Sealed, true, "Vault is not initialised"
	case *read.Sealed:
		health.Reason, health.Sealed, health.Message = secrets.Sealed, true, "Vault is sealed: unseal it"
	}
	return health
}

func unhealthy(err error) Health {
	return Health{Reason: secrets.ReasonOf(err), Sealed: secrets.ReasonOf(err) == secrets.Sealed, Message: err.Error()}
}

// How often Watch asks.
const (
	watchGood   = 10 * time.Second
	watchOutage = time.Second // less up to a quarter, by chance
)

// Watch asks Vaults how they are, each in its own time, until ctx ends: every ten seconds, and every second while one does not answer as
// it should. changed is called for the first answer of each and whenever Reason, Sealed or Version is another one.
func (p *Pool) Watch(ctx context.Context, connections func() []*v1alpha1.VaultConnection, changed func(name string, health Health)) {
	var mu sync.Mutex
	known, next, asking := map[string]Health{}, map[string]time.Time{}, map[string]bool{}
	var group sync.WaitGroup
	defer group.Wait()
	ticker := p.clock.NewTicker(watchOutage / 4)
	defer ticker.Stop()
	for {
		now := p.clock.Now()
		there := map[string]bool{}
		for _, object := range connections() {
			name := object.Name
			there[name] = true
			mu.Lock()
			due := !asking[name] && !now.Before(next[name])
			asking[name] = asking[name] || due
			mu.Unlock()
			if !due {
				continue
			}
			group.Go(func() {
				health := p.Health(ctx, object)
				mu.Lock()
				before, asked := known[name]
				known[name], asking[name] = health, false
				wait := watchGood
				if health.Reason != "" {
					wait = watchOutage - rand.N(watchOutage/4)
				}
				next[name] = p.clock.Now().Add(wait)
				mu.Unlock()
				if ctx.Err() == nil && (!asked || before.Reason != health.Reason || before.Sealed != health.Sealed || before.Version != health.Version) {
					changed(name, health)
				}
			})
		}
		mu.Lock()
		for name := range known {
			if !there[name] {
				delete(known, name)
				delete(next, name)
			}
		}
		mu.Unlock()
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
		}
	}
}
