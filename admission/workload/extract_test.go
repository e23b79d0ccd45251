package workload

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"
)

// podOf extracts a Pod whose spec is given in YAML.
func podOf(t testing.TB, spec string) Workload {
	t.Helper()
	return only(t, "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec: "+spec)
}

// only extracts an object with one workload.
func only(t testing.TB, text string) Workload {
	t.Helper()
	raw, err := yaml.YAMLToJSONStrict([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	workloads, err := extractObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	if len(workloads) != 1 {
		t.Fatalf("got %d workloads, want 1", len(workloads))
	}
	return workloads[0]
}

func extractObject(raw []byte) ([]Workload, error) {
	var object metav1.TypeMeta
	if err := json.Unmarshal(raw, &object); err != nil {
		return nil, err
	}
	return Extract(metav1.GroupVersionKind(object.GroupVersionKind()), raw)
}

func typeOf(t testing.TB, raw []byte) metav1.GroupVersionKind {
	t.Helper()
	var object metav1.TypeMeta
	if err := json.Unmarshal(raw, &object); err != nil {
		t.Fatal(err)
	}
	return metav1.GroupVersionKind(object.GroupVersionKind())
}

// normalForm extracts an object by the type it says it has, and writes the result.
func normalForm(t testing.TB, raw []byte) string {
	t.Helper()
	workloads, err := extractObject(raw)
	if err != nil {
		t.Fatal(err)
	}
	out, err := json.MarshalIndent(workloads, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// firstDifference is the first line in which two texts differ.
func firstDifference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return strings.TrimSpace(a[i]) + " instead of " + strings.TrimSpace(b[i])
		}
	}
	return "the end"
}

// readFile reads a file of testdata.
func readFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// manifestJSON reads a YAML file as JSON.
func manifestJSON(t testing.TB, file string) []byte {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := yaml.YAMLToJSONStrict(text)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return raw
}

// reversed writes a document with the keys of all objects the other way round.
func reversed(t testing.TB, raw []byte) []byte {
	t.Helper()
	var value any
	if err := json.Unmarshal(raw, &value); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	writeReversed(&b, value)
	return b.Bytes()
}

func writeReversed(b *bytes.Buffer, value any) {
	switch value := value.(type) {
	case map[string]any:
		keys := sortedKeys(value)
		slices.Reverse(keys)
		for i, key := range keys {
			b.WriteString([]string{"{", ","}[min(i, 1)])
			fmt.Fprintf(b, "%q:", key)
			writeReversed(b, value[key])
		}
		b.WriteString([]string{"{}", "}"}[min(len(keys), 1)])
	case []any:
		b.WriteByte('[')
		for i, item := range value {
			if i > 0 {
				b.WriteByte(',')
			}
			writeReversed(b, item)
		}
		b.WriteByte(']')
	default:
		text, _ := json.Marshal(value)
		b.Write(text)
	}
}

func TestContainersAreListedInOrderOfRole(t *testing.T) {
	w := podOf(t, `{ephemeralContainers: [{name: e, image: a}], containers: [{name: c, image: a}, {name: d, image: a, restartPolicy: Always}],
		initContainers: [{name: s, image: a, restartPolicy: Always}, {name: i, image: a}]}`)
	var got []string
	for _, c := range w.Containers {
		got = append(got, string(c.Role)+"/"+c.Name+"@"+c.Path)
	}
	want := []string{"sidecar/s@spec.initContainers[0]", "init/i@spec.initContainers[1]", "app/c@spec.containers[0]",
		"app/d@spec.containers[1]", "ephemeral/e@spec.ephemeralContainers[0]"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestContainersOfOneNameAreAllListed(t *testing.T) {
	w := podOf(t, `{containers: [{name: c, image: a}, {name: c, image: b}]}`)
	if len(w.Containers) != 2 || len(w.Images) != 2 || w.Images[1].Repository != "library/b" {
		t.Errorf("got %d containers and images %v, want both", len(w.Containers), w.Images)
	}
}

// Rows 5 and 7 (CVE-2023-2727, CVE-2023-2728): whatever list a container is in,
// policies see the same container.
func TestBypass05_07_NoListOfContainersEscapes(t *testing.T) {
	const container = `{name: c, image: "ghcr.io/acme/evil:1", securityContext: {privileged: true}, ports: [{containerPort: 1, hostPort: 2}],
		env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}], envFrom: [{secretRef: {name: t}}],
		resources: {limits: {cpu: 1}}, volumeMounts: [{name: v, mountPath: /v}]}`
	want := podOf(t, `{containers: [`+container+`]}`)
	for _, list := range []string{"initContainers", "ephemeralContainers"} {
		t.Run(list, func(t *testing.T) {
			got := podOf(t, `{`+list+`: [`+container+`]}`)
			text := asJSON(t, got)
			text = strings.ReplaceAll(text, "spec."+list+"[0]", "spec.containers[0]")
			text = strings.ReplaceAll(text, `"role": "init"`, `"role": "app"`)
			text = strings.ReplaceAll(text, `"role": "ephemeral"`, `"role": "app"`)
			if wanted := asJSON(t, want); text != wanted {
				t.Errorf("differs at %s\ngot  %s\nwant %s", firstDifference(text, wanted), text, wanted)
			}
		})
	}
}

func asJSON(t testing.TB, value any) string {
	t.Helper()
	out, err := json.MarshalIndent(value, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// Row 6 (CVE-2024-3177): every form of reference to a secret is listed.
func TestBypass06_EverySecretReferenceIsListed(t *testing.T) {
	tests := map[string]struct {
		spec string
		want SecretRef
	}{
		"a variable": {`{containers: [{name: c, image: a, env: [{name: A, valueFrom: {secretKeyRef: {name: s, key: k}}}]}]}`,
			SecretRef{Name: "s", Key: "k", Via: "env", Container: "c", Path: "spec.containers[0].env[0].valueFrom.secretKeyRef"}},
		"all variables": {`{containers: [{name: c, image: a, envFrom: [{secretRef: {name: s, optional: true}}]}]}`,
			SecretRef{Name: "s", Via: "envFrom", Optional: true, Container: "c", Path: "spec.containers[0].envFrom[0].secretRef"}},
		"all variables of an init container": {`{initContainers: [{name: c, image: a, envFrom: [{secretRef: {name: s}}]}]}`,
			SecretRef{Name: "s", Via: "envFrom", Container: "c", Path: "spec.initContainers[0].envFrom[0].secretRef"}},
		"all variables of an ephemeral container": {`{ephemeralContainers: [{name: c, image: a, envFrom: [{secretRef: {name: s}}]}]}`,
			SecretRef{Name: "s", Via: "envFrom", Container: "c", Path: "spec.ephemeralContainers[0].envFrom[0].secretRef"}},
		"a volume": {`{volumes: [{name: v, secret: {secretName: s, optional: true}}]}`,
			SecretRef{Name: "s", Via: "volume", Optional: true, Path: "spec.volumes[0].secret"}},
		"one key of a volume": {`{volumes: [{name: v, secret: {secretName: s, items: [{key: k, path: p}]}}]}`,
			SecretRef{Name: "s", Key: "k", Via: "volume", Path: "spec.volumes[0].secret.items[0]"}},
		"a projected volume": {`{volumes: [{name: v, projected: {sources: [{downwardAPI: {}}, {secret: {name: s}}]}}]}`,
			SecretRef{Name: "s", Via: "projected", Path: "spec.volumes[0].projected.sources[1].secret"}},
		"one key of a projected volume": {`{volumes: [{name: v, projected: {sources: [{secret: {name: s, items: [{key: k, path: p}]}}]}}]}`,
			SecretRef{Name: "s", Key: "k", Via: "projected", Path: "spec.volumes[0].projected.sources[0].secret.items[0]"}},
		"pulling images": {`{imagePullSecrets: [{name: s}]}`,
			SecretRef{Name: "s", Via: "imagePullSecret", Path: "spec.imagePullSecrets[0]"}},
		"a CSI driver": {`{volumes: [{name: v, csi: {driver: d, nodePublishSecretRef: {name: s}}}]}`,
			SecretRef{Name: "s", Via: "csi", Path: "spec.volumes[0].csi.nodePublishSecretRef"}},
		"cephfs": {`{volumes: [{name: v, cephfs: {secretRef: {name: s}}}]}`,
			SecretRef{Name: "s", Via: "cephfs", Path: "spec.volumes[0].cephfs.secretRef"}},
		"rbd": {`{volumes: [{name: v, rbd: {image: "no reference", secretRef: {name: s}}}]}`,
			SecretRef{Name: "s", Via: "rbd", Path: "spec.volumes[0].rbd.secretRef"}},
		"iscsi": {`{volumes: [{name: v, iscsi: {secretRef: {name: s}}}]}`,
			SecretRef{Name: "s", Via: "iscsi", Path: "spec.volumes[0].iscsi.secretRef"}},
		"flexVolume": {`{volumes: [{name: v, flexVolume: {driver: d, secretRef: {name: s}}}]}`,
			SecretRef{Name: "s", Via: "flexVolume", Path: "spec.volumes[0].flexVolume.secretRef"}},
		"scaleIO": {`{volumes: [{name: v, scaleIO: {secretRef: {name: s}}}]}`,
			SecretRef{Name: "s", Via: "scaleIO", Path: "spec.volumes[0].scaleIO.secretRef"}},
		"storageos": {`{volumes: [{name: v, storageos: {secretRef: {name: s}}}]}`,
			SecretRef{Name: "s", Via: "storageos", Path: "spec.volumes[0].storageos.secretRef"}},
		"azureFile": {`{volumes: [{name: v, azureFile: {secretName: s}}]}`,
			SecretRef{Name: "s", Via: "azureFile", Path: "spec.volumes[0].azureFile.secretName"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got := podOf(t, test.spec).SecretRefs
			if len(got) != 1 || got[0] != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// Row 8: an image volume is an image that the node pulls.
func TestBypass08_ImageVolumesAreImages(t *testing.T) {
	got := podOf(t, `{volumes: [{name: v, image: {reference: "ghcr.io/acme/model:1"}}]}`).Images
	want := Image{Text: "ghcr.io/acme/model:1", Ref: "ghcr.io/acme/model:1", Registry: "ghcr.io", Repository: "acme/model",
		Tag: "1", Volume: "v", Path: "spec.volumes[0].image.reference"}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestImagesThatAreNoReference(t *testing.T) {
	deployment := "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: %s}}"
	pod := "apiVersion: v1\nkind: Pod\nspec: %s"
	tests := map[string]struct{ manifest, spec, path string }{
		"an invalid image in a pod":               {pod, `{containers: [{name: c, image: "a b"}]}`, "spec.containers[0].image"},
		"no image in a pod":                       {pod, `{containers: [{name: c}]}`, "spec.containers[0].image"},
		"a blank image in a pod":                  {pod, `{containers: [{name: c, image: " "}]}`, "spec.containers[0].image"},
		"no image in a template":                  {deployment, `{initContainers: [{name: c}]}`, "spec.template.spec.initContainers[0].image"},
		"an expression in a Kubernetes object":    {deployment, `{containers: [{name: c, image: "{{image}}"}]}`, "spec.template.spec.containers[0].image"},
		"an invalid image of an ephemeral one":    {pod, `{ephemeralContainers: [{name: c, image: "A"}]}`, "spec.ephemeralContainers[0].image"},
		"an image volume without image in a pod":  {pod, `{volumes: [{name: v, image: {}}]}`, "spec.volumes[0].image.reference"},
		"an image volume with an invalid image":   {deployment, `{volumes: [{name: v, image: {reference: "x@sha256:abc"}}]}`, "spec.template.spec.volumes[0].image.reference"},
		"an image that is valid but for the case": {pod, `{containers: [{name: c, image: "ghcr.io/a/b"}, {name: d, image: "GHCR.io/a/b"}]}`, "spec.containers[1].image"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			raw, err := yaml.YAMLToJSONStrict(fmt.Appendf(nil, test.manifest, test.spec))
			if err != nil {
				t.Fatal(err)
			}
			_, err = extractObject(raw)
			var refused *ReferenceError
			if !errors.As(err, &refused) {
				t.Fatalf("got %v, want a ReferenceError", err)
			}
			if refused.Path != test.path || !strings.Contains(err.Error(), test.path) {
				t.Errorf("got path %q in %q, want %q", refused.Path, err, test.path)
			}
		})
	}
}

// The API server takes blanks as image of a template, which OpenShift's image
// triggers replace, and an image volume without image.
func TestImagesLeftToControllersAreUnresolved(t *testing.T) {
	w := only(t, `{apiVersion: apps/v1, kind: Deployment, spec: {template: {spec: {containers: [{name: c, image: " "}], volumes: [{name: v, image: {}}]}}}}`)
	var got []string
	for _, u := range w.Unresolved {
		got = append(got, u.Path)
	}
	want := []string{"spec.template.spec.volumes[0].image.reference", "spec.template.spec.containers[0].image"}
	if !slices.Equal(got, want) || len(w.Images) != 0 {
		t.Errorf("got unresolved %q and images %v, want %q and none", got, w.Images, want)
	}
}

func TestObjectsThatCannotBeRead(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 20_000) + "1" + strings.Repeat("}", 20_000)
	tests := map[string]struct{ raw, want string }{
		"a key given twice":                {`{"spec":{"hostPID":false,"hostPID":true}}`, "spec.hostPID is given twice"},
		"a key given twice in an unknown":  {`{"other":{"a":1,"a":2}}`, "other.a is given twice"},
		"a key given twice by escapes":     {`{"spec":{},"sp\u0065c":{"hostPID":true}}`, "spec is given twice"},
		"a label given twice":              {`{"metadata":{"labels":{"a":"1","a":"2"}}}`, "metadata.labels.a is given twice"},
		"invalid UTF-8":                    {"{\"spec\":{\"hostname\":\"\xff\"}}", "UTF-8"},
		"half a surrogate":                 {`{"spec":{"hostname":"\ud800"}}`, "surrogate"},
		"a second object":                  {`{}{}`, "after top-level value"},
		"nothing":                          {``, "the object is a value of another type"},
		"null":                             {`null`, "the object is a null: give"},
		"a list":                           {`[]`, "the object is a list: give a map with a spec"},
		"containers that are no list":      {`{"spec":{"containers":{"name":"c"}}}`, "spec.containers is a map: make it a list"},
		"a string for a boolean":           {`{"spec":{"hostPID":"true"}}`, "spec.hostPID is a string: make it a boolean"},
		"a label that is no string":        {`{"metadata":{"labels":{"a":1}}}`, "put it in quotes"},
		"a volume with two sources":        {`{"spec":{"volumes":[{"name":"v","emptyDir":{},"hostPath":{"path":"/"}}]}}`, "two sources"},
		"a quantity that is none":          {`{"spec":{"containers":[{"image":"a","resources":{"limits":{"cpu":"many"}}}]}}`, `"many" is no quantity`},
		"a size limit that is none":        {`{"spec":{"volumes":[{"name":"v","emptyDir":{"sizeLimit":"x"}}]}}`, "spec.volumes[0].emptyDir.sizeLimit"},
		"an object for a quantity":         {`{"spec":{"containers":[{"image":"a","resources":{"limits":{"cpu":{}}}}]}}`, "quantity"},
		"objects in each other":            {deep, "max depth"},
		"objects in each other in the pod": {`{"spec":{"affinity":` + deep + `}}`, "max depth"},
		"a number beyond 64 bits":          {`{"spec":{"securityContext":{"runAsUser":9223372036854775808}}}`, "range"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := Extract(podKind, []byte(test.raw))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestKeysAreCaseSensitive(t *testing.T) {
	w := podOf(t, `{HostPID: true, hostpid: true, containers: [{name: c, image: a, SecurityContext: {privileged: true}}]}`)
	if w.HostPID || w.Containers[0].SecurityContext.Privileged {
		t.Errorf("got hostPID=%t privileged=%t, want neither: the API server does not know these keys", w.HostPID, w.Containers[0].SecurityContext.Privileged)
	}
}

func TestNullIsAbsent(t *testing.T) {
	w := podOf(t, `{hostPID: null, securityContext: null, containers: [{name: c, image: a, securityContext: null, resources: null, env: null,
		livenessProbe: null, volumeMounts: [null]}], volumes: [{name: v, hostPath: null}], tolerations: null, nodeSelector: null}`)
	if w.Volumes[0].Type != "emptyDir" || w.HostPID || len(w.Containers[0].Probes) != 0 {
		t.Errorf("got %+v, want all defaults", w)
	}
}
