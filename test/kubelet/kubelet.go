// Package kubelet is a node that runs pods as processes of this machine: for real control planes on machines without a
// container runtime, or without the rights that one needs.
//
// Everything else is Kubernetes' own: controllers make the pods, the scheduler binds them. The node then does what a
// kubelet does, as far as pods without a container can show it: files of volumes are there and follow their Secrets and
// ConfigMaps, the service account's token is bound to the pod and renewed, probes decide about readiness and restarts,
// deletion sends SIGTERM and waits, the status says all of it, and `kubectl logs` what they wrote. Of what containers are kept from by the kernel
// (security contexts, limits, networks) there is nothing: test/cluster has a real node for that.
//
// Processes share the addresses of this machine. So each port of a container becomes a free one, and the node itself
// writes the EndpointSlices of Services; pods with processes have no address of their own.
package kubelet

import (
	"context"
	"fmt"
	"log"
	"os"
	"sync"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/util/retry"

	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/process"
)

// NodeName is the name of the node.
const NodeName = "here"

// heartbeat renews the node's Lease: the node lifecycle controller gives up on a node after 40 s.
const heartbeat = 5 * time.Second

// Program is what runs in place of a container.
type Program struct {
	Path string
	Args []string
	Env  []string
}

// Options of a node. All are required.
type Options struct {
	// Client acts as somebody who may do what kubelets do, for all pods, and write EndpointSlices.
	Client kubernetes.Interface
	// Server and CAFile are the URL of the API server and the file of its authority, for kubeconfigs of pods. The client
	// certificate that the API server shows kubelets is of that authority, too.
	Server, CAFile string
	// Dir receives a folder for each pod, and the logs.
	Dir string
	// Program says what runs in place of a container. nil means that the container is said to run, and nothing does.
	Program func(*Container) (*Program, error)
}

// Node runs pods.
type Node struct {
	options Options
	address string // of this machine, for EndpointSlices
	cancel  context.CancelFunc
	done    sync.WaitGroup

	lock sync.Mutex
	pods map[types.UID]*pod
	next int // number of the last address given out
}

// Start registers the node and begins to run pods that are bound to it.
func Start(ctx context.Context, options Options) (*Node, error) {
	address, err := cluster.HostAddress()
	if err != nil {
		return nil, fmt.Errorf("starting a node of processes: %w", err)
	}
	if err := os.MkdirAll(options.Dir, 0o750); err != nil {
		return nil, fmt.Errorf("starting a node of processes: %w", err)
	}
	n := &Node{options: options, address: address, pods: map[types.UID]*pod{}}
	starting := ctx
	ctx, n.cancel = context.WithCancel(context.WithoutCancel(ctx))
	port, err := n.serveLogs(ctx)
	if err == nil {
		err = n.register(starting, port)
	}
	if err != nil {
		n.Stop()
		return nil, fmt.Errorf("registering a node of processes: %w", err)
	}
	n.done.Go(func() { n.renew(ctx) })
	factory := informers.NewSharedInformerFactoryWithOptions(options.Client, 0, informers.WithTweakListOptions(func(o *metav1.ListOptions) {
		o.FieldSelector = fields.OneTermEqualSelector("spec.nodeName", NodeName).String()
	}))
	informer := factory.Core().V1().Pods().Informer()
	_, err = informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { n.see(ctx, o.(*corev1.Pod)) },
		UpdateFunc: func(_, o any) { n.see(ctx, o.(*corev1.Pod)) },
		DeleteFunc: func(o any) {
			if gone, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = gone.Obj
			}
			n.forget(o.(*corev1.Pod))
		},
	})
	if err != nil {
		n.cancel()
		return nil, fmt.Errorf("watching pods: %w", err)
	}
	factory.Start(ctx.Done())
	n.done.Go(factory.Shutdown)
	return n, nil
}

// Stop ends all processes, as the end of a machine does: the API server is not told.
func (n *Node) Stop() {
	n.cancel()
	n.done.Wait()
}

