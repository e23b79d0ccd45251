package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/client-go/dynamic"

	"github.com/portcullis-dev/portcullis/secrets/v1alpha1"
)

func (p *program) secretsCommand() *cobra.Command {
	command := &cobra.Command{
		Use:   "secrets",
		Short: "List, show and sync what is kept of Vault in a cluster, and say why something is not",
		Long: `secrets is about VaultSecrets and VaultPushes: what portcullis-secrets keeps of Vault in a cluster, and of the cluster
in Vault. It reads those objects, VaultAuths and VaultConnections only, with your rights: never a Secret, and nothing of Vault.
No value of a secret is in what it reads or prints.

why --filename judges manifests offline, by the question that portcullis-secrets asks in the cluster.`,
		Args: knownCommand,
		RunE: func(*cobra.Command, []string) error {
			return usagef("secrets needs to know what to do: use secrets list, show, sync or why")
		},
	}
	command.AddCommand(p.secretsListCommand(), p.secretsShowCommand(), p.secretsSyncCommand(), p.secretsWhyCommand())
	return command
}

// secretsFlags say which cluster is meant, and which of the two kinds.
type secretsFlags struct {
	cluster clusterFlags
	push    bool
}

func (f *secretsFlags) register(flags *pflag.FlagSet) {
	f.cluster.register(flags)
	flags.BoolVar(&f.push, "push", false, "VaultPushes instead of VaultSecrets")
}

// kind is what the command is about: "VaultSecret".
func (f *secretsFlags) kind() string {
	if f.push {
		return v1alpha1.Kind[v1alpha1.VaultPush]()
	}
	return v1alpha1.Kind[v1alpha1.VaultSecret]()
}

func (f *secretsFlags) resource() schema.GroupVersionResource {
	if f.push {
		return v1alpha1.VaultPushes
	}
	return v1alpha1.VaultSecrets
}

func (f *clusterFlags) dynamic() (dynamic.Interface, error) {
	config, err := f.config()
	if err != nil {
		return nil, err
	}
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("reaching the cluster: %w", err)
	}
	return client, nil
}

// vaultObject is a VaultSecret or a VaultPush: what both have in common, for people.
type vaultObject struct {
	object *unstructured.Unstructured
	secret *v1alpha1.VaultSecret // one of the two
	push   *v1alpha1.VaultPush
}

func newVaultObject(object *unstructured.Unstructured) (*vaultObject, error) {
	var err error
	o := &vaultObject{object: object}
	if object.GetKind() == v1alpha1.Kind[v1alpha1.VaultPush]() {
		o.push, err = v1alpha1.Decode[v1alpha1.VaultPush](object)
	} else {
		o.secret, err = v1alpha1.Decode[v1alpha1.VaultSecret](object)
	}
	return o, err
}

func (o *vaultObject) name() string { return o.object.GetNamespace() + "/" + o.object.GetName() }

// title names it for people: "VaultSecret shop/db".
func (o *vaultObject) title() string { return o.object.GetKind() + " " + o.name() }

// auth is the VaultAuth that it names.
func (o *vaultObject) auth() string {
	if o.push != nil {
		return o.push.Spec.Auth
	}
	return o.secret.Spec.Auth
}

func (o *vaultObject) suspended() bool { return o.secret != nil && o.secret.Spec.Suspend }

func (o *vaultObject) conditions() []metav1.Condition {
	if o.push != nil {
		return o.push.Status.Conditions
	}
	return o.secret.Status.Conditions
}

// observed is the generation that was looked at last. Where that failed, only the condition says so: the status's own is that of the last sync.
func (o *vaultObject) observed() int64 {
	var generation int64
	if o.push != nil {
		generation = o.push.Status.ObservedGeneration
	} else {
		generation = o.secret.Status.ObservedGeneration
	}
	if c := meta.FindStatusCondition(o.conditions(), v1alpha1.ConditionSynced); c != nil {
		generation = max(generation, c.ObservedGeneration)
	}
	return generation
}

func (o *vaultObject) requested() string {
	if o.push != nil {
		return o.push.Status.Requested
	}
	return o.secret.Status.Requested
}

func (o *vaultObject) policies() ([]v1alpha1.PolicyStatement, []string) {
	if o.push != nil {
		return o.push.Status.Policies, o.push.Status.Bundles
	}
	return o.secret.Status.Policies, o.secret.Status.Bundles
}

func (o *vaultObject) failures() int64 {
	if o.push != nil {
		return o.push.Status.Failures
	}
	return o.secret.Status.Failures
}

// times are when it was last done and will be done next; nil for not yet and not known.
func (o *vaultObject) times() (last, next *metav1.Time) {
	if o.push != nil {
		return o.push.Status.LastPush, o.push.Status.NextPush
	}
	return o.secret.Status.LastSync, o.secret.Status.NextSync
}

