package journal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/webhook"
	admissionv1 "k8s.io/api/admission/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

// childDir names the journal of a test that is run again as a webhook.
const childDir = "PORTCULLIS_TEST_JOURNAL"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serve(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serve is a webhook with a journal, until it is killed. It writes its address to standard output.
func serve(dir string) error {
	wait, err := time.ParseDuration(os.Getenv(childDir + "_WAIT"))
	if err != nil {
		return err
	}
	kept, err := Open(Options{Dir: dir, Allows: 1, MaxFile: 256 << 10, MaxTotal: 1 << 30, Wait: wait})
	if err != nil {
		return err
	}
	t := &testing.B{} // engineOf fails by panicking here, which is a failure to start
	engine := engineOf(t, 1, "", "pods/net", readsNetworkPolicies, `deny contains "no policy" if count(input.cluster) == 0`, "pods/host", "", deniesHost)
	handler, err := webhook.NewHandler(webhook.Options{
		Reviewer: admission.NewReviewer(engine, cluster{Cluster: objects(3, 100)}, time.Now),
		Callers:  &webhook.Callers{Mode: webhook.CallerOpen}, Recorder: kept,
	})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	return http.Serve(listener, handler)
}

// start runs the webhook and waits for its address.
func start(t *testing.T, dir string, wait time.Duration) (child *exec.Cmd, address string) {
	t.Helper()
	child = exec.Command(os.Args[0])
	child.Env = append(os.Environ(), childDir+"="+dir, childDir+"_WAIT="+wait.String())
	child.Stderr = os.Stderr
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the webhook did not start: %v", err)
	}
	return child, strings.TrimSpace(line)
}

// review is the body of a request about a pod.
func review(t *testing.T, uid string, hostile bool) []byte {
	t.Helper()
	spec := plainSpec
	if hostile {
		spec = hostSpec
	}
	request := pod(uid, spec)
	body, err := json.Marshal(map[string]any{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": admissionv1.AdmissionRequest{
		UID: types.UID(uid), Operation: admissionv1.Create, Resource: request.Resource, Kind: request.Kind, Namespace: "shop", Name: uid,
		Object: runtime.RawExtension{Raw: request.Object},
	}})
	if err != nil {
		t.Fatal(err)
	}
	return body
}

// ask sends one review and says whether the answer came whole.
func ask(client *http.Client, address, uid string, body []byte) bool {
	response, err := client.Post("http://"+address+"/validate", "application/json", bytes.NewReader(body))
	if err != nil {
		return false
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	return err == nil && response.StatusCode == http.StatusOK && bytes.Contains(answer, []byte(uid))
}

// TestKillingTheWebhookLosesNoAnsweredDecision kills a webhook with signal 9 under load, again and again. PORTCULLIS_SOAK=1
// does so 100 times.
func TestKillingTheWebhookLosesNoAnsweredDecision(t *testing.T) {
	kills, wait := 10, time.Minute
	if testing.Short() {
		kills = 2
	}
	if os.Getenv("PORTCULLIS_SOAK") != "" {
		kills = 100
	}
	if asked, err := time.ParseDuration(os.Getenv("PORTCULLIS_JOURNAL_WAIT")); err == nil {
		wait = asked
	}
	dir := t.TempDir()
	answered := map[string]bool{}
	asked := 0
	for round := range kills {
		child, address := start(t, dir, wait)
		got, sent := loadUntilKilled(t, child, address, round)
		asked += sent
		for _, uid := range got {
			answered[uid] = true
		}
	}
	kept := map[string]int{}
	for _, line := range lines(t, dir, Filter{}) {
		kept[line.Decision.Request.UID]++
	}
	missing := 0
	for uid := range answered {
		if kept[uid] == 0 {
			missing++
		}
	}
	twice := 0
	for _, count := range kept {
		if count > 1 {
			twice++
		}
	}
	if missing > 0 || twice > 0 {
		t.Errorf("got %d of %d answered decisions missing and %d kept twice, want none", missing, len(answered), twice)
	}
	// The one who writes next mends the end; then all of the chain holds.
	closeNow(t, openIn(t, dir, nil))
	v := intact(t, dir)
	t.Logf("%d kills: %d requests, %d answered, %d decisions kept, %d missing, %d twice; %d files, %d facts, chain intact", kills, asked, len(answered), v.Decisions, missing, twice, v.Files, v.Facts)
	if v.Restarts+uint64(v.Files) < uint64(kills) {
		t.Errorf("got %d restarts and %d files, want a header for each of %d writers", v.Restarts, v.Files, kills)
	}
}

// loadUntilKilled sends requests from several clients and kills the webhook after some answers, while others are under way.
func loadUntilKilled(t *testing.T, child *exec.Cmd, address string, round int) (answered []string, sent int) {
	t.Helper()
	target := int64(20 + rand.IntN(200))
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 16}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var count atomic.Int64
	var dead atomic.Bool
	var group sync.WaitGroup
	enough := make(chan struct{})
	var once sync.Once
	for worker := range 16 {
		group.Go(func() {
			for n := 0; !dead.Load(); n++ {
				uid := fmt.Sprintf("r%d-w%d-n%d", round, worker, n)
				ok := ask(client, address, uid, review(t, uid, n%5 == 0))
				mu.Lock()
				sent++
				if ok {
					answered = append(answered, uid)
				}
				mu.Unlock()
				if ok && count.Add(1) >= target {
					once.Do(func() { close(enough) })
				}
			}
		})
	}
	<-enough
	if err := child.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = child.Wait() // it was killed
	dead.Store(true)
	group.Wait()
	return answered, sent
}

var _ webhook.Recorder = (*Journal)(nil)
