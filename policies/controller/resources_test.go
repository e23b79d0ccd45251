package controller

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	made := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &made.Object); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return made
}

func TestTheAPIServerRefusesWhatHasNoMeaning(t *testing.T) {
	b := newBench(t)
	const git = "source: {git: {url: 'https://git.example.com/policies'}}"
	digest := "sha256:" + strings.Repeat("0a", 32)
	for name, test := range map[string]struct {
		spec string
		want string // "" is accepted
	}{
		"a folder":                        {"{source: {directory: {path: /bundle}}, verification: {insecureUnsigned: true}}", ""},
		"a repository over https":         {"{" + git + ", verification: {allowedSigners: 'dev@example.com ssh-ed25519 AAAA'}, interval: 1m}", ""},
		"a repository over ssh":           {"{source: {git: {url: 'ssh://git@git.example.com:2222/policies.git', tag: v1, path: prod, secretRef: key}}, verification: {}}", ""},
		"an artifact":                     {"{source: {oci: {repository: ghcr.io/acme/policies, tag: prod}}, verification: {authorities: [{name: ci, images: ['ghcr.io/acme/**'], keys: [{pem: x}]}]}}", ""},
		"a canary":                        {"{" + git + ", verification: {}, rollout: {strategy: canary, percent: 10, namespaces: ['canary-*'], duration: 1h, maxNewDenials: 3}}", ""},
		"a pin":                           {"{" + git + ", verification: {}, pin: '" + digest + "'}", ""},
		"no source":                       {"{source: {}, verification: {}}", "exactly one of git, oci, http and directory has to be there"},
		"two sources":                     {"{source: {git: {url: 'https://git.example.com/p'}, directory: {path: /bundle}}, verification: {}}", "exactly one of git, oci, http and directory has to be there"},
		"no verification":                 {"{" + git + "}", "spec.verification: Required value"},
		"a branch and a tag":              {"{source: {git: {url: 'https://git.example.com/p', branch: main, tag: v1}}, verification: {}}", "at most one of branch, tag and commit may be there"},
		"a commit that is none":           {"{source: {git: {url: 'https://git.example.com/p', commit: abc}}, verification: {}}", "spec.source.git.commit"},
		"a repository by a path":          {"{source: {git: {url: /srv/git/policies}}, verification: {}}", "spec.source.git.url"},
		"a repository over plain http":    {"{source: {git: {url: 'http://git.example.com/p'}}, verification: {}}", "spec.source.git.url"},
		"a tag and a digest":              {"{source: {oci: {repository: ghcr.io/a/b, tag: x, digest: '" + digest + "'}}, verification: {}}", "exactly one of tag and digest has to be there"},
		"neither tag nor digest":          {"{source: {oci: {repository: ghcr.io/a/b}}, verification: {}}", "exactly one of tag and digest has to be there"},
		"a folder that depends on where":  {"{source: {directory: {path: bundle}}, verification: {}}", "spec.source.directory.path"},
		"a strategy that there is not":    {"{" + git + ", verification: {}, rollout: {strategy: rainbow}}", "spec.rollout.strategy"},
		"101 percent":                     {"{" + git + ", verification: {}, rollout: {percent: 101}}", "spec.rollout.percent"},
		"-1 percent":                      {"{" + git + ", verification: {}, rollout: {percent: -1}}", "spec.rollout.percent"},
		"a time that went":                {"{" + git + ", verification: {}, rollout: {duration: -1h}}", "the duration cannot be negative"},
		"a look every second":             {"{" + git + ", verification: {}, interval: 1s}", "the interval has to be 10s at least"},
		"a pin of a tag":                  {"{" + git + ", verification: {}, pin: v1}", "spec.pin"},
		"namespaces that no name matches": {"{" + git + ", verification: {}, namespaces: ['Shop']}", "spec.namespaces"},
		"more coverage than all":          {"{" + git + ", verification: {}, minCoverage: 101}", "spec.minCoverage"},
	} {
		t.Run(name, func(t *testing.T) {
			object := parse(t, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: PolicyBundle\nmetadata: {name: acme}\nspec: "+test.spec+"\n")
			_, err := b.objects.Resource(v1alpha1.Bundles).Create(t.Context(), object, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			isRefused(t, err, test.want)
		})
	}
	long := parse(t, "apiVersion: policy.portcullis.dev/v1alpha1\nkind: PolicyBundle\nmetadata: {name: "+strings.Repeat("a", 64)+"}\nspec: {"+git+", verification: {}}\n")
	_, err := b.objects.Resource(v1alpha1.Bundles).Create(t.Context(), long, metav1.CreateOptions{})
	isRefused(t, err, "the name may have 63 characters")
}

func isRefused(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want it accepted", err)
	case want != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want it refused for %q", err, want)
	}
}

func TestTheAPIServerRefusesExceptionsWithoutOwnerReasonOrEnd(t *testing.T) {
	b := newBench(t)
	whole := map[string]string{"policy": "pods/privileged", "selector": "{namespaces: [shop]}", "reason": "old shop", "owner": "shop", "expires": "'2027-01-31'"}
	for name, test := range map[string]struct{ field, value, want string }{
		"a whole one":                   {"bundle", "acme", ""},
		"one until an hour":             {"expires", "'2027-01-31T12:00:00Z'", ""},
		"one of the cluster":            {"selector", "{clusterScoped: true}", ""},
		"no policy":                     {"policy", "", "spec.policy"},
		"no reason":                     {"reason", "", "spec.reason"},
		"no owner":                      {"owner", "", "spec.owner"},
		"no end":                        {"expires", "", "spec.expires"},
		"an end that is none":           {"expires", "never", "spec.expires"},
		"one of everything":             {"selector", "{}", "name namespaces, or say clusterScoped"},
		"one of no namespace":           {"selector", "{namespaces: []}", "name namespaces, or say clusterScoped"},
		"one with a field that is none": {"approved", "true", "unknown field"},
	} {
		t.Run(name, func(t *testing.T) {
			text := "apiVersion: policy.portcullis.dev/v1alpha1\nkind: PolicyException\nmetadata: {name: x, namespace: shop}\nspec:\n"
			for _, field := range []string{"policy", "selector", "reason", "owner", "expires", "bundle", "approved"} {
				value := whole[field]
				if field == test.field {
					value = test.value
				}
				if value != "" {
					text += "  " + field + ": " + value + "\n"
				}
			}
			_, err := b.objects.Resource(v1alpha1.Exceptions).Namespace("shop").Create(t.Context(), parse(t, text), metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict})
			if test.want == "unknown field" {
				if err == nil || !strings.Contains(err.Error(), test.want) {
					t.Errorf("got %v, want it refused for %q", err, test.want)
				}
				return
			}
			isRefused(t, err, test.want)
		})
	}
}

