package doctor

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"time"

	"github.com/portcullis-dev/portcullis/cmd/internal/installation"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func certificates() Check {
	return Check{
		Name: "certificates", About: "the webhook's certificate is valid, is for the name by which it is called, and is signed by the authority that the API server was given",
		Why:  "The API server asks nobody whose certificate it cannot verify: then all that fails closed is refused.",
		look: lookAtCertificates,
	}
}

// Times before the end of a certificate.
const (
	soon     = 7 * 24 * time.Hour
	verySoon = 24 * time.Hour
)

// servingSecret holds the certificate that the controller makes.
const servingSecret = "portcullis-webhook-tls"

func lookAtCertificates(ctx context.Context, p *patient, r *Result) {
	now := p.seeConfigurations(ctx, r)
	if now == nil {
		return
	}
	entries := now.entries()
	if len(entries) == 0 {
		r.problem(fmt.Sprintf(register, p.Namespace), "There is no webhook configuration that would name an authority")
		return
	}
	again := fmt.Sprintf(register, p.Namespace)
	if !sameBundles(entries) {
		r.problem(again, "The entries of the webhook configurations trust different authorities")
	}
	roots := authorities(entries[0].ClientConfig.CABundle)
	switch {
	case len(entries[0].ClientConfig.CABundle) == 0:
		r.ok("The configurations name no authority: the API server trusts those of its own host")
	case len(roots) == 0:
		r.problem(again, "The caBundle of the webhook configurations holds no certificate that can be read")
		return
	}
	p.expiries(r, "The authority", roots, again)
	p.serving(ctx, r, &entries[0], roots)
	p.served(ctx, r)
}

// expiries says which of several authorities have ended. One that has not is enough.
func (p *patient) expiries(r *Result, what string, certificates []*x509.Certificate, next string) {
	var latest *x509.Certificate
	for _, c := range certificates {
		if latest == nil || c.NotAfter.After(latest.NotAfter) {
			latest = c
		}
	}
	if latest != nil {
		p.expiry(r, fmt.Sprintf("%s %q", what, latest.Subject.CommonName), latest.NotBefore, latest.NotAfter, next)
	}
}

func (p *patient) expiry(r *Result, what string, from, until time.Time, next string) {
	now := p.Now()
	switch left := until.Sub(now); {
	case now.Before(from):
		r.problem("portcullis doctor --only clock", "%s is valid only from %s on", what, from.UTC().Format(time.RFC3339))
	case left <= 0:
		r.problem(next, "%s has ended, %s", what, ago(now, until))
	case left < verySoon:
		r.problem(next, "%s ends in %s, and should have been replaced long ago", what, left.Round(time.Minute))
	case left < soon:
		r.warn(next, "%s ends on %s, and nobody has replaced it", what, until.UTC().Format(time.DateOnly))
	default:
		r.ok("%s is valid until %s", what, until.UTC().Format(time.DateOnly))
	}
}

// serving compares the certificate in the Secret of the controller with what the API server was given. Only the certificate is looked at.
func (p *patient) serving(ctx context.Context, r *Result, e *entry, roots []*x509.Certificate) {
	secret, err := p.Client.CoreV1().Secrets(p.Namespace).Get(ctx, servingSecret, getOptions)
	if apierrors.IsNotFound(err) {
		r.ok("There is no Secret %s: the certificate comes from elsewhere", servingSecret)
		return
	}
	if r.unread(err, "the certificate in the Secret "+servingSecret, fmt.Sprintf("get secrets %s --namespace %s", servingSecret, p.Namespace)) {
		return
	}
	again := fmt.Sprintf("kubectl --namespace %s delete secret %s # the controller makes it again", p.Namespace, servingSecret)
	chain := authorities(secret.Data["tls.crt"])
	if len(chain) == 0 {
		r.problem(again, "The Secret %s holds no certificate that can be read", servingSecret)
		return
	}
	leaf := chain[0]
	p.expiry(r, "The webhook's certificate", leaf.NotBefore, leaf.NotAfter, again)
	host := hostOf(e)
	if err := leaf.VerifyHostname(host); host != "" && err != nil {
		r.problem(again, "The webhook's certificate is not for %s, by which the API server calls it: %v", host, err)
	}
	if len(roots) == 0 {
		return
	}
	pool, between := x509.NewCertPool(), x509.NewCertPool()
	for _, root := range roots {
		pool.AddCert(root)
	}
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	// At the first moment at which all are valid: whether one is over was said above.
	first := leaf.NotBefore
	for _, c := range append(chain[1:], roots...) {
		if c.NotBefore.After(first) && c.NotBefore.Before(leaf.NotAfter) {
			first = c.NotBefore
		}
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: pool, Intermediates: between, CurrentTime: first, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err != nil {
		r.problem(fmt.Sprintf(register, p.Namespace), "The webhook's certificate is not signed by the authority that the API server was given: %v", err)
		return
	}
	r.ok("It is signed by the authority that the API server was given")
}

// served looks at when the certificate ends that each pod serves by: another one than that of the Secret while the pod has not read it again.
func (p *patient) served(ctx context.Context, r *Result) {
	pods, err := p.PodsOf(ctx, installation.Webhook)
	if err != nil {
		return
	}
	for n := range pods {
		metrics, err := p.Metrics(ctx, installation.Webhook, &pods[n])
		if err != nil {
			r.unread(err, "the metrics of the pod "+pods[n].Name, "get pods/proxy --namespace "+p.Namespace)
			continue
		}
		for _, sample := range metrics.Samples("portcullis_webhook_certificate_expiry_timestamp_seconds") {
			until := time.Unix(int64(sample.Value), 0)
			p.expiry(r, "The certificate that "+pods[n].Name+" serves by", time.Time{}, until, fmt.Sprintf("kubectl --namespace %s delete pod %s # it reads the certificate anew", p.Namespace, pods[n].Name))
		}
	}
}

// hostOf is the name by which an entry's webhook is called.
func hostOf(e *entry) string {
	if s := e.ClientConfig.Service; s != nil {
		return s.Name + "." + s.Namespace + ".svc"
	}
	return ""
}

// maxCertificates of one bundle are read.
const maxCertificates = 20

// authorities are the certificates of a PEM file, those that cannot be read left out.
func authorities(text []byte) []*x509.Certificate {
	var all []*x509.Certificate
	for block, rest := pem.Decode(text); block != nil && len(all) < maxCertificates; block, rest = pem.Decode(rest) {
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == "CERTIFICATE" {
			all = append(all, c)
		}
	}
	return all
}
