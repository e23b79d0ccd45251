package bench

import "strings"

// Variables shared by all checks.
const (
	celContainers = `(has(object.spec.initContainers) ? object.spec.initContainers : []) + object.spec.containers +
		(has(object.spec.ephemeralContainers) ? object.spec.ephemeralContainers : [])`

	// celImages are registry/repository[:tag][@digest], spelled out.
	celImages = `containers.map(c, c.image)` + celMapImages + ` +
		(has(object.spec.volumes) ? object.spec.volumes.filter(v, has(v.image)).map(v, v.image.reference)` + celMapImages + ` : [])`
	celMapImages = `.map(i, i.startsWith("index.docker.io/") ? i.substring(6) : i.replace(":443/", "/")).map(i,
		!i.contains("/") ? "docker.io/library/" + i :
		i.startsWith("docker.io/") && i.substring(10).indexOf("/") < 0 ? "docker.io/library/" + i.substring(10) :
		i.split("/")[0].matches("[.:]|^localhost$") ? i : "docker.io/" + i)`
)

// Pieces of expressions.
const (
	celWindows     = `has(object.spec.os) && object.spec.os.name == "windows"`
	celHostUsers   = `!(has(object.spec.hostUsers) && !object.spec.hostUsers)`
	celLimited     = `((has(object.spec.initContainers) ? object.spec.initContainers : []) + object.spec.containers)`
	celPodSecurity = `has(object.spec.securityContext) && has(object.spec.securityContext.`
	celZero        = `.matches("^[+-]?[0.]+[A-Za-z]*$")`
	celAccount     = `(has(object.spec.serviceAccountName) && object.spec.serviceAccountName != "" ? object.spec.serviceAccountName :
		has(object.spec.serviceAccount) && object.spec.serviceAccount != "" ? object.spec.serviceAccount : "default")`
)

