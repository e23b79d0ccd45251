package spool

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

// TestARealFullDisk fills a file system of 256 KiB.
func TestARealFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("mounting a small file system: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	l, _, _, _ := open(t, dir, Options{Segment: 64 << 10})
	content := strings.Repeat("x", 3000)
	var kept []string
	for {
		_, err := l.Append([]byte(content))
		if errors.Is(err, syscall.ENOSPC) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, content)
	}
	if len(kept) < 40 {
		t.Fatalf("got %d records on 256 KiB, want more", len(kept))
	}
	// Room for more comes with what is dropped.
	number, waiting, _ := l.Oldest()
	if err := l.Drop(number); err != nil {
		t.Fatal(err)
	}
	add(t, l, "after")
	closeLog(t, l)
	_, got, _, recovery := open(t, dir, Options{})
	wantContents(t, got, append(kept[waiting:], "after")...)
	if recovery.Damaged != 0 {
		t.Errorf("got %+v, want nothing damaged", recovery)
	}
}
