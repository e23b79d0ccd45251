package version_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

// TestMakefileStampsBothPrograms links with the flags of make build and asks.
func TestMakefileStampsBothPrograms(t *testing.T) {
	if testing.Short() {
		t.Skip("it links both programs")
	}
	makefile, err := os.ReadFile("../../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	stamp := regexp.MustCompile(`-X (\S+)=\$\(VERSION\)`).FindSubmatch(makefile)
	if stamp == nil {
		t.Fatal("got no -X NAME=$(VERSION) in the Makefile, want one")
	}
	for program, calls := range map[string][][]string{
		"portcullis":         {{"version"}, {"--version"}},
		"portcullis-webhook": {{"--version"}},
	} {
		t.Run(program, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), program)
			build := exec.Command("go", "build", "-ldflags", "-s -w -X "+string(stamp[1])+"=v1.2.3-test", "-o", binary, "../../"+program)
			if output, err := build.CombinedOutput(); err != nil {
				t.Fatalf("got %v, want the program: %s", err, output)
			}
			want := regexp.MustCompile(`(?m)^` + program + ` v1\.2\.3-test( |$)`)
			for _, arguments := range calls {
				got, err := exec.Command(binary, arguments...).CombinedOutput()
				if err != nil || !want.Match(got) {
					t.Errorf("%s %v: got %v, %s want %v", program, arguments, err, got, want)
				}
			}
		})
	}
}
