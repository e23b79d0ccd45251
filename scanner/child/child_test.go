package child

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/scanner"
)

var testTool = scanner.Tool{Name: "test", Version: "1"}

// TestMain is the child, too: the pool starts this program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		if len(os.Args) > 2 && os.Args[2] == "silent" {
			fmt.Fprintln(os.Stderr, "I do not know what to say")
			os.Exit(1)
		}
		if len(os.Args) > 2 && os.Args[2] == "survivor" {
			time.Sleep(time.Minute) // with the outputs of its parent open
			os.Exit(0)
		}
		if len(os.Args) > 2 && os.Args[2] == "old" {
			fmt.Println(`{"protocol":0,"tool":{"name":"test","version":"0"}}`)
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(0)
		}
		if err := Serve(context.Background(), os.Stdin, os.Stdout, testTool, behave); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// behave does what the request's name says.
func behave(_ context.Context, request Request) (Result, error) {
	if request.Kind == SelfTest && slices.Contains(os.Args, "blind") {
		return Result{}, errors.New("the canary was not found")
	}
	verb, argument, _ := strings.Cut(request.Name, " ")
	say := func(words ...string) (Result, error) {
		return Result{Report: scanner.Report{State: scanner.StateComplete, Reasons: words}}, nil
	}
	switch verb {
	case "fail":
		return Result{}, errors.New(argument)
	case "panic":
		panic(argument)
	case "exit":
		os.Exit(3)
	case "memory":
		var kept [][]byte
		for {
			block := make([]byte, 16<<20)
			for i := 0; i < len(block); i += 4096 {
				block[i] = 1
			}
			kept = append(kept, block)
			runtime.KeepAlive(kept)
		}
	case "spin":
		for {
			runtime.Gosched()
		}
	case "fork":
		survivor := &exec.Cmd{Path: os.Args[0], Args: []string{os.Args[0], "child", "survivor"}, Stdout: os.Stdout, Stderr: os.Stderr, SysProcAttr: &syscall.SysProcAttr{Setsid: true}}
		if err := survivor.Start(); err != nil {
			return Result{}, err
		}
		os.Exit(3)
	case "garbage":
		fmt.Println("what?")
	case "endless":
		for block := bytes.Repeat([]byte("x"), 1<<20); ; {
			if _, err := os.Stdout.Write(block); err != nil {
				os.Exit(1)
			}
		}
	case "twice":
		fmt.Println(`{"id":` + fmt.Sprint(request.ID) + `,"result":{"report":{"state":"complete"}}}`)
		fmt.Println(`{"id":` + fmt.Sprint(request.ID+1) + `,"result":{"report":{"state":"complete"}}}`)
	case "huge":
		return Result{CycloneDX: []byte(`"` + strings.Repeat("x", maxResponse) + `"`)}, nil
	case "environment":
		return say(os.Environ()...)
	case "files":
		entries, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			return Result{}, err
		}
		var open []string
		for _, entry := range entries {
			if target, err := os.Readlink("/proc/self/fd/" + entry.Name()); err == nil {
				open = append(open, target)
			}
		}
		return say(open...)
	case "dial":
		connection, err := net.DialTimeout("tcp", argument, time.Second)
		if err != nil {
			return say("no: " + err.Error())
		}
		connection.Close()
		return say("connected")
	case "interfaces":
		all, err := net.Interfaces()
		if err != nil {
			return Result{}, err
		}
		var names []string
		for _, one := range all {
			names = append(names, one.Name)
		}
		return say(names...)
	case "read":
		content, err := os.ReadFile(argument)
		if err != nil {
			return say("no: " + err.Error())
		}
		return say(string(content))
	case "image":
		content, err := os.ReadFile(filepath.Join(request.Layout, "oci-layout"))
		if err == nil {
			err = os.WriteFile(filepath.Join(request.Layout, "x"), nil, 0o600)
		}
		return say(string(content), fmt.Sprint(err))
	case "write":
		if err := os.WriteFile(argument, []byte("x"), 0o600); err != nil {
			return say("no: " + err.Error())
		}
		return say("written")
	case "temporary":
		return say(os.TempDir())
	case "litter":
		return Result{}, os.WriteFile(filepath.Join(os.TempDir(), "litter"), nil, 0o600)
	case "large":
		file, err := os.Create(filepath.Join(os.TempDir(), "large"))
		if err != nil {
			return Result{}, err
		}
		defer file.Close()
		for {
			if _, err := file.Write(make([]byte, 1<<20)); err != nil {
				return say("no: " + err.Error())
			}
		}
	}
	return say(request.Name)
}

