package gitsign_test

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/signer/gitsign"
)

// made is when the commits of these tests were made, and now is when they are verified.
var (
	made = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now  = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
)

// repository is a real one, written by git itself.
type repository struct {
	t     *testing.T
	dir   string
	home  string
	when  time.Time
	files map[string][]byte
}

// need skips a test where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed: apt-get install git openssh-client gnupg", program)
		}
	}
}

func newRepository(t *testing.T, format string) *repository {
	t.Helper()
	need(t, "git")
	// The name of gpg-agent's socket must be short, so the folder is none of the test's own long name.
	home, err := os.MkdirTemp("", "gitsign")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// It answers an error where no agent was started.
		_ = exec.Command("gpgconf", "--homedir", filepath.Join(home, "gnupg"), "--kill", "gpg-agent").Run()
		_ = os.RemoveAll(home)
	})
	r := &repository{t: t, dir: filepath.Join(home, "repository"), home: home, when: made, files: map[string][]byte{}}
	if err := os.Mkdir(filepath.Join(home, "gnupg"), 0o700); err != nil {
		t.Fatal(err)
	}
	r.run("git", "init", "-q", "--initial-branch=main", "--object-format="+format, r.dir)
	return r
}

// run runs a program as it would be on a machine of its own, and gives what it writes.
func (r *repository) run(program string, arguments ...string) []byte {
	r.t.Helper()
	out, err := r.try(program, arguments...)
	if err != nil {
		r.t.Fatalf("%s %s: %v", program, strings.Join(arguments, " "), err)
	}
	return out
}

func (r *repository) try(program string, arguments ...string) ([]byte, error) {
	command := exec.CommandContext(r.t.Context(), program, arguments...)
	command.Dir = r.home
	stamp := fmt.Sprintf("%d +0000", r.when.Unix())
	command.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + r.home, "GNUPGHOME=" + filepath.Join(r.home, "gnupg"), "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_AUTHOR_DATE=" + stamp,
		"GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com", "GIT_COMMITTER_DATE=" + stamp,
	}
	var problems bytes.Buffer
	command.Stderr = &problems
	out, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, problems.Bytes())
	}
	return out, nil
}

func (r *repository) git(arguments ...string) string {
	r.t.Helper()
	return strings.TrimSpace(string(r.run("git", append([]string{"-C", r.dir}, arguments...)...)))
}

// write adds a file to the next commit.
func (r *repository) write(name, content string) {
	r.t.Helper()
	file := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		r.t.Fatal(err)
	}
	r.git("add", name)
	r.files[name] = []byte(content)
}

// bundle writes the files that most tests are about.
func (r *repository) bundle() {
	r.write("bundle.yaml", "name: acme\nserial: 1\n")
	r.write("pods/privileged/policy.rego", "package pods.privileged\n")
	r.write("pods.txt", "sorts between pods and pods/ if read carelessly\n")
	r.write(".github/workflows/ci.yaml", "on: push\n")
}

// sshKey makes a pair and gives the private key's file and the public key's line without its comment.
func (r *repository) sshKey(name string, arguments ...string) (file, public string) {
	r.t.Helper()
	need(r.t, "ssh-keygen")
	file = filepath.Join(r.home, name)
	if len(arguments) == 0 {
		arguments = []string{"-t", "ed25519"}
	}
	r.run("ssh-keygen", append([]string{"-q", "-N", "", "-C", name, "-f", file}, arguments...)...)
	content, err := os.ReadFile(file + ".pub")
	if err != nil {
		r.t.Fatal(err)
	}
	fields := strings.Fields(string(content))
	return file, fields[0] + " " + fields[1]
}

// signBySSH has what follows signed by a key.
func (r *repository) signBySSH(file string) {
	r.git("config", "gpg.format", "ssh")
	r.git("config", "user.signingkey", file)
}

// commit commits what was written, and gives its hash.
func (r *repository) commit(arguments ...string) string {
	r.t.Helper()
	r.git(append([]string{"commit", "-q", "--allow-empty", "-m", "Change policies"}, arguments...)...)
	return r.git("rev-parse", "HEAD")
}

// proof is that of a commit, and of a tag if one is named.
func (r *repository) proof(commit, tag, folder string) *gitsign.Proof {
	r.t.Helper()
	p := &gitsign.Proof{Commit: r.object("commit", commit), Trees: map[string][]byte{}, Path: folder}
	if tag != "" {
		p.Tag = r.object("tag", tag)
	}
	for todo := []string{r.git("rev-parse", commit+"^{tree}")}; len(todo) > 0; {
		tree := todo[0]
		todo = todo[1:]
		if _, done := p.Trees[tree]; done {
			continue
		}
		p.Trees[tree] = r.object("tree", tree)
		for line := range strings.Lines(r.git("ls-tree", tree)) {
			if fields := strings.Fields(line); fields[1] == "tree" {
				todo = append(todo, fields[2])
			}
		}
	}
	return p
}

// object is the raw content of one.
func (r *repository) object(kind, name string) []byte {
	r.t.Helper()
	return r.run("git", "-C", r.dir, "cat-file", kind, name)
}

// below are the files of a folder, by their name in it.
func (r *repository) below(folder string) map[string][]byte {
	files := map[string][]byte{}
	for name, content := range maps.All(r.files) {
		if rest, ok := strings.CutPrefix(name, folder+"/"); ok {
			files[rest] = content
		}
	}
	return files
}
