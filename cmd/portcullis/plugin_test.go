package main

import (
	"context"
	"os"
	"slices"
	"testing"
)

// pluginForScripts is the program as kubectl calls it, by the name of its file.
func pluginForScripts() {
	os.Exit(runAs(context.Background(), invoked(os.Args), os.Stdin, os.Stdout, os.Stderr))
}

func TestTheNameOfTheFileSaysHowItWasCalled(t *testing.T) {
	for name, test := range map[string]struct {
		words []string
		want  invocation
	}{
		"as itself":                      {[]string{"/usr/bin/portcullis", "doctor"}, invocation{args: []string{"doctor"}}},
		"as kubectl's plugin":            {[]string{"/home/ann/.krew/bin/kubectl-portcullis", "doctor"}, invocation{plugin: true, args: []string{"doctor"}}},
		"as kubectl's plugin on Windows": {[]string{"kubectl-portcullis.exe", "doctor"}, invocation{plugin: true, args: []string{"doctor"}}},
		"to complete":                    {[]string{"kubectl_complete-portcullis", "doctor", "--on"}, invocation{plugin: true, args: []string{"__complete", "doctor", "--on"}}},
		"without any word":               {nil, invocation{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := invoked(test.words)
			if got.plugin != test.want.plugin || !slices.Equal(got.args, test.want.args) {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

func TestAdviceNamesTheCommandAsItWasCalled(t *testing.T) {
	plugin := invocation{plugin: true}
	for text, want := range map[string]string{
		"portcullis doctor --list has those":                    "kubectl portcullis doctor --list has those",
		"see it; portcullis quarantine show q-1":                "see it; kubectl portcullis quarantine show q-1",
		"kubectl --namespace portcullis-system get pods":        "kubectl --namespace portcullis-system get pods",
		"kubectl get validatingwebhookconfiguration portcullis": "kubectl get validatingwebhookconfiguration portcullis",
		"portcullis-webhook --print-config":                     "portcullis-webhook --print-config",
	} {
		if got := plugin.advice(text); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if got := (invocation{}).advice(text); got != text {
			t.Errorf("called as itself: got %q, want %q", got, text)
		}
	}
}