func newPool(t *testing.T, change ...func(*Options)) *Pool {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	options := Options{Command: []string{executable, "child"}, Directory: t.TempDir(), Memory: 512 << 20, Timeout: time.Minute}
	if raceDetector {
		options.Memory = 1 << 60
	}
	for _, c := range change {
		c(&options)
	}
	pool, err := NewPool(options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return pool
}

// ask wants an answer and gives its words.
func ask(t *testing.T, pool *Pool, name string) []string {
	t.Helper()
	result, err := pool.Ask(t.Context(), Request{Kind: Analyse, Name: name})
	if err != nil {
		t.Fatalf("asking for %q: %v", name, err)
	}
	return result.Report.Reasons
}

func TestAChildAnswersManyRequests(t *testing.T) {
	pool := newPool(t)
	first := ask(t, pool, "temporary")
	for range 5 {
		if got := ask(t, pool, "temporary"); !slices.Equal(got, first) {
			t.Fatalf("got process %q, want %q: a healthy child is not replaced", got, first)
		}
	}
	if got := pool.Tool(); got != testTool {
		t.Errorf("the children say that they are %+v, want %+v", got, testTool)
	}
}

func TestAChildIsReplacedAfterSoManyImages(t *testing.T) {
	pool := newPool(t, func(o *Options) { o.MaxImages = 2 })
	pids := []string{ask(t, pool, "temporary")[0], ask(t, pool, "temporary")[0], ask(t, pool, "temporary")[0]}
	if pids[0] != pids[1] || pids[1] == pids[2] {
		t.Errorf("got processes %q, want a new one for the third", pids)
	}
}

func TestAnErrorOfTheAnalyserIsNoDeath(t *testing.T) {
	pool := newPool(t)
	before := ask(t, pool, "temporary")
	for _, name := range []string{"fail the layer ends early", "panic the layer ends early"} {
		_, err := pool.Ask(t.Context(), Request{Name: name})
		if death := (*DeathError)(nil); err == nil || errors.As(err, &death) || !strings.Contains(err.Error(), "the layer ends early") {
			t.Errorf("%s: got %v, want the analyser's words", name, err)
		}
	}
	if after := ask(t, pool, "temporary"); !slices.Equal(before, after) {
		t.Error("the child was replaced")
	}
}

func TestAChildMayDieWithoutHarm(t *testing.T) {
	for name, c := range map[string]struct {
		request string
		change  func(*Options)
		reason  string
		race    bool
	}{
		"that exits":                          {request: "exit", reason: "crashed (exit status 3)"},
		"that eats memory":                    {request: "memory", reason: "memory", race: true},
		"that eats processor time":            {request: "spin", change: func(o *Options) { o.Timeout = time.Second }, reason: "did not end within 1s"},
		"that speaks nonsense":                {request: "garbage", reason: "could not be read"},
		"that never ends its answer":          {request: "endless", reason: "too long"},
		"that answers more than it was asked": {request: "twice", reason: "what it was not asked"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.race && raceDetector {
				t.Skip("memory is not limited under the race detector")
			}
			changes := []func(*Options){}
			if c.change != nil {
				changes = append(changes, c.change)
			}
			pool := newPool(t, changes...)
			_, err := pool.Ask(t.Context(), Request{Kind: Analyse, Name: c.request})
			if c.request == "twice" && err == nil {
				// The second line came after the first was taken: the next request finds it.
				_, err = pool.Ask(t.Context(), Request{Kind: Analyse, Name: "hello"})
			}
			var death *DeathError
			if !errors.As(err, &death) || !strings.Contains(death.Reason, c.reason) {
				t.Fatalf("got %v, want a death with %q in its reason", err, c.reason)
			}
			if got := ask(t, pool, "hello"); !slices.Equal(got, []string{"hello"}) {
				t.Errorf("afterwards a child says %q, want hello", got)
			}
			if left, _ := filepath.Glob(filepath.Join(pool.temporary(), "*")); len(left) != 1 {
				t.Errorf("temporary folders are %q, want that of the new child only", left)
			}
		})
	}
}

