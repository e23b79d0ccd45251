// Package workload turns any manifest that runs containers into one normal form.
//
// Policies read the normal form, not raw YAML: one list of containers whatever
// field they came from, defaults filled in as the API server would, security
// context already inherited from the pod, quantities as exact integers, image
// references parsed and canonical, every secret reference listed, and each item
// with the path of the field it came from. A raw manifest in CI, the defaulted
// object at the API server and the stored object in an audit have the same
// normal form, so a policy gives them the same verdict, and no policy can forget
// a container list (CVE-2023-2727, CVE-2023-2728).
//
// The JSON encoding of [Workload] is the shape of input.workload in Rego.
// Paths are written as Kubernetes writes them in errors (apimachinery's
// field.Path): spec.template.spec.containers[0].image, with map keys that are no
// identifiers in brackets: metadata.annotations[example.com/key].
package workload

// Workload is the normal form of one pod or pod template.
type Workload struct {
	// Platform is the orchestrator whose manifest this is: "kubernetes".
	Platform string `json:"platform"`
	// Kind is what carries the pod: "Pod", "Deployment", "CronJob", "Workflow" …
	Kind string `json:"kind"`
	// Path is where the pod spec lies: "spec" for a Pod, "spec.template.spec" for a Deployment.
	Path string `json:"path"`
	// MetadataPath is where the pod's own metadata lies: "metadata", "spec.template.metadata".
	MetadataPath string `json:"metadataPath"`
	// Template is true when this is a pod template and false for a Pod itself.
	Template bool `json:"template"`
	// Mirror is true for a kubelet's static pod shown at the API server
	// (annotation kubernetes.io/config.mirror).
	Mirror bool `json:"mirror"`
	// OS is spec.os.name: "linux" or "windows"; "" where the manifest does not say.
	OS string `json:"os"`
	// Replicas is how many copies are asked for, 1 where the field is defaulted; absent for
	// kinds without it (Pod, DaemonSet, Job).
	Replicas *int64 `json:"replicas,omitempty"`

	// Labels and Annotations are those of the pod (of the template, not its owner), sorted by key.
	Labels      []KeyValue `json:"labels"`
	Annotations []KeyValue `json:"annotations"`

	HostNetwork           bool   `json:"hostNetwork"`
	HostPID               bool   `json:"hostPID"`
	HostIPC               bool   `json:"hostIPC"`
	HostUsers             bool   `json:"hostUsers"` // true unless spec.hostUsers is false (KEP-127)
	ShareProcessNamespace bool   `json:"shareProcessNamespace"`
	Hostname              string `json:"hostname"`
	NodeName              string `json:"nodeName"`      // also where the scheduler set it
	SchedulerName         string `json:"schedulerName"` // "default-scheduler" by default
	RestartPolicy         string `json:"restartPolicy"` // "Always" by default
	DNSPolicy             string `json:"dnsPolicy"`     // "ClusterFirst" by default
	RuntimeClass          string `json:"runtimeClass"`
	PriorityClass         string `json:"priorityClass"`
	// Priority is what admission computes from PriorityClass, so it is absent, except for
	// the two system classes and where a pod without class has one other than 0.
	Priority *int64 `json:"priority,omitempty"`
	// ServiceAccount is spec.serviceAccountName, else the deprecated spec.serviceAccount,
	// else "default".
	ServiceAccount string `json:"serviceAccount"`
	// AutomountServiceAccountToken is the pod's own setting; absent when it does not say
	// (the service account then decides, and the API server's default is to mount).
	AutomountServiceAccountToken  *bool  `json:"automountServiceAccountToken,omitempty"`
	TerminationGracePeriodSeconds int64  `json:"terminationGracePeriodSeconds"` // 30 by default
	ActiveDeadlineSeconds         *int64 `json:"activeDeadlineSeconds,omitempty"`

	// SecurityContext is the pod-level security context as written, not inherited by anything.
	SecurityContext PodSecurityContext `json:"securityContext"`
	// Resources are those of the pod as a whole (spec.resources, KEP-2837), requests
	// defaulted as the API server does.
	Resources Resources `json:"resources"`
	// AppArmorAnnotations are the deprecated container.apparmor.security.beta.kubernetes.io/* annotations.
	AppArmorAnnotations []AppArmorAnnotation `json:"appArmorAnnotations"`

	// Containers are all init, sidecar, regular and ephemeral containers, in that order.
	Containers []Container `json:"containers"`
	// Volumes are spec.volumes, without the generated kube-api-access-* token volume.
	Volumes []Volume `json:"volumes"`
	// Images are the images of containers and of image volumes (KEP-4639), one entry per use.
	Images []Image `json:"images"`
	// SecretRefs are all references to Secret objects, whatever field they stand in.
	SecretRefs []SecretRef `json:"secretRefs"`
	// ResourceClaims are spec.resourceClaims (dynamic resource allocation, KEP-4381).
	ResourceClaims []ResourceClaim `json:"resourceClaims"`

	HostAliases   []HostAlias  `json:"hostAliases"`
	Tolerations   []Toleration `json:"tolerations"`
	NodeSelector  []KeyValue   `json:"nodeSelector"`
	TopologyKeys  []string     `json:"topologyKeys"`  // of topologySpreadConstraints and pod anti-affinity, sorted, unique
	ReadinessGate []string     `json:"readinessGate"` // condition types of spec.readinessGates

	// Unresolved lists what the manifest leaves open, such as a template expression.
	Unresolved []Unresolved `json:"unresolved"`
}

