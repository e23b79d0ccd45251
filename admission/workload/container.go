package workload

import "strings"

// container writes one container and what it refers to.
func (b *builder) container(from *placedContainer, to *Container) error {
	path := b.containerPath(from)
	*to = Container{
		Name: from.Name, Role: from.role, Runtime: "container", Path: path, Image: from.Image,
		ImagePullPolicy: from.ImagePullPolicy,
		Command:         list(from.Command), Args: list(from.Args), Stdin: from.Stdin, TTY: from.TTY,
	}
	if err := b.image(from, to); err != nil {
		return err
	}
	to.SecurityContext = b.effective(from)
	var err error
	if to.Resources, err = b.resources(&from.Resources, b.paths.field(path, "resources")); err != nil {
		return err
	}
	b.environment(from, to)
	b.ports(from, to)
	b.mounts(from, to)
	b.probesAndHooks(from, to)
	return nil
}

func (b *builder) containerPath(c *placedContainer) string {
	if c.number < 0 {
		return b.paths.field(c.parent, c.field)
	}
	return b.paths.index(c.parent, c.field, c.number)
}

// image parses the image reference and defaults the pull policy by it.
func (b *builder) image(from *placedContainer, to *Container) error {
	path := from.imagePath
	if path == "" {
		path = b.paths.field(to.Path, "image")
	}
	if reason := b.openImage(from.Image); reason != "" {
		b.out.Unresolved = append(b.out.Unresolved, Unresolved{path, from.Image, reason})
		return nil
	}
	if b.syntax.isOpen(from.Image) {
		return nil // listed with all other expressions
	}
	image, err := ParseImage(from.Image)
	if err != nil && b.lenient {
		b.out.Unresolved = append(b.out.Unresolved, Unresolved{path, from.Image, err.Error()})
		return nil
	}
	if err != nil {
		refused := err.(*ReferenceError)
		refused.Path = path
		return refused
	}
	image.Container, image.Path = from.Name, path
	b.out.Images = append(b.out.Images, image)
	if to.ImagePullPolicy == "" {
		to.ImagePullPolicy = pullPolicy(image)
	}
	return nil
}

// openImage says why there is no image to parse though the API server admits the
// object: in a template it takes blanks, which some controllers (OpenShift's image
// triggers) replace, but it refuses a template without image, and a pod with blanks.
func (b *builder) openImage(text string) string {
	switch {
	case b.images && text == "":
		return "the image is chosen by the controller of the kind"
	case b.template && text != "" && strings.TrimSpace(text) == "":
		return "the image is a blank that a controller replaces"
	}
	return ""
}

// pullPolicy is the API server's default.
func pullPolicy(image Image) string {
	if image.Tag == "latest" {
		return "Always"
	}
	return "IfNotPresent"
}

func (b *builder) environment(from *placedContainer, to *Container) {
	to.Env = make([]EnvVar, len(from.Env))
	for i := range from.Env {
		b.envVar(&from.Env[i], &to.Env[i], to, i)
	}
	to.EnvFrom = make([]EnvFrom, len(from.EnvFrom))
	for i := range from.EnvFrom {
		source := &from.EnvFrom[i]
		path := b.paths.index(to.Path, "envFrom", i)
		to.EnvFrom[i] = EnvFrom{Prefix: source.Prefix, Path: path}
		switch {
		case source.SecretRef != nil:
			to.EnvFrom[i].Source, to.EnvFrom[i].Ref = "secretRef", source.SecretRef.Name
			b.out.SecretRefs = append(b.out.SecretRefs, SecretRef{Name: source.SecretRef.Name, Via: "envFrom",
				Optional: source.SecretRef.Optional, Container: to.Name, Path: b.paths.field(path, "secretRef")})
		case source.ConfigMapRef != nil:
			to.EnvFrom[i].Source, to.EnvFrom[i].Ref = "configMapRef", source.ConfigMapRef.Name
		}
	}
}

