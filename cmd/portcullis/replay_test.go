package main

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/admission/manifest"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/policies/archive"
	"github.com/portcullis-dev/portcullis/policies/journal"
	"github.com/portcullis-dev/portcullis/policies/revision"
	"github.com/rogpeppe/go-internal/testscript"
)

// TestJournalScripts runs the transcripts in testdata/journal. Beside those of [TestScripts] there is
//
//	record JOURNAL BUNDLE FILE…   judge the creation of each manifest by a bundle, as a webhook does, and keep it;
//	                              the decision has the name of the object as its id
func TestJournalScripts(t *testing.T) {
	program := programForScripts(t)
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/journal",
		UpdateScripts:       *update,
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			program(env)
			env.Setenv("NO_COLOR", "")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"exits": exits, "record": record},
	})
}

// scriptNoon is when everything in the scripts happens.
var scriptNoon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

// labelled is a cluster that knows namespaces.
type labelled struct{}

// Gather implements admission.Facts.
func (labelled) Gather(_ context.Context, needs policies.Needs) policies.Facts {
	var gathered policies.Facts
	if needs.Namespace != "" {
		gathered.Namespace = &policies.Namespace{Name: needs.Namespace, Labels: map[string]string{"team": "a"}}
	}
	return gathered
}

func record(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) < 3 {
		ts.Fatalf("usage: record JOURNAL BUNDLE FILE…")
	}
	tree, err := archive.Read(os.DirFS(ts.MkAbs(args[1])))
	ts.Check(err)
	judges, err := revision.Load(tree, revisionOptions())
	ts.Check(err)
	clock := func() time.Time { return scriptNoon }
	reviewer := admission.NewLineupReviewer(&admission.Lineup{Members: []admission.Member{{Active: judges.Ready}}}, labelled{}, clock)
	kept, err := journal.Open(journal.Options{Dir: ts.MkAbs(args[0]), Allows: 1, Now: clock, Wait: time.Minute})
	ts.Check(err)
	for n, name := range args[2:] {
		documents, err := manifest.Read(name, strings.NewReader(ts.ReadFile(name)), manifest.Limits{})
		ts.Check(err)
		for i := range documents {
			request := admission.CreateRequest(admission.DoorAdmission, &documents[i], "default")
			request.UID, request.Subject.Username = "uid-"+request.Name, "ann"
			d := &admission.Decision{ID: request.Name, Time: scriptNoon.Add(time.Duration(n) * time.Hour), Duration: time.Millisecond, Request: request, Outcome: "denied"}
			if d.Verdict = reviewer.Review(context.Background(), request); d.Verdict.Admitted {
				d.Outcome = "admitted"
			}
			kept.Record(context.Background(), d)
		}
	}
	ts.Check(kept.Close(context.Background()))
}