// KeyValue is one label, annotation or node selector entry.
type KeyValue struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Role says from which list of the pod spec a container comes.
type Role string

// The roles of containers. A sidecar is an init container with restartPolicy
// Always (KEP-753).
const (
	RoleInit      Role = "init"
	RoleSidecar   Role = "sidecar"
	RoleApp       Role = "app"
	RoleEphemeral Role = "ephemeral"
)

// Container is one container of any role.
type Container struct {
	Name string `json:"name"`
	Role Role   `json:"role"`
	// Runtime is what the container runs as: "container", "vm" or "process".
	Runtime string `json:"runtime"`
	Path    string `json:"path"`  // spec.initContainers[0]
	Image   string `json:"image"` // as written; parsed in Workload.Images

	ImagePullPolicy string   `json:"imagePullPolicy"` // defaulted: Always for :latest or no tag and digest, else IfNotPresent; "" where the image is unresolved
	Command         []string `json:"command"`
	Args            []string `json:"args"`
	Stdin           bool     `json:"stdin"`
	TTY             bool     `json:"tty"`

	SecurityContext SecurityContext `json:"securityContext"`
	Resources       Resources       `json:"resources"`
	Env             []EnvVar        `json:"env"`
	EnvFrom         []EnvFrom       `json:"envFrom"`
	Ports           []Port          `json:"ports"`
	Mounts          []Mount         `json:"mounts"`
	Probes          []Probe         `json:"probes"` // only those that are set
	Hooks           []Hook          `json:"hooks"`  // lifecycle.postStart and preStop
}

// PodSecurityContext is spec.securityContext as written, with the path of the field.
type PodSecurityContext struct {
	Path                     string          `json:"path"` // spec.securityContext
	RunAsNonRoot             *bool           `json:"runAsNonRoot,omitempty"`
	RunAsUser                *int64          `json:"runAsUser,omitempty"`
	RunAsGroup               *int64          `json:"runAsGroup,omitempty"`
	FSGroup                  *int64          `json:"fsGroup,omitempty"`
	SupplementalGroups       []int64         `json:"supplementalGroups"`
	SupplementalGroupsPolicy string          `json:"supplementalGroupsPolicy"`
	SeccompProfile           *Profile        `json:"seccompProfile,omitempty"`
	AppArmorProfile          *Profile        `json:"appArmorProfile,omitempty"`
	SELinuxOptions           *SELinuxOptions `json:"seLinuxOptions,omitempty"`
	WindowsOptions           *WindowsOptions `json:"windowsOptions,omitempty"`
	Sysctls                  []Sysctl        `json:"sysctls"`
}

// SecurityContext is the security context in effect in one container: its own
// field where set, else the pod's. What neither sets is absent, except booleans
// that the kubelet treats as false.
type SecurityContext struct {
	Privileged               bool            `json:"privileged"`
	AllowPrivilegeEscalation *bool           `json:"allowPrivilegeEscalation,omitempty"`
	ReadOnlyRootFilesystem   bool            `json:"readOnlyRootFilesystem"`
	RunAsNonRoot             *bool           `json:"runAsNonRoot,omitempty"`
	RunAsUser                *int64          `json:"runAsUser,omitempty"`
	RunAsGroup               *int64          `json:"runAsGroup,omitempty"`
	ProcMount                string          `json:"procMount"` // "Default" by default
	Capabilities             Capabilities    `json:"capabilities"`
	SeccompProfile           *Profile        `json:"seccompProfile,omitempty"`
	AppArmorProfile          *Profile        `json:"appArmorProfile,omitempty"`
	SELinuxOptions           *SELinuxOptions `json:"seLinuxOptions,omitempty"`
	WindowsOptions           *WindowsOptions `json:"windowsOptions,omitempty"`
}

