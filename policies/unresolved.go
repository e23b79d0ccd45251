package policies

import (
	"reflect"
	"slices"
	"strings"

	"github.com/portcullis-dev/portcullis/admission/workload"
)

// What a manifest leaves open is named by its path in the manifest. Which policies that leaves
// undecided is a question of the normal form, where the same thing may stand elsewhere,
// in several places or under another name. In doubt a policy is undecided: one that was decided
// on text that still has to be filled in would be decided wrongly. So what stands at a
// place that is not known here may decide everything.

// readsOpen says whether an instance reads what a manifest path decides.
func (p *planned) readsOpen(w *workload.Workload, path string) bool {
	if object := p.reads.fields["object"]; object.reaches(splitPath(path)) {
		return true
	}
	reads, images := p.reads.fields["workload"], p.reads.fields["images"]
	places, known := openPlaces(w, path)
	for _, place := range places {
		if reads.touches(place) || (place[0] == "images" && images != nil) {
			return true
		}
	}
	return (reads != nil || images != nil) && (!known || opensEverything(w, path))
}

// opensEverything is true of a pod that cannot be read at all, and of Argo's patch,
// which may change any field.
func opensEverything(w *workload.Workload, path string) bool {
	return path == w.Path || strings.HasSuffix(path, ".podSpecPatch") || path == "podSpecPatch"
}

// openPlaces are the places of the normal form that a manifest path decides, as names
// with "" for an item. There are none for what is known to decide nothing of a pod.
func openPlaces(w *workload.Workload, path string) (places [][]string, known bool) {
	place, known := openPlace(w, path)
	if len(place) == 0 {
		return nil, known
	}
	places = [][]string{place}
	also := func(place ...string) { places = append(places, place) }
	switch place[0] {
	case "securityContext": // containers inherit it
		also(append([]string{"containers", ""}, place...)...)
	case "annotations":
		also("appArmorAnnotations")
		also("containers", "", "securityContext", "appArmorProfile")
	case "imagePullSecrets":
		also("secretRefs")
	case "topologySpreadConstraints", "affinity":
		also("topologyKeys")
	case "volumes":
		if slices.Contains(place, "image") {
			return [][]string{{"images"}}, true
		}
		also("secretRefs")
	case "containers":
		switch field := at(place, 2); field {
		case "image":
			also("images")
			also("containers", "", "imagePullPolicy")
		case "env", "envFrom":
			also("secretRefs")
		}
	}
	if n := slices.Index(place, "limits"); n > 0 { // requests default to limits
		requests := slices.Clone(place)
		requests[n] = "requests"
		also(requests...)
	}
	return places, true
}

func at(place []string, n int) string {
	if n < len(place) {
		return place[n]
	}
	return ""
}

// openPlace is where a manifest path leads in the normal form: nil for nowhere, where that is
// known.
func openPlace(w *workload.Workload, path string) (place []string, known bool) {
	for i := range w.Containers {
		if rest, ok := restBelow(path, w.Containers[i].Path); ok {
			return append([]string{"containers", ""}, rest...), true
		}
	}
	for i := range w.Volumes {
		if rest, ok := restBelow(path, w.Volumes[i].Path); ok {
			return append([]string{"volumes", ""}, rest...), true
		}
	}
	if rest, ok := restBelow(path, w.MetadataPath); ok {
		return rest, true
	}
	segments, ok := restBelow(path, w.Path)
	if !ok {
		segments = splitPath(path)
	}
	for len(segments) > 0 && slices.Contains(leading, segments[0]) {
		segments = segments[1:]
	}
	if len(segments) > 0 && slices.Contains(besidePods, segments[0]) {
		return nil, true
	}
	// Settings of the pod and of its containers may stand above it, in the defaults of a
	// workflow: the first segment that names one counts.
	for i, name := range segments {
		switch {
		case slices.Contains(containerDefaults, name):
			return append([]string{"containers", ""}, segments[i+1:]...), true
		case fieldNamed(workloadType, normalName(name)) >= 0 && !slices.Contains(aboutManifest, name), slices.Contains(elsewhere, name):
			return segments[i:], true
		}
	}
	return nil, false
}

