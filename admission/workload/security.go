package workload

import "strings"

// appArmorPrefix begins the annotations that set a container's profile before
// Kubernetes 1.30; the container's name follows.
const appArmorPrefix = "container.apparmor.security.beta.kubernetes.io/"

// security writes the security context of the pod and the AppArmor annotations.
func (b *builder) security() {
	from, to := &b.spec.SecurityContext, &b.out.SecurityContext
	parent := b.at("securityContext")
	*to = PodSecurityContext{
		Path:         b.paths.field(parent, "securityContext"),
		RunAsNonRoot: from.RunAsNonRoot, RunAsUser: from.RunAsUser, RunAsGroup: from.RunAsGroup, FSGroup: from.FSGroup,
		SupplementalGroups: from.SupplementalGroups, SupplementalGroupsPolicy: from.SupplementalGroupsPolicy,
		Sysctls: make([]Sysctl, len(from.Sysctls)),
	}
	if to.SupplementalGroups == nil {
		to.SupplementalGroups = []int64{}
	}
	for i, s := range from.Sysctls {
		to.Sysctls[i] = Sysctl{s.Name, s.Value, b.paths.index(to.Path, "sysctls", i)}
	}
	to.SeccompProfile = b.profile(from.SeccompProfile, to.Path, "seccompProfile")
	to.AppArmorProfile = b.profile(from.AppArmorProfile, to.Path, "appArmorProfile")
	to.SELinuxOptions = b.seLinux(from.SELinuxOptions, to.Path)
	to.WindowsOptions = b.windows(from.WindowsOptions, to.Path)

	for _, a := range b.out.Annotations {
		if name, ok := strings.CutPrefix(a.Key, appArmorPrefix); ok {
			b.out.AppArmorAnnotations = append(b.out.AppArmorAnnotations,
				AppArmorAnnotation{name, a.Value, b.paths.key(b.metadataPath, "annotations", a.Key)})
		}
	}
}

func (b *builder) profile(p *profile, parent, field string) *Profile {
	if p == nil {
		return nil
	}
	return &Profile{p.Type, p.LocalhostProfile, b.paths.field(parent, field)}
}

func (b *builder) seLinux(o *seLinuxOptions, parent string) *SELinuxOptions {
	if o == nil {
		return nil
	}
	return &SELinuxOptions{o.User, o.Role, o.Type, o.Level, b.paths.field(parent, "seLinuxOptions")}
}

func (b *builder) windows(o *windowsOptions, parent string) *WindowsOptions {
	if o == nil {
		return nil
	}
	out := &WindowsOptions{Path: b.paths.field(parent, "windowsOptions")}
	out.set(o)
	return out
}

func (w *WindowsOptions) set(o *windowsOptions) {
	if o.HostProcess != nil {
		w.HostProcess = *o.HostProcess
	}
	if o.RunAsUserName != nil {
		w.RunAsUserName = *o.RunAsUserName
	}
}

// effective is the security context in effect in a container, as the kubelet's
// securitycontext.DetermineEffectiveSecurityContext finds it: the container's own
// fields where set, else the pod's; Windows options are merged field by field.
func (b *builder) effective(c *placedContainer) SecurityContext {
	pod := &b.out.SecurityContext
	out := SecurityContext{
		RunAsNonRoot: pod.RunAsNonRoot, RunAsUser: pod.RunAsUser, RunAsGroup: pod.RunAsGroup, ProcMount: "Default",
		Capabilities:   Capabilities{Add: []string{}, Drop: []string{}},
		SeccompProfile: pod.SeccompProfile, AppArmorProfile: pod.AppArmorProfile,
		SELinuxOptions: pod.SELinuxOptions, WindowsOptions: pod.WindowsOptions,
	}
	if c.SecurityContext != nil {
		b.override(&out, c)
	}
	b.appArmorAnnotation(&out, c)
	return out
}

// override applies the container's own fields.
func (b *builder) override(out *SecurityContext, c *placedContainer) {
	own := c.SecurityContext
	path := b.paths.field(b.containerPath(c), "securityContext")
	out.Privileged = own.Privileged != nil && *own.Privileged
	out.AllowPrivilegeEscalation = own.AllowPrivilegeEscalation
	out.ReadOnlyRootFilesystem = own.ReadOnlyRootFilesystem != nil && *own.ReadOnlyRootFilesystem
	out.ProcMount = or(own.ProcMount, "Default")
	out.Capabilities = Capabilities{Add: list(own.Capabilities.Add), Drop: list(own.Capabilities.Drop)}
	if own.RunAsNonRoot != nil {
		out.RunAsNonRoot = own.RunAsNonRoot
	}
	if own.RunAsUser != nil {
		out.RunAsUser = own.RunAsUser
	}
	if own.RunAsGroup != nil {
		out.RunAsGroup = own.RunAsGroup
	}
	if own.SeccompProfile != nil {
		out.SeccompProfile = b.profile(own.SeccompProfile, path, "seccompProfile")
	}
	if own.AppArmorProfile != nil {
		out.AppArmorProfile = b.profile(own.AppArmorProfile, path, "appArmorProfile")
	}
	if own.SELinuxOptions != nil {
		out.SELinuxOptions = b.seLinux(own.SELinuxOptions, path)
	}
	if own.WindowsOptions != nil {
		merged := WindowsOptions{}
		if out.WindowsOptions != nil {
			merged = *out.WindowsOptions
		}
		merged.set(own.WindowsOptions)
		merged.Path = b.paths.field(path, "windowsOptions")
		out.WindowsOptions = &merged
	}
}

// appArmorAnnotation applies the deprecated annotation as the API server does to
// Linux pods on creation: it fills the container's field where that is empty. A
// field that says what the annotation says was filled so, and has its path.
func (b *builder) appArmorAnnotation(out *SecurityContext, c *placedContainer) {
	if b.spec.OS.Name == "windows" {
		return
	}
	for _, a := range b.out.AppArmorAnnotations {
		if a.Container != c.Name {
			continue
		}
		filled := annotatedProfile(a)
		own := c.SecurityContext != nil && c.SecurityContext.AppArmorProfile != nil
		pod := b.out.SecurityContext.AppArmorProfile
		switch {
		case filled == nil:
		case own && !filled.same(out.AppArmorProfile):
		case !own && filled.same(pod):
		default:
			out.AppArmorProfile = filled
		}
	}
}

// same compares what profiles say, not where.
func (p *Profile) same(other *Profile) bool {
	return other != nil && p.Type == other.Type && p.LocalhostProfile == other.LocalhostProfile
}

// annotatedProfile is the profile an annotation means, nil for none.
func annotatedProfile(a AppArmorAnnotation) *Profile {
	switch local, ok := strings.CutPrefix(a.Value, "localhost/"); {
	case a.Value == "unconfined":
		return &Profile{Type: "Unconfined", Path: a.Path}
	case a.Value == "runtime/default":
		return &Profile{Type: "RuntimeDefault", Path: a.Path}
	case ok && local != "":
		return &Profile{Type: "Localhost", LocalhostProfile: local, Path: a.Path}
	}
	return nil
}
