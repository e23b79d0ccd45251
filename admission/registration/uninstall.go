package registration

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
)

// UninstallOptions say what is taken away.
type UninstallOptions struct {
	// Service is that of the webhook, Name that of both configurations.
	Service configuration.Service
	Name    string
	// Secrets takes the certificates away, too.
	Secrets bool
	// Settle is how long the configurations have to stay away, 3 seconds if 0: a controller that runs may have been about to put
	// one back when it was told.
	Settle time.Duration
	// Out is told what is done.
	Out io.Writer
	// Now is the clock; time.Now where nil.
	Now func() time.Time
}

// ErrNotOurs is that a configuration was neither made by the controller nor calls our Service.
var ErrNotOurs = errors.New("it calls somebody else, and was not made by portcullis-controller")

const (
	defaultSettle = 3 * time.Second
	settlePoll    = 200 * time.Millisecond
)

// Uninstall takes both configurations away and returns when they are gone. First it leaves a mark in the Lease, by which a controller
// that still runs does not put them back: the mark holds while the Service with its UID is there, so a later installation
// is none of its business. What is not ours is an error, and nothing is done.
func Uninstall(ctx context.Context, client kubernetes.Interface, o UninstallOptions) error {
	if o.Settle <= 0 {
		o.Settle = defaultSettle
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	u := &uninstall{client: client, o: o}
	u.r = &Registration{kube: client, options: Options{Service: o.Service, Name: o.Name}}
	if _, err := u.found(ctx); err != nil {
		return err
	}
	if err := u.mark(ctx); err != nil {
		return err
	}
	if err := u.takeAway(ctx); err != nil {
		return err
	}
	if o.Secrets {
		return u.secrets(ctx)
	}
	return nil
}

// uninstall is one run.
type uninstall struct {
	client kubernetes.Interface
	o      UninstallOptions
	r      *Registration // to read with
}

// found are the configurations that there are, all of them ours.
func (u *uninstall) found(ctx context.Context) ([]*configured, error) {
	byDoor, err := u.r.readConfigurations(ctx)
	if err != nil {
		return nil, err
	}
	var found []*configured
	for _, d := range doors {
		switch one := byDoor[d]; {
		case one == nil:
		case !one.ours(u.o.Service):
			return nil, fmt.Errorf("uninstalling the %s webhook configuration %s: %w: name ours by --webhook-name and --webhook-service, or delete it by hand", d, u.o.Name, ErrNotOurs)
		default:
			found = append(found, one)
		}
	}
	return found, nil
}

// mark has a controller that runs leave everything alone. A conflict is with that controller, and tried again.
func (u *uninstall) mark(ctx context.Context) error {
	var uid types.UID
	service, err := u.client.CoreV1().Services(u.o.Service.Namespace).Get(ctx, u.o.Service.Name, metav1.GetOptions{})
	switch {
	case err == nil:
		uid = service.UID
	case !apierrors.IsNotFound(err):
		return fmt.Errorf("reading the webhook's Service: %w", err)
	}
	in, name := u.client.CoordinationV1().Leases(u.o.Service.Namespace), leaseName(u.o.Name)
	for {
		m, err := readMemory(ctx, in, name)
		if err != nil {
			return err
		}
		m.since, m.service, m.uninstalled, m.gone = time.Time{}, "", u.o.Now().UTC().Truncate(time.Second), uid
		m.openings, m.window = nil, nil
		_, err = saveMemory(ctx, in, name, m)
		switch {
		case apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err):
			continue
		case apierrors.IsNotFound(err): // the namespace is gone, and with it whoever could put anything back
			return nil
		}
		return err
	}
}

// takeAway deletes what there is until nothing has been there for a while.
func (u *uninstall) takeAway(ctx context.Context) error {
	ticker := time.NewTicker(settlePoll)
	defer ticker.Stop()
	quiet := time.Now()
	for time.Since(quiet) < u.o.Settle {
		found, err := u.found(ctx)
		if err != nil {
			return err
		}
		for _, one := range found {
			quiet = time.Now()
			if err := u.delete(ctx, one); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting until the webhook configurations %s stay away: %w", u.o.Name, context.Cause(ctx))
		case <-ticker.C:
		}
	}
	_, err := fmt.Fprintf(u.o.Out, "The webhook configurations %s are gone: the API server asks the webhook about nothing.\n", u.o.Name)
	return err
}

func (u *uninstall) delete(ctx context.Context, one *configured) error {
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &one.meta.UID}}
	var err error
	if one.door == validating {
		err = u.client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(ctx, u.o.Name, options)
	} else {
		err = u.client.AdmissionregistrationV1().MutatingWebhookConfigurations().Delete(ctx, u.o.Name, options)
	}
	switch {
	case apierrors.IsNotFound(err), apierrors.IsConflict(err): // another one is there, or none
		return nil
	case err != nil:
		return fmt.Errorf("deleting the %s webhook configuration %s: %w", one.door, u.o.Name, err)
	}
	_, err = fmt.Fprintf(u.o.Out, "Deleted the %s webhook configuration %s.\n", one.door, u.o.Name)
	return err
}

func (u *uninstall) secrets(ctx context.Context) error {
	secrets := u.client.CoreV1().Secrets(u.o.Service.Namespace)
	for _, name := range []string{ServingSecret, AuthoritySecret} {
		found, err := u.r.secret(ctx, name)
		if err != nil {
			return err
		}
		switch {
		case found == nil:
			continue
		case found.Labels["app.kubernetes.io/managed-by"] != ManagedBy:
			_, err = fmt.Fprintf(u.o.Out, "Left the Secret %s/%s, which was not made by portcullis-controller.\n", u.o.Service.Namespace, name)
		default:
			if err = secrets.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &found.UID}}); err != nil && !apierrors.IsNotFound(err) {
				return fmt.Errorf("deleting the Secret %s: %w", name, err)
			}
			_, err = fmt.Fprintf(u.o.Out, "Deleted the Secret %s/%s.\n", u.o.Service.Namespace, name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