// Capabilities are the container's capability changes, as written (case and an
// optional CAP_ prefix are kept: the API server keeps them and PSA compares exactly).
type Capabilities struct {
	Add  []string `json:"add"`
	Drop []string `json:"drop"`
}

// Profile is a seccomp or AppArmor profile. Path is the field that sets it.
type Profile struct {
	Type             string `json:"type"`
	LocalhostProfile string `json:"localhostProfile"`
	Path             string `json:"path"`
}

// SELinuxOptions are the labels of a container or pod. Path is the field that sets them.
type SELinuxOptions struct {
	User  string `json:"user"`
	Role  string `json:"role"`
	Type  string `json:"type"`
	Level string `json:"level"`
	Path  string `json:"path"`
}

// WindowsOptions are Windows-only settings. Path is the field that sets them.
type WindowsOptions struct {
	HostProcess   bool   `json:"hostProcess"`
	RunAsUserName string `json:"runAsUserName"`
	Path          string `json:"path"`
}

// Sysctl is one kernel parameter of spec.securityContext.sysctls.
type Sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
	Path  string `json:"path"`
}

// AppArmorAnnotation is a deprecated per-container AppArmor annotation.
type AppArmorAnnotation struct {
	Container string `json:"container"`
	Value     string `json:"value"`
	Path      string `json:"path"` // metadata.annotations[container.apparmor…/NAME]
}

// Resources are a container's requests and limits.
type Resources struct {
	Requests ResourceList `json:"requests"`
	Limits   ResourceList `json:"limits"`
	// Claims are the names in resources.claims: which of Workload.ResourceClaims the container uses.
	Claims []string `json:"claims"`
}

// ResourceList holds quantities by resource. Requests missing where a limit is
// set are defaulted to the limit, as the API server does.
type ResourceList struct {
	CPU              *MilliQuantity     `json:"cpu,omitempty"`
	Memory           *Quantity          `json:"memory,omitempty"`
	EphemeralStorage *Quantity          `json:"ephemeralStorage,omitempty"`
	Extended         []ExtendedResource `json:"extended"` // everything else, hugepages included, sorted by name
}

// MilliQuantity is a quantity in Kubernetes' canonical form (0.5 is 500m) beside its exact value in thousandths (milli-CPU), rounded up.
type MilliQuantity struct {
	Text  string `json:"text"`
	Milli int64  `json:"milli"`
}

// Quantity is a quantity in Kubernetes' canonical form (1024Mi is 1Gi) beside its exact value (bytes, or a count), rounded up.
type Quantity struct {
	Text  string `json:"text"`
	Value int64  `json:"value"`
}

// ExtendedResource is a request or limit of any other resource, such as nvidia.com/gpu.
type ExtendedResource struct {
	Name  string `json:"name"`
	Text  string `json:"text"`
	Value int64  `json:"value"`
	Path  string `json:"path"`
}

// EnvVar is one environment variable. Source says where the value comes from:
// "value", "secretKeyRef", "configMapKeyRef", "fieldRef", "resourceFieldRef" or "fileKeyRef".
type EnvVar struct {
	Name   string `json:"name"`
	Value  string `json:"value"` // only for source "value"
	Source string `json:"source"`
	Ref    string `json:"ref"` // name of the Secret or ConfigMap, field path, resource or volume
	Key    string `json:"key"`
	Path   string `json:"path"`
}

// EnvFrom is one whole Secret or ConfigMap taken into the environment. Source is
// "secretRef" or "configMapRef".
type EnvFrom struct {
	Source string `json:"source"`
	Ref    string `json:"ref"`
	Prefix string `json:"prefix"`
	Path   string `json:"path"`
}

// Port is one declared port. HostPort is 0 where none is asked for; under
// hostNetwork the API server defaults it to the container port, and so do we.
type Port struct {
	Name          string `json:"name"`
	ContainerPort int64  `json:"containerPort"`
	HostPort      int64  `json:"hostPort"`
	HostIP        string `json:"hostIP"`
	Protocol      string `json:"protocol"` // "TCP" by default
	Path          string `json:"path"`
}

// Mount is one volume mount or, with Device true, one volume device.
type Mount struct {
	Volume      string `json:"volume"`
	MountPath   string `json:"mountPath"`
	SubPath     string `json:"subPath"`
	ReadOnly    bool   `json:"readOnly"`
	Propagation string `json:"propagation"` // "None" by default
	Device      bool   `json:"device"`
	Path        string `json:"path"`
}

// Probe is a liveness, readiness or startup probe. Handler is "exec", "httpGet",
// "tcpSocket" or "grpc"; Host is the address it is sent to, "" for the pod's own.
type Probe struct {
	Type    string `json:"type"` // liveness, readiness, startup
	Handler string `json:"handler"`
	Host    string `json:"host"`
	Path    string `json:"path"`
}

