package output

import (
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission/gate"
	"github.com/portcullis-dev/portcullis/policies"
)

func TestTextSaysHowToDecideWhatIsOpen(t *testing.T) {
	for name, test := range map[string]struct{ context, reason, want string }{
		"without a context":                     {"", "only the documents are known", "give what is missing with --context DIR or --context KUBECONFIG"},
		"with a context that lacks rights":      {"the cluster of k", "listing pods: forbidden; its user needs the right to list pods", "the user of the context needs the right to list pods\n"},
		"with a context that lacks the objects": {"the directory d", "there is no namespace shop", "the context does not tell what is missing; each reason is given above"},
	} {
		t.Run(name, func(t *testing.T) {
			var b strings.Builder
			handler, err := New("text", &b, Style{})
			if err != nil {
				t.Fatal(err)
			}
			result := gate.Result{Undecided: []gate.UndecidedPolicy{{Undecided: policies.Undecided{Policy: "pods/x", Reason: test.reason}}}}
			for _, err := range []error{
				handler.Start(gate.Run{Context: test.context, Bundle: "team@1", Profile: "hardened"}),
				handler.Result(result), handler.Result(result),
				handler.Finish(gate.Summary{Undecided: 2, Objects: 2}),
			} {
				if err != nil {
					t.Fatal(err)
				}
			}
			if !strings.Contains(b.String(), test.want) {
				t.Errorf("got %s, want %s", b.String(), test.want)
			}
			if want := "  judged by bundle team@1, profile hardened\n"; !strings.HasSuffix(b.String(), want) {
				t.Errorf("got %s, want the last line %s", b.String(), want)
			}
		})
	}
}