func TestAStoredRevisionNeverChanges(t *testing.T) {
	b := newBench(t)
	s := &store{client: b.objects.Resource(v1alpha1.Revisions)}
	digest := "sha256:" + strings.Repeat("0b", 32)
	content := []byte(strings.Repeat("x", v1alpha1.MaxPart) + "the end")
	if err := s.create(t.Context(), "acme", digest, content); err != nil {
		t.Fatal(err)
	}
	got, by, err := s.get(t.Context(), digest)
	if err != nil || string(got) != string(content) || by != "acme" {
		t.Errorf("got %d bytes by %q, %v, want the %d that were stored by acme", len(got), by, err, len(content))
	}
	name, err := v1alpha1.RevisionName(digest, 1)
	if err != nil {
		t.Fatal(err)
	}
	object, err := s.client.Get(t.Context(), name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := unstructured.SetNestedField(object.Object, "eHh4", "spec", "data"); err != nil {
		t.Fatal(err)
	}
	_, err = s.client.Update(t.Context(), object, metav1.UpdateOptions{})
	isRefused(t, err, "a stored revision never changes")
}

// The controller has the roles that it prints; so that what it may not is refused, whatever it tries.
func TestTheControllerMayNotChangeWhatIsWanted(t *testing.T) {
	b := newBench(t)
	c := b.controller("one")
	b.folder("acme", v1alpha1.Rollout{})
	bundle := b.get("acme")
	bundle.Spec.Verification.InsecureUnsigned = false
	_, err := c.dynamic.Resource(v1alpha1.Bundles).Update(t.Context(), encode(t, bundle), metav1.UpdateOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("changing a spec: got %v, want it forbidden", err)
	}
	_, err = c.kube.CoreV1().Secrets(v1alpha1.DefaultNamespace).List(t.Context(), metav1.ListOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("listing Secrets: got %v, want it forbidden", err)
	}
	_, err = c.kube.CoreV1().Secrets("shop").Get(t.Context(), "any", metav1.GetOptions{})
	if !apierrors.IsForbidden(err) {
		t.Errorf("reading a Secret of another namespace: got %v, want it forbidden", err)
	}
}
