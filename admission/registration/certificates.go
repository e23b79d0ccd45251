package registration

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/admission/webhook/certificate"
)

// The keys of the Secrets: those of kubernetes.io/tls, and what others expect beside them.
const (
	certificateKey = corev1.TLSCertKey
	privateKey     = corev1.TLSPrivateKeyKey
	bundleKey      = "ca.crt"
	previousKey    = "previous.crt"
)

// errForeign is that something of our name is somebody else's.
var errForeign = errors.New("it is not ours")

// names are those that a replica serves under: the API server calls the first one.
func (r *Registration) names() []string {
	s := r.options.Service
	return []string{s.Name + "." + s.Namespace + ".svc", s.Name + "." + s.Namespace, s.Name}
}

// decodeChain reads the authority's Secret. What cannot be used is left out: an authority without its key signs nothing.
func decodeChain(secret *corev1.Secret) (*chain, error) {
	c := &chain{}
	if secret == nil {
		return c, nil
	}
	previous, err := certificate.DecodeCertificates(secret.Data[previousKey])
	if err == nil {
		c.previous = previous[:min(len(previous), maxPrevious)]
	}
	pair, pairErr := certificate.DecodePair(secret.Data[certificateKey], secret.Data[privateKey])
	switch {
	case pairErr != nil:
		return c, errors.Join(err, pairErr)
	case !pair.Certificate().IsCA || pair.Certificate().KeyUsage&x509.KeyUsageCertSign == 0:
		return c, errors.Join(err, errors.New("the certificate is no authority's"))
	}
	c.authority = pair
	return c, err
}

// decodeLeaf reads what replicas are given, nil if it cannot be served.
func decodeLeaf(secret *corev1.Secret) *x509.Certificate {
	if secret == nil {
		return nil
	}
	pair, err := certificate.DecodePair(secret.Data[certificateKey], secret.Data[privateKey])
	if err != nil {
		return nil
	}
	return pair.Certificate()
}

// secret reads one, nil where there is none.
func (r *Registration) secret(ctx context.Context, name string) (*corev1.Secret, error) {
	found, err := r.kube.CoreV1().Secrets(r.options.Service.Namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the Secret %s: %w", name, err)
	}
	return found, nil
}

// writeSecret makes a Secret have just these data.
func (r *Registration) writeSecret(ctx context.Context, name, object string, before *corev1.Secret, data map[string][]byte) error {
	secrets := r.kube.CoreV1().Secrets(r.options.Service.Namespace)
	wanted := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels()}, Type: corev1.SecretTypeTLS, Data: data}
	result := wroteCreated
	var err error
	if before == nil {
		_, err = secrets.Create(ctx, wanted, metav1.CreateOptions{FieldManager: ManagedBy})
	} else {
		result = wroteUpdated
		changed := before.DeepCopy()
		changed.Data = data
		if changed.Labels == nil {
			changed.Labels = map[string]string{}
		}
		for key, value := range wanted.Labels {
			changed.Labels[key] = value
		}
		_, err = secrets.Update(ctx, changed, metav1.UpdateOptions{FieldManager: ManagedBy})
	}
	if err != nil {
		r.metrics.wrote(object, wroteFailed)
		return fmt.Errorf("writing the Secret %s: %w", name, err)
	}
	r.metrics.wrote(object, result)
	return nil
}

// foreign says whether a Secret was made by others before anything was ever registered.
func foreign(secret *corev1.Secret, m *memory) bool {
	return secret != nil && secret.Labels["app.kubernetes.io/managed-by"] != ManagedBy && m.since.IsZero()
}

// authority renews the chain and stores it before anybody relies on it.
func (r *Registration) authority(ctx context.Context, now time.Time, seen *seen) (*chain, error) {
	for name, secret := range map[string]*corev1.Secret{AuthoritySecret: seen.authority, ServingSecret: seen.serving} {
		if foreign(secret, seen.memory) {
			return nil, fmt.Errorf("the Secret %s/%s has no label app.kubernetes.io/managed-by=%s: %w: delete it if nobody needs it, or register the webhook by hand", r.options.Service.Namespace, name, ManagedBy, errForeign)
		}
	}
	c, broken := decodeChain(seen.authority)
	if broken != nil {
		r.tell(ctx, corev1.EventTypeWarning, reasonCertificate, "Renew", fmt.Sprintf("the Secret %s cannot be used (%v): another authority takes its place", AuthoritySecret, broken))
	}
	leaf := decodeLeaf(seen.serving)
	known := seen.known()
	if c.authority.Certificate() == nil && seen.authority != nil {
		// The certificate of an authority whose key is broken may still be good for what is served.
		only, _ := certificate.DecodeCertificates(seen.authority.Data[certificateKey])
		known = append(known, only...)
	}
	did, err := c.renew(now, r.lifetimes(), leaf, known)
	if err != nil {
		return nil, err
	}
	if did == "" {
		did = c.forget(now, r.leaf.seen(leaf, r.options.Elapsed()), r.lifetimes(), leaf)
	}
	if did == "" && broken == nil {
		return c, nil
	}
	cert, key, err := c.authority.Encode()
	if err != nil {
		return nil, err
	}
	var previous bytes.Buffer
	for _, one := range c.previous {
		previous.Write(certificate.EncodeCertificate(one))
	}
	data := map[string][]byte{certificateKey: cert, privateKey: key}
	if previous.Len() > 0 {
		data[previousKey] = previous.Bytes()
	}
	if err := r.writeSecret(ctx, AuthoritySecret, "authority", seen.authority, data); err != nil {
		return nil, err
	}
	if did != "" {
		r.tell(ctx, corev1.EventTypeNormal, reasonCertificate, "Renew", did)
		r.journal(ctx, "authority", did)
	}
	return c, nil
}

