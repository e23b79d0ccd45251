package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/rogpeppe/go-internal/lockedfile"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/portcullis-dev/portcullis/test/process"
)

// NodeName is the name of the one node, and NodeUser whom its kubelet logs in as: name it among
// [Options.Users].
const NodeName = "node-1"

// NodeUser is whom the kubelet logs in as (Node authorization).
var NodeUser = User{Name: "system:node:" + NodeName, Groups: []string{"system:nodes"}}

// NodeOptions of a node. Dir and Pause are required.
type NodeOptions struct {
	// Dir receives what the node writes. Its path is part of a socket's, which may have 107 bytes
	// (unix(7)): keep it short.
	Dir string
	// Pause is an image whose program waits: it holds the namespaces of each pod.
	Pause v1.Image
	// APIServer lets pods reach the API server as in any cluster, at the address of the Service kubernetes. It needs what
	// [APIServerUnavailable] asks for. There is no other Service, and no DNS: what pods call needs an address.
	APIServer bool
}

// Node is a real node: a kubelet and containerd, which run real containers on this machine.
type Node struct {
	options             NodeOptions
	client              kubernetes.Interface
	socket              string
	snapshotter         string // how file systems of containers come about
	containerd, kubelet *process.Process
	networks            []string // the network namespaces of its pods, as they were before its end
	unlock              func()   // lets the next node of this machine start
}

// nodePrograms are what a node needs beside the kubelet, as Debian's packages containerd, runc and
// containernetworking-plugins have them.
var nodePrograms = []string{"containerd", "ctr", "runc", "containerd-shim-runc-v2"}

// cniPlugins is where containernetworking-plugins puts them.
const cniPlugins = "/usr/lib/cni"

// NodeUnavailable is why no node can be started here, nil if one can.
func NodeUnavailable() error {
	if runtime.GOOS != "linux" || os.Getuid() != 0 {
		return errors.New("a node needs Linux and root")
	}
	for _, program := range nodePrograms {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is not installed: install the packages containerd, runc and containernetworking-plugins", program)
		}
	}
	if _, err := os.Stat(filepath.Join(cniPlugins, "bridge")); err != nil {
		return errors.New("the CNI plugins are not installed: install the package containernetworking-plugins")
	}
	return nil
}

// containerdConfig is version 2 of containerd's configuration. Without restrict_oom_score_adj sandboxes
// fail where the machine refuses lower scores than its own.
const containerdConfig = `version = 2
root = %[1]q
state = %[2]q
[grpc]
  address = %[3]q
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = %[4]q
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = %[5]q
    conf_dir = %[6]q
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = %[7]q
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = %[8]q
`

// bridge is the network of the pods, and the gateway's device on this machine.
const bridge = "portcullis0"

// networkConfig gives each pod an address on a bridge of this machine.
const networkConfig = `{"cniVersion":"0.4.0","name":"portcullis-test","plugins":[
 {"type":"bridge","bridge":"` + bridge + `","isGateway":true,"ipMasq":false,
  "ipam":{"type":"host-local","dataDir":%q,"ranges":[[{"subnet":"10.88.77.0/24"}]],"routes":[{"dst":"0.0.0.0/0"}]}}]}
`

