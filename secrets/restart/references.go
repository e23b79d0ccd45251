package restart

import (
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// reference is one place of a pod's spec that names a Secret.
type reference struct {
	name string
	// path is where the name stands, as a JSON pointer from the spec of the pod.
	path string
	// keys are those that are used, nil for all.
	keys []string
}

// pullKeys are the keys of Secrets for pulling images.
var pullKeys = []string{corev1.DockerConfigJsonKey, corev1.DockerConfigKey}

// references are all places where a pod's spec names a Secret, optional ones too: what is there when a pod starts is used.
func references(spec *corev1.PodSpec) []reference {
	var all []reference
	add := func(name, path string, keys ...string) {
		if name != "" {
			all = append(all, reference{name: name, path: path, keys: keys})
		}
	}
	for i, pull := range spec.ImagePullSecrets {
		add(pull.Name, fmt.Sprintf("/imagePullSecrets/%d/name", i), pullKeys...)
	}
	environment := func(at string, variables []corev1.EnvVar, from []corev1.EnvFromSource) {
		for i, variable := range variables {
			if variable.ValueFrom != nil && variable.ValueFrom.SecretKeyRef != nil {
				ref := variable.ValueFrom.SecretKeyRef
				add(ref.Name, fmt.Sprintf("%s/env/%d/valueFrom/secretKeyRef/name", at, i), ref.Key)
			}
		}
		for i, source := range from {
			if source.SecretRef != nil {
				add(source.SecretRef.Name, fmt.Sprintf("%s/envFrom/%d/secretRef/name", at, i))
			}
		}
	}
	for i := range spec.InitContainers {
		environment(fmt.Sprintf("/initContainers/%d", i), spec.InitContainers[i].Env, spec.InitContainers[i].EnvFrom)
	}
	for i := range spec.Containers {
		environment(fmt.Sprintf("/containers/%d", i), spec.Containers[i].Env, spec.Containers[i].EnvFrom)
	}
	for i := range spec.EphemeralContainers {
		environment(fmt.Sprintf("/ephemeralContainers/%d", i), spec.EphemeralContainers[i].Env, spec.EphemeralContainers[i].EnvFrom)
	}
	for i := range spec.Volumes {
		volume(fmt.Sprintf("/volumes/%d", i), &spec.Volumes[i], add)
	}
	return all
}

// volume gives the references of one volume. Those for mounting storage use all keys.
func volume(at string, v *corev1.Volume, add func(name, path string, keys ...string)) {
	local := func(ref *corev1.LocalObjectReference, path string) {
		if ref != nil {
			add(ref.Name, at+path)
		}
	}
	if v.Secret != nil {
		add(v.Secret.SecretName, at+"/secret/secretName", items(v.Secret.Items)...)
	}
	if v.Projected != nil {
		for i, source := range v.Projected.Sources {
			if source.Secret != nil {
				add(source.Secret.Name, fmt.Sprintf("%s/projected/sources/%d/secret/name", at, i), items(source.Secret.Items)...)
			}
		}
	}
	if v.CSI != nil {
		local(v.CSI.NodePublishSecretRef, "/csi/nodePublishSecretRef/name")
	}
	if v.FlexVolume != nil {
		local(v.FlexVolume.SecretRef, "/flexVolume/secretRef/name")
	}
	if v.ISCSI != nil {
		local(v.ISCSI.SecretRef, "/iscsi/secretRef/name")
	}
	if v.RBD != nil {
		local(v.RBD.SecretRef, "/rbd/secretRef/name")
	}
	if v.CephFS != nil {
		local(v.CephFS.SecretRef, "/cephfs/secretRef/name")
	}
	if v.Cinder != nil {
		local(v.Cinder.SecretRef, "/cinder/secretRef/name")
	}
	if v.ScaleIO != nil {
		local(v.ScaleIO.SecretRef, "/scaleIO/secretRef/name")
	}
	if v.StorageOS != nil {
		local(v.StorageOS.SecretRef, "/storageos/secretRef/name")
	}
	if v.AzureFile != nil {
		add(v.AzureFile.SecretName, at+"/azureFile/secretName")
	}
}

func items(of []corev1.KeyToPath) []string {
	var keys []string
	for _, item := range of {
		keys = append(keys, item.Key)
	}
	return keys
}

// keysOf are the keys of a Secret that references to any of its names use, sorted; has are those that the Secret has or had. A key that is
// referred to and was never there is among them: it may come.
func keysOf(all []reference, names, has map[string]bool) []string {
	used := map[string]bool{}
	for _, r := range all {
		if !names[r.name] {
			continue
		}
		if r.keys == nil {
			maps.Copy(used, has)
		}
		for _, key := range r.keys {
			used[key] = true
		}
	}
	return slices.Sorted(maps.Keys(used))
}
