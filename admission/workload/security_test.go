package workload

import (
	"strings"
	"testing"
)

func TestSecurityContextIsInherited(t *testing.T) {
	const pod = `{runAsNonRoot: true, runAsUser: 1, runAsGroup: 2, seccompProfile: {type: RuntimeDefault},
		appArmorProfile: {type: Localhost, localhostProfile: p}, seLinuxOptions: {type: t}, windowsOptions: {hostProcess: true, runAsUserName: u}}`
	w := podOf(t, `{securityContext: `+pod+`, containers: [
		{name: silent, image: a},
		{name: own, image: a, securityContext: {runAsNonRoot: false, runAsUser: 0, runAsGroup: 0, seccompProfile: {type: Unconfined},
			appArmorProfile: {type: Unconfined}, seLinuxOptions: {level: l}, windowsOptions: {runAsUserName: v}}},
		{name: half, image: a, securityContext: {runAsUser: 7, windowsOptions: {hostProcess: false}}}]}`)
	want := map[string]string{
		"silent": `nonRoot=true user=1 group=2 seccomp=RuntimeDefault@spec.securityContext.seccompProfile apparmor=Localhost/p@spec.securityContext.appArmorProfile ` +
			`selinux=t/@spec.securityContext.seLinuxOptions windows=true/u@spec.securityContext.windowsOptions`,
		"own": `nonRoot=false user=0 group=0 seccomp=Unconfined@spec.containers[1].securityContext.seccompProfile apparmor=Unconfined/@spec.containers[1].securityContext.appArmorProfile ` +
			`selinux=/l@spec.containers[1].securityContext.seLinuxOptions windows=true/v@spec.containers[1].securityContext.windowsOptions`,
		"half": `nonRoot=true user=7 group=2 seccomp=RuntimeDefault@spec.securityContext.seccompProfile apparmor=Localhost/p@spec.securityContext.appArmorProfile ` +
			`selinux=t/@spec.securityContext.seLinuxOptions windows=false/u@spec.containers[2].securityContext.windowsOptions`,
	}
	for _, c := range w.Containers {
		s := c.SecurityContext
		got := "nonRoot=" + asJSON(t, s.RunAsNonRoot) + " user=" + asJSON(t, s.RunAsUser) + " group=" + asJSON(t, s.RunAsGroup) +
			" seccomp=" + s.SeccompProfile.Type + "@" + s.SeccompProfile.Path +
			" apparmor=" + s.AppArmorProfile.Type + "/" + s.AppArmorProfile.LocalhostProfile + "@" + s.AppArmorProfile.Path +
			" selinux=" + s.SELinuxOptions.Type + "/" + s.SELinuxOptions.Level + "@" + s.SELinuxOptions.Path +
			" windows=" + asJSON(t, s.WindowsOptions.HostProcess) + "/" + s.WindowsOptions.RunAsUserName + "@" + s.WindowsOptions.Path
		if got != want[c.Name] {
			t.Errorf("%s:\ngot  %s\nwant %s", c.Name, got, want[c.Name])
		}
	}
	if w.SecurityContext.SeccompProfile == nil || w.SecurityContext.RunAsUser == nil || *w.SecurityContext.RunAsUser != 1 {
		t.Errorf("got %+v, want the pod's own context as written", w.SecurityContext)
	}
}

func TestWhatNeitherPodNorContainerSaysIsAbsent(t *testing.T) {
	s := podOf(t, `{containers: [{name: c, image: a}]}`).Containers[0].SecurityContext
	got := strings.Join(strings.Fields(asJSON(t, s)), "")
	want := `{"privileged":false,"readOnlyRootFilesystem":false,"procMount":"Default","capabilities":{"add":[],"drop":[]}}`
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCapabilitiesAreKeptAsWritten(t *testing.T) {
	c := podOf(t, `{containers: [{name: c, image: a, securityContext: {capabilities: {add: [CAP_SYS_ADMIN, net_raw], drop: [all]}}}]}`).
		Containers[0].SecurityContext.Capabilities
	if got := strings.Join(append(c.Add, c.Drop...), " "); got != "CAP_SYS_ADMIN net_raw all" {
		t.Errorf("got %q, want them unchanged", got)
	}
}

func TestAppArmorAnnotations(t *testing.T) {
	const annotation = "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]"
	tests := map[string]struct{ annotation, spec, want string }{
		"fill an empty field":               {"unconfined", `{containers: [{name: c, image: a}]}`, "Unconfined//" + annotation},
		"name a profile of the node":        {"localhost/p", `{containers: [{name: c, image: a}]}`, "Localhost/p/" + annotation},
		"apply to init containers":          {"unconfined", `{initContainers: [{name: c, image: a}]}`, "Unconfined//" + annotation},
		"apply to ephemeral containers":     {"unconfined", `{ephemeralContainers: [{name: c, image: a}]}`, "Unconfined//" + annotation},
		"win over the pod's field":          {"unconfined", `{securityContext: {appArmorProfile: {type: RuntimeDefault}}, containers: [{name: c, image: a}]}`, "Unconfined//" + annotation},
		"lose against the container's":      {"unconfined", `{containers: [{name: c, image: a, securityContext: {appArmorProfile: {type: RuntimeDefault}}}]}`, "RuntimeDefault//spec.containers[0].securityContext.appArmorProfile"},
		"of other containers mean nothing":  {"unconfined", `{containers: [{name: other, image: a}]}`, "none"},
		"with unknown values mean nothing":  {"privileged", `{containers: [{name: c, image: a}]}`, "none"},
		"without a profile mean nothing":    {"localhost/", `{containers: [{name: c, image: a}]}`, "none"},
		"mean nothing on Windows":           {"unconfined", `{os: {name: windows}, containers: [{name: c, image: a}]}`, "none"},
		"that say what the pod says do not": {"runtime/default", `{securityContext: {appArmorProfile: {type: RuntimeDefault}}, containers: [{name: c, image: a}]}`, "RuntimeDefault//spec.securityContext.appArmorProfile"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			w := only(t, `{apiVersion: v1, kind: Pod, metadata: {annotations: {container.apparmor.security.beta.kubernetes.io/c: `+test.annotation+`}}, spec: `+test.spec+`}`)
			got := "none"
			if p := w.Containers[0].SecurityContext.AppArmorProfile; p != nil {
				got = p.Type + "/" + p.LocalhostProfile + "/" + p.Path
			}
			if got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
			if len(w.AppArmorAnnotations) != 1 || w.AppArmorAnnotations[0] != (AppArmorAnnotation{"c", test.annotation, annotation}) {
				t.Errorf("got annotations %+v, want the one as written", w.AppArmorAnnotations)
			}
		})
	}
}
