package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"
)

// TestMain is the child, too: the program starts itself again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "child" {
		os.Exit(run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// call runs the program.
func call(t *testing.T, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	code = run(t.Context(), args, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

func TestAnInterruptedRunSaysSo(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	interrupt()
	var out, errs bytes.Buffer
	code := run(ctx, []string{"scan", "--work-dir", t.TempDir(), "ghcr.io/acme/shop:1"}, strings.NewReader(""), &out, &errs)
	if want := "portcullis-scanner: interrupted: what was attached until then stays\n"; code != exitInternal || errs.String() != want {
		t.Errorf("got exit %d and %q, want %d and %q", code, errs.String(), exitInternal, want)
	}
}

func TestWrongUsage(t *testing.T) {
	for name, c := range map[string]struct {
		args []string
		says string
	}{
		"no command":                       {[]string{}, "name a command"},
		"a command that there is not":      {[]string{"analyze"}, `no command "analyze"`},
		"nothing to scan":                  {[]string{"scan"}, "name images"},
		"a flag that there is not":         {[]string{"scan", "--severity=high", "alpine"}, "--severity"},
		"an output that there is not":      {[]string{"scan", "-o", "sarif", "alpine"}, "use table, json or predicate"},
		"attaching without a key":          {[]string{"scan", "--attach", "alpine"}, "give --key"},
		"a key without attaching":          {[]string{"scan", "--key=x", "alpine"}, "--key signs what --attach attaches: give --attach"},
		"a platform for a cluster":         {[]string{"serve", "--key=x", "--platform=linux/amd64"}, "unknown flag: --platform"},
		"a password without a key":         {[]string{"scan", "--key-password-file=x", "alpine"}, "--key-password-file is for --key"},
		"a format that there is not":       {[]string{"scan", "--format=notation", "alpine"}, "use bundle or legacy"},
		"a platform that is none":          {[]string{"scan", "--platform=amd64", "alpine"}, "linux/amd64"},
		"no children":                      {[]string{"scan", "--children=0", "alpine"}, "at least 1"},
		"a folder that is not there":       {[]string{"scan", "--work-dir", t.TempDir(), "--database=./no-such-folder", "alpine"}, "there is no such folder"},
		"no database":                      {[]string{"scan", "--work-dir", t.TempDir(), "--database=", "alpine"}, "--database is empty"},
		"a key for a database in a folder": {[]string{"scan", "--work-dir", t.TempDir(), "--database=.", "--java-database=", "--database-key=run.go", "alpine"}, "leave one out"},
		"a registry's address as host":     {[]string{"scan", "--allow-registry=http://x", "alpine"}, "write HOST or HOST:PORT"},
		"credentials that are not there":   {[]string{"scan", "--registry-config=nosuch", "alpine"}, "correct --registry-config"},
		"authorities that are not there":   {[]string{"scan", "--registry-ca=nosuch", "alpine"}, "correct --registry-ca"},
		"a key that is not there":          {[]string{"scan", "--attach", "--key=nosuch", "alpine"}, "correct --key"},
		"a key that is none":               {[]string{"scan", "--attach", "--key=run.go", "alpine"}, "correct --key"},
		"a password that is not there":     {[]string{"scan", "--attach", "--key=run.go", "--key-password-file=nosuch", "alpine"}, "correct --key-password-file"},
		"a folder without database":        {[]string{"scan", "--work-dir", t.TempDir(), "--database=.", "--java-database=", "alpine"}, "name a folder with trivy.db and metadata.json with --database"},
		"serving without a key":            {[]string{"serve", "--kubeconfig=x"}, "give --key"},
		"serving outside a cluster":        {[]string{"serve", "--key=x"}, "give --kubeconfig"},
		"keeping scans elsewhere":          {[]string{"serve", "--key=x", "--keep-in=disk"}, "use registry or object"},
		"probes at no address":             {[]string{"serve", "--key=x", "--probes=8082"}, "give host:port"},
		"arguments of the child":           {[]string{"child", "x"}, "takes flags only"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := call(t, c.args...)
			if code != exitUsage || !strings.Contains(stderr, c.says) {
				t.Errorf("got exit %d and %q, want %d and %q", code, stderr, exitUsage, c.says)
			}
		})
	}
}
