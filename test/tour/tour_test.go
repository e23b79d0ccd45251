package main

import (
	"bytes"
	"testing"

	"github.com/portcullis-dev/portcullis/test/gitserver"
)

// Each step of the tour in README is a test; one that fails leaves the rest without ground to stand on.
func TestTour(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts a control plane")
	}
	if _, err := gitserver.Backend(t.Context()); err != nil {
		t.Skip(err)
	}
	var told bytes.Buffer
	tour, err := start(t.Context(), t.TempDir(), &told)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tour.stop(); err != nil {
			t.Error(err)
		}
	})
	for _, step := range steps {
		told.Reset()
		passed := t.Run(step.title, func(t *testing.T) {
			if err := step.run(tour, t.Context()); err != nil {
				t.Errorf("%v\n%s", err, told.String())
			}
		})
		if !passed {
			t.FailNow()
		}
	}
}
