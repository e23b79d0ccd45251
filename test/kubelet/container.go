package kubelet

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/portcullis-dev/portcullis/test/cluster"
)

// tokenMount is where pods find their token.
const tokenMount = "/var/run/secrets/kubernetes.io/serviceaccount"

// Container is what a program runs in place of.
type Container struct {
	Pod  *corev1.Pod
	Spec corev1.Container
	// Dir stands for the container's root folder: what is mounted lies there.
	Dir string
	// Ports are ports of this machine by the names of the container's.
	Ports map[string]int
	// Kubeconfig is a file by which the program reaches the API server with the pod's token; it is there if one is mounted.
	Kubeconfig string
	// Server and CAFile are the API server and the file of its authority.
	Server, CAFile string
}

// Args are the container's arguments: paths lie below Dir, and where a flag is a port of the container it is one of this
// machine, on all addresses.
func (c *Container) Args() []string {
	args := make([]string, 0, len(c.Spec.Args))
	for _, arg := range c.Spec.Args {
		flag, value, ok := strings.Cut(arg, "=")
		switch {
		case ok && c.mounted(value):
			arg = flag + "=" + c.Dir + value
		case ok && strings.HasPrefix(value, ":"):
			for _, port := range c.Spec.Ports {
				if value == fmt.Sprintf(":%d", port.ContainerPort) && flag != "--probes" {
					arg = fmt.Sprintf("%s=:%d", flag, c.Ports[port.Name])
				}
			}
		}
		args = append(args, arg)
	}
	return args
}

func (c *Container) mounted(path string) bool {
	for _, m := range c.Spec.VolumeMounts {
		if path == m.MountPath || strings.HasPrefix(path, strings.TrimSuffix(m.MountPath, "/")+"/") || strings.HasPrefix(m.MountPath, strings.TrimSuffix(path, "/")+"/") && path != "/" {
			return strings.HasPrefix(path, "/")
		}
	}
	return false
}

// env are the variables that have values of their own.
func (c *Container) env() []string {
	var env []string
	for _, e := range c.Spec.Env {
		if e.ValueFrom == nil {
			env = append(env, e.Name+"="+e.Value)
		}
	}
	return env
}

// findPorts finds a free one for each of the container's ports.
func (p *pod) findPorts() error {
	p.lock.Lock()
	defer p.lock.Unlock()
	c := p.container
	if c.Ports != nil {
		return nil
	}
	ports := map[string]int{}
	for _, port := range c.Spec.Ports {
		free, err := cluster.FreePort()
		if err != nil {
			return err
		}
		ports[port.Name] = free
	}
	c.Ports = ports
	return nil
}

// writeKubeconfig names the token's file rather than the token, which changes.
func (c *Container) writeKubeconfig() error {
	config := clientcmdapi.NewConfig()
	config.Clusters["c"] = &clientcmdapi.Cluster{Server: c.Server, CertificateAuthority: c.CAFile}
	config.AuthInfos["u"] = &clientcmdapi.AuthInfo{TokenFile: filepath.Join(c.Dir, tokenMount, "token")}
	config.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u", Namespace: c.Pod.Namespace}
	config.CurrentContext = "x"
	return clientcmd.WriteToFile(*config, c.Kubeconfig)
}

// hostnames says how a program is given a host name of its own, as a pod's is the pod's name: nil where it cannot.
var hostnames = sync.OnceValue(func() []string {
	for _, flags := range [][]string{{"--uts"}, {"--uts", "--user", "--map-root-user"}} {
		command := append(append([]string{"unshare"}, flags...), "sh", "-c", `echo "$0" > /proc/sys/kernel/hostname && exec "$@"`)
		if exec.Command(command[0], append(command[1:], "a-name", "true")...).Run() == nil {
			return command
		}
	}
	return nil
})

// command wraps a program so that it has the pod's name for its host's, where this machine can do that.
func (p *pod) command(program *Program) (path string, args []string) {
	wrap := hostnames()
	if wrap == nil {
		return program.Path, program.Args
	}
	found, err := exec.LookPath(wrap[0])
	if err != nil {
		return program.Path, program.Args
	}
	return found, append(append(append([]string{}, wrap[1:]...), p.name, program.Path), program.Args...)
}

// port is the one of this machine that a probe or a Service means: by name, or by number.
func (c *Container) port(name string, number int32) int {
	if name != "" {
		return c.Ports[name]
	}
	for _, port := range c.Spec.Ports {
		if port.ContainerPort == number {
			return c.Ports[port.Name]
		}
	}
	return 0
}

func hostPort(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
