package installation

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/pki"
)

// Names of what is there before the chart.
const (
	senderAuthority = "falco-ca"
	// Sender is the common name of who may send the responder events of any node; Senders signs its certificate.
	Sender = "falcosidekick"
)

// values are those that an installation here needs.
func (o *Options) values() map[string]any {
	values := map[string]any{
		"images":     map[string]any{"registry": registry, "tag": "here"},
		"webhook":    map[string]any{"replicas": 2, "drainDelaySeconds": 1},
		"controller": map[string]any{"replicas": 2, "leaseSeconds": 5},
	}
	for _, component := range o.Components {
		values[component] = map[string]any{"enabled": true, "replicas": 1}
	}
	if slices.Contains(o.Components, Responder) {
		maps.Copy(values[Responder].(map[string]any), map[string]any{
			"clientCAConfigMap": senderAuthority, "senders": []any{Sender}, "cni": "kube-network-policies", "drainDelaySeconds": 1,
		})
	}
	if slices.Contains(o.Components, Console) {
		values["webhook"].(map[string]any)["decisions"] = true
	}
	return values
}

// merged puts values over others, key by key.
func merged(below, above map[string]any) map[string]any {
	out := maps.Clone(below)
	for key, value := range above {
		table, isTable := value.(map[string]any)
		if under, ok := out[key].(map[string]any); ok && isTable {
			value = merged(under, table)
		}
		out[key] = value
	}
	return out
}

// before makes what install.md has people make before the chart: the namespace, the secret path, certificates.
func (i *Installation) before(ctx context.Context) ([]*unstructured.Unstructured, error) {
	dir := filepath.Join(i.options.Dir, "pki")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	var err error
	if i.Senders, err = pki.NewAuthority(dir, "senders"); err != nil {
		return nil, err
	}
	if i.Serving, err = pki.NewAuthority(dir, "serving"); err != nil {
		return nil, err
	}
	senders, err := os.ReadFile(i.Senders.File)
	if err != nil {
		return nil, err
	}
	made := []k8sruntime.Object{
		&corev1.Namespace{TypeMeta: kind("Namespace"), ObjectMeta: metav1.ObjectMeta{Name: Namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}},
		&corev1.Secret{TypeMeta: kind("Secret"), ObjectMeta: named("portcullis-webhook-path"), Data: map[string][]byte{"path": []byte(strings.ToLower(rand.Text() + rand.Text()))}},
		&corev1.ConfigMap{TypeMeta: kind("ConfigMap"), ObjectMeta: named(senderAuthority), Data: map[string]string{"ca.crt": string(senders)}},
	}
	for _, component := range []string{Responder, Console} {
		secret, err := i.servingSecret(component)
		if err != nil {
			return nil, err
		}
		made = append(made, secret)
	}
	for n := range 4 { // for whichever claims there are: the node keeps their folders itself
		made = append(made, volume(fmt.Sprintf("here-%d", n)))
	}
	var objects []*unstructured.Unstructured
	for _, one := range made {
		content, err := json.Marshal(one)
		if err != nil {
			return nil, err
		}
		object := &unstructured.Unstructured{}
		if err := object.UnmarshalJSON(content); err != nil {
			return nil, err
		}
		delete(object.Object, "status")
		objects = append(objects, object)
	}
	further, err := cluster.Parse(i.options.Before)
	return append(objects, further...), err
}

func (i *Installation) servingSecret(component string) (*corev1.Secret, error) {
	host := "portcullis-" + component
	pair, err := i.Serving.Issue(host, host, host+"."+Namespace+".svc", "localhost")
	if err != nil {
		return nil, err
	}
	data := map[string][]byte{}
	for key, file := range map[string]string{"tls.crt": pair.CertFile, "tls.key": pair.KeyFile, "ca.crt": i.Serving.File} {
		if data[key], err = os.ReadFile(file); err != nil {
			return nil, err
		}
	}
	return &corev1.Secret{TypeMeta: kind("Secret"), ObjectMeta: named(host + "-tls"), Type: corev1.SecretTypeTLS, Data: data}, nil
}

func volume(name string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{TypeMeta: kind("PersistentVolume"), ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: corev1.PersistentVolumeSpec{
		Capacity: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("100Gi")}, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		PersistentVolumeSource: corev1.PersistentVolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/nobody/reads/this"}}, PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
	}}
}

func kind(of string) metav1.TypeMeta { return metav1.TypeMeta{APIVersion: "v1", Kind: of} }

func named(name string) metav1.ObjectMeta { return metav1.ObjectMeta{Name: name, Namespace: Namespace} }
