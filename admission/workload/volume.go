package workload

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// volumesAndTheirSecrets writes the volumes, with the images and secrets they need.
func (b *builder) volumesAndTheirSecrets() error {
	b.injected = b.injectedToken()
	b.out.Volumes = make([]Volume, 0, len(b.volumes))
	for i := range b.volumes {
		from := &b.volumes[i]
		if b.injected != "" && from.Name == b.injected {
			continue
		}
		volume := Volume{Name: from.Name, Type: from.sourceType(),
			Path: b.paths.index(from.parent, from.field, from.number), Sources: []ProjectedSource{}}
		if err := b.source(from.volume, &volume); err != nil {
			return err
		}
		b.out.Volumes = append(b.out.Volumes, volume)
	}
	return nil
}

// sourceType is the name of the source; the API server makes a volume without any
// an emptyDir. A known source counts whatever stands beside it: an API server that
// does not know the other field drops it, and one that does refuses the two.
func (v *volume) sourceType() string {
	switch {
	case v.Type != "":
		return v.Type
	case v.Unknown:
		return ""
	}
	return "emptyDir"
}

// source writes what the volume's source says.
func (b *builder) source(from *volume, to *Volume) error {
	s := &from.Source
	to.ReadOnly = s.ReadOnly
	switch from.Type {
	case "hostPath":
		to.HostPath, to.HostPathType = cleaned(s.Path), s.Type
	case "emptyDir":
		return b.emptyDir(s, to)
	case "persistentVolumeClaim":
		to.Claim = s.ClaimName
	case "ephemeral":
		to.StorageClass = s.VolumeClaimTemplate.Spec.StorageClassName
	case "secret":
		b.secretItems(SecretRef{Name: s.SecretName, Via: "volume", Optional: s.Optional, Path: b.paths.field(to.Path, "secret")}, s.Items)
	case "projected":
		b.projected(s, to)
	case "image":
		return b.imageVolume(s, to)
	case "csi":
		to.Driver = s.Driver
		b.volumeSecret(s.NodePublishSecretRef.Name, "csi", to.Path, "csi", "nodePublishSecretRef")
	case "flexVolume":
		to.Driver = s.Driver
		b.volumeSecret(s.SecretRef.Name, from.Type, to.Path, from.Type, "secretRef")
	case "cephfs", "rbd", "iscsi", "scaleIO", "storageos":
		b.volumeSecret(s.SecretRef.Name, from.Type, to.Path, from.Type, "secretRef")
	case "azureFile":
		b.volumeSecret(s.SecretName, from.Type, to.Path, from.Type, "secretName")
	}
	return nil
}

// cleaned is a path without "..", double or trailing slashes.
func cleaned(hostPath string) string {
	if hostPath == "" {
		return ""
	}
	return path.Clean(hostPath)
}

func (b *builder) emptyDir(s *volumeSource, to *Volume) error {
	to.Medium = s.Medium
	if s.SizeLimit == "" || b.syntax.isOpen(string(s.SizeLimit)) {
		return nil
	}
	q, err := parseQuantity(s.SizeLimit)
	if err != nil {
		return fmt.Errorf("reading %s: %w", b.paths.within(to.Path, "emptyDir", "sizeLimit"), err)
	}
	limit := whole(q)
	to.SizeLimit = &limit
	return nil
}

// imageVolume is an image that the node pulls as any other (KEP-4639). In a
// template it may be left to controllers to fill in.
func (b *builder) imageVolume(s *volumeSource, to *Volume) error {
	path := b.paths.within(to.Path, "image", "reference")
	to.ReadOnly = true
	if b.template && s.Reference == "" {
		b.out.Unresolved = append(b.out.Unresolved, Unresolved{Path: path, Reason: "the image is left for a controller to fill in"})
		return nil
	}
	if b.syntax.isOpen(s.Reference) {
		return nil
	}
	image, err := ParseImage(s.Reference)
	if err != nil && b.lenient {
		b.out.Unresolved = append(b.out.Unresolved, Unresolved{path, s.Reference, err.Error()})
		return nil
	}
	if err != nil {
		refused := err.(*ReferenceError)
		refused.Path = path
		return refused
	}
	image.Volume, image.Path = to.Name, path
	b.out.Images = append(b.out.Images, image)
	return nil
}

// volumeSecret adds the secret that a driver needs, if any.
func (b *builder) volumeSecret(name, via, parent, first, second string) {
	if name != "" {
		b.out.SecretRefs = append(b.out.SecretRefs, SecretRef{Name: name, Via: via, Path: b.paths.within(parent, first, second)})
	}
}

// secretItems adds a reference to a whole secret, or to each key that is taken of it.
func (b *builder) secretItems(ref SecretRef, items []item) {
	if len(items) == 0 {
		b.out.SecretRefs = append(b.out.SecretRefs, ref)
		return
	}
	parent := ref.Path
	for i, item := range items {
		ref.Key, ref.Path = item.Key, b.paths.index(parent, "items", i)
		b.out.SecretRefs = append(b.out.SecretRefs, ref)
	}
}

