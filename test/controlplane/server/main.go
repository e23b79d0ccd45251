// Command server is a whole Kubernetes control plane in one binary, for tests:
//
//	server etcd --data-dir DIR --client-url URL --peer-url URL
//	server kube-apiserver FLAGS…
//	server kube-controller-manager FLAGS…
//	server kube-scheduler FLAGS…
//	server kubelet FLAGS…
//
// All but the first are Kubernetes' own programs with their own flags. It lives in a
// Go module of its own, so that nothing else needs k8s.io/kubernetes; package
// test/cluster of the main module builds it and starts it.
package main

import (
	"context"
	"fmt"
	"os"

	"k8s.io/component-base/cli"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"

	"github.com/spf13/cobra"
)

const usage = "usage: server etcd|kube-apiserver|kube-controller-manager|kube-scheduler|kubelet FLAGS…"

func main() {
	if len(os.Args) < 2 {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(64)
	}
	name, args := os.Args[1], os.Args[2:]
	command, err := program(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(64)
	}
	command.SetArgs(args)
	os.Exit(cli.Run(command))
}

// program builds the one command that is asked for: each of them takes over the
// process's signals when it is built, which may happen only once.
func program(name string) (*cobra.Command, error) {
	switch name {
	case "etcd":
		return etcdCommand(), nil
	case "kube-apiserver":
		return apiserver.NewAPIServerCommand(), nil
	case "kube-controller-manager":
		return controllermanager.NewControllerManagerCommand(), nil
	case "kube-scheduler":
		return scheduler.NewSchedulerCommand(), nil
	case "kubelet":
		return kubelet.NewKubeletCommand(context.Background()), nil
	}
	return nil, fmt.Errorf("unknown program %q; %s", name, usage)
}
