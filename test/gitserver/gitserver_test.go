package gitserver_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/test/gitserver"
	"github.com/portcullis-dev/portcullis/test/pki"
)

func TestItIsPushedToAndClonedFromByGitItself(t *testing.T) {
	if _, err := gitserver.Backend(t.Context()); err != nil {
		t.Skip(err)
	}
	dir := t.TempDir()
	authority, err := pki.NewAuthority(dir, "ca")
	if err != nil {
		t.Fatal(err)
	}
	serving, err := authority.Issue("git")
	if err != nil {
		t.Fatal(err)
	}
	server, err := gitserver.Start(t.Context(), gitserver.Options{Dir: filepath.Join(dir, "repositories"), Serving: serving, Username: "ada", Password: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	if _, err := server.Create(t.Context(), "policies"); err != nil {
		t.Fatal(err)
	}
	git := func(dir string, arguments ...string) (string, error) {
		command := exec.CommandContext(t.Context(), "git", arguments...)
		command.Dir = dir
		command.Env = append(os.Environ(), "GIT_SSL_CAINFO="+authority.File, "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
		out, err := command.CombinedOutput()
		return string(out), err
	}
	work := filepath.Join(dir, "work")
	authorized := strings.Replace(server.URL("policies"), "https://", "https://ada:secret@", 1)
	for _, arguments := range [][]string{
		{"init", "-q", "--initial-branch=main", work}, {"-C", work, "commit", "-q", "--allow-empty", "-m", "first"}, {"-C", work, "push", "-q", authorized, "main"},
		{"clone", "-q", authorized, filepath.Join(dir, "clone")},
	} {
		if out, err := git(dir, arguments...); err != nil {
			t.Fatalf("git %v: %v\n%s", arguments, err, out)
		}
	}
	if out, err := git(filepath.Join(dir, "clone"), "log", "--format=%s"); err != nil || out != "first\n" {
		t.Errorf("got %q, %v, want the commit", out, err)
	}
	if out, err := git(dir, "ls-remote", server.URL("policies")); err == nil {
		t.Errorf("got %q without a password, want a refusal", out)
	}
}
