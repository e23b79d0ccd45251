package workload

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// injectedPod is a pod as the API server sends it, with the token volume it adds.
const injectedPod = `{"kind":"Pod","apiVersion":"v1","metadata":{"name":"NAME","uid":"UID","labels":{"app":"a"},"annotations":{"x":"y"}},"spec":{
"volumes":[{"name":"kube-api-access-SUFFIX","projected":{"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},{"configMap":{"name":"kube-root-ca.crt","items":[{"key":"ca.crt","path":"ca.crt"}]}},{"downwardAPI":{"items":[{"path":"namespace","fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"}}]}}],"defaultMode":420}}],
"containers":[{"name":"a","image":"ghcr.io/acme/a:1","env":[{"name":"E","value":"VALUE"}],"volumeMounts":[{"name":"kube-api-access-SUFFIX","readOnly":true,"mountPath":"/var/run/secrets/kubernetes.io/serviceaccount"}]}]}}`

func injected(replacements ...string) []byte {
	return []byte(strings.NewReplacer(append(replacements, "NAME", "n", "UID", "u", "SUFFIX", "abcde", "VALUE", "v")...).Replace(injectedPod))
}

func TestPodsThatDifferInNamesOnlyShareAKey(t *testing.T) {
	base, suffixed, err := keyOf(injected())
	if err != nil || !suffixed {
		t.Fatalf("got suffixed = %t and error %v, want true and none", suffixed, err)
	}
	for name, c := range map[string]struct {
		pod  []byte
		same bool
	}{
		"another name and uid":               {injected("NAME", "other", "UID", "z"), true},
		"another token volume":               {injected("SUFFIX", "zzzzz"), true},
		"another status":                     {append(injected()[:len(injected())-1], `,"status":{"phase":"Pending"}}`...), true},
		"another value":                      {injected("VALUE", "w"), false},
		"another label":                      {[]byte(strings.Replace(string(injected()), `"app":"a"`, `"app":"b"`, 1)), false},
		"another annotation":                 {[]byte(strings.Replace(string(injected()), `"x":"y"`, `"x":"z"`, 1)), false},
		"labels that are annotations":        {[]byte(strings.NewReplacer("labels", "annotations", "annotations", "labels").Replace(string(injected()))), false},
		"a mount of another volume":          {[]byte(strings.Replace(string(injected()), `Mounts":[{"name":"kube-api-access-abcde`, `Mounts":[{"name":"kube-api-access-fghij`, 1)), false},
		"a suffix that is none of the usual": {injected("SUFFIX", "ABCDE"), false},
		"a longer suffix":                    {injected("SUFFIX", "abcdef"), false},
	} {
		t.Run(name, func(t *testing.T) {
			key, _, err := keyOf(c.pod)
			if err != nil {
				t.Fatal(err)
			}
			if same := key == base; same != c.same {
				t.Errorf("same key: got %t, want %t", same, c.same)
			}
		})
	}
}

// From the second time on a pod comes from the cache: each time must give what
// extracting gives.
func TestACachedWorkloadIsTheOneThatExtractingGives(t *testing.T) {
	byHand := strings.Replace(injectedPod, "3607", "86400", 1) // no volume of the API server's: it stays visible
	for name, template := range map[string]string{
		"an injected token":          injectedPod,
		"a token written by hand":    byHand,
		"a name in a variable":       strings.Replace(injectedPod, "VALUE", "kube-api-access-SUFFIX", 1),
		"a name in an annotation":    strings.Replace(injectedPod, `"x":"y"`, `"x":"kube-api-access-SUFFIX"`, 1),
		"a container in its command": strings.Replace(injectedPod, `"name":"a",`, `"name":"a","command":["kube-api-access-SUFFIX"],`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			var cache Cache
			for n := range 6 {
				raw := []byte(strings.NewReplacer("NAME", fmt.Sprint("n", n), "UID", fmt.Sprint(n), "SUFFIX", fmt.Sprintf("abcd%d", n), "VALUE", "v").Replace(template))
				got, err := cache.Extract(podKind, raw)
				if err != nil {
					t.Fatal(err)
				}
				want, err := Extract(podKind, raw)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(got, want) {
					g, _ := json.Marshal(got)
					w, _ := json.Marshal(want)
					t.Errorf("pod %d: got %s, want %s", n, g, w)
				}
			}
			if name == "an injected token" && len(cache.known) != 1 {
				t.Errorf("got %d known pods, want one for all six", len(cache.known))
			}
		})
	}
}

func TestAnUnreadablePodIsRefusedEachTime(t *testing.T) {
	for name, raw := range map[string]string{
		"a key given twice":          `{"metadata":{"name":"a","name":"b"},"spec":{"containers":[]}}`,
		"a key given twice in spec":  `{"spec":{"containers":[],"containers":[]}}`,
		"an image that is no image":  `{"spec":{"containers":[{"name":"a","image":"A B"}]}}`,
		"something after the object": `{"spec":{"containers":[]}} {}`,
	} {
		t.Run(name, func(t *testing.T) {
			var cache Cache
			for range 3 {
				if _, err := cache.Extract(podKind, []byte(raw)); err == nil {
					t.Error("got no error, want one")
				}
			}
		})
	}
}

// FuzzCache looks for a pod that the cache takes for another.
func FuzzCache(f *testing.F) {
	f.Add(injected())
	f.Add(injected("VALUE", "kube-api-access-abcde"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		var cache Cache
		for range 2 { // known before, so that a pod that only seems to be this one is noticed
			if _, err := cache.Extract(podKind, injected()); err != nil {
				t.Fatal(err)
			}
		}
		for range 3 {
			got, err := cache.Extract(podKind, raw)
			want, wantErr := Extract(podKind, raw)
			if (err == nil) != (wantErr == nil) || !reflect.DeepEqual(got, want) {
				t.Fatalf("got %+v, %v, want %+v, %v", got, err, want, wantErr)
			}
		}
	})
}
