// Package guard has the API server ask our webhook about everything that a quarantined pod's own token writes.
//
// A token that was stolen from a pod works until the pod is gone, wherever it is used. What writes with it is told by
// userInfo.extra["authentication.kubernetes.io/pod-uid"] (KEP-1205), so while a pod is quarantined there is one more webhook
// configuration, whose only entry is about all resources and has a match condition with the UIDs of just these pods: other requests
// do not leave the API server, and cost it one comparison. Without a quarantined pod there is no such configuration. The verdict is that of
// the policy runtime/quarantined-token. Reads are not sent to webhooks and are not covered; nor are tokens that are not bound to a pod.
package guard

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"time"

	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	k8sruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/tools/cache"

	"github.com/portcullis-dev/portcullis/runtime/v1alpha1"
)

// Defaults of [Options].
const (
	DefaultSource = "portcullis"
	DefaultName   = "portcullis-quarantine"
	// resync is how long the configuration may differ from what it has to be though nobody told: somebody has edited it.
	resync = 30 * time.Second
)

// maxNamed is how many pods a condition names. With more, every request by the token of any pod is sent: it costs more, and misses none.
const maxNamed = 200

// configurations are where webhook configurations are served.
var configurations = schema.GroupVersionResource{Group: "admissionregistration.k8s.io", Version: "v1", Resource: "validatingwebhookconfigurations"}

// Options say which configurations.
type Options struct {
	// Source is the ValidatingWebhookConfiguration of the webhook, whose first entry says where that is reached; DefaultSource if "".
	Source string
	// Name is that of the configuration that is kept, DefaultName if "".
	Name   string
	Logger *slog.Logger
}

// Guard keeps the configuration. Several may do so at once: what it has to be follows from the objects alone.
type Guard struct {
	client  dynamic.Interface
	options Options
}

// New makes a Guard. Nothing is asked before Run.
func New(client dynamic.Interface, o Options) *Guard {
	if o.Source == "" {
		o.Source = DefaultSource
	}
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Guard{client: client, options: o}
}

// Run keeps the configuration until ctx ends. What fails is logged and tried again.
func (g *Guard) Run(ctx context.Context) error {
	wake := make(chan struct{}, 1)
	touch := func() {
		select {
		case wake <- struct{}{}:
		default:
		}
	}
	informers := dynamicinformer.NewDynamicSharedInformerFactory(g.client, 0)
	quarantines := informers.ForResource(v1alpha1.Quarantines)
	if _, err := quarantines.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { touch() },
		UpdateFunc: func(any, any) { touch() },
		DeleteFunc: func(any) { touch() },
	}); err != nil {
		return fmt.Errorf("watching quarantines: %w", err)
	}
	informers.Start(ctx.Done())
	defer informers.Shutdown() // ctx has ended then
	if !cache.WaitForCacheSync(ctx.Done(), quarantines.Informer().HasSynced) {
		return ctx.Err()
	}
	tick := time.NewTicker(resync)
	defer tick.Stop()
	for {
		listed, err := quarantines.Lister().List(labels.Everything())
		if err == nil {
			err = g.Sync(ctx, decode(listed))
		}
		switch {
		case err == nil || ctx.Err() != nil:
		case apierrors.IsConflict(err), apierrors.IsAlreadyExists(err): // another replica was faster
			touch()
		default:
			g.options.Logger.Error("keeping the webhook entry for tokens of quarantined pods", "error", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-wake:
		case <-tick.C:
		}
	}
}

// decode skips what is no Quarantine: a definition with validation keeps such things out.
func decode(listed []k8sruntime.Object) []v1alpha1.Quarantine {
	var quarantines []v1alpha1.Quarantine
	for _, object := range listed {
		u, ok := object.(*unstructured.Unstructured)
		if !ok {
			continue
		}
		var q v1alpha1.Quarantine
		if raw, err := u.MarshalJSON(); err == nil && json.Unmarshal(raw, &q) == nil {
			quarantines = append(quarantines, q)
		}
	}
	return quarantines
}

// Sync makes the configuration what it has to be for these quarantines.
func (g *Guard) Sync(ctx context.Context, quarantines []v1alpha1.Quarantine) error {
	resource := g.client.Resource(configurations)
	current, err := get(ctx, resource, g.options.Name)
	if err != nil {
		return err
	}
	pods := quarantinedPods(quarantines)
	if len(pods) == 0 {
		return g.remove(ctx, resource, current)
	}
	source, err := get(ctx, resource, g.options.Source)
	if err != nil {
		return err
	}
	if source == nil || len(source.Webhooks) == 0 {
		return fmt.Errorf("there is no ValidatingWebhookConfiguration %s with an entry: without our webhook nobody can be asked about tokens of quarantined pods", g.options.Source)
	}
	wanted := Configuration(g.options.Name, &source.Webhooks[0], pods)
	if current == nil {
		return create(ctx, resource, wanted)
	}
	if sameEntry(current, wanted) {
		return nil
	}
	wanted.ResourceVersion = current.ResourceVersion
	return update(ctx, resource, wanted)
}

// quarantinedPods are the UIDs of pods that exist and are quarantined, sorted.
func quarantinedPods(quarantines []v1alpha1.Quarantine) []string {
	var pods []string
	for n := range quarantines {
		if q := &quarantines[n]; q.Status.Phase.InForce() && !q.Status.PodGone && q.Spec.Pod.UID != "" {
			pods = append(pods, q.Spec.Pod.UID)
		}
	}
	slices.Sort(pods)
	return slices.Compact(pods)
}

