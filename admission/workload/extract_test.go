package workload

import (
	"os"
	"testing"
)

// readFile reads a file of testdata.
func readFile(t testing.TB, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestExtractListsContainersInOrderOfRole(t *testing.T) {
	workloads, err := Extract(podKind, readFile(t, "pod-6k.json"))
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for _, c := range workloads[0].Containers {
		got += string(c.Role) + "/" + c.Name + " "
	}
	if want := "init/migrate app/api app/proxy app/metrics "; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