// projected writes the sources of a projected volume.
func (b *builder) projected(s *volumeSource, to *Volume) {
	to.Sources = make([]ProjectedSource, 0, len(s.Sources))
	parent := b.paths.field(to.Path, "projected")
	for i := range s.Sources {
		kind, p := s.Sources[i].only()
		source := ProjectedSource{Type: kind, Path: b.paths.index(parent, "sources", i)}
		switch kind {
		case "secret":
			source.Ref = p.Name
			items := make([]item, len(p.Items))
			for j := range p.Items {
				items[j] = item{Key: p.Items[j].Key}
			}
			b.secretItems(SecretRef{Name: p.Name, Via: "projected", Optional: p.Optional, Path: b.paths.field(source.Path, "secret")}, items)
		case "configMap":
			source.Ref = p.Name
		case "serviceAccountToken":
			source.Audience, source.ExpirationSeconds = p.Audience, seconds(p.ExpirationSeconds, 3600)
		case "clusterTrustBundle":
			source.Ref, source.Signer = p.Name, p.SignerName
		case "podCertificate":
			source.Ref, source.Signer = p.SignerName, p.SignerName
			source.ExpirationSeconds = seconds(p.MaxExpirationSeconds, 86400)
		}
		to.Sources = append(to.Sources, source)
	}
}

func seconds(given *int64, otherwise int64) int64 {
	if given == nil {
		return otherwise
	}
	return *given
}

// only is the one source that is set; the API server refuses several, of which
// this is then the most telling.
func (p *projectedSource) only() (kind string, source *projected) {
	switch {
	case p.Secret != nil:
		return "secret", p.Secret
	case p.ServiceAccountToken != nil:
		return "serviceAccountToken", p.ServiceAccountToken
	case p.PodCertificate != nil:
		return "podCertificate", p.PodCertificate
	case p.ClusterTrustBundle != nil:
		return "clusterTrustBundle", p.ClusterTrustBundle
	case p.ConfigMap != nil:
		return "configMap", p.ConfigMap
	case p.DownwardAPI != nil:
		return "downwardAPI", p.DownwardAPI
	}
	return "", &projected{}
}

// tokenMountPath is where the API server mounts the token of the service account.
const tokenMountPath = "/var/run/secrets/kubernetes.io/serviceaccount"

// injectedToken is the name of the volume that the API server's ServiceAccount
// admission adds to pods, "" where there is none. Only a volume of exactly the
// generated shape and mounts in a pod that asks for a token, or leaves it to its
// service account, is left out of the normal form: one written by hand to get a
// token in spite of automountServiceAccountToken: false stays visible.
func (b *builder) injectedToken() string {
	automount := b.spec.AutomountServiceAccountToken
	if b.template || automount != nil && !*automount {
		return ""
	}
	for i := range b.volumes {
		v := b.volumes[i].volume
		if strings.HasPrefix(v.Name, "kube-api-access-") {
			if v.isInjectedToken() && b.mountedAsInjected(v.Name) && !b.sharesName(i) {
				return v.Name
			}
			return ""
		}
	}
	return ""
}

// sharesName says that a later volume has the name of the one at an index, which
// only the API server refuses: left out by name, it would go unseen in CI.
func (b *builder) sharesName(i int) bool {
	return slices.ContainsFunc(b.volumes[i+1:], func(other placedVolume) bool { return other.Name == b.volumes[i].Name })
}

// isInjectedToken compares with TokenVolumeSource of the API server's
// plugin/pkg/admission/serviceaccount.
func (v *volume) isInjectedToken() bool {
	s := &v.Source
	if v.Type != "projected" || v.Unknown || len(s.Sources) != 3 || s.DefaultMode == nil || *s.DefaultMode != 0o644 {
		return false
	}
	_, token := s.Sources[0].only()
	_, bundle := s.Sources[1].only()
	_, downward := s.Sources[2].only()
	return s.Sources[0] == (projectedSource{ServiceAccountToken: token}) &&
		s.Sources[1] == (projectedSource{ConfigMap: bundle}) &&
		s.Sources[2] == (projectedSource{DownwardAPI: downward}) &&
		token.Path == "token" && token.Audience == "" && seconds(token.ExpirationSeconds, 3600) == 3607 &&
		bundle.Name == "kube-root-ca.crt" && len(bundle.Items) == 1 && bundle.Items[0].Key == "ca.crt" && bundle.Items[0].Path == "ca.crt" &&
		len(downward.Items) == 1 && downward.Items[0].Path == "namespace" && downward.Items[0].FieldRef.FieldPath == "metadata.namespace"
}

// mountedAsInjected says that the volume is mounted nowhere but where the API
// server mounts it.
func (b *builder) mountedAsInjected(name string) bool {
	for i := range b.containers {
		for _, m := range b.containers[i].VolumeMounts {
			if m.Name == name && m != (mount{Name: name, MountPath: tokenMountPath, ReadOnly: true}) {
				return false
			}
		}
	}
	return true
}
