package falco

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/runtime/response"
)

// childDir names the queue of a test that is run again as a responder which takes events and ends some of them.
const childDir = "PORTCULLIS_TEST_FALCO_QUEUE"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		if err := serveUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// serveUntilKilled writes its address to standard output, then a line for each event: "taken RULE" before it is done, "done RULE" after.
func serveUntilKilled(dir string) error {
	q, err := OpenQueue(QueueOptions{Dir: dir, Segment: 64 << 10})
	if err != nil {
		return err
	}
	r, err := NewReceiver(Options{Queue: q, SecretPath: secret})
	if err != nil {
		return err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	go func() {
		for {
			item, err := q.Take(context.Background())
			if err != nil {
				return
			}
			rule := item.Message.Event.Rule
			fmt.Println("taken", rule)
			if rand.IntN(4) == 0 {
				item.Again(time.Duration(rand.IntN(20)) * time.Millisecond)
				continue
			}
			item.Done()
			fmt.Println("done", rule)
		}
	}()
	return r.Server(nil).Serve(listener)
}

// victim is a responder that is going to be killed.
type victim struct {
	command *exec.Cmd
	address string
	// ended is closed when its output has been read to the end.
	ended chan struct{}

	mu          sync.Mutex
	taken, done map[string]int
}

func startVictim(t *testing.T, dir string) *victim {
	t.Helper()
	v := &victim{command: exec.Command(os.Args[0]), ended: make(chan struct{}), taken: map[string]int{}, done: map[string]int{}}
	v.command.Env = append(os.Environ(), childDir+"="+dir)
	v.command.Stderr = os.Stderr
	stdout, err := v.command.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := v.command.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	address, err := lines.ReadString('\n')
	if err != nil {
		t.Fatalf("the responder did not start: %v", err)
	}
	v.address = strings.TrimSpace(address)
	go func() {
		defer close(v.ended)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				return
			}
			word, rule, _ := strings.Cut(strings.TrimSpace(line), " ")
			v.mu.Lock()
			if word == "taken" {
				v.taken[rule]++
			} else {
				v.done[rule]++
			}
			v.mu.Unlock()
		}
	}()
	return v
}

// kill ends it with signal 9 and waits for the last of its output.
func (v *victim) kill(t *testing.T) {
	t.Helper()
	if err := v.command.Process.Kill(); err != nil {
		t.Error(err)
	}
	<-v.ended
	_ = v.command.Wait() // it was killed, as it says
}

// load sends events on several connections until so many are answered with 200, kills the receiver, and gives those that were.
func (v *victim) load(t *testing.T, round int) (answered []string) {
	t.Helper()
	enough := 20 + rand.IntN(400)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 8}}
	defer client.CloseIdleConnections()
	var mu sync.Mutex
	var group sync.WaitGroup
	killed := make(chan struct{})
	for worker := range 8 {
		group.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-killed:
					return
				default:
				}
				rule := fmt.Sprintf("r%d-w%d-n%d", round, worker, n)
				if !postRule(client, v.address, rule, response.Priority(n%8)) {
					continue
				}
				mu.Lock()
				answered = append(answered, rule)
				if len(answered) == enough {
					v.kill(t)
					close(killed)
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	return answered
}

// postRule sends one event and says whether it was answered with 200.
func postRule(client *http.Client, address, rule string, p response.Priority) bool {
	body := fmt.Appendf(nil, `{"rule":%q,"priority":%q,"time":"2026-03-01T10:00:00Z","source":"syscall","output":%q}`, rule, p, strings.Repeat("x", rand.IntN(3000)))
	answer, err := client.Post("http://"+address+"/"+secret, "application/json", bytes.NewReader(body))
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err == nil && answer.StatusCode == http.StatusOK
}

// TestKillingTheResponderLosesNoEvent kills a responder with signal 9 under load, again and again: every event that was answered with 200
// is taken, by it or by one that comes after it, and those that it has said to be done are not taken again. PORTCULLIS_SOAK=1 does so 100 times.
func TestKillingTheResponderLosesNoEvent(t *testing.T) {
	kills := 20
	if testing.Short() {
		kills = 3
	}
	if os.Getenv("PORTCULLIS_SOAK") != "" {
		kills = 100
	}
	dir := t.TempDir()
	answered := map[string]bool{}
	taken, done := map[string]int{}, map[string]int{}
	twice := 0
	for round := range kills {
		v := startVictim(t, dir)
		for _, rule := range v.load(t, round) {
			answered[rule] = true
		}
		for rule, count := range v.taken {
			if done[rule] > 0 {
				twice++
			}
			taken[rule] += count
		}
		for rule, count := range v.done {
			done[rule] += count
		}
	}
	q := openQueue(t, QueueOptions{Dir: dir, Segment: 64 << 10})
	status := q.Status()
	left := status.Lanes["urgent"].Waiting + status.Lanes["ordinary"].Waiting
	for _, rule := range rules(t, q, left) {
		if done[rule] > 0 {
			twice++
		}
		taken[rule]++
	}
	missing, again := 0, 0
	for rule := range answered {
		if taken[rule] == 0 {
			missing++
		}
	}
	for _, count := range taken {
		if count > 1 {
			again++
		}
	}
	if missing > 0 {
		t.Errorf("got %d of %d events lost that were answered with 200, want none", missing, len(answered))
	}
	if twice > 0 {
		t.Errorf("got %d events taken again that were said to be done, want none", twice)
	}
	t.Logf("%d kills: %d events answered, %d taken (%d of them more than once), %d done, %d left for the last, %d lost", kills, len(answered), len(taken), again, len(done), left, missing)
	wantEmpty(t, q)
}
