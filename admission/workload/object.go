package workload

import (
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// The types of this file are the parts of Kubernetes' own types (k8s.io/api/core/v1)
// that the normal form needs. Decoding only those takes a third of the time and
// memory. Keys are case-sensitive as at the API server; a key given twice and
// invalid UTF-8 are errors.

type podObject struct {
	Metadata objectMeta `json:"metadata"`
	Spec     podSpec    `json:"spec"`
}

// podTemplate has the same shape as a pod.
type podTemplate = podObject

type objectMeta struct {
	Labels      pairs `json:"labels"`
	Annotations pairs `json:"annotations"`
}

type podSpec struct {
	InitContainers      []container `json:"initContainers"`
	Containers          []container `json:"containers"`
	EphemeralContainers []container `json:"ephemeralContainers"`
	Volumes             []volume    `json:"volumes"`

	HostNetwork           bool  `json:"hostNetwork"`
	HostPID               bool  `json:"hostPID"`
	HostIPC               bool  `json:"hostIPC"`
	HostUsers             *bool `json:"hostUsers"`
	ShareProcessNamespace bool  `json:"shareProcessNamespace"`

	Hostname          string `json:"hostname"`
	NodeName          string `json:"nodeName"`
	SchedulerName     string `json:"schedulerName"`
	RestartPolicy     string `json:"restartPolicy"`
	DNSPolicy         string `json:"dnsPolicy"`
	RuntimeClassName  string `json:"runtimeClassName"`
	PriorityClassName string `json:"priorityClassName"`
	Priority          *int64 `json:"priority"`
	OS                struct {
		Name string `json:"name"`
	} `json:"os"`

	ServiceAccountName            string `json:"serviceAccountName"`
	DeprecatedServiceAccount      string `json:"serviceAccount"`
	AutomountServiceAccountToken  *bool  `json:"automountServiceAccountToken"`
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds"`
	ActiveDeadlineSeconds         *int64 `json:"activeDeadlineSeconds"`

	SecurityContext  podSecurityContext `json:"securityContext"`
	Resources        resources          `json:"resources"`
	ImagePullSecrets []nameOnly         `json:"imagePullSecrets"`
	ResourceClaims   []resourceClaim    `json:"resourceClaims"`
	HostAliases      []hostAlias        `json:"hostAliases"`
	Tolerations      []toleration       `json:"tolerations"`
	NodeSelector     pairs              `json:"nodeSelector"`
	ReadinessGates   []readinessGate    `json:"readinessGates"`

	TopologySpreadConstraints []topologyTerm `json:"topologySpreadConstraints"`
	Affinity                  affinity       `json:"affinity"`
}

type nameOnly struct {
	Name string `json:"name"`
}

type readinessGate struct {
	ConditionType string `json:"conditionType"`
}

type topologyTerm struct {
	TopologyKey string `json:"topologyKey"`
}

type affinity struct {
	PodAntiAffinity struct {
		Required  []topologyTerm `json:"requiredDuringSchedulingIgnoredDuringExecution"`
		Preferred []struct {
			Term topologyTerm `json:"podAffinityTerm"`
		} `json:"preferredDuringSchedulingIgnoredDuringExecution"`
	} `json:"podAntiAffinity"`
}

type hostAlias struct {
	IP        string   `json:"ip"`
	Hostnames []string `json:"hostnames"`
}

type toleration struct {
	Key      string `json:"key"`
	Operator string `json:"operator"`
	Value    string `json:"value"`
	Effect   string `json:"effect"`
	Seconds  *int64 `json:"tolerationSeconds"`
}

type resourceClaim struct {
	Name     string `json:"name"`
	Claim    string `json:"resourceClaimName"`
	Template string `json:"resourceClaimTemplateName"`
	// Source is where the two above stood before Kubernetes 1.31.
	Source struct {
		Claim    string `json:"resourceClaimName"`
		Template string `json:"resourceClaimTemplateName"`
	} `json:"source"`
}

type podSecurityContext struct {
	RunAsNonRoot             *bool           `json:"runAsNonRoot"`
	RunAsUser                *int64          `json:"runAsUser"`
	RunAsGroup               *int64          `json:"runAsGroup"`
	FSGroup                  *int64          `json:"fsGroup"`
	SupplementalGroups       []int64         `json:"supplementalGroups"`
	SupplementalGroupsPolicy string          `json:"supplementalGroupsPolicy"`
	SeccompProfile           *profile        `json:"seccompProfile"`
	AppArmorProfile          *profile        `json:"appArmorProfile"`
	SELinuxOptions           *seLinuxOptions `json:"seLinuxOptions"`
	WindowsOptions           *windowsOptions `json:"windowsOptions"`
	Sysctls                  []sysctl        `json:"sysctls"`
}

type profile struct {
	Type             string `json:"type"`
	LocalhostProfile string `json:"localhostProfile"`
}

type seLinuxOptions struct {
	User  string `json:"user"`
	Role  string `json:"role"`
	Type  string `json:"type"`
	Level string `json:"level"`
}

type windowsOptions struct {
	HostProcess   *bool   `json:"hostProcess"`
	RunAsUserName *string `json:"runAsUserName"`
}

type sysctl struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

type container struct {
	Name            string   `json:"name"`
	Image           string   `json:"image"`
	ImagePullPolicy string   `json:"imagePullPolicy"`
	RestartPolicy   string   `json:"restartPolicy"`
	Command         []string `json:"command"`
	Args            []string `json:"args"`
	Stdin           bool     `json:"stdin"`
	TTY             bool     `json:"tty"`

	SecurityContext *securityContext `json:"securityContext"`
	Resources       resources        `json:"resources"`
	Env             []envVar         `json:"env"`
	EnvFrom         []envFrom        `json:"envFrom"`
	Ports           []port           `json:"ports"`
	VolumeMounts    []mount          `json:"volumeMounts"`
	VolumeDevices   []device         `json:"volumeDevices"`

	LivenessProbe  *probe `json:"livenessProbe"`
	ReadinessProbe *probe `json:"readinessProbe"`
	StartupProbe   *probe `json:"startupProbe"`
	Lifecycle      *struct {
		PostStart *probe `json:"postStart"`
		PreStop   *probe `json:"preStop"`
	} `json:"lifecycle"`

	imagePath string // where image does not lie in the container
}

type securityContext struct {
	Privileged               *bool           `json:"privileged"`
	AllowPrivilegeEscalation *bool           `json:"allowPrivilegeEscalation"`
	ReadOnlyRootFilesystem   *bool           `json:"readOnlyRootFilesystem"`
	RunAsNonRoot             *bool           `json:"runAsNonRoot"`
	RunAsUser                *int64          `json:"runAsUser"`
	RunAsGroup               *int64          `json:"runAsGroup"`
	ProcMount                string          `json:"procMount"`
	Capabilities             capabilities    `json:"capabilities"`
	SeccompProfile           *profile        `json:"seccompProfile"`
	AppArmorProfile          *profile        `json:"appArmorProfile"`
	SELinuxOptions           *seLinuxOptions `json:"seLinuxOptions"`
	WindowsOptions           *windowsOptions `json:"windowsOptions"`
}

type capabilities struct {
	Add  []string `json:"add"`
	Drop []string `json:"drop"`
}

type resources struct {
	Requests quantities `json:"requests"`
	Limits   quantities `json:"limits"`
	Claims   []nameOnly `json:"claims"`
}

type envVar struct {
	Name      string     `json:"name"`
	Value     string     `json:"value"`
	ValueFrom *envSource `json:"valueFrom"`
	path      string     // where it does not lie in the container's env
}

type envSource struct {
	SecretKeyRef     *selector `json:"secretKeyRef"`
	ConfigMapKeyRef  *selector `json:"configMapKeyRef"`
	FieldRef         *selector `json:"fieldRef"`
	ResourceFieldRef *selector `json:"resourceFieldRef"`
	FileKeyRef       *selector `json:"fileKeyRef"`
}

// selector is any of the selectors an environment variable can have.
type selector struct {
	Name       string `json:"name"`
	Key        string `json:"key"`
	Optional   bool   `json:"optional"`
	FieldPath  string `json:"fieldPath"`
	Resource   string `json:"resource"`
	VolumeName string `json:"volumeName"`
}

type envFrom struct {
	Prefix       string    `json:"prefix"`
	SecretRef    *selector `json:"secretRef"`
	ConfigMapRef *selector `json:"configMapRef"`
}

type port struct {
	Name          string `json:"name"`
	ContainerPort int64  `json:"containerPort"`
	HostPort      int64  `json:"hostPort"`
	HostIP        string `json:"hostIP"`
	Protocol      string `json:"protocol"`
}

type mount struct {
	Name             string `json:"name"`
	MountPath        string `json:"mountPath"`
	SubPath          string `json:"subPath"`
	SubPathExpr      string `json:"subPathExpr"`
	ReadOnly         bool   `json:"readOnly"`
	MountPropagation string `json:"mountPropagation"`
}

type device struct {
	Name       string `json:"name"`
	DevicePath string `json:"devicePath"`
}

// probe is a probe or a lifecycle hook.
type probe struct {
	Exec      *host `json:"exec"`
	HTTPGet   *host `json:"httpGet"`
	TCPSocket *host `json:"tcpSocket"`
	GRPC      *host `json:"grpc"`
	Sleep     *host `json:"sleep"`
}

type host struct {
	Host string `json:"host"`
}

// volume is a volume with its one source.
type volume struct {
	Name string
	// Type is the name of the source field, "" for none; Source its content where the type is known.
	Type   string
	Source volumeSource
	// Unknown is true when there is a field this version does not know.
	Unknown bool
}

// volumeSource has the fields of all known sources that matter here.
type volumeSource struct {
	Path       string   `json:"path"`       // hostPath, and others that are not looked at
	Type       string   `json:"type"`       // hostPath
	SecretName string   `json:"secretName"` // secret, azureFile
	Optional   bool     `json:"optional"`   // secret
	Items      []item   `json:"items"`      // secret
	Driver     string   `json:"driver"`     // csi, flexVolume
	ReadOnly   bool     `json:"readOnly"`
	ClaimName  string   `json:"claimName"` // persistentVolumeClaim
	Medium     string   `json:"medium"`    // emptyDir
	SizeLimit  quantity `json:"sizeLimit"` // emptyDir
	Reference  string   `json:"reference"` // image
	PullPolicy string   `json:"pullPolicy"`
	SecretRef  nameOnly `json:"secretRef"` // cephfs, rbd, iscsi, flexVolume, scaleIO, storageos

	NodePublishSecretRef nameOnly          `json:"nodePublishSecretRef"` // csi
	Sources              []projectedSource `json:"sources"`              // projected
	DefaultMode          *int64            `json:"defaultMode"`          // projected

	VolumeClaimTemplate struct {
		Spec struct {
			StorageClassName string `json:"storageClassName"`
		} `json:"spec"`
	} `json:"volumeClaimTemplate"` // ephemeral
}

type item struct {
	Key  string `json:"key"`
	Path string `json:"path"`
}

type projectedSource struct {
	Secret              *projected `json:"secret"`
	ConfigMap           *projected `json:"configMap"`
	DownwardAPI         *projected `json:"downwardAPI"`
	ServiceAccountToken *projected `json:"serviceAccountToken"`
	ClusterTrustBundle  *projected `json:"clusterTrustBundle"`
	PodCertificate      *projected `json:"podCertificate"`
}

// projected has the fields of all known projected sources that matter here.
type projected struct {
	Name       string          `json:"name"`
	Optional   bool            `json:"optional"`
	Items      []projectedItem `json:"items"`
	Audience   string          `json:"audience"`
	Path       string          `json:"path"`
	SignerName string          `json:"signerName"`

	ExpirationSeconds    *int64 `json:"expirationSeconds"`
	MaxExpirationSeconds *int64 `json:"maxExpirationSeconds"`
}

type projectedItem struct {
	Key      string `json:"key"`
	Path     string `json:"path"`
	FieldRef struct {
		FieldPath string `json:"fieldPath"`
	} `json:"fieldRef"`
}

// knownSources are the volume sources of Kubernetes 1.37.
func knownSource(name string) bool {
	switch name {
	case "hostPath", "emptyDir", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "secret", "nfs", "iscsi",
		"glusterfs", "persistentVolumeClaim", "rbd", "flexVolume", "cinder", "cephfs", "flocker", "downwardAPI", "fc",
		"azureFile", "configMap", "vsphereVolume", "quobyte", "azureDisk", "photonPersistentDisk", "projected",
		"portworxVolume", "scaleIO", "storageos", "csi", "ephemeral", "image":
		return true
	}
	return false
}

// UnmarshalJSONFrom takes the one field beside name for the source. The API server
// refuses a volume with two sources, and one without any becomes an emptyDir.
func (v *volume) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*v = volume{}
	return eachField(d, func(name string) error {
		switch {
		case name == "name":
			return json.UnmarshalDecode(d, &v.Name)
		case d.PeekKind() == 'n':
			return d.SkipValue()
		case !knownSource(name):
			v.Unknown = true
			return d.SkipValue()
		case v.Type != "":
			return fmt.Errorf("the volume has two sources, %s and %s: leave one", v.Type, name)
		}
		v.Type = name
		return json.UnmarshalDecode(d, &v.Source)
	})
}