// version is what is kept: of KV, or the serial of a certificate.
func (o *vaultObject) version() string {
	if o.push != nil {
		if o.push.Status.Version == 0 {
			return ""
		}
		return fmt.Sprint(o.push.Status.Version)
	}
	return o.secret.Status.Version
}

// born is when what is kept was made: written to Vault, or issued. nil where nobody knows.
func (o *vaultObject) born() *metav1.Time {
	switch {
	case o.push != nil:
		return o.push.Status.Generated
	case o.secret.Status.Created != nil:
		return o.secret.Status.Created
	case o.secret.Status.Lease != nil:
		return &o.secret.Status.Lease.Issued
	}
	return nil
}

// place is the engine and the path in Vault, mount included; both as far as the spec says.
func (o *vaultObject) place() (engine, path string) {
	if o.push != nil {
		d := o.push.Spec.Destination
		if d.EngineVersion == 1 {
			return "kv-v1", d.Mount + "/" + d.Path
		}
		return "kv-v2", d.Mount + "/" + d.Path
	}
	source := o.secret.Defaulted().Spec.Source
	engine = source.Engine()
	switch {
	case engine == "": // none, or several
		return "", ""
	case source.KV != nil:
		path = source.KV.Mount + "/" + source.KV.Path
	case source.Dynamic != nil:
		path = source.Dynamic.Mount + "/" + source.Dynamic.Path
	case source.PKI != nil:
		path = source.PKI.Mount + "/" + source.PKI.Role
	case source.Transit != nil:
		path = source.Transit.Mount + "/" + source.Transit.Key
	case source.AppRoleSecretID != nil:
		path = "auth/" + source.AppRoleSecretID.Mount + "/" + source.AppRoleSecretID.Role
	}
	return engine, path
}

// end is the other end, in the cluster: "Secret db", the Secret that a push takes from, or "generated".
func (o *vaultObject) end() string {
	if o.push != nil {
		if o.push.Spec.Secret != nil {
			return "Secret " + o.push.Spec.Secret.Name
		}
		return "generated"
	}
	if written := o.secret.Status.Destination; written != nil && written.Name != "" {
		return written.Kind + " " + written.Name
	}
	kind := o.secret.Defaulted().Spec.Destination.Kind
	return kind + " " + v1alpha1.DestinationName(o.secret)
}

// lease is that of what is kept, nil for what does not end.
func (o *vaultObject) lease() *v1alpha1.LeaseStatus {
	if o.push != nil {
		return nil
	}
	return o.secret.Status.Lease
}

// namedObject reads NAMESPACE/NAME.
func namedObject(kind, argument string) (namespace, name string, err error) {
	namespace, name, _ = strings.Cut(argument, "/")
	if len(validation.IsDNS1123Label(namespace)) > 0 || len(validation.IsDNS1123Subdomain(name)) > 0 {
		return "", "", usagef("%q names no %s: write NAMESPACE/NAME", argument, kind)
	}
	return namespace, name, nil
}

// open opens the cluster to look at one object, if the argument can be the name of one.
func (f *secretsFlags) open(argument string) (dynamic.Interface, error) {
	if _, _, err := namedObject(f.kind(), argument); err != nil {
		return nil, err
	}
	return f.cluster.dynamic()
}

// get reads one object. That it is not there is the caller's mistake.
func (f *secretsFlags) get(ctx context.Context, client dynamic.Interface, argument string) (*vaultObject, error) {
	namespace, name, err := namedObject(f.kind(), argument)
	if err != nil {
		return nil, err
	}
	object, err := client.Resource(f.resource()).Namespace(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, f.missing(err, namespace, name)
	}
	return newVaultObject(object)
}

// missing says of an object that cannot be read what to do.
func (f *secretsFlags) missing(err error, namespace, name string) error {
	switch {
	case apierrors.IsNotFound(err) && notServed(err):
		return fmt.Errorf("reading the %s %s/%s: the cluster does not serve %s: install the custom resources; portcullis-secrets crd prints them", f.kind(), namespace, name, v1alpha1.GroupVersion)
	case apierrors.IsNotFound(err):
		hint := ""
		if f.push {
			hint = " --push"
		}
		return usagef("there is no %s %s/%s: portcullis secrets list%s --namespace %s has those that there are", f.kind(), namespace, name, hint, namespace)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("reading the %s %s/%s: %w: you need the role portcullis-secrets-viewer there", f.kind(), namespace, name, err)
	}
	return fmt.Errorf("reading the %s %s/%s: %w", f.kind(), namespace, name, err)
}

// notServed tells a resource that is not there from an object that is not: the API server names no object then.
func notServed(err error) bool {
	var status apierrors.APIStatus
	if !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Name == ""
}
