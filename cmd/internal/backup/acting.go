package backup

import (
	"context"
	"fmt"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
)

// A Lease is observed for its own duration, at least leastObserved, which is that of our programs. One that is longer than mostObserved is not
// waited for: it is held as long as it names a holder. Our programs renew every two seconds.
const (
	leastObserved = 15 * time.Second
	mostObserved  = time.Minute
	betweenLooks  = 2 * time.Second
)

// acting are the programs that hold their Leases now, of those that act on what is restored.
//
// As client-go has it (tools/leaderelection), the clock of who renewed a Lease is never compared with the one of this machine: one that names a
// holder is held if it is renewed, or taken over, while it is observed for its duration. One that was released is held by nobody, and so is one
// that is not there; but where the namespace is not there either, it is the wrong one, and that is an error.
func (r Restore) acting(ctx context.Context, wanted []*Kind) ([]string, error) {
	var programs []string
	asked := map[installation.Component]bool{"": true}
	for _, kind := range wanted {
		if !asked[kind.program] {
			asked[kind.program] = true
			programs = append(programs, kind.program.Program())
		}
	}
	if len(programs) == 0 {
		return nil, nil
	}
	if err := r.namespaceIs(ctx); err != nil {
		return nil, err
	}
	first, held := map[string]*coordinationv1.Lease{}, map[string]bool{}
	var observe time.Duration
	for _, name := range programs {
		lease, err := r.lease(ctx, name)
		if err != nil {
			return nil, err
		}
		if holderOf(lease) == "" {
			continue
		}
		first[name] = lease
		lasts := leastObserved
		if s := lease.Spec.LeaseDurationSeconds; s != nil {
			lasts = max(lasts, time.Duration(*s)*time.Second)
		}
		if held[name] = lasts > mostObserved; !held[name] {
			observe = max(observe, lasts)
		}
	}
	for observed := time.Duration(0); observed < observe && len(held) > 0 && !all(held); observed += betweenLooks {
		if err := r.sleep(ctx, betweenLooks); err != nil {
			return nil, err
		}
		for name, known := range held {
			if known {
				continue
			}
			lease, err := r.lease(ctx, name)
			if err != nil {
				return nil, err
			}
			if holderOf(lease) == "" {
				delete(held, name)
				continue
			}
			held[name] = holderOf(lease) != holderOf(first[name]) || !lease.Spec.RenewTime.Equal(first[name].Spec.RenewTime)
		}
	}
	var acting []string
	for _, name := range programs {
		if held[name] {
			acting = append(acting, name)
		}
	}
	return acting, nil
}

func all(held map[string]bool) bool {
	for _, is := range held {
		if !is {
			return false
		}
	}
	return true
}

// lease is the one of a program, nil for none.
func (r Restore) lease(ctx context.Context, name string) (*coordinationv1.Lease, error) {
	lease, err := r.Client.CoordinationV1().Leases(r.Namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case apierrors.IsForbidden(err):
		return nil, &RightsError{Missing: []string{"get the Lease " + r.Namespace + "/" + name}}
	case err != nil:
		return nil, fmt.Errorf("asking whether %s acts: %w", name, err)
	}
	return lease, nil
}

func holderOf(lease *coordinationv1.Lease) string {
	if lease == nil || lease.Spec.HolderIdentity == nil {
		return ""
	}
	return *lease.Spec.HolderIdentity
}

// namespaceIs is an error where the namespace of the installation is not there: a Lease that is missing says nothing then.
func (r Restore) namespaceIs(ctx context.Context) error {
	_, err := r.Client.CoreV1().Namespaces().Get(ctx, r.Namespace, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return fmt.Errorf("the namespace %s is not there, so that nobody knows whether programs act: give the one that Portcullis is installed in by --namespace, or install the chart first", r.Namespace)
	case apierrors.IsForbidden(err):
		return &RightsError{Missing: []string{"get the namespace " + r.Namespace}}
	case err != nil:
		return fmt.Errorf("looking for the namespace %s: %w", r.Namespace, err)
	}
	return nil
}

func (r Restore) sleep(ctx context.Context, d time.Duration) error {
	if r.Sleep != nil {
		return r.Sleep(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
