package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/portcullis-dev/portcullis/admission/gate/source"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/admission/workload"
	"github.com/portcullis-dev/portcullis/runtime/isolation"
	"github.com/portcullis-dev/portcullis/runtime/response"
)

// noUID stands for the UID of a pod that no API server has created.
const noUID = types.UID("00000000-0000-0000-0000-000000000000")

// folder is a cluster as manifests describe it: they are all there is.
type folder struct {
	name    string
	objects []folderObject
	// index finds objects by group, kind, namespace and name.
	index map[folderKey]*unstructured.Unstructured
	// templates are the objects with a template whose pods stand for themselves, by the pod's name.
	templates map[types.NamespacedName]*unstructured.Unstructured
	pods      map[types.NamespacedName]*corev1.Pod
	view      isolation.Cluster
}

type folderObject struct {
	object   *unstructured.Unstructured
	location source.Location
}

type folderKey struct{ group, kind, namespace, name string }

// readFolder reads a folder. What cannot be read could be a policy that allows everything, so that it is an error.
func readFolder(ctx context.Context, name string, cni isolation.CNI) (*folder, error) {
	loaded, err := source.Load(ctx, []string{name}, source.Options{})
	if err != nil {
		return nil, err
	}
	if len(loaded.Problems) > 0 {
		problem := loaded.Problems[0]
		return nil, fmt.Errorf("reading %s: it cannot be taken for all there is: %s: %s", name, problem.Location, problem.Message)
	}
	for _, skip := range loaded.Skipped {
		if skip.Manifest {
			return nil, fmt.Errorf("reading %s: it cannot be taken for all there is: %s: %s", name, skip.File, skip.Reason)
		}
	}
	f := &folder{
		name: name, index: map[folderKey]*unstructured.Unstructured{}, templates: map[types.NamespacedName]*unstructured.Unstructured{},
		pods: map[types.NamespacedName]*corev1.Pod{}, view: isolation.Cluster{CNI: cni},
	}
	for n := range loaded.Documents {
		if err := f.add(&loaded.Documents[n]); err != nil {
			return nil, err
		}
	}
	return f, f.fill()
}

// add takes one document. One without a namespace is in "default", where kubectl puts it.
func (f *folder) add(document *source.Document) error {
	object := &unstructured.Unstructured{}
	if err := object.UnmarshalJSON(document.JSON); err != nil {
		return fmt.Errorf("reading %s: %w: mend it", document.Locate(""), err)
	}
	kind := object.GroupVersionKind()
	if _, namespaced := manifest.Resource(kind); namespaced && object.GetNamespace() == "" && !clusterScoped(kind) {
		object.SetNamespace(metav1.NamespaceDefault)
	}
	key := folderKey{kind.Group, kind.Kind, object.GetNamespace(), object.GetName()}
	if f.index[key] != nil {
		return fmt.Errorf("reading %s: there is another %s %s: nobody can tell which one counts; leave one out", document.Locate("metadata.name"), kind.Kind, nameIn(key.namespace, key.name))
	}
	f.index[key] = object
	f.objects = append(f.objects, folderObject{object, document.Locate("")})
	return nil
}

// clusterScoped says whether a kind of network policies has no namespace. manifest.Resource takes kinds that it does not know for namespaced.
func clusterScoped(kind schema.GroupVersionKind) bool {
	switch kind.Kind {
	case "ClusterNetworkPolicy", "AdminNetworkPolicy", "BaselineAdminNetworkPolicy", "CiliumClusterwideNetworkPolicy", "GlobalNetworkPolicy", "Tier", "GlobalNetworkSet":
		return true
	}
	return false
}

