package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/portcullis-dev/portcullis/scanner"
	"github.com/portcullis-dev/portcullis/test/cluster"
	"github.com/portcullis-dev/portcullis/test/images"
)

// TestImagesAreAdmittedOnEvidence is the supply chain from the registry to the node. Its parts share a cluster,
// and the last ones do to the registry and to the webhook what the others would not survive.
func TestImagesAreAdmittedOnEvidence(t *testing.T) {
	if err := cluster.NodeUnavailable(); err != nil {
		t.Logf("the part on a node is left out: %v", err)
	}
	env, chain, installed := startImages(t, cluster.NodeUser, cluster.User{Name: scannerUser})
	ctx := t.Context()
	create := func(pod *corev1.Pod) (*corev1.Pod, error) {
		return env.dev.CoreV1().Pods("team").Create(ctx, pod, metav1.CreateOptions{})
	}

	t.Run("an unsigned image is denied", func(t *testing.T) {
		unsigned := chain.push(t, "unsigned", fixedPackages)
		chain.scanned(t, unsigned, nil)
		_, err := create(podOf(t, "unsigned", unsigned.tag))
		wantDenied(t, err, "images/signed", "release")
	})

	good := chain.push(t, "cart", fixedPackages)
	t.Run("a signed and scanned image is admitted, and pinned to what was verified", func(t *testing.T) {
		chain.sign(t, good)
		chain.scanned(t, good, nil)
		stored, err := create(podOf(t, "cart", good.tag))
		wantAdmitted(t, err)
		if err == nil && stored.Spec.Containers[0].Image != good.pinned() {
			t.Errorf("got image %q, want %q", stored.Spec.Containers[0].Image, good.pinned())
		}
	})
	t.Run("a controller is judged, and not patched", func(t *testing.T) {
		d := deployment(t, "cart", 1)
		d.Spec.Template.Spec.Containers[0].Image = good.tag
		stored, err := env.dev.AppsV1().Deployments("team").Create(ctx, d, metav1.CreateOptions{})
		wantAdmitted(t, err)
		if err == nil && stored.Spec.Template.Spec.Containers[0].Image != good.tag {
			t.Errorf("got image %q, want it as written: %q", stored.Spec.Template.Spec.Containers[0].Image, good.tag)
		}
	})

	// CVE-2022-47633 and Kyverno's cache of verified tags.
	t.Run("a tag that was pushed again is denied", func(t *testing.T) {
		moved := chain.push(t, "moved", fixedPackages)
		chain.sign(t, moved)
		chain.scanned(t, moved, nil)
		_, err := create(podOf(t, "moved", moved.tag))
		wantAdmitted(t, err)
		other := chain.push(t, "moved", vulnerablePackages) // the same tag
		if other.digest == moved.digest {
			t.Fatalf("got the same digest for two images: %s", describe(moved))
		}
		_, err = create(podOf(t, "moved-again", moved.tag))
		wantDenied(t, err, "images/signed")
	})

	t.Run("a stale database is denied", func(t *testing.T) {
		stale := chain.push(t, "stale", fixedPackages)
		chain.sign(t, stale)
		chain.scanned(t, stale, func(r *scanner.Report) {
			r.Database.UpdatedAt = time.Now().UTC().Add(-30 * 24 * time.Hour).Format(time.RFC3339)
		})
		_, err := create(podOf(t, "stale", stale.tag))
		wantDenied(t, err, "images/scan-fresh", "database")
	})

	t.Run("VEX turns a denial into an admission", func(t *testing.T) {
		vulnerable := chain.push(t, "vex", vulnerablePackages)
		chain.sign(t, vulnerable)
		chain.scanned(t, vulnerable, func(r *scanner.Report) { r.Vulnerabilities = []scanner.Vulnerability{openssl} })
		_, err := create(podOf(t, "vex", vulnerable.tag))
		wantDenied(t, err, "images/vulnerabilities", "CVE-2025-9230", "3.0.17-1~deb12u3")
		chain.attest(t, chain.release, vulnerable, scanner.VEXPredicateType, notAffected(vulnerable))
		must(t, until(ctx, func(ctx context.Context) error { // what was verified is remembered for seconds
			_, err := create(podOf(t, "vex", vulnerable.tag))
			return err
		}))
	})

	t.Run("a missing scan is queued, done, and the pod admitted on retry", func(t *testing.T) {
		queued := chain.push(t, "queued", fixedPackages)
		chain.sign(t, queued)
		_, err := create(podOf(t, "queued", queued.tag))
		wantDenied(t, err, "images/scanned", "retry in", "is being scanned")
		worker := startScanner(t, env, chain)
		must(t, worker.WaitUntil(ctx, func(ctx context.Context) error {
			_, err := create(podOf(t, "queued", queued.tag))
			return err
		}))
	})
	t.Run("the scanner finds what is in an image", func(t *testing.T) {
		vulnerable := chain.push(t, "found", vulnerablePackages)
		chain.sign(t, vulnerable)
		_, err := create(podOf(t, "found", vulnerable.tag))
		wantDenied(t, err, "images/scanned")
		worker := startScanner(t, env, chain)
		must(t, worker.WaitUntil(ctx, func(ctx context.Context) error {
			_, err := create(podOf(t, "found", vulnerable.tag))
			if err == nil || !strings.Contains(err.Error(), "CVE-2025-9230") {
				return fmt.Errorf("it is not denied for its vulnerability yet: %w", err)
			}
			return nil
		}))
	})

	t.Run("the node pulls the digest that was verified", func(t *testing.T) {
		runOnNode(t, env, chain, good)
	})

	t.Run("a webhook that restarts while the registry is down answers from its cache", func(t *testing.T) {
		chain.down.Store(true)
		must(t, installed.replicas[0].Stop())
		must(t, installed.replicas[0].Start(ctx))
		must(t, until(ctx, func(ctx context.Context) error {
			_, err := create(podOf(t, "cached", good.pinned()))
			return err
		}))
		_, err := create(podOf(t, "uncached", chain.host()+"/shop/unknown@"+good.digest))
		if err == nil {
			t.Error("got an image admitted that nobody verified, want it denied while the registry is down")
		}
	})
}

