package workload

import (
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

func TestSearch(t *testing.T) {
	tests := map[string]struct{ object, want string }{
		"a template anywhere": {`{spec: {deep: [{runner: {metadata: {labels: {a: b}}, spec: {hostPID: true, containers: [{name: c, image: acme/a}]}}}]}}`,
			`spec.deep[0].runner.spec labels=[{a b}] images=[spec.deep[0].runner.spec.containers[0].image] open=[]`},
		"two in one object": {`{a: {containers: [{image: x}]}, b: {initContainers: [{image: z}]}}`,
			`a labels=[] images=[a.containers[0].image] open=[]; b labels=[] images=[b.initContainers[0].image] open=[]`},
		"one that is there to hide another": {`{spec: {containers: [{image: x}], template: {spec: {hostPID: true, containers: [{image: z}]}}}}`,
			`spec labels=[] images=[spec.containers[0].image] open=[]; spec.template.spec labels=[] images=[spec.template.spec.containers[0].image] open=[]`},
		"the object itself":              {`{containers: [{image: x}]}`, ` labels=[] images=[containers[0].image] open=[]`},
		"keys that are no identifiers":   {`{data: {"a/b": {containers: [{image: x}]}}}`, `data[a/b] labels=[] images=[data[a/b].containers[0].image] open=[]`},
		"an image that is no reference":  {`{spec: {containers: [{image: "${IMAGE}"}]}}`, `spec labels=[] images=[] open=[spec.containers[0].image]`},
		"what resembles but is not one":  {`{spec: {hostPID: {nested: true}, containers: [{image: x}]}}`, `spec labels=[] images=[] open=[spec]`},
		"metadata that is none":          {`{a: {metadata: 7, spec: {containers: [{image: x}]}}}`, `a.spec labels=[] images=[a.spec.containers[0].image] open=[]`},
		"a schema that speaks of images": {`{properties: {containers: {items: {properties: {image: {type: string}}}}}}`, ``},
		"containers without image":       {`{spec: {containers: [{name: c}]}}`, ``},
		"images in status":               {`{status: {images: [{names: [a]}]}}`, ``},
		"nothing":                        {`{}`, ``},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			raw, err := yaml.YAMLToJSONStrict([]byte(test.object))
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, w := range Search(raw) {
				var images, open []string
				for _, i := range w.Images {
					images = append(images, i.Path)
				}
				for _, u := range w.Unresolved {
					open = append(open, u.Path)
				}
				labels := "[]"
				if len(w.Labels) > 0 {
					labels = "[{" + w.Labels[0].Key + " " + w.Labels[0].Value + "}]"
				}
				got = append(got, w.Path+" labels="+labels+" images=["+strings.Join(images, " ")+"] open=["+strings.Join(open, " ")+"]")
			}
			if strings.Join(got, "; ") != test.want {
				t.Errorf("got  %q\nwant %q", strings.Join(got, "; "), test.want)
			}
		})
	}
}

func TestSearchOfWhatIsNoObjectFindsNothing(t *testing.T) {
	for _, raw := range []string{"", "[", `"x"`, `{"a":1,"a":2}`} {
		if got := Search([]byte(raw)); got != nil {
			t.Errorf("%q: got %v, want nothing", raw, got)
		}
	}
}

// Each pod spec is read with all that is in it: a thousand within each other would
// cost the square of their size.
func TestSearchOfPodSpecsWithinEachOtherIsBounded(t *testing.T) {
	const level = `{"containers":[{"image":"x"}],"spec":`
	found := Search([]byte(strings.Repeat(level, 1000) + `{}` + strings.Repeat("}", 1000)))
	if len(found) != maxWithin+1 {
		t.Fatalf("got %d workloads, want %d and one that says that there are more", len(found), maxWithin)
	}
	last := found[maxWithin]
	if len(last.Unresolved) != 1 || last.Unresolved[0].Path != "" || !strings.Contains(last.Unresolved[0].Reason, "too many") {
		t.Errorf("got %+v, want one entry that leaves all of it open", last.Unresolved)
	}
}
