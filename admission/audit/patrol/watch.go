package patrol

import (
	"context"
	"time"

	"github.com/portcullis-dev/portcullis/admission/audit"
	"github.com/portcullis-dev/portcullis/admission/audit/stored"
)

// follow watches a kind from a version on, unless it is watched already.
func (p *Patrol) follow(ctx context.Context, kind stored.Kind, version string) {
	if _, watched := p.watches[kind.GroupResource()]; watched || !kind.Watchable {
		return
	}
	ctx, stop := context.WithCancel(ctx)
	p.watches[kind.GroupResource()] = stop
	p.group.Go(func() { p.watch(ctx, kind, version) })
}

// watch judges what changes until the context ends. Nothing of a kind is kept but what was found.
func (p *Patrol) watch(ctx context.Context, kind stored.Kind, version string) {
	for ctx.Err() == nil {
		began := time.Now()
		next, err := p.options.Client.Watch(ctx, kind, version, func(event stored.Event) error { return p.changed(ctx, kind, event) })
		version = next
		switch {
		case ctx.Err() != nil:
			return
		case stored.Expired(err):
			// What happened in between is found by listing: what is known as it is costs nothing.
			listed, err := p.relist(ctx, kind)
			if err == nil {
				version = listed
				continue
			}
			// The version stays: it expires again, and the list is tried again. From none a watch would not tell what is gone.
			p.unwatched(ctx, kind, err)
		case err != nil:
			p.unwatched(ctx, kind, err)
		default:
			p.clear(changesOf + kind.GroupResource())
			if time.Since(began) < watchPause {
				sleep(ctx, watchPause/5)
			}
		}
	}
}

func (p *Patrol) unwatched(ctx context.Context, kind stored.Kind, err error) {
	reason := "watching it fails: " + err.Error() + ": it is tried again, and found by the next pass"
	if stored.Denied(err) {
		reason = "the API server refuses to let it be watched: grant watch on " + kind.GroupResource() + "; until then only passes see changes"
	}
	if ctx.Err() == nil {
		p.note(audit.Gap{What: changesOf + kind.GroupResource(), Reason: reason})
		sleep(ctx, watchPause)
	}
}

func sleep(ctx context.Context, wait time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// relist finds what a watch has missed.
func (p *Patrol) relist(ctx context.Context, kind stored.Kind) (version string, err error) {
	seen := map[audit.Reference]bool{}
	version, err = p.options.Client.List(ctx, kind, "", func(object audit.Object) error {
		seen[object.Reference] = true
		if !p.ledger.Same(object.Reference, object.Content) && p.place(ctx) {
			defer p.leave()
			p.judge(ctx, object, false)
		}
		return context.Cause(ctx)
	})
	if err != nil {
		return "", err
	}
	for _, known := range p.ledger.Find(func(r *audit.Result) bool { return r.Object.GroupResource() == kind.GroupResource() }) {
		if !seen[known] {
			p.ledger.Remove(known, "")
		}
	}
	return version, nil
}

// changed looks at one object that is new, another or gone.
func (p *Patrol) changed(ctx context.Context, kind stored.Kind, event stored.Event) error {
	object := event.Object
	known := p.ledger.Same(object.Reference, object.Content)
	if event.Gone {
		p.ledger.Remove(object.Reference, object.ResourceVersion)
	}
	if !known || event.Gone {
		p.reads(kind, object.Reference)
	}
	if known || event.Gone || p.options.Ready() != nil {
		return context.Cause(ctx)
	}
	if !p.place(ctx) {
		return context.Cause(ctx)
	}
	defer p.leave()
	p.judge(ctx, object, false)
	return nil
}

// reads notes that what policies may read has changed.
func (p *Patrol) reads(kind stored.Kind, r audit.Reference) {
	namespace := kind.Group == "" && kind.Resource == "namespaces"
	if !namespace && len(audit.ReadInterests(p.options.Reviewer.Lineup(), kind.Group, kind.Resource)) == 0 {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	one := reader{kind.Group, kind.Resource, r.Scope()}
	if _, waits := p.readers[one]; !waits {
		p.readers[one] = p.options.Now()
	}
}