// TestAChildLeavesNobodyBehind: a process of the child's in a session of its own must neither live on nor keep the parent
// waiting, which would cost it the place of a child for each such image.
func TestAChildLeavesNobodyBehind(t *testing.T) {
	pool := newPool(t)
	started := time.Now()
	_, err := pool.Ask(t.Context(), Request{Kind: Analyse, Name: "fork"})
	if death := (*DeathError)(nil); !errors.As(err, &death) || !strings.Contains(death.Reason, "exit status 3") {
		t.Errorf("got %v, want its death", err)
	}
	if took := time.Since(started); took > 30*time.Second {
		t.Errorf("its end was noticed after %s, want at once", took)
	}
}

func TestAResultThatIsTooLargeIsAnError(t *testing.T) {
	pool := newPool(t, func(o *Options) { o.Memory = 4 << 30 })
	_, err := pool.Ask(t.Context(), Request{Kind: Analyse, Name: "huge"})
	if death := (*DeathError)(nil); err == nil || errors.As(err, &death) || !strings.Contains(err.Error(), "too large") {
		t.Errorf("got %v, want an error that says so", err)
	}
}

func TestAChildThatNobodyWaitsForIsKilled(t *testing.T) {
	pool := newPool(t)
	ask(t, pool, "hello")
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := pool.Ask(ctx, Request{Kind: Analyse, Name: "spin"}); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v, want that it was cancelled", err)
	}
	if got := ask(t, pool, "hello"); !slices.Equal(got, []string{"hello"}) {
		t.Errorf("afterwards a child says %q, want hello", got)
	}
}

