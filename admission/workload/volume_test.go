package workload

import (
	"fmt"
	"strings"
	"testing"
)

func TestVolumes(t *testing.T) {
	half := int64(512 << 20)
	tests := map[string]struct {
		volume string
		want   Volume
	}{
		"a host path is cleaned":              {`hostPath: {path: /var/../etc//kubernetes/, type: Directory}`, Volume{Type: "hostPath", HostPath: "/etc/kubernetes", HostPathType: "Directory"}},
		"a host path cannot leave the root":   {`hostPath: {path: /../../etc}`, Volume{Type: "hostPath", HostPath: "/etc"}},
		"no source is an emptyDir":            {``, Volume{Type: "emptyDir"}},
		"an emptyDir in memory with a limit":  {`emptyDir: {medium: Memory, sizeLimit: 0.5Gi}`, Volume{Type: "emptyDir", Medium: "Memory", SizeLimit: &half}},
		"a claim":                             {`persistentVolumeClaim: {claimName: data, readOnly: true}`, Volume{Type: "persistentVolumeClaim", Claim: "data", ReadOnly: true}},
		"an ephemeral claim":                  {`ephemeral: {volumeClaimTemplate: {spec: {storageClassName: fast}}}`, Volume{Type: "ephemeral", StorageClass: "fast"}},
		"a CSI driver":                        {`csi: {driver: d, readOnly: true}`, Volume{Type: "csi", Driver: "d", ReadOnly: true}},
		"NFS":                                 {`nfs: {server: s, path: /x, readOnly: true}`, Volume{Type: "nfs", ReadOnly: true}},
		"an image is read-only":               {`image: {reference: a}`, Volume{Type: "image", ReadOnly: true}},
		"a source that is not known yet":      {`quantumDisk: {path: /}`, Volume{}},
		"a known source beside an unknown":    {`hostPath: {path: /x}, quantumDisk: {}`, Volume{Type: "hostPath", HostPath: "/x"}},
		"a known source behind an unknown":    {`quantumDisk: {}, hostPath: {path: /x}`, Volume{Type: "hostPath", HostPath: "/x"}},
		"an unknown source that is null":      {`quantumDisk: null`, Volume{Type: "emptyDir"}},
		"a known source spelled in lowercase": {`hostpath: {path: /}`, Volume{}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := podOf(t, `{volumes: [{name: v, `+test.volume+`}]}`).Volumes[0]
			test.want.Name, test.want.Path, test.want.Sources = "v", "spec.volumes[0]", []ProjectedSource{}
			if asJSON(t, got) != asJSON(t, test.want) {
				t.Errorf("got %s\nwant %s", asJSON(t, got), asJSON(t, test.want))
			}
		})
	}
}

func TestProjectedSources(t *testing.T) {
	w := podOf(t, `{volumes: [{name: v, projected: {sources: [
		{serviceAccountToken: {path: t, audience: vault}}, {serviceAccountToken: {path: t, expirationSeconds: 600}},
		{clusterTrustBundle: {name: b}}, {clusterTrustBundle: {signerName: example.com/s}},
		{podCertificate: {signerName: example.com/s}}, {podCertificate: {signerName: example.com/s, maxExpirationSeconds: 3600}},
		{configMap: {name: c}}, {downwardAPI: {}}, {future: {}}]}}]}`)
	want := []ProjectedSource{
		{Type: "serviceAccountToken", Audience: "vault", ExpirationSeconds: 3600},
		{Type: "serviceAccountToken", ExpirationSeconds: 600},
		{Type: "clusterTrustBundle", Ref: "b"},
		{Type: "clusterTrustBundle", Signer: "example.com/s"},
		{Type: "podCertificate", Ref: "example.com/s", Signer: "example.com/s", ExpirationSeconds: 86400},
		{Type: "podCertificate", Ref: "example.com/s", Signer: "example.com/s", ExpirationSeconds: 3600},
		{Type: "configMap", Ref: "c"}, {Type: "downwardAPI"}, {},
	}
	for i := range want {
		want[i].Path = fmt.Sprintf("spec.volumes[0].projected.sources[%d]", i)
	}
	if got := w.Volumes[0].Sources; asJSON(t, got) != asJSON(t, want) {
		t.Errorf("got %s\nwant %s", asJSON(t, got), asJSON(t, want))
	}
}

// token is the volume that the API server adds, mounted as it does.
const token = `{name: kube-api-access-x2v4q, projected: {defaultMode: 420, sources: [
	{serviceAccountToken: {expirationSeconds: 3607, path: token}},
	{configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}},
	{downwardAPI: {items: [{path: namespace, fieldRef: {apiVersion: v1, fieldPath: metadata.namespace}}]}}]}}`

const tokenMount = `{name: kube-api-access-x2v4q, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}`

