package regotest

import (
	"context"
	"testing"
	"testing/fstest"
)

func TestRun(t *testing.T) {
	bundle := fstest.MapFS{
		"a/policy.rego":      {Data: []byte("package portcullis.a.a\ndeny contains \"x\" if input.bad\n")},
		"a/policy_test.rego": {Data: []byte("package portcullis.a.a_test\nimport data.portcullis.a.a\ntest_denies if { count(a.deny) == 1 with input as {\"bad\": true} }\ntest_wrong if {\n  count(a.deny) == 2\n}\n")},
		"b/policy_test.rego": {Data: []byte("package portcullis.b.b_test\ntest_true if true\n")},
	}
	results, err := Run(context.Background(), bundle, "a")
	if err != nil || len(results) != 2 {
		t.Fatalf("got %+v, %v, want the two tests below a", results, err)
	}
	want := []Result{
		{"data.portcullis.a.a_test.test_denies", "a/policy_test.rego", 3, ""},
		{"data.portcullis.a.a_test.test_wrong", "a/policy_test.rego", 4, "failed at line 5: count(a.deny) == 2"},
	}
	for i := range want {
		if results[i] != want[i] {
			t.Errorf("got %+v, want %+v", results[i], want[i])
		}
	}
	if all, err := Run(context.Background(), bundle, "."); err != nil || len(all) != 3 {
		t.Errorf("got %d tests of the whole bundle, %v, want 3", len(all), err)
	}
}

func TestUnreadableRegoIsAnError(t *testing.T) {
	if _, err := Run(context.Background(), fstest.MapFS{"a.rego": {Data: []byte("package a\nx if {")}}, "."); err == nil {
		t.Error("got no error, want one about a.rego")
	}
}