// openssl is the vulnerability of vulnerablePackages.
var openssl = scanner.Vulnerability{
	ID: "CVE-2025-9230", Package: "openssl", PURL: "pkg:deb/debian/openssl@3.0.17-1~deb12u2?arch=amd64&distro=debian-12.5",
	Version: "3.0.17-1~deb12u2", Fixed: "3.0.17-1~deb12u3", Status: "fixed", Severity: "critical", Score: 98, Class: "os",
	Title: "Out-of-bounds read in CMS decryption",
}

// notAffected is an OpenVEX document about the image: the program does not use the code.
func notAffected(i image) []byte {
	return fmt.Appendf(nil, `{"@context":"https://openvex.dev/ns/v0.2.0","@id":"https://example.com/vex/1","author":"release","timestamp":%q,"version":1,"statements":[
		{"vulnerability":{"name":"CVE-2025-9230"},"products":[{"@id":"pkg:oci/%s@%s?repository_url=%s","subcomponents":[{"@id":%q}]}],
		 "status":"not_affected","justification":"vulnerable_code_not_in_execute_path"}]}`,
		time.Now().UTC().Format(time.RFC3339), filepath.Base(i.target().Repository.Path), strings.Replace(i.digest, ":", "%3A", 1),
		strings.Replace(i.target().Repository.String(), ":", "%3A", 1), openssl.PURL)
}

// runOnNode runs a pod by tag on a real node and looks at what was pulled.
func runOnNode(t *testing.T, env *environment, chain *supplyChain, good image) {
	t.Helper()
	if err := cluster.NodeUnavailable(); err != nil {
		t.Skip(err)
	}
	ctx := t.Context()
	pause := mustReturn(images.New(images.Options{Program: chain.program, Label: "pause"}))(t)
	node := mustReturn(env.control.StartNode(ctx, cluster.NodeOptions{Dir: shortDir(t), Pause: pause}))(t)
	t.Cleanup(func() { must(t, node.Stop()) })
	_, err := env.dev.CoreV1().Pods("team").Create(ctx, podOf(t, "running", good.tag), metav1.CreateOptions{})
	wantAdmitted(t, err)
	must(t, until(ctx, func(ctx context.Context) error {
		pod, err := env.admin.CoreV1().Pods("team").Get(ctx, "running", metav1.GetOptions{})
		if err != nil {
			return err
		}
		if pod.Status.Phase != corev1.PodRunning {
			return fmt.Errorf("it does not run: %+v", pod.Status)
		}
		if id := pod.Status.ContainerStatuses[0].ImageID; !strings.HasSuffix(id, "@"+good.digest) {
			t.Errorf("got image %q on the node, want digest %s", id, good.digest)
		}
		return nil
	}))
}

// until polls a condition for a minute; its error says what is still missing.
func until(ctx context.Context, condition func(context.Context) error) error {
	var missing error
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := condition(ctx)
		if ctx.Err() == nil { // the end of the time says nothing
			missing = err
		}
		return err == nil, nil
	})
	if err != nil {
		return fmt.Errorf("%w: %w", err, missing)
	}
	return nil
}

// untilDenied waits until the API server, which learns of a configuration a moment after it is stored, has a pod denied.
func untilDenied(ctx context.Context, env *environment, pod *corev1.Pod) error {
	return until(ctx, func(ctx context.Context) error {
		_, err := env.dev.CoreV1().Pods("team").Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		if err == nil {
			return errNotDenied
		}
		if !strings.Contains(err.Error(), "admission webhook") {
			return err
		}
		return nil
	})
}
