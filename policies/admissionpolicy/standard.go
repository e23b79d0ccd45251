package admissionpolicy

import (
	"fmt"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const reasonForbidden = metav1.StatusReasonForbidden

// template is what holds the metadata and the specification of an object's pods, whatever its kind. Versions do not differ.
func template(object string) string {
	return strings.ReplaceAll("request.kind.kind == 'Pod' ? dyn(O) : "+
		"request.kind.kind == 'PodTemplate' ? dyn(O).?template.orValue({}) : "+
		"request.kind.kind == 'CronJob' ? dyn(O).spec.jobTemplate.spec.template : "+
		"dyn(O).spec.?template.orValue({})", "O", object)
}

// significant are the fields of a pod's specification of which the normal form knows ([workload.Workload]): a change of
// another one is none of what runs. Affinity is left out, of which it knows the topology keys only.
var significant = []string{
	"activeDeadlineSeconds", "automountServiceAccountToken", "containers", "dnsPolicy", "ephemeralContainers", "hostAliases", "hostIPC",
	"hostNetwork", "hostPID", "hostUsers", "hostname", "imagePullSecrets", "initContainers", "nodeName", "nodeSelector", "os", "priority",
	"priorityClassName", "readinessGates", "resourceClaims", "resources", "restartPolicy", "runtimeClassName", "schedulerName",
	"securityContext", "serviceAccount", "serviceAccountName", "shareProcessNamespace", "terminationGracePeriodSeconds", "tolerations",
	"topologySpreadConstraints", "volumes",
}

// appArmor are the deprecated annotations that set AppArmor profiles, which belong to what runs.
const appArmor = "container.apparmor.security.beta.kubernetes.io/"

// standard are the variables that every policy can use. Those that none uses are left out.
var standard = []variable{
	{Name: "namespaceName", Expression: namespaceExpression},
	{Name: "username", Expression: "request.userInfo.?username.orValue('')"},
	{Name: "userGroups", Expression: "request.userInfo.?groups.orValue([])"},
	{Name: "template", Expression: template("object")},
	{Name: "podSpec", Expression: "variables.template.?spec.orValue({})"},
	{Name: "podMetadata", Expression: "variables.template.?metadata.orValue({})"},
	{Name: "podAnnotations", Expression: "variables.podMetadata.?annotations.orValue({})"},
	{Name: "podLabels", Expression: "variables.podMetadata.?labels.orValue({})"},
	{Name: "oldTemplate", Expression: template("oldObject")},
	{Name: "oldPodSpec", Expression: "variables.oldTemplate.?spec.orValue({})"},
	{Name: "oldPodMetadata", Expression: "variables.oldTemplate.?metadata.orValue({})"},
	{Name: "oldPodAnnotations", Expression: "variables.oldPodMetadata.?annotations.orValue({})"},
	// What differs in none of these fields runs the same.
	{Name: "runsTheSame", Expression: fmt.Sprintf("['%s'].all(f, variables.podSpec[?f] == variables.oldPodSpec[?f]) && "+
		"variables.podAnnotations.all(k, !k.startsWith('%[2]s') || variables.oldPodAnnotations[?k] == variables.podAnnotations[?k]) && "+
		"variables.oldPodAnnotations.all(k, !k.startsWith('%[2]s') || k in variables.podAnnotations)", strings.Join(significant, "', '"), appArmor)},
	// Init, sidecar, app and ephemeral containers: no policy can forget a list.
	{Name: "resourced", Expression: "variables.podSpec.?initContainers.orValue([]) + variables.podSpec.?containers.orValue([])"},
	{Name: "containers", Expression: "variables.resourced + variables.podSpec.?ephemeralContainers.orValue([])"},
	{Name: "podSecurity", Expression: "variables.podSpec.?securityContext.orValue({})"},
	{Name: "windows", Expression: "variables.podSpec.?os.?name.orValue('') == 'windows'"},
	{Name: "hostUsers", Expression: "variables.podSpec.?hostUsers.orValue(true)"},
	// TokenVolumeSource of the API server's plugin/pkg/admission/serviceaccount, mounted nowhere but where it mounts it: as
	// isInjectedToken and mountedAsInjected of package workload.
	{Name: "tokenLike", Expression: "request.kind.kind != 'Pod' || !variables.podSpec.?automountServiceAccountToken.orValue(true) ? [] : " +
		"variables.podSpec.?volumes.orValue([]).filter(v, v.name.startsWith('kube-api-access-'))"},
	{Name: "injectedToken", Expression: "size(variables.tokenLike) == 0 ? [] : [variables.tokenLike[0]].filter(v, v.?projected.?defaultMode.orValue(0) == 420 && " +
		"size(v.projected.?sources.orValue([])) == 3 && has(v.projected.sources[0].serviceAccountToken) && has(v.projected.sources[1].configMap) && " +
		"has(v.projected.sources[2].downwardAPI) && [v.projected.sources[0].serviceAccountToken].all(t, " +
		"t.?path.orValue('') == 'token' && t.?audience.orValue('') == '' && t.?expirationSeconds.orValue(3600) == 3607) && " +
		"[v.projected.sources[1].configMap].all(c, c.?name.orValue('') == 'kube-root-ca.crt' && size(c.?items.orValue([])) == 1 && " +
		"c.items[0].?key.orValue('') == 'ca.crt' && c.items[0].?path.orValue('') == 'ca.crt') && " +
		"[v.projected.sources[2].downwardAPI].all(d, size(d.?items.orValue([])) == 1 && d.items[0].?path.orValue('') == 'namespace' && " +
		"d.items[0].?fieldRef.?fieldPath.orValue('') == 'metadata.namespace') && " +
		"variables.containers.all(c, c.?volumeMounts.orValue([]).all(m, m.name != v.name || m.mountPath == '/var/run/secrets/kubernetes.io/serviceaccount' && " +
		"m.?readOnly.orValue(false) && ['subPath', 'subPathExpr', 'mountPropagation'].all(f, m[?f].orValue('') == '')))).map(v, v.name)"},
	// Without the volume that the API server itself mounts a token by.
	{Name: "volumes", Expression: "variables.podSpec.?volumes.orValue([]).filter(v, !(v.name in variables.injectedToken))"},
	{Name: "serviceAccount", Expression: "[variables.podSpec.?serviceAccountName.orValue(''), variables.podSpec.?serviceAccount.orValue(''), dyn('default')].filter(n, n != '')[0]"},
	{Name: "imageTexts", Expression: "variables.containers.map(c, c.?image.orValue('')) + variables.volumes.filter(v, has(v.image)).map(v, v.image.?reference.orValue(''))"},
	{Name: "images", Expression: canonical("variables.imageTexts")},
	{Name: "volumeImages", Expression: canonical("variables.volumes.filter(v, has(v.image)).map(v, v.image.?reference.orValue(''))")},
	// Of a role without any the API server says null.
	{Name: "rules", Expression: "dyn(object).?rules.orValue(null) == null ? [] : dyn(object).rules"},
}

// canonical spells references of images out as registry/repository[:tag][@digest], as [workload.Image] does: docker.io and
// library/ where they are left out, one name for Docker Hub, no default port.
func canonical(texts string) string {
	return texts + ".filter(i, i != '')" +
		".map(i, !i.contains('/') ? 'docker.io/library/' + i : i.split('/')[0].matches('[.:]|^localhost$') ? i : 'docker.io/' + i)" +
		// A port is a number.
		".map(i, i.matches('^[^/]*:0[0-9]{1,9}/') ? i.substring(0, i.indexOf('/')).substring(0, i.substring(0, i.indexOf('/')).lastIndexOf(':') + 1) + " +
		"string(int(i.substring(i.substring(0, i.indexOf('/')).lastIndexOf(':') + 1, i.indexOf('/')))) + i.substring(i.indexOf('/')) : i)" +
		// A name without dot is only known as a registry by its port.
		".map(i, i.matches('^([^/]*[.[][^/]*|localhost):443/') ? i.replace(':443/', '/', 1) : i)" +
		".map(i, i.startsWith('registry-1.docker.io/') ? i.substring(11) : " +
		"i.matches('^(index[.])?docker[.]io/[^/]+$') ? 'docker.io/library/' + i.substring(i.indexOf('/') + 1) : " +
		"i.startsWith('index.docker.io/') ? i.substring(6) : i)"
}