func nameIn(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// fill makes what the proof sees. Templates stand for the pods that will be made of them.
func (f *folder) fill() error {
	for _, one := range f.objects {
		pod, templated, err := podOf(one.object)
		if err != nil {
			return fmt.Errorf("reading %s: %w: mend it", one.location, err)
		}
		if pod != nil {
			if templated {
				f.templates[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = one.object
			} else {
				f.pods[types.NamespacedName{Namespace: pod.Namespace, Name: pod.Name}] = pod
			}
			if err := f.addPod(pod); err != nil {
				return fmt.Errorf("reading %s: %w", one.location, err)
			}
			continue
		}
		raw, err := one.object.MarshalJSON()
		if err != nil {
			return fmt.Errorf("reading %s: %w", one.location, err)
		}
		if _, err := f.view.Add(raw); err != nil {
			return fmt.Errorf("reading %s: %w: mend it", one.location, err)
		}
	}
	return nil
}

func (f *folder) addPod(pod *corev1.Pod) error {
	raw, err := json.Marshal(pod)
	if err != nil {
		return err
	}
	made, err := isolation.PodOf(raw)
	f.view.Pods = append(f.view.Pods, made)
	return err
}

// podOf is an object as a pod: a Pod itself, or what its template makes, under the name of the object. nil is neither.
func podOf(object *unstructured.Unstructured) (pod *corev1.Pod, templated bool, err error) {
	content := object.Object
	kind := object.GroupVersionKind()
	if kind.Group != "" || kind.Kind != "Pod" {
		if !workload.Carries(kind.Group, kind.Kind) {
			return nil, false, nil
		}
		path := []string{"spec", "template"}
		if kind.Kind == "CronJob" {
			path = []string{"spec", "jobTemplate", "spec", "template"}
		}
		template, found, err := unstructured.NestedMap(content, path...)
		if err != nil || !found {
			return nil, false, err // a kind whose pods other controllers name
		}
		content, templated = template, true
	}
	raw, err := json.Marshal(content)
	if err != nil {
		return nil, false, err
	}
	pod = &corev1.Pod{}
	if err := json.Unmarshal(raw, pod); err != nil {
		return nil, false, err
	}
	pod.APIVersion, pod.Kind = "v1", "Pod"
	pod.Namespace, pod.Name = object.GetNamespace(), object.GetName()
	return pod, templated, nil
}

// see finds a pod with what is around it.
func (f *folder) see(ctx context.Context, namespace, name string) (*sight, error) {
	at := types.NamespacedName{Namespace: namespace, Name: name}
	s := &sight{view: &f.view, pod: f.pods[at]}
	var of metav1.Object = s.pod
	if template := f.templates[at]; s.pod == nil && template != nil {
		pod, _, err := podOf(template)
		if err != nil {
			return nil, err
		}
		s.pod, s.owner = pod, templateOwner(template)
		of = template
		s.notes = append(s.notes, fmt.Sprintf("The pod %s is what the template of %s %s makes: labels and an address that it gets besides are not known.", name, template.GetKind(), template.GetName()))
	}
	if s.pod == nil {
		return nil, usagef("there is no pod %s/%s in %s, and nothing with a template of that name%s", namespace, name, f.name, f.others(namespace))
	}
	above, err := ownerOf(ctx, f.read, namespace, of)
	if err != nil {
		return nil, err
	}
	if above != nil && s.owner != nil {
		above.Direct = s.owner.Direct
	}
	if above != nil {
		s.owner = above
	}
	if s.pod.UID == "" {
		s.pod.UID = noUID
		s.notes = append(s.notes, "The name of a quarantine follows from the UID of the pod, which the manifests do not have: the real one will have another name.")
	}
	for _, tier := range tiers() {
		if hasStanding(f.view.Policies, tier) {
			s.tier, s.standing = tier, true
			break
		}
	}
	return s, nil
}

// templateOwner is the owner of a pod that a template makes: by way of the controller that Kubernetes puts in between.
func templateOwner(template *unstructured.Unstructured) *response.Owner {
	kind := template.GroupVersionKind()
	owner := &response.Owner{Group: kind.Group, Version: kind.Version, Kind: kind.Kind, Name: template.GetName(), UID: string(template.GetUID()), Desired: desired(template)}
	switch kind.Kind {
	case "Deployment", "Rollout", "DeploymentConfig":
		owner.Direct = &response.Owner{Group: "apps", Version: "v1", Kind: "ReplicaSet", Name: template.GetName() + "-…", Desired: owner.Desired}
		if kind.Kind == "DeploymentConfig" {
			owner.Direct.Group, owner.Direct.Kind = "", "ReplicationController"
		}
	case "CronJob":
		owner.Direct = &response.Owner{Group: "batch", Version: "v1", Kind: "Job", Name: template.GetName() + "-…", Desired: 1}
	}
	return owner
}

// read implements ownerReader.
func (f *folder) read(_ context.Context, kind schema.GroupVersionKind, namespace, name string) (*unstructured.Unstructured, error) {
	if object := f.index[folderKey{kind.Group, kind.Kind, namespace, name}]; object != nil {
		return object, nil
	}
	return nil, errNoOwner
}

// others names the pods that there are, as the next step.
func (f *folder) others(namespace string) string {
	var here, elsewhere []string
	for n := range f.view.Pods {
		name := f.view.Pods[n].Namespace + "/" + f.view.Pods[n].Name
		if f.view.Pods[n].Namespace == namespace {
			here = append(here, name)
		} else {
			elsewhere = append(elsewhere, name)
		}
	}
	names := here
	if len(names) == 0 {
		names = elsewhere
	}
	if len(names) == 0 {
		return ": put the pod's manifest there"
	}
	slices.Sort(names)
	const most = 10
	if len(names) > most {
		names = append(names[:most], "…")
	}
	return ": use one of " + strings.Join(names, ", ")
}