// celChecks are the fifty policies in CEL, written as people write them who know the
// language: presence tests instead of optional values, since those are faster.
var celChecks = map[string]string{
	"pods/app-armor": `(!(` + celPodSecurity + `appArmorProfile)) || object.spec.securityContext.appArmorProfile.type in params.types) &&
		containers.all(c, !has(c.securityContext) || !has(c.securityContext.appArmorProfile) || c.securityContext.appArmorProfile.type in params.types) &&
		(!has(object.metadata.annotations) || object.metadata.annotations.all(k, !k.startsWith("container.apparmor.security.beta.kubernetes.io/") ||
			(object.metadata.annotations[k] == "") ||
			(object.metadata.annotations[k] == "runtime/default" && "RuntimeDefault" in params.types) ||
			(object.metadata.annotations[k] == "unconfined" && "Unconfined" in params.types) ||
			(object.metadata.annotations[k].startsWith("localhost/") && "Localhost" in params.types)))`,
	"pods/broad-tolerations":     `!has(object.spec.tolerations) || object.spec.tolerations.all(t, has(t.key) && t.key != "" && !(t.key in params.keys))`,
	"pods/capabilities-baseline": `containers.all(c, !has(c.securityContext) || !has(c.securityContext.capabilities) || !has(c.securityContext.capabilities.add) || c.securityContext.capabilities.add.all(a, a in params.allowed))`,
	"pods/capabilities-restricted": celWindows + ` || containers.all(c, has(c.securityContext) && has(c.securityContext.capabilities) &&
		has(c.securityContext.capabilities.drop) && "ALL" in c.securityContext.capabilities.drop &&
		(!has(c.securityContext.capabilities.add) || c.securityContext.capabilities.add.all(a, a in params.allowed)))`,
	"pods/default-service-account": celAccount + ` != "default" || (has(object.spec.automountServiceAccountToken) && !object.spec.automountServiceAccountToken &&
		(!has(object.spec.volumes) || object.spec.volumes.all(v, v.name.startsWith("kube-api-access-") || !has(v.projected) || !has(v.projected.sources) || v.projected.sources.all(s, !has(s.serviceAccountToken)))))`,
	"pods/ephemeral-storage":    celLimited + `.all(c, ` + celRequests("ephemeral-storage") + ` && (!params.limits || (` + celHas("c.resources.limits", "ephemeral-storage") + `)))`,
	"pods/extended-resources":   `containers.all(c, !has(c.resources) || (` + celExtended("c.resources.requests") + ` && ` + celExtended("c.resources.limits") + `)) && (!has(object.spec.resources) || (` + celExtended("object.spec.resources.requests") + ` && ` + celExtended("object.spec.resources.limits") + `))`,
	"pods/host-aliases":         `!has(object.spec.hostAliases) || size(object.spec.hostAliases) == 0`,
	"pods/host-namespaces":      `(!has(object.spec.hostNetwork) || !object.spec.hostNetwork) && (!has(object.spec.hostPID) || !object.spec.hostPID) && (!has(object.spec.hostIPC) || !object.spec.hostIPC)`,
	"pods/host-path-allow-list": `!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath) || (!v.hostPath.path.contains("..") && params.allowed.exists(p, (v.hostPath.path + "/").startsWith(p.endsWith("/") ? p : p + "/"))))`,
	"pods/host-path-volumes":    `!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath))`,
	"pods/host-ports": `containers.all(c, !has(c.ports) || c.ports.all(p, (!has(p.hostPort) || p.hostPort == 0) &&
		(!has(object.spec.hostNetwork) || !object.spec.hostNetwork || p.containerPort == 0)))`,
	"pods/host-probes": `containers.all(c, ` + celProbe("livenessProbe") + ` && ` + celProbe("readinessProbe") + ` && ` + celProbe("startupProbe") + ` &&
		(!has(c.lifecycle) || ((!has(c.lifecycle.postStart) || (` + celHost("c.lifecycle.postStart") + `)) && (!has(c.lifecycle.preStop) || (` + celHost("c.lifecycle.preStop") + `)))))`,
	"pods/image-digest": `images.all(i, i.contains("@"))`,
	"pods/image-latest-tag": `images.all(i, i.contains("@") || !((i.lastIndexOf(":") > i.lastIndexOf("/") ?
		i.substring(i.lastIndexOf(":") + 1) : "latest") in params.tags))`,
	"pods/image-registries": `images.all(i, params.allowed.exists(p, i.startsWith(p + "/") || i.startsWith(p + ":") || i.startsWith(p + "@") || i == p))`,
	"pods/image-volumes":    `!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.image) || params.allowed.exists(p, v.image.reference.startsWith(p + "/") || v.image.reference.startsWith(p + ":") || v.image.reference.startsWith(p + "@")))`,
	"pods/node-name":        `request.operation != "CREATE" || !has(object.spec.nodeName) || object.spec.nodeName == ""`,
	"pods/privilege-escalation": celWindows + ` || containers.all(c, has(c.securityContext) && has(c.securityContext.allowPrivilegeEscalation) &&
		!c.securityContext.allowPrivilegeEscalation)`,
	"pods/privileged":            `containers.all(c, !has(c.securityContext) || !has(c.securityContext.privileged) || !c.securityContext.privileged)`,
	"pods/probes":                `(has(object.spec.restartPolicy) && object.spec.restartPolicy != "Always") || object.spec.containers.all(c, params.required.all(r, (r + "Probe") in c))`,
	"pods/proc-mount":            `!(` + celHostUsers + `) || containers.all(c, ` + celProcMount + `)`,
	"pods/proc-mount-restricted": `containers.all(c, ` + celProcMount + `)`,
	"pods/read-only-root":        celWindows + ` || containers.all(c, has(c.securityContext) && has(c.securityContext.readOnlyRootFilesystem) && c.securityContext.readOnlyRootFilesystem)`,
	"pods/resource-claims":       `!has(object.spec.resourceClaims) || size(object.spec.resourceClaims) == 0 || params.namespaces.exists(n, ` + celGlob("request.namespace", "n") + `)`,
	"pods/resource-limits": celLimited + `.all(c, (` + celHas("c.resources.limits", "memory") + ` || ` + celOfThePod("limits", "memory") + `) &&
		(!params.cpu || (` + celHas("c.resources.limits", "cpu") + `) || ` + celOfThePod("limits", "cpu") + `))`,
	"pods/resource-requests":  celLimited + `.all(c, (` + celRequests("cpu") + ` || ` + celOfThePod("requests", "cpu") + `) && (` + celRequests("memory") + ` || ` + celOfThePod("requests", "memory") + `))`,
	"pods/restricted-volumes": `!has(object.spec.volumes) || object.spec.volumes.all(v, v.all(k, k == "name" || k in params.types) && (size(v) > 1 || "emptyDir" in params.types))`,
	"pods/run-as-non-root": `!(` + celHostUsers + `) || (
		(!(` + celPodSecurity + `runAsNonRoot)) || object.spec.securityContext.runAsNonRoot) &&
		containers.all(c, has(c.securityContext) && has(c.securityContext.runAsNonRoot) ? c.securityContext.runAsNonRoot : (` + celPodSecurity + `runAsNonRoot))))`,
	"pods/run-as-user": `!(` + celHostUsers + `) || (
		(!(` + celPodSecurity + `runAsUser)) || object.spec.securityContext.runAsUser != 0) &&
		containers.all(c, !has(c.securityContext) || !has(c.securityContext.runAsUser) || c.securityContext.runAsUser != 0))`,
	"pods/runtime-class": `has(object.spec.runtimeClassName) && object.spec.runtimeClassName != "" ? object.spec.runtimeClassName in params.allowed : !params.required`,
	"pods/se-linux": `(!(` + celPodSecurity + `seLinuxOptions)) || (` + celSELinux("object.spec.securityContext.seLinuxOptions") + `)) &&
		containers.all(c, !has(c.securityContext) || !has(c.securityContext.seLinuxOptions) || (` + celSELinux("c.securityContext.seLinuxOptions") + `))`,
	"pods/seccomp-baseline": `(!(` + celPodSecurity + `seccompProfile)) || object.spec.securityContext.seccompProfile.type in params.types) &&
		containers.all(c, !has(c.securityContext) || !has(c.securityContext.seccompProfile) || c.securityContext.seccompProfile.type in params.types)`,
	"pods/seccomp-restricted": celWindows + ` || ((!(` + celPodSecurity + `seccompProfile)) || object.spec.securityContext.seccompProfile.type in params.types) &&
		containers.all(c, has(c.securityContext) && has(c.securityContext.seccompProfile) ? c.securityContext.seccompProfile.type in params.types : (` + celPodSecurity + `seccompProfile))))`,
	"pods/secret-refs": `containers.all(c, (!has(c.env) || c.env.all(e, !has(e.valueFrom) || !has(e.valueFrom.secretKeyRef) || (!params.forbidEnvironment && ` + celSecret("e.valueFrom.secretKeyRef.name") + `))) &&
			(!has(c.envFrom) || c.envFrom.all(e, !has(e.secretRef) || (!params.forbidEnvironment && ` + celSecret("e.secretRef.name") + `)))) &&
		(!has(object.spec.imagePullSecrets) || object.spec.imagePullSecrets.all(s, ` + celSecret("s.name") + `)) &&
		(!has(object.spec.volumes) || object.spec.volumes.all(v, (!has(v.secret) || ` + celSecret("v.secret.secretName") + `) &&
			(!has(v.csi) || !has(v.csi.nodePublishSecretRef) || ` + celSecret("v.csi.nodePublishSecretRef.name") + `) &&
			(!has(v.azureFile) || ` + celSecret("v.azureFile.secretName") + `) &&
			(!has(v.projected) || !has(v.projected.sources) || v.projected.sources.all(s, !has(s.secret) || ` + celSecret("s.secret.name") + `))))`,
	"pods/shared-process-namespace": `!has(object.spec.shareProcessNamespace) || !object.spec.shareProcessNamespace`,
	"pods/sysctls":                  `!(` + celPodSecurity + `sysctls)) || object.spec.securityContext.sysctls.all(s, s.name in params.allowed)`,
	"pods/system-priority-classes":  `!has(object.spec.priorityClassName) || !object.spec.priorityClassName.startsWith("system-") || params.namespaces.exists(n, ` + celGlob("request.namespace", "n") + `)`,
	"pods/token-automount": `(has(object.spec.automountServiceAccountToken) && !object.spec.automountServiceAccountToken) ||
		params.allowedServiceAccounts.exists(a, ` + celGlob(`(request.namespace + "/" + `+celAccount+`)`, "a") + `)`,
	"pods/windows-host-process": `(!(` + celPodSecurity + `windowsOptions)) || !has(object.spec.securityContext.windowsOptions.hostProcess) || !object.spec.securityContext.windowsOptions.hostProcess) &&
		containers.all(c, !has(c.securityContext) || !has(c.securityContext.windowsOptions) || !has(c.securityContext.windowsOptions.hostProcess) || !c.securityContext.windowsOptions.hostProcess)`,
	"pods/writable-host-paths": `!has(object.spec.volumes) || object.spec.volumes.all(v, !has(v.hostPath) ||
		(!v.hostPath.path.contains("..") && params.allowed.exists(p, (v.hostPath.path + "/").startsWith(p.endsWith("/") ? p : p + "/"))) ||
		containers.all(c, !has(c.volumeMounts) || c.volumeMounts.all(m, m.name != v.name || (has(m.readOnly) && m.readOnly))))`,
	"namespaces/default-namespace-use": `!(request.namespace in params.namespaces)`,
	"network/consul-opt-out":           celAnnotations,
	"network/linkerd-opt-out":          celAnnotations,
	"network/istio-sidecar-injection": celAnnotations + ` &&
		(!has(object.metadata.labels) || ((!("sidecar.istio.io/inject" in object.metadata.labels) || object.metadata.labels["sidecar.istio.io/inject"].lowerAscii() in ["", "y", "yes", "true", "on"]) &&
			(!("istio.io/dataplane-mode" in object.metadata.labels) || object.metadata.labels["istio.io/dataplane-mode"] != "none"))) &&
		(!has(object.metadata.annotations) || !("sidecar.istio.io/inject" in object.metadata.annotations) || object.metadata.annotations["sidecar.istio.io/inject"].lowerAscii() in ["", "y", "yes", "true", "on"])`,
	"network/dns-policy":          `(has(object.spec.dnsPolicy) && object.spec.dnsPolicy != "" ? object.spec.dnsPolicy : "ClusterFirst") in params.allowed`,
	"workloads/cost-labels":       `params.labels.all(l, has(object.metadata.labels) && l.key in object.metadata.labels && object.metadata.labels[l.key].matches("^(?:" + l.pattern + ")$"))`,
	"workloads/duplicate-env":     `containers.all(c, !has(c.env) || size(c.env) < 2 || c.env.all(e, c.env.exists_one(f, f.name == e.name)))`,
	"workloads/termination-grace": `!has(object.spec.terminationGracePeriodSeconds) ? 30 >= params.minimum && 30 <= params.maximum : object.spec.terminationGracePeriodSeconds >= params.minimum && object.spec.terminationGracePeriodSeconds <= params.maximum`,
	"workloads/topology-spread":   `!has(object.spec.replicas) || object.spec.replicas < params.minimumReplicas || (has(object.spec.topologySpreadConstraints) && object.spec.topologySpreadConstraints.exists(t, t.topologyKey in params.keys))`,
}

