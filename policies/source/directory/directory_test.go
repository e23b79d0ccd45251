package directory_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/source"
	"github.com/portcullis-dev/portcullis/policies/source/directory"
	"github.com/portcullis-dev/portcullis/policies/v1alpha1"
)

// write makes or replaces a file.
func write(t testing.TB, folder, name, content string) {
	t.Helper()
	file := filepath.Join(folder, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func digest(t testing.TB, folder string) string {
	t.Helper()
	tree, err := archive.Read(os.DirFS(folder))
	if err != nil {
		t.Fatal(err)
	}
	return tree.Digest()
}

// pauses is a clock whose time is over at once, after something was done meanwhile.
type pauses struct {
	count int
	do    func(pause int)
}

func (p *pauses) after(time.Duration) <-chan time.Time {
	p.count++
	if p.do != nil {
		p.do(p.count)
	}
	fire := make(chan time.Time, 1)
	fire <- time.Time{}
	return fire
}

func newSource(t testing.TB, path string, p *pauses) *directory.Source {
	t.Helper()
	made, err := directory.New(v1alpha1.DirectorySource{Path: path}, directory.Options{After: p.after})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

func TestAFolderIsFetchedOnceItHasComeToRest(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(t *testing.T, folder string, pause int)
		pause int // how many there are
	}{
		"nobody writes": {func(*testing.T, string, int) {}, 1},
		"somebody writes a second file": {func(t *testing.T, folder string, pause int) {
			if pause == 1 {
				write(t, folder, "pods/policy.rego", "package pods\n")
			}
		}, 2},
		"somebody writes one file in pieces": {func(t *testing.T, folder string, pause int) {
			if pause < 4 {
				write(t, folder, "bundle.yaml", strings.Repeat("name: acme\n", pause))
			}
		}, 4},
		"the folder is replaced": {func(t *testing.T, folder string, pause int) {
			if pause == 1 {
				if err := os.RemoveAll(folder); err != nil {
					t.Fatal(err)
				}
			}
			if pause == 2 {
				write(t, folder, "bundle.yaml", "name: other\n")
			}
		}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "bundle")
			write(t, folder, "bundle.yaml", "name: ac")
			p := &pauses{}
			p.do = func(pause int) { c.do(t, folder, pause) }
			at := newSource(t, folder, p)
			revision, err := at.Fetch(t.Context(), "")
			if err != nil {
				t.Fatal(err)
			}
			if want := digest(t, folder); revision.Tree.Digest() != want || revision.Version != want || revision.Origin != folder {
				t.Errorf("got %s of %s, want %s of %s", revision.Version, revision.Origin, want, folder)
			}
			if p.count != c.pause {
				t.Errorf("got %d pauses, want %d", p.count, c.pause)
			}
			p.count = 0
			if _, err := at.Fetch(t.Context(), revision.Version); !errors.Is(err, source.ErrUnchanged) || p.count != 0 {
				t.Errorf("got %v after %d pauses, want ErrUnchanged at once", err, p.count)
			}
		})
	}
}

func TestAFolderThatIsNoBundleIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		do   func(t *testing.T, folder string)
		at   func(folder string, pause int)
		want string
	}{
		"a folder that keeps changing": {func(t *testing.T, folder string) { write(t, folder, "bundle.yaml", "name: a\n") },
			func(folder string, pause int) {
				_ = os.WriteFile(filepath.Join(folder, "bundle.yaml"), fmt.Append(nil, pause), 0o600)
			}, "it keeps changing while it is read: write the bundle elsewhere, and rename its folder to this one"},
		"a folder that is not there": {func(*testing.T, string) {}, nil, "name a folder that is there"},
		"an empty folder":            {func(t *testing.T, folder string) { _ = os.Mkdir(folder, 0o755) }, nil, "there are no files"},
		"a file":                     {func(t *testing.T, folder string) { write(t, filepath.Dir(folder), "bundle", "x") }, nil, "not a directory"},
		"a link to a file outside": {func(t *testing.T, folder string) {
			write(t, folder, "bundle.yaml", "name: a\n")
			_ = os.Symlink("/etc/passwd", filepath.Join(folder, "x.yaml"))
		}, nil, "x.yaml is a link or a device"},
		"a link to a folder": {func(t *testing.T, folder string) {
			write(t, folder, "bundle.yaml", "name: a\n")
			_ = os.Symlink("/etc", filepath.Join(folder, "x"))
		}, nil, "x is a link or a device"},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "bundle")
			c.do(t, folder)
			p := &pauses{}
			if c.at != nil {
				p.do = func(pause int) { c.at(folder, pause) }
			}
			_, err := newSource(t, folder, p).Fetch(t.Context(), "")
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "reading "+folder+": ") {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			if got := errors.Is(err, directory.ErrUnsettled); got != (c.at != nil) {
				t.Errorf("got ErrUnsettled: %v, want %v", got, c.at != nil)
			}
		})
	}
	if _, err := directory.New(v1alpha1.DirectorySource{}, directory.Options{}); err == nil {
		t.Error("got no error for a source without a path")
	}
}

