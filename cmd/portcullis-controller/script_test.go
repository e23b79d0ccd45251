package main

import (
	"context"
	"flag"
	"net/http"
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/portcullis-dev/portcullis/test/cluster/clustertest"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

// TestMain makes the test binary double as the program.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"portcullis-controller": func() {
			os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
		},
	})
}

// started waits until a program that runs in this process answers probes. It has told client-go where to log then, which this test must not
// use meanwhile.
func started(t *testing.T, probes string) {
	t.Helper()
	clustertest.Eventually(t, "the program answers", func() error {
		response, err := http.Get("http://" + probes + "/livez")
		if err != nil {
			return err
		}
		return response.Body.Close()
	})
}

// TestScripts runs the transcripts in testdata/script.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
	})
}