// Configuration is the one for some pods: what source's webhook is asked about everything that their tokens write.
func Configuration(name string, source *admissionregistrationv1.ValidatingWebhook, pods []string) *admissionregistrationv1.ValidatingWebhookConfiguration {
	fail, equivalent, effects := admissionregistrationv1.Fail, admissionregistrationv1.Equivalent, admissionregistrationv1.SideEffectClassNoneOnDryRun
	scope := admissionregistrationv1.AllScopes
	return &admissionregistrationv1.ValidatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: "admissionregistration.k8s.io/v1", Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        name,
			Labels:      map[string]string{"app.kubernetes.io/managed-by": "portcullis-responder"},
			Annotations: map[string]string{"portcullis.dev/purpose": "asks about what tokens of quarantined pods write; kept, and removed when no pod is quarantined"},
		},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name:         "quarantined-tokens.runtime.portcullis.dev",
			ClientConfig: source.ClientConfig,
			Rules: []admissionregistrationv1.RuleWithOperations{{
				Operations: []admissionregistrationv1.OperationType{
					admissionregistrationv1.Create, admissionregistrationv1.Update, admissionregistrationv1.Delete, admissionregistrationv1.Connect,
				},
				Rule: admissionregistrationv1.Rule{APIGroups: []string{"*"}, APIVersions: []string{"*"}, Resources: []string{"*/*"}, Scope: &scope},
			}},
			MatchConditions:         []admissionregistrationv1.MatchCondition{{Name: "token-of-a-quarantined-pod", Expression: expression(pods)}},
			FailurePolicy:           &fail,
			MatchPolicy:             &equivalent,
			SideEffects:             &effects,
			TimeoutSeconds:          source.TimeoutSeconds,
			AdmissionReviewVersions: []string{"v1"},
			NamespaceSelector:       &metav1.LabelSelector{},
			ObjectSelector:          &metav1.LabelSelector{},
		}},
	}
}

// expression is true for requests by a token of one of some pods.
func expression(pods []string) string {
	const key = "'authentication.kubernetes.io/pod-uid'"
	has := "has(request.userInfo.extra) && " + key + " in request.userInfo.extra"
	if len(pods) > maxNamed {
		return has
	}
	var quoted []string
	for _, uid := range pods {
		quoted = append(quoted, quote(uid))
	}
	return has + " && request.userInfo.extra[" + key + "].exists(uid, uid in [" + strings.Join(quoted, ", ") + "])"
}

// quote writes a text as CEL does; what is in a UID needs no more than this.
func quote(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`, "\n", `\n`, "\r", `\r`).Replace(text) + "'"
}

// sameEntry compares what counts, with the defaults of the API server filled in by it.
func sameEntry(current, wanted *admissionregistrationv1.ValidatingWebhookConfiguration) bool {
	if len(current.Webhooks) != 1 {
		return false
	}
	a, b := current.Webhooks[0], wanted.Webhooks[0]
	if b.TimeoutSeconds == nil {
		a.TimeoutSeconds = nil
	}
	return reflect.DeepEqual(a, b)
}

func (g *Guard) remove(ctx context.Context, resource dynamic.ResourceInterface, current *admissionregistrationv1.ValidatingWebhookConfiguration) error {
	if current == nil {
		return nil
	}
	options := metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &current.UID}}
	if err := resource.Delete(ctx, g.options.Name, options); err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting the webhook configuration %s: %w", g.options.Name, err)
	}
	return nil
}

func get(ctx context.Context, resource dynamic.ResourceInterface, name string) (*admissionregistrationv1.ValidatingWebhookConfiguration, error) {
	object, err := resource.Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	configuration := &admissionregistrationv1.ValidatingWebhookConfiguration{}
	if err == nil {
		err = k8sruntime.DefaultUnstructuredConverter.FromUnstructured(object.Object, configuration)
	}
	if err != nil {
		return nil, fmt.Errorf("reading the webhook configuration %s: %w", name, err)
	}
	return configuration, nil
}

func create(ctx context.Context, resource dynamic.ResourceInterface, wanted *admissionregistrationv1.ValidatingWebhookConfiguration) error {
	object, err := unstructuredOf(wanted)
	if err == nil {
		_, err = resource.Create(ctx, object, metav1.CreateOptions{FieldManager: "portcullis-responder"})
	}
	if err != nil {
		return fmt.Errorf("creating the webhook configuration %s: %w", wanted.Name, err)
	}
	return nil
}

func update(ctx context.Context, resource dynamic.ResourceInterface, wanted *admissionregistrationv1.ValidatingWebhookConfiguration) error {
	object, err := unstructuredOf(wanted)
	if err == nil {
		_, err = resource.Update(ctx, object, metav1.UpdateOptions{FieldManager: "portcullis-responder"})
	}
	if err != nil {
		return fmt.Errorf("updating the webhook configuration %s: %w", wanted.Name, err)
	}
	return nil
}

func unstructuredOf(wanted *admissionregistrationv1.ValidatingWebhookConfiguration) (*unstructured.Unstructured, error) {
	object, err := k8sruntime.DefaultUnstructuredConverter.ToUnstructured(wanted)
	return &unstructured.Unstructured{Object: object}, err
}