func TestAFetchEndsWithItsContext(t *testing.T) {
	folder := t.TempDir()
	write(t, folder, "bundle.yaml", "name: a\n")
	at, err := directory.New(v1alpha1.DirectorySource{Path: folder}, directory.Options{After: func(time.Duration) <-chan time.Time { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := at.Fetch(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
}

// The folder itself may be a link that is set to another folder: that is how a bundle is replaced as a whole.
func TestAFolderMayBeALinkThatIsMoved(t *testing.T) {
	above := t.TempDir()
	write(t, above, "v1/bundle.yaml", "name: a\nserial: 1\n")
	write(t, above, "v2/bundle.yaml", "name: a\nserial: 2\n")
	current := filepath.Join(above, "current")
	at := newSource(t, current, &pauses{})
	last := ""
	for _, version := range []string{"v1", "v2"} {
		next := filepath.Join(above, "next")
		if err := errors.Join(os.Symlink(version, next), os.Rename(next, current)); err != nil {
			t.Fatal(err)
		}
		revision, err := at.Fetch(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		if want := digest(t, filepath.Join(above, version)); revision.Version != want {
			t.Errorf("got %s, want %s", revision.Version, want)
		}
		last = revision.Version
	}
}

// watching gives what Watch calls, until the test ends.
func watching(t *testing.T, at *directory.Source) <-chan struct{} {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	changed, ended := make(chan struct{}, 100), make(chan struct{})
	go func() {
		defer close(ended)
		at.Watch(ctx, func() { changed <- struct{}{} })
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return changed
}

func TestAChangeIsNoticedAtOnce(t *testing.T) {
	for name, change := range map[string]func(t *testing.T, folder string){
		"a file is written":    func(t *testing.T, folder string) { write(t, folder, "bundle.yaml", "name: b\n") },
		"a file further below": func(t *testing.T, folder string) { write(t, folder, "pods/privileged/policy.rego", "package x\n") },
		"a file is removed":    func(t *testing.T, folder string) { _ = os.Remove(filepath.Join(folder, "bundle.yaml")) },
		"a file is renamed": func(t *testing.T, folder string) {
			_ = os.Rename(filepath.Join(folder, "bundle.yaml"), filepath.Join(folder, "a"))
		},
		"a new folder": func(t *testing.T, folder string) { write(t, folder, "new/deep/policy.rego", "package y\n") },
		"the folder is replaced": func(t *testing.T, folder string) {
			write(t, folder+".new", "bundle.yaml", "name: c\n")
			_ = os.Rename(folder, folder+".old")
			_ = os.Rename(folder+".new", folder)
		},
	} {
		t.Run(name, func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "bundle")
			write(t, folder, "bundle.yaml", "name: a\n")
			write(t, folder, "pods/privileged/policy.rego", "package x\n\n")
			armed := make(chan struct{}, 100)
			at, err := directory.New(v1alpha1.DirectorySource{Path: folder}, directory.Options{Interval: time.Hour, Settle: time.Millisecond,
				After: func(d time.Duration) <-chan time.Time {
					if d == time.Hour { // all is watched now
						armed <- struct{}{}
						return nil
					}
					return time.After(d)
				}})
			if err != nil {
				t.Fatal(err)
			}
			changed := watching(t, at)
			<-changed
			<-armed
			change(t, folder)
			select {
			case <-changed:
			case <-time.After(20 * time.Second):
				t.Fatal("the change was not noticed")
			}
			<-armed // what is new is watched as well
			write(t, folder, "again/x.rego", "package z\n")
			select {
			case <-changed:
			case <-time.After(20 * time.Second):
				t.Fatal("the second change was not noticed")
			}
		})
	}
}

func TestOneLooksNowAndThenWhateverTheSystemTells(t *testing.T) {
	tick := make(chan time.Time)
	at, err := directory.New(v1alpha1.DirectorySource{Path: filepath.Join(t.TempDir(), "nowhere", "bundle")}, directory.Options{After: func(time.Duration) <-chan time.Time { return tick }})
	if err != nil {
		t.Fatal(err)
	}
	changed := watching(t, at)
	<-changed
	for range 3 {
		tick <- time.Time{}
		select {
		case <-changed:
		case <-time.After(20 * time.Second):
			t.Fatal("nobody looked")
		}
	}
}

func TestWhatHappensBesideTheFolderIsNotItsConcern(t *testing.T) {
	above := t.TempDir()
	folder := filepath.Join(above, "bundle")
	write(t, folder, "bundle.yaml", "name: a\n")
	armed := make(chan struct{}, 100)
	at, err := directory.New(v1alpha1.DirectorySource{Path: folder}, directory.Options{Interval: time.Hour, Settle: time.Millisecond,
		After: func(d time.Duration) <-chan time.Time {
			armed <- struct{}{}
			if d == time.Hour {
				return nil
			}
			return time.After(d)
		}})
	if err != nil {
		t.Fatal(err)
	}
	changed := watching(t, at)
	<-changed
	<-armed
	for i := range 50 {
		write(t, above, fmt.Sprint("bundle.", i), "x")
	}
	write(t, folder, "bundle.yaml", "name: b\n") // the last event, which is waited for
	<-armed
	<-changed
	if rest := len(changed); rest != 0 {
		t.Errorf("got %d further changes, want none", rest)
	}
}
