package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
)

// Options of [Take].
type Options struct {
	Client  kubernetes.Interface
	Dynamic dynamic.Interface
	// Namespace is that of the installation: of the Secrets that PolicyBundles name.
	Namespace string
	// Without are kinds that are left out.
	Without []*Kind
	// Program is its version, Taken the time that the manifest says.
	Program string
	Taken   time.Time
}

// Take reads the state of a cluster, and writes it as an archive. It returns the manifest and the digest of the archive.
//
// What may not be read is an error, a [*RightsError], before anything is written: half a backup is found out when it is needed. A kind that
// the cluster does not know is noted in the manifest.
func Take(ctx context.Context, o Options, w io.Writer) (*Manifest, string, error) {
	served, err := servedKinds(ctx, o.Client)
	if err != nil {
		return nil, "", err
	}
	m := &Manifest{Program: o.Program, Taken: o.Taken.UTC().Truncate(time.Second), LeftOut: slices.Clone(leftOut)}
	var wanted []right
	for _, name := range reading {
		kind := Find(name)
		switch {
		case slices.Contains(o.Without, kind):
			m.LeftOut = append(m.LeftOut, LeftOut{kind.Name(), "it was left out by --without"})
			continue
		case served[kind.Name()]:
			wanted = append(wanted, right{verb: "list", kind: kind})
		}
		m.Kinds = append(m.Kinds, Contents{Resource: kind.Name(), APIVersion: kind.Resource.GroupVersion().String(), Kind: kind.Kind})
	}
	if len(wanted) == 0 {
		return nil, "", errors.New("reading the cluster: it knows no kind of Portcullis: see that the kubeconfig is that of the right cluster, or apply the definitions")
	}
	if err := mayAll(ctx, o.Client, wanted); err != nil {
		return nil, "", err
	}
	m.Cluster = clusterOf(ctx, o.Client)
	out, err := newWriter(w)
	if err != nil {
		return nil, "", err
	}
	for n := range m.Kinds {
		of := &m.Kinds[n]
		if !served[of.Resource] {
			continue
		}
		if err := o.read(ctx, out, m, of); err != nil {
			return nil, "", err
		}
	}
	sortReferences(m)
	digest, err := out.end(m)
	return m, digest, err
}

// read reads one kind, page by page, at one resourceVersion.
func (o Options) read(ctx context.Context, out *writer, m *Manifest, of *Contents) error {
	kind := Find(of.Resource)
	options := metav1.ListOptions{Limit: kind.page}
	for {
		list, err := o.Dynamic.Resource(kind.Resource).List(ctx, options)
		if apierrors.IsResourceExpired(err) {
			return fmt.Errorf("listing %s: it took longer than etcd keeps one state (%w): run it again, nearer to the cluster", of.Resource, err)
		}
		if err != nil {
			return fmt.Errorf("listing %s: %w", of.Resource, err)
		}
		if of.ResourceVersion == "" {
			of.ResourceVersion = list.GetResourceVersion()
		}
		var lines [][]byte
		for n := range list.Items {
			object := &list.Items[n]
			if object.GetDeletionTimestamp() != nil {
				of.Deleting++
				continue
			}
			line, err := encodeObject(kind, object)
			if err != nil {
				return err
			}
			lines = append(lines, line)
			m.Secrets = append(m.Secrets, references(kind, object, o.Namespace)...)
		}
		if len(lines) > 0 {
			if err := out.page(of, lines); err != nil {
				return err
			}
		}
		if options.Continue = list.GetContinue(); options.Continue == "" {
			return nil
		}
	}
}

// encodeObject is one line.
func encodeObject(kind *Kind, object *unstructured.Unstructured) ([]byte, error) {
	object.SetManagedFields(nil)
	object.SetGroupVersionKind(kind.Resource.GroupVersion().WithKind(kind.Kind))
	line, err := json.Marshal(object.Object)
	if err == nil {
		line = append(line, '\n')
		if len(line) > MaxObject {
			err = fmt.Errorf("it has %d bytes, and at most %d are read", len(line), MaxObject)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("writing the %s %s: %w", kind.Kind, object.GetName(), err)
	}
	return line, nil
}

// clusterOf tells clusters apart as far as the caller may.
func clusterOf(ctx context.Context, client kubernetes.Interface) (c Cluster) {
	if system, err := client.CoreV1().Namespaces().Get(ctx, metav1.NamespaceSystem, metav1.GetOptions{}); err == nil {
		c.ID = string(system.UID)
	}
	if version, err := client.Discovery().ServerVersion(); err == nil {
		c.Server = version.GitVersion
	}
	return c
}