var (
	workloadType = reflect.TypeFor[workload.Workload]()
	// aboutManifest are fields of the normal form that no field of a pod decides.
	aboutManifest = []string{"platform", "kind", "path", "metadataPath", "template", "mirror", "unresolved"}
	// elsewhere are fields of a pod that only decide others in the normal form.
	elsewhere = []string{"imagePullSecrets", "topologySpreadConstraints", "affinity"}
	// leading are names that only lead to what makes a pod; "" is an index.
	leading = []string{"", "spec", "templates", "templateDefaults", "workflowSpec", "pipelineSpec", "taskSpec", "tasks", "finally"}
	// besidePods are what Argo's templates and Tekton's tasks have beside their pods: what goes in
	// and comes out, and when they run.
	besidePods = []string{"archiveLocation", "description", "displayName", "inputs", "memoize", "metrics", "name", "outputs", "params", "results", "retryStrategy", "synchronization", "timeout", "when"}
	// containerDefaults hold fields of all containers: Tekton's of steps, Argo's of main containers.
	containerDefaults = []string{"stepTemplate", "container", "script"}
)

// restBelow gives the segments of a path below another one.
func restBelow(path, above string) ([]string, bool) {
	rest, ok := strings.CutPrefix(path, above)
	if !ok || above == "" || rest == "" || (rest[0] != '.' && rest[0] != '[') {
		return nil, false
	}
	return splitPath(rest), true
}

// splitPath gives the segments of a manifest path, "" for a list index; a key in
// brackets is a name.
func splitPath(path string) []string {
	var segments []string
	for path != "" {
		if path[0] == '[' {
			inside, rest, _ := strings.Cut(path[1:], "]")
			if inside == "" || strings.Trim(inside, "0123456789") == "" {
				inside = ""
			}
			segments, path = append(segments, inside), rest
			continue
		}
		path = strings.TrimPrefix(path, ".")
		end := strings.IndexAny(path, ".[")
		if end < 0 {
			end = len(path)
		}
		if end > 0 {
			segments = append(segments, path[:end])
		}
		path = path[end:]
	}
	return segments
}

// reaches says whether a path into a raw object is read, or something below or above it whole.
func (s *readSet) reaches(path []string) bool {
	for _, name := range path {
		if s == nil || s.whole {
			break
		}
		if name == "" {
			s = s.item()
		} else {
			s = s.field(name)
		}
	}
	return s != nil
}

// touches follows a place through the normal form's own type. A name the type does not have is told there
// in another way, so that anything read of it counts; but a container or pod has many
// fields that the normal form leaves out.
func (s *readSet) touches(place []string) bool {
	t := workloadType
	for i, name := range place {
		if s == nil || s.whole {
			break
		}
		if t.Kind() == reflect.Slice {
			s, t = s.item(), t.Elem()
			if name == "" {
				continue
			}
		}
		if t.Kind() != reflect.Struct {
			break
		}
		if t == containerType && name == "restartPolicy" { // "Always" makes a sidecar
			name = "role"
		}
		field := fieldNamed(t, normalName(name))
		if field < 0 {
			return s != nil && i > 0 && t != containerType
		}
		s, t = s.field(normalName(name)), t.Field(field).Type
		if t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
	}
	return s != nil
}

var containerType = reflect.TypeFor[workload.Container]()

// renamed maps a manifest's field to that of the normal form where they differ.
var renamed = map[string]string{
	"volumeMounts":              "mounts",
	"volumeDevices":             "mounts",
	"livenessProbe":             "probes",
	"readinessProbe":            "probes",
	"startupProbe":              "probes",
	"lifecycle":                 "hooks",
	"computeResources":          "resources",
	"serviceAccountName":        "serviceAccount",
	"runtimeClassName":          "runtimeClass",
	"priorityClassName":         "priorityClass",
	"podPriorityClassName":      "priorityClass",
	"readinessGates":            "readinessGate",
	"persistentVolumeClaim":     "claim",
	"resourceClaimName":         "claim",
	"resourceClaimTemplateName": "template",
}

func normalName(name string) string {
	if other, ok := renamed[name]; ok {
		return other
	}
	return name
}
