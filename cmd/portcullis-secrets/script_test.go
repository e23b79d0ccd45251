package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"syscall"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/secrets/controller"
)

var update = flag.Bool("update", false, "rewrite the expected output in the scripts")

// asProgram has the test binary be the program: what is killed in a test is a process of its own.
const asProgram = "PORTCULLIS_SECRETS_TEST_PROGRAM"

// panicking has what judges panic with its text, once the secret of a VaultSecret called panics was read.
const panicking = "PORTCULLIS_SECRETS_TEST_PANIC"

// panics is what judges for that.
type panics struct {
	controller.Judge
	text string
}

func (p panics) Sync(ctx context.Context, request admission.Request) admission.Verdict {
	if request.Name == "panics" && request.Sync != nil && request.Sync.Secret != nil {
		panic("a defect that quotes " + p.text)
	}
	return p.Judge.Sync(ctx, request)
}

// TestMain makes the test binary double as the program.
func TestMain(m *testing.M) {
	program := func() {
		ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
		context.AfterFunc(ctx, stop)
		c := &commands{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
		if text := os.Getenv(panicking); text != "" {
			c.between = func(judge controller.Judge) controller.Judge { return panics{judge, text} }
		}
		os.Exit(c.run(ctx, os.Args[1:]))
	}
	if os.Getenv(asProgram) != "" {
		program()
	}
	testscript.Main(m, map[string]func(){"portcullis-secrets": program})
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
