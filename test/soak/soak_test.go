package soak

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Variables that say how long the soak is: PORTCULLIS_SOAK is the long form, an hour or PORTCULLIS_SOAK_DURATION. PORTCULLIS_SOAK_SEED is that of
// an earlier run, PORTCULLIS_SOAK_FAULTS the names of the only faults, with commas between, and PORTCULLIS_SOAK_PROGRAMS a folder of built programs.
const (
	longVariable     = "PORTCULLIS_SOAK"
	durationVariable = "PORTCULLIS_SOAK_DURATION"
	seedVariable     = "PORTCULLIS_SOAK_SEED"
	faultsVariable   = "PORTCULLIS_SOAK_FAULTS"
	programsVariable = "PORTCULLIS_SOAK_PROGRAMS"
)

// TestSoak is the short form with all other tests: some faults of all, the same in each run. The long form begins with another seed each time.
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts an installation")
	}
	options := Options{Dir: t.TempDir(), Duration: 70 * time.Second, Shortest: 2 * time.Second, Longest: 4 * time.Second, Seed: 1, Bound: 3 * time.Minute, Output: os.Stderr, Programs: os.Getenv(programsVariable)}
	if os.Getenv(longVariable) != "" {
		options.Duration, options.Shortest, options.Longest, options.Seed = time.Hour, 5*time.Second, 10*time.Second, rand.Uint64()
	}
	if text := os.Getenv(durationVariable); text != "" {
		given, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", durationVariable, err)
		}
		options.Duration = given
	}
	if text := os.Getenv(seedVariable); text != "" {
		given, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", seedVariable, err)
		}
		options.Seed = given
	}
	if text := os.Getenv(faultsVariable); text != "" {
		options.Only = strings.Split(text, ",")
	}
	report, err := Run(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Log("\n" + report.String())
	if failures := report.Failures(); failures != "" {
		t.Error(failures)
	}
}