// Hook is a lifecycle hook. Handler is "exec", "httpGet", "tcpSocket" or "sleep".
type Hook struct {
	Type    string `json:"type"` // postStart, preStop
	Handler string `json:"handler"`
	Host    string `json:"host"`
	Path    string `json:"path"`
}

// Volume is one volume of the pod. Type is the name of its source field:
// "hostPath", "emptyDir", "secret", "image" … or "" where the source is unknown to
// this version (which no policy may take for harmless).
type Volume struct {
	Name string `json:"name"`
	Type string `json:"type"`
	Path string `json:"path"` // spec.volumes[0]
	// HostPath is the path on the node, cleaned (no "..", no double or trailing slash),
	// for type hostPath; HostPathType its type field.
	HostPath     string `json:"hostPath"`
	HostPathType string `json:"hostPathType"`
	// Driver is the CSI or flexVolume driver; Claim the PersistentVolumeClaim's name;
	// StorageClass that of an ephemeral volume's claim template.
	Driver       string `json:"driver"`
	Claim        string `json:"claim"`
	StorageClass string `json:"storageClass"`
	Medium       string `json:"medium"`              // of emptyDir
	SizeLimit    *int64 `json:"sizeLimit,omitempty"` // of emptyDir, in bytes
	ReadOnly     bool   `json:"readOnly"`            // of the source, for the types that have the field
	// Sources are those of a projected volume.
	Sources []ProjectedSource `json:"sources"`
}

// ProjectedSource is one source of a projected volume. Type is "secret",
// "configMap", "downwardAPI", "serviceAccountToken", "clusterTrustBundle" or
// "podCertificate".
type ProjectedSource struct {
	Type              string `json:"type"`
	Ref               string `json:"ref"`    // name of the Secret, ConfigMap or ClusterTrustBundle, signer of a podCertificate
	Signer            string `json:"signer"` // of a podCertificate, or of ClusterTrustBundles chosen by signer
	Audience          string `json:"audience"`
	ExpirationSeconds int64  `json:"expirationSeconds"` // 3600 by default for tokens
	Path              string `json:"path"`
}

// Image is one image the workload makes a node pull.
type Image struct {
	// Text is the reference as written; Ref its canonical form
	// registry/repository[:tag][@digest], with docker.io and library/ spelled out,
	// the default port removed, and :latest where neither tag nor digest is given.
	Text       string `json:"text"`
	Ref        string `json:"ref"`
	Registry   string `json:"registry"`   // docker.io, ghcr.io, registry.example:5000
	Repository string `json:"repository"` // library/nginx
	Tag        string `json:"tag"`        // "" where only a digest is given; "latest" where nothing is
	Digest     string `json:"digest"`     // sha256:…, "" where none
	// Container is the name of the container, or "" for an image volume; Volume the other way round.
	Container string `json:"container"`
	Volume    string `json:"volume"`
	Path      string `json:"path"` // spec.containers[0].image, spec.volumes[2].image.reference
}

// SecretRef is one reference to a Secret. Via is "env", "envFrom", "volume",
// "projected", "imagePullSecret", "csi" or the volume type that carries it
// ("cephfs", "rbd", "iscsi", "flexVolume", "scaleIO", "storageos", "azureFile"). A
// volume that takes only some keys of a Secret has one reference for each.
type SecretRef struct {
	Name     string `json:"name"`
	Key      string `json:"key"` // "" for the whole Secret
	Via      string `json:"via"`
	Optional bool   `json:"optional"`
	// Container is the container it is for; "" for the whole pod.
	Container string `json:"container"`
	Path      string `json:"path"`
}

// ResourceClaim is one entry of spec.resourceClaims.
type ResourceClaim struct {
	Name     string `json:"name"`
	Claim    string `json:"claim"`    // resourceClaimName
	Template string `json:"template"` // resourceClaimTemplateName
	Path     string `json:"path"`
}

// HostAlias is one line added to /etc/hosts.
type HostAlias struct {
	IP        string   `json:"ip"`
	Hostnames []string `json:"hostnames"`
	Path      string   `json:"path"`
}

// Toleration is one toleration as written.
type Toleration struct {
	Key      string `json:"key"`
	Operator string `json:"operator"` // "Equal" by default
	Value    string `json:"value"`
	Effect   string `json:"effect"`
	Path     string `json:"path"`
}

// Unresolved is one thing the manifest leaves open: a value that only a later
// step fills in (an Argo or Tekton parameter, a Helm value that was not given).
type Unresolved struct {
	Path       string `json:"path"`
	Expression string `json:"expression"`
	Reason     string `json:"reason"`
}
