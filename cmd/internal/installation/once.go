package installation

import (
	"context"
	"sync"
)

// once remembers what was found out, a failure too. It is not given up when one of those who wait for it gives up: each request has a
// timeout of its own.
type once[T any] struct {
	start sync.Once
	done  chan struct{}
	value T
	err   error
}

func (o *once[T]) get(ctx context.Context, find func(context.Context) (T, error)) (T, error) {
	o.start.Do(func() {
		o.done = make(chan struct{})
		go func() {
			defer close(o.done)
			o.value, o.err = find(context.WithoutCancel(ctx))
		}()
	})
	select {
	case <-o.done:
		return o.value, o.err
	case <-ctx.Done():
		var nothing T
		return nothing, context.Cause(ctx)
	}
}

// keyed is once for each of several keys.
type keyed[K comparable, T any] struct {
	mu    sync.Mutex
	found map[K]*once[T]
}

func (k *keyed[K, T]) get(ctx context.Context, key K, find func(context.Context) (T, error)) (T, error) {
	k.mu.Lock()
	if k.found == nil {
		k.found = map[K]*once[T]{}
	}
	one := k.found[key]
	if one == nil {
		one = &once[T]{}
		k.found[key] = one
	}
	k.mu.Unlock()
	return one.get(ctx, find)
}
