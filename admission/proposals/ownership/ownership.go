// Package ownership works out of an object's own metadata which workload it belongs to, and under which names that
// workload's other objects come and go. It looks nothing up.
package ownership

import (
	"encoding/json"
	"fmt"
	"strings"
)

// Object is what the metadata of an object say of whose it is.
type Object struct {
	Kind, Namespace, Name string
	Labels                map[string]string
	// Owner is the controller among its owner references, the zero value where it has none.
	Owner Workload
}

// Workload names what controls pods: "Deployment", "web".
type Workload struct{ Kind, Name string }

// String is "Deployment/web".
func (w Workload) String() string { return w.Kind + "/" + w.Name }

// Of reads an object's metadata; kind is for items of lists, which may not say.
func Of(raw json.RawMessage, kind string) (Object, error) {
	var read struct {
		Kind     string `json:"kind"`
		Metadata struct {
			Name            string            `json:"name"`
			Namespace       string            `json:"namespace"`
			Labels          map[string]string `json:"labels"`
			OwnerReferences []struct {
				Kind       string `json:"kind"`
				Name       string `json:"name"`
				Controller bool   `json:"controller"`
			} `json:"ownerReferences"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(raw, &read); err != nil {
		return Object{}, fmt.Errorf("reading the metadata of a %s: %w", kind, err)
	}
	object := Object{Kind: read.Kind, Namespace: read.Metadata.Namespace, Name: read.Metadata.Name, Labels: read.Metadata.Labels}
	if object.Kind == "" {
		object.Kind = kind
	}
	for _, reference := range read.Metadata.OwnerReferences {
		if reference.Controller {
			object.Owner = Workload{reference.Kind, reference.Name}
		}
	}
	return object, nil
}

// templateHashes are labels with the hash of a pod template that a controller puts into the names of its
// ReplicaSets, and the kind of that controller.
var templateHashes = []struct{ label, kind string }{
	{"pod-template-hash", "Deployment"},       // k8s.io/api/apps/v1, DefaultDeploymentUniqueLabelKey
	{"rollouts-pod-template-hash", "Rollout"}, // Argo Rollouts
}

// Root is the workload that somebody has written: that of a pod's ReplicaSet is its Deployment, that of a Job its CronJob. What
// nothing controls is its own.
func (o *Object) Root() Workload {
	switch {
	case o.Owner.Name == "":
		return Workload{o.Kind, o.Name}
	case o.Kind == "Pod" && o.Owner.Kind == "ReplicaSet":
		for _, by := range templateHashes {
			if name, ok := strings.CutSuffix(o.Owner.Name, "-"+o.Labels[by.label]); ok && o.Labels[by.label] != "" && name != "" {
				return Workload{by.kind, name}
			}
		}
	case o.Kind == "Pod" && o.Owner.Kind == "Job":
		if name, ok := cutMinute(o.Owner.Name); ok {
			return Workload{"CronJob", name}
		}
	}
	return o.Owner
}

// minuteDigits is how many digits a CronJob puts into the name of a Job: the minute since 1970 that it was due, which
// has eight of them until 2160 (pkg/controller/cronjob, getJobName).
const minuteDigits = 8

func cutMinute(name string) (of string, ok bool) {
	at := len(name) - minuteDigits
	if at < 2 || name[at-1] != '-' || strings.Trim(name[at:], "0123456789") != "" {
		return name, false
	}
	return name[:at-1], true
}

// What controllers add to their own name, as globs.
const (
	// aRandom are the five characters behind generateName (k8s.io/apiserver/pkg/storage/names).
	aRandom = "-?????"
	// aHash is the hash of a pod template: a number of 32 bits in decimal, each digit as a letter. One of fewer
	// than eight digits is found in 2 of 1,000 templates.
	aHash = "-{????????,?????????,??????????}"
	// aMinute is that of a CronJob's Job.
	aMinute = "-????????"
)

// Names is a glob of the names under which objects of this kind and this workload come and go: its pods after a restart or a rollout,
// the Jobs of the next hours. It is "" where objects keep their names, as the pods of a StatefulSet do, and
// where it is not known how a controller names them.
func (o *Object) Names() string {
	root := o.Root()
	name := literal(root.Name)
	switch {
	case o.Owner.Name == "":
		return ""
	case o.Kind == "ReplicaSet" && o.made(root, "Deployment", "Rollout"):
		return name + aHash
	case o.Kind == "Job" && o.made(root, "CronJob"):
		return name + aMinute
	case o.Kind != "Pod" || !strings.HasPrefix(o.Name, o.Owner.Name+"-"):
		return ""
	case root.Kind == "Deployment" || root.Kind == "Rollout":
		return name + aHash + aRandom
	case root.Kind == "CronJob":
		return name + aMinute + aRandom
	case root.Kind == "ReplicaSet" || root.Kind == "ReplicationController" || root.Kind == "DaemonSet" || root.Kind == "Job":
		return name + aRandom
	}
	return ""
}

// made says that a workload of one of some kinds has given the object a name that begins with its own.
func (o *Object) made(root Workload, kinds ...string) bool {
	for _, kind := range kinds {
		if root.Kind == kind && strings.HasPrefix(o.Name, root.Name+"-") {
			return true
		}
	}
	return false
}

// literal is a glob that matches a name and nothing else. Names of objects that an API server took need no care; those of
// files may be anything.
func literal(name string) string {
	var b strings.Builder
	for _, r := range name {
		if strings.ContainsRune(`\*?[]{},!`, r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
