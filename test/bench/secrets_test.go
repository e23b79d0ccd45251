package bench

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	testcluster "github.com/portcullis-dev/portcullis/test/cluster"
)

func TestSecretsAreSyncedWithoutFailuresAndWithoutRestarts(t *testing.T) {
	rows, err := Table(t.Context(), Short, io.Discard, "secrets")
	if err != nil {
		t.Fatal(err)
	}
	var table bytes.Buffer
	Write(&table, rows)
	t.Log("\n" + table.String())
	for _, want := range []string{
		"first sync of 40 VaultSecrets", "created to its Secret written", "rotated in Vault", "start with 50 VaultSecrets", "requests in the first", "resident memory",
	} {
		if !strings.Contains(table.String(), want) {
			t.Errorf("got a table without %q", want)
		}
	}
	none := 0
	for _, row := range rows {
		if row.Budget == "0" {
			none++
			if row.Of != 0 {
				t.Errorf("%s: got %s, want none", strings.TrimSpace(row.What), strings.TrimSpace(row.Got))
			}
		}
	}
	if none != 2 {
		t.Errorf("got %d rows of what must not happen, want those of failures and of restarts", none)
	}
}

func TestSamplesOfAMetricAreAddedByLabel(t *testing.T) {
	const text = "# HELP a_total about it\na_total{of=\"x\",reason=\"ok\"} 3\na_total{of=\"y\",reason=\"Sealed\"} 1.5e+03\na_total_others{of=\"x\"} 70\nplain 1\n"
	for name, test := range map[string]struct {
		metric, label string
		want          int64
	}{
		"all of them":                     {"a_total", "", 1503},
		"those with a label":              {"a_total", `of="x"`, 3},
		"one without labels":              {"plain", "", 1},
		"none of a metric that is absent": {"a", "", 0},
	} {
		if got := sum(text, test.metric, test.label); got != test.want {
			t.Errorf("%s: got %d, want %d", name, got, test.want)
		}
	}
}

func TestRequestsOfTheProgramAloneAreCountedOnceEach(t *testing.T) {
	k := &keeping{control: &testcluster.Cluster{AuditLog: filepath.Join(t.TempDir(), "audit.log")}}
	const before = `{"stage":"ResponseComplete","verb":"get","user":{"username":"portcullis-secrets"}}` + "\n"
	text := before + strings.Join([]string{
		`{"stage":"ResponseComplete","verb":"get","user":{"username":"portcullis-secrets"},"objectRef":{"resource":"secrets"}}`,
		`{"stage":"ResponseComplete","verb":"get","user":{"username":"admin"}}`,
		`{"stage":"ResponseStarted","verb":"watch","user":{"username":"portcullis-secrets"},"objectRef":{"resource":"secrets"}}`,
		`{"stage":"ResponseComplete","verb":"watch","user":{"username":"portcullis-secrets"},"objectRef":{"resource":"secrets"}}`,
		`{"stage":"ResponseStarted","verb":"watch","user":{"username":"portcullis-secrets"},"objectRef":{"resource":"vaultsecrets"}}`,
		`{"stage":"ResponseComplete","verb":"patch","user":{"username":"portcullis-secrets"}}`,
		`{"stage":"ResponseComplete","verb":"create","user":{"username":"portcullis-secrets"}}`,
		`{"stage":"ResponseComplete","verb":"li`,
	}, "\n")
	if err := os.WriteFile(k.control.AuditLog, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := k.audited(int64(len(before)))
	if err != nil {
		t.Fatal(err)
	}
	for verb, want := range map[string]int{"get": 1, "list": 0, "watch": 2, "watch of secrets": 1, "write": 2} {
		if got[verb] != want {
			t.Errorf("%s: got %d, want %d", verb, got[verb], want)
		}
	}
}
