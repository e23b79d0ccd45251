package journalflags_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/portcullis-dev/portcullis/cmd/internal/journalflags"
	"github.com/portcullis-dev/portcullis/cmd/internal/usage"
)

func parsed(t *testing.T, arguments ...string) *journalflags.Flags {
	t.Helper()
	flags, set := &journalflags.Flags{}, pflag.NewFlagSet("test", pflag.ContinueOnError)
	flags.Register(set, "journal-ignored", "`share` kept")
	if err := set.Parse(arguments); err != nil {
		t.Fatal(err)
	}
	return flags
}

func TestMistakesInFlagsAreNamed(t *testing.T) {
	for name, test := range map[string]struct {
		arguments []string
		want      string
	}{
		"none":                      {nil, ""},
		"all":                       {[]string{"--journal=a", "--journal-key=k", "--journal-ignored=0", "--journal-max-bytes=1"}, ""},
		"a key without a journal":   {[]string{"--journal-key=k"}, "give --journal"},
		"a share above 1":           {[]string{"--journal=a", "--journal-ignored=1.5"}, "--journal-ignored is 1.5"},
		"a share that is no number": {[]string{"--journal=a", "--journal-ignored=NaN"}, "--journal-ignored is NaN"},
		"no room":                   {[]string{"--journal=a", "--journal-max-bytes=0"}, "--journal-max-bytes is 0"},
	} {
		t.Run(name, func(t *testing.T) {
			err := parsed(t, test.arguments...).Check()
			if (err != nil) != (test.want != "") || err != nil && (!usage.Is(err) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want a mistake of usage with %q", err, test.want)
			}
		})
	}
}

func TestAJournalIsOpenedAndClosedWhereOneIsWanted(t *testing.T) {
	var lines bytes.Buffer
	log := slog.New(slog.NewTextHandler(&lines, nil))
	if opened, err := parsed(t).Open("me", log); opened != nil || err != nil {
		t.Errorf("without --journal: got %v, %v", opened, err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := parsed(t, "--journal="+file).Open("me", log); err == nil || !strings.HasSuffix(err.Error(), ": correct --journal") {
		t.Errorf("in a file: got %v, want what to correct", err)
	}
	dir := t.TempDir()
	opened, err := parsed(t, "--journal="+dir).Open("me", log)
	if err != nil {
		t.Fatal(err)
	}
	journalflags.Close(t.Context(), opened, time.Minute, log)
	if kept, err := os.ReadDir(dir); err != nil || len(kept) == 0 || lines.Len() > 0 {
		t.Errorf("got %v, %v and the log %q, want files and no complaint", kept, err, lines.String())
	}
}
