package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/portcullis-dev/portcullis/cmd/internal/program"
	"github.com/portcullis-dev/portcullis/cmd/internal/replica"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

// maxManifests is for the objects of one namespace.
const maxManifests = 32 << 20

// pageSize is how many objects are read at a time.
const pageSize = 500

// rolesFlags say which roles are printed.
type rolesFlags struct {
	kubeconfig, namespace, operator string
	files                           []string
}

// namespaced is what one namespace holds of ours.
type namespaced struct {
	secrets []v1alpha1.VaultSecret
	auths   []v1alpha1.VaultAuth
	pushes  []v1alpha1.VaultPush
}

// rolesCommand prints what the program may do.
func (c *commands) rolesCommand() *cobra.Command {
	var f rolesFlags
	command := &cobra.Command{
		Use:   "roles",
		Short: "Print the roles of portcullis-secrets: its own, or what it needs in a namespace",
		Long: `portcullis-secrets roles prints the roles that portcullis-secrets has whatever is kept, and those of people.

With --namespace it prints the Role of that namespace, with its RoleBinding: what the VaultSecrets, VaultAuths and VaultPushes
there need, each Secret and each service account by its name. They are read from the cluster, or from --filename. Print and
apply it again when an object names something new; until then that object says ClusterForbidden.`,
		Example: `  portcullis-secrets roles | kubectl apply -f -
  portcullis-secrets roles --namespace shop | kubectl apply -f -
  portcullis-secrets roles --namespace shop --filename shop/secrets.yaml`,
		Args: program.NoArguments,
		RunE: func(command *cobra.Command, _ []string) error { return c.printRoles(command.Context(), &f) },
	}
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.namespace, "namespace", "", "`namespace` whose objects are to be kept; without it the roles that depend on none are printed")
	flags.StringArrayVar(&f.files, "filename", nil, "`file` of manifests to read instead of the cluster, - for standard input; may be repeated")
	flags.StringVar(&f.operator, "operator-namespace", v1alpha1.DefaultNamespace, "`namespace` of portcullis-secrets")
	flags.StringVar(&f.kubeconfig, "kubeconfig", "", "kubeconfig `file`; by default that of the pod's service account")
	return command
}

func (c *commands) printRoles(ctx context.Context, f *rolesFlags) error {
	if err := program.CheckNamespace("--operator-namespace", f.operator); err != nil {
		return err
	}
	if f.namespace == "" {
		if len(f.files) > 0 {
			return usage.Errorf("--filename is for the objects of a namespace: give --namespace, too")
		}
		_, err := c.stdout.Write(v1alpha1.Roles(f.operator))
		return err
	}
	if err := program.CheckNamespace("--namespace", f.namespace); err != nil {
		return err
	}
	var found namespaced
	var err error
	if len(f.files) > 0 {
		err = c.readFiles(f, &found)
	} else {
		err = readCluster(ctx, f, &found)
	}
	if err != nil {
		return err
	}
	if len(found.secrets)+len(found.auths)+len(found.pushes) == 0 {
		return fmt.Errorf("there is no VaultSecret, VaultAuth or VaultPush of the namespace %s: create them first, or give them with --filename", f.namespace)
	}
	_, err = c.stdout.Write(v1alpha1.NamespaceRole(f.namespace, found.secrets, found.auths, found.pushes, f.operator))
	return err
}

// readCluster reads the objects of the namespace.
func readCluster(ctx context.Context, f *rolesFlags, into *namespaced) error {
	config, err := (&replica.Flags{Kubeconfig: f.kubeconfig}).Cluster()
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return fmt.Errorf("making a client of the cluster: %w", err)
	}
	for _, resource := range []schema.GroupVersionResource{v1alpha1.VaultAuths, v1alpha1.VaultSecrets, v1alpha1.VaultPushes} {
		next := ""
		for {
			list, err := client.Resource(resource).Namespace(f.namespace).List(ctx, metav1.ListOptions{Limit: pageSize, Continue: next})
			if err != nil {
				return fmt.Errorf("listing the %s of %s: %w: see that you may, or give them with --filename", resource.Resource, f.namespace, err)
			}
			for n := range list.Items {
				if err := into.add(&list.Items[n]); err != nil {
					return err
				}
			}
			if next = list.GetContinue(); next == "" {
				break
			}
		}
	}
	return nil
}

// readFiles reads the objects from manifests. What is of another kind is passed over, and so is what names another namespace; what names none is of
// the namespace that was asked for, as kubectl takes it.
func (c *commands) readFiles(f *rolesFlags, into *namespaced) error {
	for _, name := range f.files {
		content, err := c.readFile(name)
		if err != nil {
			return usage.Correct("--filename", fmt.Errorf("reading manifests: %w", err))
		}
		documents := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(content)))
		for {
			document, err := documents.Read()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return fmt.Errorf("reading manifests of %s: %w: correct it", name, err)
			}
			var object unstructured.Unstructured
			if err := yaml.Unmarshal(document, &object.Object); err != nil {
				return fmt.Errorf("reading manifests of %s: %w: correct it", name, err)
			}
			if object.Object == nil {
				continue
			}
			if object.GetNamespace() == "" {
				object.SetNamespace(f.namespace)
			}
			if object.GetNamespace() != f.namespace {
				continue
			}
			if err := into.add(&object); err != nil {
				return fmt.Errorf("reading manifests of %s: %w", name, err)
			}
		}
	}
	return nil
}

func (c *commands) readFile(name string) ([]byte, error) {
	if name == "-" {
		return readAtMost(c.stdin)
	}
	file, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readAtMost(file)
}

func readAtMost(from io.Reader) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(from, maxManifests+1))
	if err == nil && len(content) > maxManifests {
		err = fmt.Errorf("there are more than %d bytes: give fewer manifests", maxManifests)
	}
	return content, err
}

// add takes an object of ours.
func (n *namespaced) add(object *unstructured.Unstructured) error {
	if object.GroupVersionKind().GroupVersion() != v1alpha1.GroupVersion {
		return nil
	}
	switch object.GetKind() {
	case v1alpha1.Kind[v1alpha1.VaultSecret]():
		return appendTo(&n.secrets, object)
	case v1alpha1.Kind[v1alpha1.VaultAuth]():
		return appendTo(&n.auths, object)
	case v1alpha1.Kind[v1alpha1.VaultPush]():
		return appendTo(&n.pushes, object)
	}
	return nil
}

func appendTo[T v1alpha1.Object](all *[]T, object *unstructured.Unstructured) error {
	decoded, err := v1alpha1.Decode[T](object)
	if err != nil {
		return err
	}
	*all = append(*all, *decoded)
	return nil
}