const (
	celProcMount = `!has(c.securityContext) || !has(c.securityContext.procMount) || c.securityContext.procMount in ["", "Default"]`

	celAnnotations = `(!has(object.metadata.annotations) || params.annotations.all(f, !(f.key in object.metadata.annotations) ||
		!f.values.exists(v, object.metadata.annotations[f.key].matches("^" + v.replace(".", "\\.").replace("*", ".*").replace("?", ".").replace("[!", "[^") + "$"))))`
)

// celGlob matches a text with a glob, whose stars stand for anything. A star at the
// end is by far the most frequent and needs no regular expression.
func celGlob(text, glob string) string {
	return `(` + glob + `.indexOf("*") == size(` + glob + `) - 1 ? ` + text + `.startsWith(` + glob + `.substring(0, size(` + glob + `) - 1)) :
		!` + glob + `.contains("*") ? ` + text + ` == ` + glob + ` : ` + text + `.matches("^" + ` + glob + `.replace(".", "\\.").replace("*", ".*") + "$"))`
}

func celHost(handler string) string {
	return strings.ReplaceAll(`(!has(H.httpGet) || !has(H.httpGet.host) || H.httpGet.host == "") && (!has(H.tcpSocket) || !has(H.tcpSocket.host) || H.tcpSocket.host == "")`, "H", handler)
}

