package destination

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/secrets"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

// writerUser is portcullis-secrets, with the rights that the Role of a namespace gives and no others.
const writerUser = "system:serviceaccount:" + v1alpha1.DefaultNamespace + ":portcullis-secrets"

// shared is one control plane, with the garbage collector, for all tests of the package.
var shared = clustertest.Shared{Options: cluster.Options{Users: []cluster.User{{Name: writerUser}}}, Manifests: [][]byte{v1alpha1.Manifest}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// bench is a namespace of its own.
type bench struct {
	t         testing.TB
	namespace string
	admin     *kubernetes.Clientset
	objects   dynamic.Interface
	creator   *cluster.Creator
	client    *kubernetes.Clientset // as portcullis-secrets
	hasher    *secrets.Hasher
	writer    *Writer
}

func newBench(t testing.TB) *bench {
	t.Helper()
	b := &bench{t: t, namespace: fmt.Sprintf("t-%x", time.Now().UnixNano()), hasher: secrets.NewHasher(secrets.ValueOf("a key of tests with 32 bytes....."))}
	server := shared.Cluster(t)
	admin, err := server.Config(cluster.Admin)
	b.must(err)
	b.admin, err = kubernetes.NewForConfig(admin)
	b.must(err)
	b.objects, err = dynamic.NewForConfig(admin)
	b.must(err)
	b.creator, err = cluster.NewCreator(admin)
	b.must(err)
	user, err := server.Config(writerUser)
	b.must(err)
	user.QPS = -1 // what is measured is not the client's own limit
	b.client, err = kubernetes.NewForConfig(user)
	b.must(err)
	b.must(cluster.CreateNamespace(t.Context(), b.admin, b.namespace, nil))
	b.writer = New(b.client, b.hasher)
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// secret makes a VaultSecret, and gives portcullis-secrets the rights it needs for it.
func (b *bench) secret(name string, change ...func(*v1alpha1.VaultSecretSpec)) (*v1alpha1.VaultSecret, Owner) {
	b.t.Helper()
	s := &v1alpha1.VaultSecret{ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: name}}
	s.Spec.Auth, s.Spec.Source.KV = "shop", &v1alpha1.KVSource{Mount: "secret", Path: "shop/db"}
	for _, c := range change {
		c(&s.Spec)
	}
	encoded, err := v1alpha1.Encode(s)
	b.must(err)
	clustertest.Eventually(b.t, "VaultSecrets served", func() error {
		made, err := b.objects.Resource(v1alpha1.VaultSecrets).Namespace(b.namespace).Create(b.t.Context(), encoded, metav1.CreateOptions{})
		if err != nil && !apierrors.IsNotFound(err) {
			b.t.Fatal(err)
		}
		if err == nil {
			s.UID = made.GetUID()
		}
		return err
	})
	b.permit(*s)
	return s, Owner{Namespace: b.namespace, Name: name, UID: string(s.UID)}
}

// permit has the Role be what these need.
func (b *bench) permit(all ...v1alpha1.VaultSecret) {
	b.t.Helper()
	for _, name := range []string{v1alpha1.RoleName} {
		_ = b.admin.RbacV1().Roles(b.namespace).Delete(b.t.Context(), name, metav1.DeleteOptions{})
		_ = b.admin.RbacV1().RoleBindings(b.namespace).Delete(b.t.Context(), name, metav1.DeleteOptions{})
	}
	_, err := b.creator.Create(b.t.Context(), v1alpha1.NamespaceRole(b.namespace, all, nil, nil, v1alpha1.DefaultNamespace), metav1.CreateOptions{})
	b.must(err)
	clustertest.Eventually(b.t, "the Role counts", func() error {
		kind := all[0].Spec.Destination.Kind
		_, err := New(b.client, b.hasher).objects.get(b.t.Context(), place{kindOf(kind), b.namespace, v1alpha1.DestinationNames(&all[0])[0]})
		if apierrors.IsNotFound(err) {
			return nil
		}
		return err
	})
}

func (b *bench) write(owner Owner, s *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus) (*v1alpha1.DestinationStatus, Outcome) {
	b.t.Helper()
	status, outcome, err := b.writer.Write(b.t.Context(), owner, s, content, prior)
	b.must(err)
	return &status, outcome
}

// refused is a Write that must fail with a reason, and change nothing.
func (b *bench) refused(owner Owner, s *v1alpha1.VaultSecret, content secrets.Data, prior *v1alpha1.DestinationStatus, reason secrets.Reason, says string) {
	b.t.Helper()
	_, outcome, err := b.writer.Write(b.t.Context(), owner, s, content, prior)
	if secrets.ReasonOf(err) != reason || err == nil || !strings.Contains(err.Error(), says) || outcome != (Outcome{}) {
		b.t.Errorf("got %v and %v, want %s with %q", outcome, err, reason, says)
	}
}

func (b *bench) get(name string) *corev1.Secret {
	b.t.Helper()
	s, err := b.admin.CoreV1().Secrets(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
	b.must(err)
	return s
}

func (b *bench) gone(name string) bool {
	b.t.Helper()
	_, err := b.admin.CoreV1().Secrets(b.namespace).Get(b.t.Context(), name, metav1.GetOptions{})
	return apierrors.IsNotFound(err)
}

// make is a Secret of somebody else's.
func (b *bench) make(name string, change ...func(*corev1.Secret)) *corev1.Secret {
	b.t.Helper()
	s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: name}, Data: map[string][]byte{"theirs": []byte("kept")}}
	for _, c := range change {
		c(s)
	}
	made, err := b.admin.CoreV1().Secrets(b.namespace).Create(b.t.Context(), s, metav1.CreateOptions{})
	b.must(err)
	return made
}

// change edits a Secret as somebody else.
func (b *bench) change(name string, edit func(*corev1.Secret)) {
	b.t.Helper()
	s := b.get(name)
	edit(s)
	_, err := b.admin.CoreV1().Secrets(b.namespace).Update(b.t.Context(), s, metav1.UpdateOptions{FieldManager: "somebody"})
	b.must(err)
}

// data makes content: "password=one".
func data(pairs ...string) secrets.Data {
	d := secrets.Data{}
	for _, pair := range pairs {
		key, value, _ := strings.Cut(pair, "=")
		d[key] = secrets.ValueOf(value)
	}
	return d
}

func (b *bench) holds(name string, want ...string) {
	b.t.Helper()
	var got []string
	for key, value := range b.get(name).Data {
		got = append(got, key+"="+string(value))
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		b.t.Errorf("%s: got %q, want %q", name, got, want)
	}
}

// requests are those of portcullis-secrets in the namespace, as "verb resource".
func (b *bench) requests() []string {
	b.t.Helper()
	file, err := os.Open(filepath.Clean(shared.Cluster(b.t).AuditLog))
	b.must(err)
	defer file.Close()
	var found []string
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct {
			Verb      string
			Stage     string
			User      struct{ Username string }
			ObjectRef struct{ Namespace, Resource string }
		}
		b.must(json.Unmarshal(lines.Bytes(), &line))
		if line.User.Username == writerUser && line.ObjectRef.Namespace == b.namespace {
			found = append(found, line.Verb+" "+line.ObjectRef.Resource)
		}
	}
	return found
}
