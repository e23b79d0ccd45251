package kubelet

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// mount has the files of one volume kept at one place of the container.
type mount struct {
	to, subPath string
	volume      corev1.Volume
	last        map[string]string // what was written, by path
}

// mounts of a container, except for those that need nothing of the API server, which are made at once.
func (p *pod) mounts() ([]*mount, error) {
	var all []*mount
	for _, m := range p.container.Spec.VolumeMounts {
		i := slices.IndexFunc(p.seen().Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			return nil, fmt.Errorf("the volume %s is not there", m.Name)
		}
		one := &mount{to: filepath.Join(p.container.Dir, m.MountPath), subPath: m.SubPath, volume: p.seen().Spec.Volumes[i]}
		switch v := one.volume; {
		case v.PersistentVolumeClaim != nil:
			if err := p.claim(v.PersistentVolumeClaim.ClaimName, one.to); err != nil {
				return nil, err
			}
			continue
		case v.EmptyDir != nil, v.Image != nil:
			if err := os.MkdirAll(one.to, 0o750); err != nil {
				return nil, err
			}
			continue
		}
		all = append(all, one)
	}
	return all, nil
}

// claim has a folder outlive its pods.
func (p *pod) claim(name, to string) error {
	folder := filepath.Join(p.node.options.Dir, "claims", p.namespace, name)
	if err := os.MkdirAll(folder, 0o750); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	if err := os.Symlink(folder, to); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	return nil
}

// refresh writes what has changed. A volume whose object is not there is an error, unless it is optional.
func (p *pod) refresh(ctx context.Context, all []*mount) error {
	for _, m := range all {
		files, err := p.files(ctx, m.volume)
		if err != nil {
			return fmt.Errorf("mounting %s: %w", m.volume.Name, err)
		}
		if maps.Equal(files, m.last) {
			continue
		}
		if err := m.write(files); err != nil {
			return fmt.Errorf("mounting %s: %w", m.volume.Name, err)
		}
		m.last = files
	}
	return nil
}

// write changes all files of a volume at one instant, as the kubelet does: they are links into a folder that is a link itself.
// A file that is mounted alone (subPath) is written once and never follows, as Kubernetes has it.
func (m *mount) write(files map[string]string) error {
	if m.subPath != "" {
		if m.last != nil {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(m.to), 0o750); err != nil {
			return err
		}
		return os.WriteFile(m.to, []byte(files[m.subPath]), 0o640)
	}
	version := "..v" + strconv.FormatInt(time.Now().UnixNano(), 36)
	for name, content := range files {
		file := filepath.Join(m.to, version, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(file, []byte(content), 0o640); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Join(m.to, version), 0o750); err != nil {
		return err
	}
	data := filepath.Join(m.to, "..data")
	before, _ := os.Readlink(data)
	if err := os.Symlink(version, data+"_tmp"); err != nil {
		return err
	}
	if err := os.Rename(data+"_tmp", data); err != nil {
		return err
	}
	for name := range files {
		first, _, _ := strings.Cut(name, "/")
		if err := os.Symlink(path.Join("..data", first), filepath.Join(m.to, first)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	if before != "" {
		return os.RemoveAll(filepath.Join(m.to, before))
	}
	return nil
}

func (p *pod) files(ctx context.Context, v corev1.Volume) (map[string]string, error) {
	switch {
	case v.Secret != nil:
		return p.secret(ctx, v.Secret.SecretName, v.Secret.Items, v.Secret.Optional)
	case v.ConfigMap != nil:
		return p.configMap(ctx, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.Optional)
	case v.Projected != nil:
		all := map[string]string{}
		for _, source := range v.Projected.Sources {
			files, err := p.projected(ctx, source)
			if err != nil {
				return nil, err
			}
			maps.Copy(all, files)
		}
		return all, nil
	}
	return nil, errors.New("volumes of this kind are not known here")
}

func (p *pod) projected(ctx context.Context, source corev1.VolumeProjection) (map[string]string, error) {
	switch {
	case source.Secret != nil:
		return p.secret(ctx, source.Secret.Name, source.Secret.Items, source.Secret.Optional)
	case source.ConfigMap != nil:
		return p.configMap(ctx, source.ConfigMap.Name, source.ConfigMap.Items, source.ConfigMap.Optional)
	case source.ServiceAccountToken != nil:
		token, err := p.token(ctx, source.ServiceAccountToken.Audience)
		return map[string]string{source.ServiceAccountToken.Path: token}, err
	case source.DownwardAPI != nil:
		files := map[string]string{}
		for _, item := range source.DownwardAPI.Items {
			if item.FieldRef == nil {
				return nil, errors.New("only fields of the pod are known here")
			}
			files[item.Path] = p.field(item.FieldRef.FieldPath)
		}
		return files, nil
	}
	return nil, errors.New("projections of this kind are not known here")
}

// field is what the downward API says.
func (p *pod) field(of string) string {
	return map[string]string{"metadata.namespace": p.namespace, "metadata.name": p.name, "metadata.uid": string(p.seen().UID), "spec.nodeName": NodeName, "spec.serviceAccountName": p.seen().Spec.ServiceAccountName}[of]
}

func (p *pod) secret(ctx context.Context, name string, items []corev1.KeyToPath, optional *bool) (map[string]string, error) {
	secret, err := p.node.options.Client.CoreV1().Secrets(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for key, value := range secret.Data {
		files[key] = string(value)
	}
	return chosen(files, items)
}

func (p *pod) configMap(ctx context.Context, name string, items []corev1.KeyToPath, optional *bool) (map[string]string, error) {
	configMap, err := p.node.options.Client.CoreV1().ConfigMaps(p.namespace).Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) && optional != nil && *optional {
		return map[string]string{}, nil
	}
	if err != nil {
		return nil, err
	}
	return chosen(configMap.Data, items)
}

func chosen(files map[string]string, items []corev1.KeyToPath) (map[string]string, error) {
	if len(items) == 0 {
		return files, nil
	}
	some := map[string]string{}
	for _, item := range items {
		content, ok := files[item.Key]
		if !ok {
			return nil, fmt.Errorf("the key %s is not there", item.Key)
		}
		some[item.Path] = content
	}
	return some, nil
}

// tokenAge is when a token is renewed: tokens are asked for an hour, and kubelets renew after four fifths.
const tokenAge = 40 * time.Minute

// token is one of the pod's service account, bound to the pod.
func (p *pod) token(ctx context.Context, audience string) (string, error) {
	if p.tokenValue != "" && time.Since(p.tokenSince) < tokenAge {
		return p.tokenValue, nil
	}
	seconds := int64(3600)
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds, BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: p.name, UID: p.seen().UID},
	}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	answer, err := p.node.options.Client.CoreV1().ServiceAccounts(p.namespace).CreateToken(ctx, p.seen().Spec.ServiceAccountName, request, metav1.CreateOptions{})
	if err != nil {
		return "", err
	}
	p.tokenValue, p.tokenSince = answer.Status.Token, time.Now()
	return p.tokenValue, nil
}