func celProbe(field string) string {
	return `(!has(c.` + field + `) || (` + celHost("c."+field) + `))`
}

// celHas says that a list of resources names one and more than nothing of it.
func celHas(list, resource string) string {
	return `has(c.resources) && has(` + list + `) && "` + resource + `" in ` + list + ` && !string(` + list + `["` + resource + `"])` + celZero
}

// celRequests says that a container requests a resource; what has only a limit
// requests as much.
func celRequests(resource string) string {
	return `(has(c.resources) && has(c.resources.requests) && "` + resource + `" in c.resources.requests ? ` +
		celHas("c.resources.requests", resource) + ` : ` + celHas("c.resources.limits", resource) + `)`
}

// celOfThePod says that the pod as a whole names a resource (KEP-2837).
func celOfThePod(list, resource string) string {
	return `(has(object.spec.resources) && has(object.spec.resources.` + list + `) && "` + resource + `" in object.spec.resources.` + list + ` &&
		!string(object.spec.resources.` + list + `["` + resource + `"])` + celZero + `)`
}

func celExtended(list string) string {
	return `(!has(` + list + `) || ` + list + `.all(r, r in ["cpu", "memory", "ephemeral-storage"] ||
		params.allowed.exists(a, ` + celGlob("r", "a.resource") + ` && a.namespaces.exists(n, ` + celGlob("request.namespace", "n") + `))))`
}

func celSELinux(options string) string {
	return strings.ReplaceAll(`(!has(O.type) || O.type == "" || O.type in params.types) && (!has(O.user) || O.user == "") && (!has(O.role) || O.role == "")`, "O", options)
}

func celSecret(name string) string {
	return `!params.forbiddenNames.exists(f, ` + celGlob(name, "f") + `)`
}