// Process is what runs in a container of a pod now, nil if nothing does.
func (n *Node) Process(namespace, name string) *process.Process {
	if p := n.find(namespace, name); p != nil {
		p.lock.Lock()
		defer p.lock.Unlock()
		return p.running
	}
	return nil
}

// Port is where a named port of a pod's container is on this machine, 0 if there is none.
func (n *Node) Port(namespace, name, port string) int {
	if p := n.find(namespace, name); p != nil {
		p.lock.Lock()
		defer p.lock.Unlock()
		return p.container.Ports[port]
	}
	return 0
}

// Folder stands for the root folder of a pod's container, "" if there is none.
func (n *Node) Folder(namespace, name string) string {
	if p := n.find(namespace, name); p != nil {
		return p.container.Dir
	}
	return ""
}

func (n *Node) find(namespace, name string) *pod {
	n.lock.Lock()
	defer n.lock.Unlock()
	for _, p := range n.pods {
		if p.namespace == namespace && p.name == name {
			return p
		}
	}
	return nil
}

// see starts what is new, and tells a pod that runs of its change.
func (n *Node) see(ctx context.Context, object *corev1.Pod) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if known := n.pods[object.UID]; known != nil {
		known.see(object)
		return
	}
	if ctx.Err() != nil || object.Status.Phase == corev1.PodSucceeded || object.Status.Phase == corev1.PodFailed {
		return
	}
	n.next++
	p := newPod(n, object, n.next)
	n.pods[object.UID] = p
	n.done.Go(func() { p.run(ctx) })
}

// forget ends a pod that the API server has no more: somebody deleted it by force.
func (n *Node) forget(object *corev1.Pod) {
	n.lock.Lock()
	defer n.lock.Unlock()
	if known := n.pods[object.UID]; known != nil {
		known.lost()
		delete(n.pods, object.UID)
	}
}

// register makes the Node object, ready for many pods: nothing here is limited.
func (n *Node) register(ctx context.Context, port int32) error {
	nodes := n.options.Client.CoreV1().Nodes()
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("10000"), corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	}
	_, err := nodes.Create(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: NodeName, Labels: map[string]string{corev1.LabelHostname: NodeName, corev1.LabelOSStable: "linux", corev1.LabelTopologyZone: "here"},
	}}, metav1.CreateOptions{})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	if err := n.beat(ctx); err != nil {
		return err
	}
	now := metav1.Now()
	status := corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity,
		Conditions:      []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, LastHeartbeatTime: now, LastTransitionTime: now, Reason: "Processes", Message: "pods run as processes"}},
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: n.address}, {Type: corev1.NodeHostName, Address: NodeName}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: port}},
		NodeInfo:        corev1.NodeSystemInfo{KubeletVersion: "v1.37.2", ContainerRuntimeVersion: "processes://1", OperatingSystem: "linux", OSImage: "processes of this machine"},
	}
	// The controllers write new nodes, too.
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		node, err := nodes.Get(ctx, NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		node.Status = status
		_, err = nodes.UpdateStatus(ctx, node, metav1.UpdateOptions{})
		return err
	})
}

func (n *Node) renew(ctx context.Context) {
	ticker := time.NewTicker(heartbeat)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			if err := n.beat(ctx); err != nil && ctx.Err() == nil {
				log.Printf("node of processes: renewing its lease: %v", err)
			}
		}
	}
}

// beat renews the Lease by which the node is known to live (KEP-589).
func (n *Node) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, heartbeat)
	defer cancel()
	leases := n.options.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	now := metav1.NowMicro()
	seconds := int32(40)
	lease, err := leases.Get(ctx, NodeName, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		holder := NodeName
		_, err = leases.Create(ctx, &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Name: NodeName},
			Spec:       coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds, RenewTime: &now},
		}, metav1.CreateOptions{})
		return err
	}
	if err != nil {
		return err
	}
	lease.Spec.RenewTime = &now
	_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
	return err
}
