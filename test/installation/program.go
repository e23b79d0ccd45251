package installation

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"

	"github.com/portcullis-dev/portcullis/test/kubelet"
)

// imagePrefix is what the names of our images begin with, below images.registry.
const imagePrefix = registry + "/portcullis-"

// registry is what the chart says that images come from: nobody pulls them here.
const registry = "registry.invalid/portcullis-dev"

// program is what runs in place of a container: our programs for our images, nothing for others.
func (i *Installation) program(c *kubelet.Container) (*kubelet.Program, error) {
	if c.Pod.Namespace != Namespace || !strings.HasPrefix(c.Spec.Image, imagePrefix) {
		return nil, nil
	}
	name, _, _ := strings.Cut(path.Base(c.Spec.Image), ":")
	name, _, _ = strings.Cut(name, "@")
	args := c.Args()
	if len(args) == 0 {
		return nil, fmt.Errorf("the pod %s gives its program no arguments", c.Pod.Name)
	}
	// What a pod has by being one, a process is told: how it reaches the API server, whose it is, and where it is asked.
	cluster := []string{"--kubeconfig=" + c.Kubeconfig}
	if name == "portcullis-"+Console { // which acts with the rights of those who use it only
		args = append(args, fmt.Sprintf("--host=localhost:%d", c.Ports["https"])) // which only this machine knows
		cluster = []string{"--api-server=" + c.Server, "--api-server-ca=" + c.CAFile}
	}
	args = append(args, cluster...)
	if args[0] != "uninstall" {
		switch name {
		case "portcullis-" + Controller, "portcullis-" + Responder, "portcullis-" + Secrets:
			args = append(args, "--namespace="+c.Pod.Namespace, "--name="+c.Pod.Name)
		case "portcullis-" + Scanner:
			args = append(args, "--name="+c.Pod.Name)
		}
		if port := c.Ports["probes"]; port != 0 {
			args = append(args, fmt.Sprintf("--probes=127.0.0.1:%d", port))
		}
	}
	if args[0] != "uninstall" {
		args = append(args, i.options.Args[strings.TrimPrefix(name, "portcullis-")]...)
	}
	return &kubelet.Program{Path: filepath.Join(i.options.Programs, name), Args: args}, nil
}