// Only what the API server itself injects is left out: a token volume that a person
// wrote must stay in sight.
func TestInjectedTokenVolume(t *testing.T) {
	const spec = `{AUTOMOUNT volumes: [TOKEN], containers: [{name: c, image: a, volumeMounts: [MOUNT]}]}`
	tests := map[string]struct {
		old, new string
		visible  bool
	}{
		"as injected it is left out":                      {"", "", false},
		"where the pod asks for it it is left out":        {"AUTOMOUNT", "automountServiceAccountToken: true,", false},
		"where the pod refuses a token it is not":         {"AUTOMOUNT", "automountServiceAccountToken: false,", true},
		"with another audience it is not":                 {"path: token}", "path: token, audience: vault}", true},
		"with another lifetime it is not":                 {"3607", "86400", true},
		"with another path it is not":                     {"path: token}", "path: other}", true},
		"with another mode it is not":                     {"420", "511", true},
		"with another config map it is not":               {"kube-root-ca.crt", "other", true},
		"with another field it is not":                    {"metadata.namespace", "spec.nodeName", true},
		"with a further source it is not":                 {"sources: [", "sources: [{secret: {name: s}},", true},
		"with a second source in one it is not":           {"{serviceAccountToken:", "{secret: {name: s}, serviceAccountToken:", true},
		"under another name it is not":                    {"kube-api-access-x2v4q", "token", true},
		"mounted elsewhere it is not":                     {"/var/run/secrets/kubernetes.io/serviceaccount", "/token", true},
		"mounted writable it is not":                      {"readOnly: true", "readOnly: false", true},
		"mounted in part it is not":                       {"readOnly: true", "readOnly: true, subPath: token", true},
		"mounted a second time elsewhere it is not":       {"[MOUNT]", "[MOUNT, {name: kube-api-access-x2v4q, mountPath: /x, readOnly: true}]", true},
		"mounted elsewhere in an ephemeral one it is not": {"containers:", "ephemeralContainers: [{name: e, image: a, volumeMounts: [{name: kube-api-access-x2v4q, mountPath: /x}]}], containers:", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			text := spec
			if strings.Contains(text, test.old) && test.old != "" {
				text = strings.ReplaceAll(text, test.old, test.new)
			}
			text = strings.NewReplacer("AUTOMOUNT", "", "TOKEN", token, "MOUNT", tokenMount).Replace(text)
			if test.old != "" && !strings.Contains(spec, test.old) {
				if !strings.Contains(text, test.old) {
					t.Fatalf("the test replaces %q, which is not there", test.old)
				}
				text = strings.ReplaceAll(text, test.old, test.new)
			}
			w := podOf(t, text)
			if visible := len(w.Volumes) > 0; visible != test.visible {
				t.Errorf("got volumes %+v, want visible %t", w.Volumes, test.visible)
			}
			if visible := len(w.Containers[0].Mounts)+len(w.Containers[len(w.Containers)-1].Mounts) > 0; visible != test.visible {
				t.Errorf("got mounts %+v, want visible %t", w.Containers[0].Mounts, test.visible)
			}
		})
	}
}

func TestTokenVolumeOfATemplateIsVisible(t *testing.T) {
	w := only(t, `{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {volumes: [`+token+`], containers: [{name: c, image: a, volumeMounts: [`+tokenMount+`]}]}}}}`)
	if len(w.Volumes) != 1 || len(w.Containers[0].Mounts) != 1 {
		t.Errorf("got %d volumes and %d mounts, want both: the API server injects none into templates", len(w.Volumes), len(w.Containers[0].Mounts))
	}
}

func TestOfTwoTokenVolumesOnlyOneIsLeftOut(t *testing.T) {
	w := podOf(t, `{volumes: [`+token+`, `+strings.ReplaceAll(token, "x2v4q", "evil0")+`], containers: [{name: c, image: a, volumeMounts: [`+tokenMount+`]}]}`)
	if len(w.Volumes) != 1 || w.Volumes[0].Name != "kube-api-access-evil0" || w.Volumes[0].Path != "spec.volumes[1]" {
		t.Errorf("got %+v, want the second", w.Volumes)
	}
}

// The way round: a second volume of the token's name was left out with it.
func TestAVolumeNamedAsTheTokenVolumeIsNotHiddenByIt(t *testing.T) {
	w := podOf(t, `{volumes: [`+token+`, {name: kube-api-access-x2v4q, hostPath: {path: /}}], containers: [{name: c, image: a, volumeMounts: [`+tokenMount+`]}]}`)
	if len(w.Volumes) != 2 || w.Volumes[1].Type != "hostPath" || len(w.Containers[0].Mounts) != 1 {
		t.Errorf("got volumes %+v and mounts %+v, want both volumes and the mount", w.Volumes, w.Containers[0].Mounts)
	}
}