func TestAChildHasNothingOfTheParents(t *testing.T) {
	t.Setenv("PORTCULLIS_KEY_PASSWORD", "secret")
	pool := newPool(t)
	for _, variable := range ask(t, pool, "environment") {
		name, _, _ := strings.Cut(variable, "=")
		if !slices.Contains([]string{"TMPDIR", "HOME", "PATH", "TZ", "GOMEMLIMIT"}, name) {
			t.Errorf("the child has the variable %q", variable)
		}
	}
	secret, err := os.Open(filepath.Join("testdata", "secret.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer secret.Close()
	for _, open := range ask(t, pool, "files") {
		if strings.Contains(open, "secret.txt") {
			t.Errorf("the child has the parent's file %s open", open)
		}
	}
	folder := ask(t, pool, "temporary")[0]
	if !strings.HasPrefix(folder, pool.temporary()) {
		t.Errorf("its temporary folder is %s, want one below %s", folder, pool.temporary())
	}
	if _, err := pool.Ask(t.Context(), Request{Name: "litter"}); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(folder); len(left) > 0 {
		t.Errorf("what an image left in %s stays for the next one", folder)
	}
	pool.Close()
	if _, err := os.Stat(folder); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its temporary folder is still there: %v", err)
	}
}

// isolated skips where the system gives children no isolation.
func isolated(t *testing.T, pool *Pool) {
	t.Helper()
	c, isolation, err := startProcess(t.Context(), &pool.options, pool.temporary())
	if err != nil {
		t.Fatal(err)
	}
	c.end()
	if len(isolation.Missing) > 0 {
		t.Skipf("this system isolates no children: %q", isolation.Missing)
	}
}

func TestAChildHasNoNetwork(t *testing.T) {
	pool := newPool(t)
	isolated(t, pool)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	if got := ask(t, pool, "dial "+listener.Addr().String()); !strings.HasPrefix(got[0], "no: ") {
		t.Errorf("dialling the parent: %q", got)
	}
	if got := ask(t, pool, "interfaces"); len(got) > 1 || len(got) == 1 && got[0] != "lo" {
		t.Errorf("its network interfaces are %q, want none but a loopback", got)
	}
}

func TestAChildReadsAndWritesItsOwnFilesOnly(t *testing.T) {
	shared := t.TempDir()
	pool := newPool(t, func(o *Options) { o.Read = []string{shared} })
	isolated(t, pool)
	key := filepath.Join(t.TempDir(), "cosign.key")
	for _, file := range []string{key, filepath.Join(shared, "trivy.db"), filepath.Join(pool.options.Directory, "layers")} {
		if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for request, want := range map[string]string{
		"read " + filepath.Join(shared, "trivy.db"): "content",
		"read " + key:      "no: ",
		"read /etc/passwd": "no: ",
		fmt.Sprintf("read /proc/%d/environ", os.Getpid()):         "no: ",
		"write " + filepath.Join(shared, "trivy.db"):              "no: ",
		"read " + filepath.Join(pool.options.Directory, "layers"): "no: ",
		"write " + key: "no: ",
		"write " + filepath.Join(pool.Cache(), "layer"):       "written",
		"write " + filepath.Join(pool.options.Directory, "x"): "no: ",
	} {
		if got := ask(t, pool, request); !strings.HasPrefix(got[0], want) {
			t.Errorf("%s: got %q, want %q", request, got, want)
		}
	}
}

func TestAChildSeesTheImageAtHandAndCannotChangeIt(t *testing.T) {
	pool := newPool(t)
	isolated(t, pool)
	layout := t.TempDir()
	if err := os.WriteFile(filepath.Join(layout, "oci-layout"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		result, err := pool.Ask(t.Context(), Request{Kind: Analyse, Name: "image", Layout: layout})
		if err != nil {
			t.Fatal(err)
		}
		if got := result.Report.Reasons; got[0] != "{}" || !strings.Contains(got[1], "permission denied") {
			t.Errorf("reading and writing it gave %q, want its content and that permission is denied", got)
		}
		if left, _ := filepath.Glob(filepath.Join(pool.temporary(), "*", "image", "*")); len(left) > 0 {
			t.Errorf("after the answer %q are still there", left)
		}
	}
}

func TestAChildCannotFillTheDiskWithOneFile(t *testing.T) {
	pool := newPool(t, func(o *Options) { o.MaxFile = 8 << 20 })
	if got := ask(t, pool, "large"); !strings.Contains(got[0], "file too large") {
		t.Errorf("got %q, want that the file is too large", got)
	}
}

func TestProgramsThatAreNoChild(t *testing.T) {
	for name, c := range map[string]struct{ arguments, want string }{
		"one that says nothing":  {"silent", "I do not know what to say"},
		"one of another release": {"old", "use programs of one release"},
	} {
		t.Run(name, func(t *testing.T) {
			pool := newPool(t, func(o *Options) { o.Command = append(o.Command, c.arguments) })
			if _, err := pool.Ask(t.Context(), Request{Name: "hello"}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q in it", err, c.want)
			}
		})
	}
	pool := newPool(t, func(o *Options) { o.Command = []string{"/no/such/program"} })
	if _, err := pool.Ask(t.Context(), Request{Name: "hello"}); err == nil || !strings.Contains(err.Error(), "/no/such/program") {
		t.Errorf("got %v, want the program's name in it", err)
	}
}

func TestServeEndsWithItsInputEvenInTheMidstOfAnAnalysis(t *testing.T) {
	reader, writer := io.Pipe()
	begun := make(chan struct{})
	ended := make(chan error, 1)
	out := &bytes.Buffer{}
	go func() {
		ended <- Serve(context.Background(), reader, out, testTool, func(ctx context.Context, _ Request) (Result, error) {
			close(begun)
			select {} // an analysis that heeds nothing
		})
	}()
	if err := writeLine(writer, Request{ID: 1, Kind: Analyse}, maxRequest); err != nil {
		t.Fatal(err)
	}
	<-begun
	writer.Close()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("got %v, want nil", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it did not end")
	}
}

func FuzzReadLine(f *testing.F) {
	f.Add([]byte(`{"id":1,"result":{"report":{"state":"complete"}}}` + "\n"))
	f.Add([]byte(`{"id":1,"error":"x"}`))
	f.Add([]byte("\n\n"))
	f.Fuzz(func(t *testing.T, content []byte) {
		const limit = 1 << 10
		reader := bufio.NewReaderSize(bytes.NewReader(content), 16)
		for {
			var r response
			err := readLine(reader, &r, limit)
			if errors.Is(err, io.EOF) || errors.Is(err, errLineTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
				return
			}
			if err != nil {
				continue
			}
			var again bytes.Buffer
			if err := writeLine(&again, r, 1<<20); err != nil {
				t.Fatalf("what was read cannot be written: %v", err)
			}
		}
	})
}