func (b *builder) envVar(from *envVar, to *EnvVar, c *Container, i int) {
	*to = EnvVar{Name: from.Name, Path: from.path}
	if to.Path == "" {
		to.Path = b.paths.index(c.Path, "env", i)
	}
	source := from.ValueFrom
	switch {
	case source == nil:
		to.Source, to.Value = "value", from.Value
	case source.SecretKeyRef != nil:
		to.Source, to.Ref, to.Key = "secretKeyRef", source.SecretKeyRef.Name, source.SecretKeyRef.Key
		b.out.SecretRefs = append(b.out.SecretRefs, SecretRef{Name: to.Ref, Key: to.Key, Via: "env",
			Optional: source.SecretKeyRef.Optional, Container: c.Name, Path: b.paths.within(to.Path, "valueFrom", "secretKeyRef")})
	case source.ConfigMapKeyRef != nil:
		to.Source, to.Ref, to.Key = "configMapKeyRef", source.ConfigMapKeyRef.Name, source.ConfigMapKeyRef.Key
	case source.FieldRef != nil:
		to.Source, to.Ref = "fieldRef", source.FieldRef.FieldPath
	case source.ResourceFieldRef != nil:
		to.Source, to.Ref = "resourceFieldRef", source.ResourceFieldRef.Resource
	case source.FileKeyRef != nil:
		to.Source, to.Ref, to.Key = "fileKeyRef", source.FileKeyRef.VolumeName, source.FileKeyRef.Key
	}
}

func (b *builder) ports(from *placedContainer, to *Container) {
	to.Ports = make([]Port, len(from.Ports))
	for i, p := range from.Ports {
		if b.spec.HostNetwork && p.HostPort == 0 {
			p.HostPort = p.ContainerPort
		}
		to.Ports[i] = Port{p.Name, p.ContainerPort, p.HostPort, p.HostIP, or(p.Protocol, "TCP"),
			b.paths.index(to.Path, "ports", i)}
	}
}

func (b *builder) mounts(from *placedContainer, to *Container) {
	to.Mounts = make([]Mount, 0, len(from.VolumeMounts)+len(from.VolumeDevices))
	for i := range from.VolumeMounts {
		m := &from.VolumeMounts[i]
		if b.injected != "" && m.Name == b.injected {
			continue
		}
		to.Mounts = append(to.Mounts, Mount{Volume: m.Name, MountPath: m.MountPath, SubPath: or(m.SubPath, m.SubPathExpr),
			ReadOnly: m.ReadOnly, Propagation: or(m.MountPropagation, "None"), Path: b.paths.index(to.Path, "volumeMounts", i)})
	}
	for i, d := range from.VolumeDevices {
		to.Mounts = append(to.Mounts, Mount{Volume: d.Name, MountPath: d.DevicePath, Propagation: "None", Device: true,
			Path: b.paths.index(to.Path, "volumeDevices", i)})
	}
}

func (b *builder) probesAndHooks(from *placedContainer, to *Container) {
	to.Probes, to.Hooks = []Probe{}, []Hook{}
	for _, p := range [...]struct {
		kind, field string
		*probe
	}{
		{"liveness", "livenessProbe", from.LivenessProbe},
		{"readiness", "readinessProbe", from.ReadinessProbe},
		{"startup", "startupProbe", from.StartupProbe},
	} {
		if p.probe != nil {
			handler, host := p.handler()
			to.Probes = append(to.Probes, Probe{p.kind, handler, host, b.paths.field(to.Path, p.field)})
		}
	}
	if from.Lifecycle == nil {
		return
	}
	if hook := from.Lifecycle.PostStart; hook != nil {
		handler, host := hook.handler()
		to.Hooks = append(to.Hooks, Hook{"postStart", handler, host, b.paths.within(to.Path, "lifecycle", "postStart")})
	}
	if hook := from.Lifecycle.PreStop; hook != nil {
		handler, host := hook.handler()
		to.Hooks = append(to.Hooks, Hook{"preStop", handler, host, b.paths.within(to.Path, "lifecycle", "preStop")})
	}
}

// handler names what a probe or hook does, and to which host. Of several handlers,
// which the API server refuses, it is one that goes to a host.
func (p *probe) handler() (name, host string) {
	switch {
	case p.HTTPGet != nil && (p.TCPSocket == nil || p.HTTPGet.Host != ""):
		return "httpGet", p.HTTPGet.Host
	case p.TCPSocket != nil:
		return "tcpSocket", p.TCPSocket.Host
	case p.Exec != nil:
		return "exec", ""
	case p.GRPC != nil:
		return "grpc", ""
	case p.Sleep != nil:
		return "sleep", ""
	}
	return "", ""
}
