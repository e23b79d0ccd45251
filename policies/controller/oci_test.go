package controller

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/revision/revisiontest"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/oci"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
	"github.com/portcullis-dev/portcullis/signer"
	"github.com/portcullis-dev/portcullis/signer/cosign"
	"github.com/portcullis-dev/portcullis/signer/cosign/cosigntest"
	"github.com/portcullis-dev/portcullis/signer/registry"
	"github.com/portcullis-dev/portcullis/signer/registrytest"
)

// rig is a registry that wants a password, with a repository.
type rig struct {
	*bench
	server     *registrytest.Server
	client     *registry.Client
	repository registry.Repository
}

func newRig(b *bench) *rig {
	b.t.Helper()
	server, err := registrytest.Start(registrytest.Basic)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { server.Close() })
	client, err := server.Client()
	if err != nil {
		b.t.Fatal(err)
	}
	return &rig{bench: b, server: server, client: client, repository: server.Repository("acme/policies")}
}

// push gives the digest of the artifact, and that of its files.
func (r *rig) push(files map[string]string) (artifact, tree string) {
	r.t.Helper()
	contents := map[string][]byte{}
	for name, content := range files {
		contents[name] = []byte(content)
	}
	made, err := archive.New(contents)
	if err != nil {
		r.t.Fatal(err)
	}
	if artifact, err = oci.Push(r.t.Context(), r.client, r.repository, "prod", made); err != nil {
		r.t.Fatal(err)
	}
	return artifact, made.Digest()
}

func (r *rig) sign(artifact string, key *cosign.Key) {
	r.t.Helper()
	if _, err := cosign.Sign(r.t.Context(), r.client, cosign.Target{Repository: r.repository, Digest: artifact}, key, cosign.SignOptions{}); err != nil {
		r.t.Fatal(err)
	}
}

// trust is a verification by keys, for the repository.
func (r *rig) trust(keys ...*cosign.Key) v1alpha1.Verification {
	r.t.Helper()
	return v1alpha1.Verification{Authorities: []signer.Authority{cosigntest.Authority(r.t, "release", r.server.Host()+"/acme/**", keys...)}}
}

// secret is the registry's password, for the controller.
func (r *rig) secret(name string) {
	r.t.Helper()
	text := fmt.Sprintf(`{"auths":{%q:{"username":%q,"password":%q}}}`, r.server.Host(), registrytest.Username, registrytest.Password)
	object := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: []byte(text)},
	}
	secrets := r.kube.CoreV1().Secrets(v1alpha1.DefaultNamespace)
	if _, err := secrets.Create(r.t.Context(), object, metav1.CreateOptions{}); err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _ = secrets.Delete(context.WithoutCancel(r.t.Context()), name, metav1.DeleteOptions{}) })
}

func TestAnArtifactIsActivatedOnceSomebodyTrustedHasSignedIt(t *testing.T) {
	r := newRig(newBench(t))
	c := r.controller("one", func(o *Options) {
		o.Registry = r.server.Options()
		o.Registry.Credentials = nil
	})
	look := func() {
		t.Helper()
		if err := c.hook.request(t.Context(), "acme"); err != nil {
			t.Fatal(err)
		}
	}
	old, fresh := cosigntest.NewKey(t), cosigntest.NewKey(t)
	first, tree := r.push(revisiontest.Files("acme", 1))
	r.create("acme", v1alpha1.PolicyBundleSpec{
		Source: v1alpha1.Source{OCI: &v1alpha1.OCISource{
			Repository: r.repository.String(), Tag: "prod", Connection: v1alpha1.Connection{SecretRef: "registry"},
		}},
		Verification: r.trust(old), Interval: metav1.Duration{Duration: time.Hour},
	})
	r.condition("acme", v1alpha1.ConditionFetched, metav1.ConditionFalse, "FetchFailed", "reading the Secret portcullis-system/registry")
	r.secret("registry")
	look()
	r.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonUnverified, "")
	r.status("acme", "-+- ")

	r.sign(first, old)
	look()
	s := r.status("acme", "1+- Active")
	if want := []string{"release (key " + old.Fingerprint() + ")"}; !slices.Equal(s.Active.Signers, want) || s.Active.Digest != tree || !strings.HasSuffix(s.Active.Origin, "@"+first) {
		t.Errorf("the active revision is %+v, want %s from %s, signed by %q", s.Active, tree, first, want)
	}

	second, _ := r.push(revisiontest.Files("acme", 2))
	r.sign(second, fresh)
	look()
	r.condition("acme", v1alpha1.ConditionAccepted, metav1.ConditionFalse, reasonUnverified, "")
	r.status("acme", "1+- Active")
	r.change("acme", func(s *v1alpha1.PolicyBundleSpec) { s.Verification = r.trust(fresh) })
	r.status("acme", "2+- Active")

	// Who can go on by the revisions that are stored: nobody needs the registry for it.
	if err := r.server.Close(); err != nil {
		t.Fatal(err)
	}
	made, err := c.stored(t.Context(), r.get("acme").Status.Active.Digest, r.get("acme"))
	if err != nil || made.status.Serial != 2 {
		t.Errorf("got %+v, %v, want the revision with serial 2 verified again", made, err)
	}
}

// The same files with another signature are another proof: it takes the place of one that does not count any more.
func TestASignatureThatCountsReplacesOneThatDoesNot(t *testing.T) {
	r := newRig(newBench(t))
	c := r.controller("one")
	old, fresh := cosigntest.NewKey(t), cosigntest.NewKey(t)
	artifact, digest := r.push(revisiontest.Files("acme", 1))
	made, err := oci.New(v1alpha1.OCISource{Repository: r.repository.String(), Tag: "prod"}, oci.Options{Registry: r.server.Options()})
	if err != nil {
		t.Fatal(err)
	}
	r.folder("acme", v1alpha1.Rollout{})
	r.folder("other", v1alpha1.Rollout{})
	put := func(bundle string, key *cosign.Key) error {
		t.Helper()
		fetched, err := made.Fetch(t.Context(), "")
		if err != nil {
			t.Fatal(err)
		}
		encoded, err := source.Encode(fetched)
		if err != nil {
			t.Fatal(err)
		}
		wanted := r.get(bundle)
		wanted.Name, wanted.Spec.Verification = "acme", r.trust(key)
		return c.store.put(t.Context(), bundle, digest, encoded, func(stored []byte) error {
			_, err := c.examiner.stored(t.Context(), stored, wanted)
			return err
		})
	}
	r.sign(artifact, old)
	if err := put("acme", old); err != nil {
		t.Fatal(err)
	}
	before, _, err := c.store.get(t.Context(), digest)
	if err != nil {
		t.Fatal(err)
	}
	r.sign(artifact, fresh)
	if err := put("acme", old); err != nil {
		t.Fatal(err)
	}
	if after, _, err := c.store.get(t.Context(), digest); err != nil || string(after) != string(before) {
		t.Errorf("what counts was replaced (%v), want it left alone", err)
	}
	if err := put("other", fresh); err == nil || !strings.Contains(err.Error(), "bundle acme has stored the same files with another signature") {
		t.Errorf("another bundle: got %v, want it refused", err)
	}
	if err := put("acme", fresh); err != nil {
		t.Fatal(err)
	}
	if after, _, err := c.store.get(t.Context(), digest); err != nil || string(after) == string(before) {
		t.Errorf("what does not count is still there (%v), want it replaced", err)
	}
}
