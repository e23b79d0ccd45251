package bench

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/scanner/trivy/trivytest"
)

func TestImagesToCompareOnAreTheSameEachTime(t *testing.T) {
	digest := func(seed uint64) string {
		layer, err := packed(append(debianLayer(2), moduleLayer(seed, 2)...)...)
		if err != nil {
			t.Fatal(err)
		}
		hash, err := layer.Digest()
		if err != nil {
			t.Fatal(err)
		}
		return hash.String()
	}
	if first, second := digest(3), digest(3); first != second {
		t.Errorf("got %s and %s of one seed, want the same", first, second)
	}
	if first, other := digest(3), digest(4); first == other {
		t.Errorf("got %s of two seeds, want two digests", first)
	}
}

func TestFilesToCompareOnShrinkAsRealOnesDo(t *testing.T) {
	c := newContent(1)
	for name, content := range map[string][]byte{"prose": c.prose(100_000), "code": c.code(100_000), "a program": c.program(100_000)} {
		layer, err := packed(trivytest.Entry{Path: "file", Content: content})
		if err != nil {
			t.Fatal(err)
		}
		size, err := layer.Size()
		if err != nil {
			t.Fatal(err)
		}
		if share := float64(size) / float64(len(content)); share < 0.2 || share > 0.7 {
			t.Errorf("%s shrinks to %.2f of its size, want between 0.2 and 0.7", name, share)
		}
	}
}

func TestProgramsToCompareWithCanBeNamed(t *testing.T) {
	named := filepath.Join(t.TempDir(), "program")
	if err := os.WriteFile(named, nil, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(TrivyVariable, named)
	t.Setenv(CosignVariable, named)
	got, err := NewPeers(t.Context(), io.Discard)
	if err != nil || got.Trivy != named || got.Cosign != named {
		t.Errorf("got %+v, %v, want %s for both", got, err, named)
	}
	t.Setenv(CosignVariable, named+"-missing")
	if _, err := NewPeers(t.Context(), io.Discard); err == nil || !strings.Contains(err.Error(), CosignVariable) {
		t.Errorf("got %v, want an error that names %s", err, CosignVariable)
	}
}

func TestProgramsToCompareWithHaveTheVersionsOfGoMod(t *testing.T) {
	mod, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []peer{trivyPeer, cosignPeer} {
		version, err := p.version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if want := p.module + " " + version + "\n"; !bytes.Contains(mod, []byte(want)) {
			t.Errorf("got version %s of %s, want the one of go.mod", version, p.name)
		}
	}
}

func TestTasksTakeTurnsAndPrepareEachTime(t *testing.T) {
	var order strings.Builder
	newTask := func(name string, takes time.Duration) task {
		return task{
			name: name, prepare: func() error { order.WriteString("p"); return nil },
			run: func(context.Context) (spent, error) { order.WriteString(name); return spent{wall: takes}, nil },
		}
	}
	figures, err := turns(t.Context(), 2, newTask("a", 3), newTask("b", 2))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := order.String(), "papbpbpa"; got != want {
		t.Errorf("got the order %s, want %s", got, want)
	}
	if got := figures["a"].Ratio(figures["b"]); got != 1.5 {
		t.Errorf("got the ratio %g, want 1.5", got)
	}
	broken := errors.New("broken")
	failing := task{name: "c", run: func(context.Context) (spent, error) { return spent{}, broken }}
	if _, err := turns(t.Context(), 1, failing); !errors.Is(err, broken) {
		t.Errorf("got %v, want the error of the task", err)
	}
}

func TestAComparisonSaysByHowMuchItMisses(t *testing.T) {
	figures := map[string]*Figures{
		nameOurs:  summarise([]round{{mean: 300 * time.Millisecond, cpu: 100 * time.Millisecond}}),
		namePeers: summarise([]round{{mean: 200 * time.Millisecond, cpu: 100 * time.Millisecond}}),
	}
	row := comparedRow("a scan", figures, "trivy", 1.2)
	if got, want := row.verdict(), "budget 1.2 x: MISSED by 25 %"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if !strings.Contains(row.Note, "by 60 ms") || !strings.Contains(row.Note, "1.00 x trivy") {
		t.Errorf("got the note %q, want the time beyond the budget and the processor time", row.Note)
	}
	delete(figures, namePeers)
	if row := comparedRow("a scan", figures, "trivy", 1.2); row.Budget != "" || !strings.Contains(row.Got, "300 ms") {
		t.Errorf("got %+v of a scan without comparison, want its time and no budget", row)
	}
}

func TestLayersAreOverwrittenAndConfigurationsAreNot(t *testing.T) {
	folder := t.TempDir()
	files := map[string]string{"layer": "\x1f\x8b\x08", "config": `{"os":"linux"}`}
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := overwriteLayers(folder); n != 1 || err != nil {
		t.Fatalf("got %d, %v, want one layer", n, err)
	}
	for name, want := range map[string]string{"layer": "\xff\xff\xff", "config": files["config"]} {
		if got, err := os.ReadFile(filepath.Join(folder, name)); string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", name, got, err, want)
		}
	}
	if _, err := overwriteLayers(t.TempDir()); err == nil {
		t.Error("got no error for a folder without layers")
	}
}
