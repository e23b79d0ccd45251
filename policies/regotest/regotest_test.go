package regotest

import (
	"context"
	"strings"
	"testing"
	"testing/fstest"
)

func TestRun(t *testing.T) {
	bundle := fstest.MapFS{
		"a/policy.rego":      {Data: []byte("package portcullis.a.a\ndeny contains \"x\" if input.bad\n")},
		"a/policy_test.rego": {Data: []byte("package portcullis.a.a_test\nimport data.portcullis.a.a\ntest_denies if { count(a.deny) == 1 with input as {\"bad\": true} }\ntest_wrong if {\n  count(a.deny) == 2\n}\n")},
		"b/policy_test.rego": {Data: []byte("package portcullis.b.b_test\ntest_true if true\n")},
	}
	results, err := Run(context.Background(), bundle, Options{Below: "a"})
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
	if all, err := Run(context.Background(), bundle, Options{}); err != nil || len(all) != 3 {
		t.Errorf("got %d tests of the whole bundle, %v, want 3", len(all), err)
	}
}

func TestUnreadableRegoIsAnError(t *testing.T) {
	if _, err := Run(context.Background(), fstest.MapFS{"a.rego": {Data: []byte("package a\nx if {")}}, Options{}); err == nil {
		t.Error("got no error, want one about a.rego")
	}
}

func TestTestsCannotReachBeyondThem(t *testing.T) {
	for _, call := range []string{
		`http.send({"method": "get", "url": "http://169.254.169.254/"}).status_code == 200`,
		`opa.runtime().env.HOME != ""`,
		`count(net.lookup_ip_addr("example.com")) > 0`,
	} {
		_, err := Run(t.Context(), fstest.MapFS{"x_test.rego": {Data: []byte("package x_test\n\ntest_x if " + call + "\n")}}, Options{})
		if err == nil || !strings.Contains(err.Error(), "undefined function") {
			t.Errorf("got %v for a test with %s, want it refused", err, call)
		}
	}
	results, err := Run(t.Context(), fstest.MapFS{"x_test.rego": {Data: []byte("package x_test\n\ntest_x if print(\"hello\")\n")}}, Options{})
	if err != nil || len(results) != 1 || results[0].Problem != "" {
		t.Errorf("got %+v, %v for a test that prints, want it to pass", results, err)
	}
}