// eachField calls f before the value of each field of an object; null has none.
func eachField(d *jsontext.Decoder, f func(name string) error) error {
	token, err := d.ReadToken()
	if err != nil || token.Kind() == 'n' {
		return err
	}
	if token.Kind() != '{' {
		return fmt.Errorf("it is a %s: make it a map", kindName(token.Kind()))
	}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return err
		}
		if err := f(name.String()); err != nil {
			return err
		}
	}
	_, err = d.ReadToken()
	return err
}

// pairs is a map of strings in the order of the document.
type pairs []KeyValue

// UnmarshalJSONFrom reads an object of strings.
func (p *pairs) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*p = nil
	return eachField(d, func(name string) error {
		value, err := d.ReadToken()
		if err != nil {
			return err
		}
		if value.Kind() != '"' && value.Kind() != 'n' {
			return fmt.Errorf("the value of %q is a %s: put it in quotes", abbreviate(name), kindName(value.Kind()))
		}
		pair := KeyValue{Key: name}
		if value.Kind() == '"' {
			pair.Value = value.String()
		}
		*p = append(*p, pair)
		return nil
	})
}

// get returns the value of a key.
func (p pairs) get(key string) (string, bool) {
	for _, pair := range p {
		if pair.Key == key {
			return pair.Value, true
		}
	}
	return "", false
}

// quantity is the text of a quantity, "" for none.
type quantity string

// UnmarshalJSONFrom takes strings and numbers, as Kubernetes does.
func (q *quantity) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	token, err := d.ReadToken()
	if err != nil {
		return err
	}
	switch token.Kind() {
	case 'n':
		*q = ""
	case '"', '0':
		*q = quantity(token.String())
	default:
		return fmt.Errorf("it is a %s: make it a quantity such as 500m or 64Mi", kindName(token.Kind()))
	}
	return nil
}

// quantities is a resource list in the order of the document.
type quantities []namedQuantity

type namedQuantity struct {
	name  string
	value quantity
}

// UnmarshalJSONFrom reads an object of quantities.
func (q *quantities) UnmarshalJSONFrom(d *jsontext.Decoder) error {
	*q = nil
	return eachField(d, func(name string) error {
		n := namedQuantity{name: name}
		if err := n.value.UnmarshalJSONFrom(d); err != nil {
			return err
		}
		*q = append(*q, n)
		return nil
	})
}

func (q quantities) has(name string) bool {
	for _, n := range q {
		if n.name == name {
			return true
		}
	}
	return false
}
