package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/portcullis-dev/portcullis/test/programs"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

// TestMain makes the test binary double as the program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"portcullis": func() {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
		pluginFile:     pluginForScripts,
		completeFile:   pluginForScripts,
		scannerProgram: scannerForScripts,
	})
}

// TestScripts runs the transcripts in testdata/script. Beside testscript's own
// commands there are:
//
//	exits CODE COMMAND…   run the program, which must exit with this very code
//	huge FILE MEGABYTES   write a manifest of that size
//	verification FILE KEY write who must have signed a bundle: the holder of a key
//
// and those of [imageCommands].
func TestScripts(t *testing.T) {
	policiesDir, err := filepath.Abs("../../policies")
	if err != nil {
		t.Fatal(err)
	}
	images, program := &testRegistry{}, programForScripts(t)
	commands := imageCommands()
	commands["exits"], commands["huge"], commands["verification"] = exits, huge, verificationCommand
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			program(env)
			env.Setenv("DEAD", deadAddress(t))
			env.Setenv("POLICIES", policiesDir)
			env.Setenv("NO_COLOR", "")
			env.Setenv("REGISTRY", images.host(t))
			env.Setenv("ALLOW", "--allow-registry="+images.host(t))
			env.Setenv("PLAIN", "--plain-http-registry="+images.host(t))
			env.Setenv("XDG_CACHE_HOME", filepath.Join(env.WorkDir, ".cache"))
			return nil
		},
		Cmds: commands,
	})
}

// raced are the transcripts in which much happens at once.
var raced = []string{"gate", "gatescan"}

// programForScripts has transcripts run the program as it is shipped where the tests have the race detector: it runs five hundred
// times, and compiles the library most times, which the detector makes five times as long. It stays in for those that are raced.
func programForScripts(t *testing.T) func(*testscript.Env) {
	t.Helper()
	if !programs.Raced {
		return func(*testscript.Env) {}
	}
	for _, name := range raced {
		if _, err := os.Stat(filepath.Join("testdata", "script", name+".txtar")); err != nil {
			t.Fatalf("the transcript %s, which is to be raced, is not there: %v", name, err)
		}
	}
	dir := t.TempDir()
	if err := programs.Build(t.Context(), dir, "portcullis"); err != nil {
		t.Fatal(err)
	}
	return func(env *testscript.Env) {
		if name := strings.TrimPrefix(filepath.Base(env.WorkDir), "script-"); !slices.Contains(raced, name) {
			env.Setenv("PATH", dir+string(filepath.ListSeparator)+env.Getenv("PATH"))
		}
	}
}

// exits is exec for an exact exit code.
func exits(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	got := 0
	if err := ts.Exec(args[1], args[2:]...); err != nil {
		code, ok := strings.CutPrefix(err.Error(), "exit status ")
		if !ok {
			ts.Fatalf("%v", err)
		}
		got, err = strconv.Atoi(code)
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("got exit code %d, want %d", got, want)
	}
}

func huge(ts *testscript.TestScript, _ bool, args []string) {
	megabytes, err := strconv.Atoi(args[1])
	ts.Check(err)
	content := "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: huge}\ndata:\n  x: " + strings.Repeat("a", megabytes<<20) + "\n"
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(content), 0o600))
}

// deadAddress is where nobody listens any more.
func deadAddress(t *testing.T) string {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return fmt.Sprint(listener.Addr())
}

// verificationCommand writes the section verification of a PolicyBundle.
func verificationCommand(ts *testscript.TestScript, _ bool, args []string) {
	key, err := os.ReadFile(ts.MkAbs(args[1]))
	ts.Check(err)
	content := fmt.Sprintf("authorities:\n  - name: release\n    images: [\"**\"]\n    keys: [{pem: %q}]\n", key)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(content), 0o600))
}