// kubeletConfig keeps to what a test on any machine can have: no swap check, no eviction for want of disk.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: false}, x509: {clientCAFile: %[1]q}}
authorization: {mode: AlwaysAllow}
cgroupDriver: cgroupfs
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://%[2]s
port: %[3]d
readOnlyPort: 0
healthzPort: 0
resolvConf: ""
evictionHard: {memory.available: 1Mi, nodefs.available: 1Mi, imagefs.available: 1Mi}
imageGCHighThresholdPercent: 100
enableControllerAttachDetach: false
registerNode: true
`

// nodeStopTimeout bounds the end of all containers.
const nodeStopTimeout = 3 * time.Minute

const pauseImage = "docker.io/local/pause:1"

// StartNode starts a node of the cluster and waits until it is ready.
func (c *Cluster) StartNode(ctx context.Context, options NodeOptions) (*Node, error) {
	n := &Node{options: options, socket: filepath.Join(options.Dir, "c.sock"), snapshotter: "native"}
	// The bridge and its addresses are the machine's: one node at a time, also of other test programs.
	var err error
	if n.unlock, err = lockedfile.MutexAt(filepath.Join(os.TempDir(), "portcullis-test-node.lock")).Lock(); err != nil {
		return nil, fmt.Errorf("waiting for another node: %w", err)
	}
	if err := n.start(ctx, c); err != nil {
		return nil, errors.Join(fmt.Errorf("starting a node: %w", err), n.Stop())
	}
	return n, nil
}

func (n *Node) start(ctx context.Context, c *Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	if overlays(ctx, n.options.Dir) {
		n.snapshotter = "overlayfs"
	}
	if n.options.APIServer {
		if err := n.serveAPIServer(ctx, c); err != nil {
			return err
		}
	}
	if err := n.startContainerd(ctx); err != nil {
		return err
	}
	if err := n.importPause(ctx); err != nil {
		return err
	}
	return n.startKubelet(ctx, c)
}

func (n *Node) startContainerd(ctx context.Context) error {
	dir := n.options.Dir
	network := filepath.Join(dir, "cni")
	if err := os.MkdirAll(network, 0o755); err != nil {
		return err
	}
	files := map[string]string{
		filepath.Join(dir, "containerd.toml"): fmt.Sprintf(containerdConfig, filepath.Join(dir, "root"), filepath.Join(dir, "state"), n.socket, pauseImage, cniPlugins, network, filepath.Join(dir, "registries"), n.snapshotter),
		filepath.Join(network, "10.conflist"): fmt.Sprintf(networkConfig, filepath.Join(dir, "addresses")),
	}
	for file, content := range files {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			return err
		}
	}
	path, err := exec.LookPath("containerd")
	if err != nil {
		return err
	}
	n.containerd, err = process.Start(process.Command{
		Name: "containerd", Path: path, Args: []string{"--config", filepath.Join(dir, "containerd.toml")},
		LogFile: filepath.Join(dir, "containerd.log"),
	})
	if err != nil {
		return err
	}
	return n.containerd.WaitUntil(ctx, func(ctx context.Context) error { return n.ctr(ctx, "version") })
}

// overlays says whether file systems can be laid over each other in a folder, as nodes of clusters do. Elsewhere each container gets a
// copy of its image, whose pages no container is charged for.
func overlays(ctx context.Context, dir string) bool {
	tried := filepath.Join(dir, "overlay")
	var options []string
	for _, name := range []string{"lowerdir", "upperdir", "workdir"} {
		if err := os.MkdirAll(filepath.Join(tried, name), 0o755); err != nil {
			return false
		}
		options = append(options, name+"="+filepath.Join(tried, name))
	}
	if run(ctx, "", "mount", "-t", "overlay", "overlay", "-o", strings.Join(options, ","), filepath.Join(tried, "lowerdir")) != nil {
		return false
	}
	return run(ctx, "", "umount", filepath.Join(tried, "lowerdir")) == nil
}

// ctr runs containerd's own client in the namespace of the kubelet.
func (n *Node) ctr(ctx context.Context, args ...string) error {
	_, err := n.ctrOutput(ctx, args...)
	return err
}

func (n *Node) ctrOutput(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, "ctr", append([]string{"--address", n.socket, "--namespace", "k8s.io"}, args...)...)
	output, err := command.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("running ctr %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return string(output), nil
}

func (n *Node) importPause(ctx context.Context) error {
	tag, err := name.NewTag(pauseImage)
	if err != nil {
		return err
	}
	file := filepath.Join(n.options.Dir, "pause.tar")
	if err := tarball.WriteToFile(file, tag, n.options.Pause); err != nil {
		return fmt.Errorf("writing the pause image: %w", err)
	}
	return n.ctr(ctx, "images", "import", "--snapshotter", n.snapshotter, file)
}

func (n *Node) startKubelet(ctx context.Context, c *Cluster) error {
	address, err := HostAddress()
	if err != nil {
		return err
	}
	port, err := FreePort()
	if err != nil {
		return err
	}
	dir := n.options.Dir
	config := filepath.Join(dir, "kubelet.yaml")
	if err := os.WriteFile(config, fmt.Appendf(nil, kubeletConfig, c.CAFile, n.socket, port), 0o600); err != nil {
		return err
	}
	kubeconfig, err := c.Kubeconfig(NodeUser.Name)
	if err != nil {
		return err
	}
	n.kubelet, err = process.Start(process.Command{
		Name: "kubelet", Path: c.binary, LogFile: filepath.Join(dir, "kubelet.log"),
		Args: []string{
			"kubelet", "--config=" + config, "--kubeconfig=" + kubeconfig, "--root-dir=" + filepath.Join(dir, "kubelet"),
			"--cert-dir=" + filepath.Join(dir, "pki"), "--hostname-override=" + NodeName, "--node-ip=" + address,
		},
	})
	if err != nil {
		return err
	}
	if n.client, err = c.Client(Admin); err != nil {
		return err
	}
	return n.kubelet.WaitUntil(ctx, func(ctx context.Context) error {
		node, err := n.client.CoreV1().Nodes().Get(ctx, NodeName, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, condition := range node.Status.Conditions {
			if condition.Type == corev1.NodeReady {
				if condition.Status == corev1.ConditionTrue {
					return nil
				}
				return errors.New(condition.Message)
			}
		}
		return errors.New("the node says nothing about being ready")
	})
}

// HostAddress is an address of this machine that is not loopback: a kubelet takes no other, and an EndpointSlice may hold no other.
func HostAddress() (string, error) {
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		return "", fmt.Errorf("looking for an address of this machine: %w", err)
	}
	for _, address := range addresses {
		if network, ok := address.(*net.IPNet); ok && network.IP.To4() != nil && network.IP.IsGlobalUnicast() {
			return network.IP.String(), nil
		}
	}
	return "", errors.New("looking for an address of this machine: it has only loopback")
}

// PID is the process id, on this machine, of a container as a pod's status names it (containerd://ID).
func (n *Node) PID(ctx context.Context, containerID string) (int, error) {
	_, id, _ := strings.Cut(containerID, "://")
	running, err := n.ctrOutput(ctx, "tasks", "ls")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(running) {
		if fields := strings.Fields(line); id != "" && len(fields) > 1 && fields[0] == id {
			return strconv.Atoi(fields[1])
		}
	}
	return 0, fmt.Errorf("looking for the process of %q: containerd runs no such container", containerID)
}

// Stop ends all pods, the kubelet and containerd, and leaves no mount, bridge or file behind.
// It has to come before the end of the control plane.
func (n *Node) Stop() error {
	defer n.unlock()
	ctx, cancel := context.WithTimeout(context.Background(), nodeStopTimeout)
	defer cancel()
	var problems []error
	if n.kubelet != nil {
		problems = append(problems, n.removePods(ctx))
		n.kubelet.Kill()
	}
	if n.containerd != nil {
		problems = append(problems, n.containerd.Stop())
	}
	problems = append(problems, n.unmount(ctx), n.removeNetworks(ctx), n.removeServices(ctx))
	_ = exec.CommandContext(ctx, "ip", "link", "delete", bridge).Run() // there is none if no pod ran
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("stopping the node: %w", err)
	}
	return os.RemoveAll(n.options.Dir)
}

// removePods lets the kubelet tear down what runs, since containers outlive it and containerd, and
// waits until nothing is left.
func (n *Node) removePods(ctx context.Context) error {
	if n.client == nil {
		return nil
	}
	// Controllers make new pods, which must go nowhere.
	cordon := []byte(`{"spec":{"unschedulable":true}}`)
	if _, err := n.client.CoreV1().Nodes().Patch(ctx, NodeName, types.MergePatchType, cordon, metav1.PatchOptions{}); err != nil {
		return err
	}
	pods, err := n.client.CoreV1().Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=" + NodeName})
	if err != nil {
		return err
	}
	if n.networks, err = n.podNetworks(ctx); err != nil {
		return err
	}
	now := *metav1.NewDeleteOptions(1)
	for _, pod := range pods.Items {
		if err := n.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, now); err != nil && !apierrors.IsNotFound(err) {
			return err
		}
	}
	return n.kubelet.WaitUntil(ctx, func(ctx context.Context) error {
		running, err := n.ctrOutput(ctx, "tasks", "ls", "--quiet")
		if err == nil && strings.TrimSpace(running) != "" {
			err = fmt.Errorf("containers still run: %s", running)
		}
		return err
	})
}

// namedNetworks is where containerd keeps network namespaces (ip-netns(8)).
const namedNetworks = "/run/netns"

// podNetworks are the files of the network namespaces that containers are in. containerd removes them a moment after the
// containers have ended, for which nobody waits here.
func (n *Node) podNetworks(ctx context.Context) ([]string, error) {
	running, err := n.ctrOutput(ctx, "tasks", "ls")
	if err != nil {
		return nil, err
	}
	named, err := filepath.Glob(filepath.Join(namedNetworks, "*"))
	if err != nil {
		return nil, err
	}
	var found []string
	for line := range strings.Lines(running) {
		fields := strings.Fields(line)
		if len(fields) < 2 {
			continue
		}
		of, err := os.Stat(filepath.Join("/proc", fields[1], "ns", "net"))
		if err != nil {
			continue // the headline, or a process that has ended
		}
		for _, file := range named {
			if info, err := os.Stat(file); err == nil && os.SameFile(of, info) {
				found = append(found, file)
			}
		}
	}
	return found, nil
}

func (n *Node) removeNetworks(ctx context.Context) error {
	for _, file := range n.networks {
		if _, err := os.Stat(file); err != nil {
			continue
		}
		if output, err := exec.CommandContext(ctx, "ip", "netns", "delete", filepath.Base(file)).CombinedOutput(); err != nil {
			return fmt.Errorf("removing a network namespace: %w\n%s", err, output)
		}
	}
	return nil
}

// unmount takes away what is mounted below the node's folder, innermost first.
func (n *Node) unmount(ctx context.Context) error {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return err
	}
	var below []string
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 1 && strings.HasPrefix(fields[1], n.options.Dir+"/") {
			below = append([]string{fields[1]}, below...)
		}
	}
	if len(below) == 0 {
		return nil
	}
	if output, err := exec.CommandContext(ctx, "umount", append([]string{"--lazy"}, below...)...).CombinedOutput(); err != nil {
		return fmt.Errorf("unmounting: %w\n%s", err, output)
	}
	return nil
}
