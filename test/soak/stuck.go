package soak

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/portcullis-dev/portcullis/admission/webhook/configuration"
	policiesv1alpha1 "github.com/portcullis-dev/portcullis/policies/v1alpha1"
	runtimev1alpha1 "github.com/portcullis-dev/portcullis/runtime/v1alpha1"
	secretsv1alpha1 "github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/installation"
)

// settle waits until everything has come to rest, and counts what has not.
func (s *soak) settle(ctx context.Context) error {
	s.give(ctx, func(ctx context.Context) {
		if err := s.admissions.end(ctx); err != nil {
			s.report.stuck(fmt.Sprintf("the load: %v", err))
		}
	})
	s.give(ctx, s.events.end)
	s.give(ctx, s.secrets.end)
	for _, c := range []check{{"rollouts", s.rolledOut}, {"the bundle", s.bundleActive}, {"objects", s.nothingEnds}, {"Deployments", s.deployments}, {"certificates", s.certificates}} {
		s.give(ctx, func(ctx context.Context) {
			if err := until(ctx, c.is); err != nil {
				s.report.stuck(fmt.Sprintf("%s: %v", c.name, err))
			}
		})
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return s.decisions(ctx)
}

// give gives something the time that anything may take.
func (s *soak) give(ctx context.Context, do func(context.Context)) {
	ctx, cancel := s.bounded(ctx)
	defer cancel()
	do(ctx)
}

// ours are the kinds of Portcullis, whose objects may be stuck behind finalizers.
var ours = []schema.GroupVersionResource{
	policiesv1alpha1.Bundles, policiesv1alpha1.Revisions, policiesv1alpha1.Replicas,
	runtimev1alpha1.Quarantines, runtimev1alpha1.Evidences, runtimev1alpha1.Incidents,
	secretsv1alpha1.VaultConnections, secretsv1alpha1.VaultAuths, secretsv1alpha1.VaultSecrets, secretsv1alpha1.VaultLeases,
	corev1.SchemeGroupVersion.WithResource("pods"), corev1.SchemeGroupVersion.WithResource("secrets"), corev1.SchemeGroupVersion.WithResource("namespaces"),
	appsv1.SchemeGroupVersion.WithResource("replicasets"),
}

// nothingEnds says what is being deleted: by now all that was has gone.
func (s *soak) nothingEnds(ctx context.Context) error {
	var ending []error
	for _, kind := range ours {
		list, err := s.Dynamic.Resource(kind).List(ctx, metav1.ListOptions{})
		if err != nil {
			return err
		}
		for _, object := range list.Items {
			if since := object.GetDeletionTimestamp(); since != nil {
				ending = append(ending, fmt.Errorf("%s %s/%s is being deleted since %s, held by %q", object.GetKind(), object.GetNamespace(), object.GetName(), since.Format(time.TimeOnly), object.GetFinalizers()))
			}
		}
	}
	return errors.Join(ending...)
}

func (s *soak) deployments(ctx context.Context) error {
	list, err := s.Client.AppsV1().Deployments("").List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	for _, d := range list.Items {
		if d.Status.ObservedGeneration < d.Generation || d.Status.UpdatedReplicas != *d.Spec.Replicas || d.Status.AvailableReplicas != *d.Spec.Replicas || d.Status.Replicas != *d.Spec.Replicas {
			return fmt.Errorf("of %s/%s %d of %d are of the last template and available", d.Namespace, d.Name, d.Status.AvailableReplicas, *d.Spec.Replicas)
		}
	}
	return nil
}

// certificates says whether the API server trusts the webhook's certificate by what is registered, and refuses what is not answered.
func (s *soak) certificates(ctx context.Context) error {
	secret, err := s.Client.CoreV1().Secrets(installation.Namespace).Get(ctx, "portcullis-webhook-tls", metav1.GetOptions{})
	if err != nil {
		return err
	}
	block, _ := pem.Decode(secret.Data["tls.crt"])
	if block == nil {
		return errors.New("the webhook's Secret has no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	validating, err := s.Client.AdmissionregistrationV1().ValidatingWebhookConfigurations().Get(ctx, configuration.DefaultName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	closed := 0
	for _, webhook := range validating.Webhooks {
		if !bytes.Equal(webhook.ClientConfig.CABundle, secret.Data["ca.crt"]) {
			return fmt.Errorf("the entry %s has other authorities than the webhook's Secret", webhook.Name)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(webhook.ClientConfig.CABundle)
		if _, err := leaf.Verify(x509.VerifyOptions{DNSName: "portcullis-webhook." + installation.Namespace + ".svc", Roots: roots}); err != nil {
			return err
		}
		if *webhook.FailurePolicy == "Fail" {
			closed++
		}
	}
	if closed == 0 {
		return fmt.Errorf("none of the %d entries that are registered fails closed", len(validating.Webhooks))
	}
	_, err = s.Client.AdmissionregistrationV1().MutatingWebhookConfigurations().Get(ctx, configuration.DefaultName, metav1.GetOptions{})
	return err
}