// serve gives replicas a leaf, and clients the bundle, once the API servers trust who signs it.
func (r *Registration) serve(ctx context.Context, now time.Time, seen *seen, c *chain) (next time.Time, err error) {
	leaf := decodeLeaf(seen.serving)
	r.metrics.expires(c.authority.Certificate(), leaf)
	fit := c.fit(leaf, r.names(), now)
	if fit && c.due(leaf, now) {
		missing, known := r.spread(c.authority.Certificate(), seen)
		if fit = !known || missing > 0; known && fit {
			next = now.Add(missing)
		}
	}
	data := map[string][]byte{bundleKey: c.bundle()}
	if fit {
		if bytes.Equal(seen.serving.Data[bundleKey], data[bundleKey]) && seen.serving.Labels["app.kubernetes.io/managed-by"] == ManagedBy {
			return next, nil
		}
		data[certificateKey], data[privateKey] = seen.serving.Data[certificateKey], seen.serving.Data[privateKey]
		return next, r.writeSecret(ctx, ServingSecret, "leaf", seen.serving, data)
	}
	made, err := c.authority.Issue(r.names(), now, r.options.LeafLifetime)
	if err != nil {
		return next, err
	}
	if data[certificateKey], data[privateKey], err = made.Encode(); err != nil {
		return next, err
	}
	if err := r.writeSecret(ctx, ServingSecret, "leaf", seen.serving, data); err != nil {
		return next, err
	}
	r.metrics.expires(c.authority.Certificate(), made.Certificate())
	r.tell(ctx, corev1.EventTypeNormal, reasonCertificate, "Renew", fmt.Sprintf("issued a serving certificate until %s", made.Certificate().NotAfter.Format(time.RFC3339)))
	r.journal(ctx, "leaf", "issued a serving certificate until "+made.Certificate().NotAfter.Format(time.RFC3339))
	return next, nil
}

// spread is for how long an authority has yet to be in all configurations before it may sign, known once it is in all of them. Where
// there are no configurations nobody has to be told.
func (r *Registration) spread(authority *x509.Certificate, seen *seen) (missing time.Duration, known bool) {
	if len(seen.configurations()) == 0 {
		return 0, true
	}
	since, known := r.trusted[fingerprint(authority)]
	return since + r.options.Spread - r.options.Elapsed(), known
}

// noteTrust notes since when all configurations that there are have each authority.
func (r *Registration) noteTrust(c *chain, seen *seen) {
	trusted := map[string]time.Duration{}
	for _, authority := range c.all() {
		all := true
		for _, one := range seen.configurations() {
			all = all && one.trusts(authority)
		}
		if !all {
			continue
		}
		since, ok := r.trusted[fingerprint(authority)]
		if !ok {
			since = r.options.Elapsed()
		}
		trusted[fingerprint(authority)] = since
	}
	r.trusted = trusted
}

// lastLeaf is the leaf that was last seen in the Secret, and since when.
type lastLeaf struct {
	fingerprint string
	since       time.Duration
}

// seen says for how long a leaf has been seen without another in between.
func (l *lastLeaf) seen(leaf *x509.Certificate, elapsed time.Duration) time.Duration {
	if leaf == nil {
		*l = lastLeaf{}
		return 0
	}
	if print := fingerprint(leaf); l.fingerprint != print {
		*l = lastLeaf{print, elapsed}
	}
	return elapsed - l.since
}

func (r *Registration) lifetimes() lifetimes {
	return lifetimes{r.options.AuthorityLifetime, r.options.LeafLifetime, r.options.Spread, r.options.Keep, r.options.Mount}
}

func (r *Registration) journal(ctx context.Context, step, reason string) {
	if r.options.Journal != nil {
		r.options.Journal.Registration(ctx, step, reason)
	}
}
