package monitoring

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

const (
	rulesDir      = "../../charts/portcullis/files/rules"
	dashboardsDir = "../../charts/portcullis/files/dashboards"
	handbook      = "../../docs/metrics.md"
)

// rule is an alert, or a recorded query, as Prometheus has it.
type rule struct {
	Alert       string            `yaml:"alert"`
	Record      string            `yaml:"record"`
	Expr        string            `yaml:"expr"`
	For         string            `yaml:"for"`
	Labels      map[string]string `yaml:"labels"`
	Annotations map[string]string `yaml:"annotations"`
}

func rules(t *testing.T) (all []rule, files []string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(rulesDir, "*.yaml"))
	if err != nil || len(files) == 0 {
		t.Fatalf("there are no rules in %s: %v", rulesDir, err)
	}
	for n, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var read struct {
			Groups []struct {
				Rules []rule `yaml:"rules"`
			} `yaml:"groups"`
		}
		if err := yaml.Unmarshal(content, &read); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, group := range read.Groups {
			all = append(all, group.Rules...)
		}
		if files[n], err = filepath.Abs(file); err != nil {
			t.Fatal(err)
		}
	}
	return all, files
}

func TestAlertsSayWhatToDo(t *testing.T) {
	text, err := os.ReadFile(handbook)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := rules(t)
	for _, r := range all {
		if r.Alert == "" {
			continue
		}
		if !strings.HasPrefix(r.Alert, "Portcullis") {
			t.Errorf("%s: its name does not say whose it is", r.Alert)
		}
		if s := r.Labels["severity"]; s != "critical" && s != "warning" {
			t.Errorf("%s: its severity is %q", r.Alert, s)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: it lacks a summary or a description", r.Alert)
		}
		if want := "https://github.com/portcullis-dev/portcullis/blob/main/docs/metrics.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
			t.Errorf("%s: got the runbook %q, want %s", r.Alert, r.Annotations["runbook_url"], want)
		}
		if !strings.Contains(string(text), "\n### "+r.Alert+"\n") {
			t.Errorf("%s: docs/metrics.md has no heading of that name: say there what to do", r.Alert)
		}
	}
}

// healthy is a cluster in which nothing is wrong, minute by minute for two hours: each series with its values in the notation of promtool
// (https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/#series).
var healthy = map[string]string{
	`portcullis_build_info{program="portcullis-webhook",instance="w"}`:                 "1x120",
	`portcullis_build_info{program="portcullis-controller",instance="c"}`:              "1x120",
	`portcullis_build_info{program="portcullis-scanner",instance="n"}`:                 "1x120",
	`portcullis_build_info{program="portcullis-responder",instance="r"}`:               "1x120",
	`portcullis_build_info{program="portcullis-secrets",instance="s"}`:                 "1x120",
	`portcullis_webhook_request_duration_seconds_bucket{webhook="validate",le="0.5"}`:  "0+60x120",
	`portcullis_webhook_request_duration_seconds_bucket{webhook="validate",le="2.5"}`:  "0+60x120",
	`portcullis_webhook_request_duration_seconds_bucket{webhook="validate",le="+Inf"}`: "0+60x120",
	`portcullis_webhook_requests_total{webhook="validate",outcome="admitted"}`:         "0+60x120",
	`portcullis_webhook_requests_total{webhook="validate",outcome="fault"}`:            "0x120",
	`portcullis_webhook_requests_total{webhook="validate",outcome="shed"}`:             "0x120",
	`portcullis_webhook_failed_open_total{policy="p",kind="facts"}`:                    "3x120",
	`apiserver_admission_webhook_fail_open_count{name="validate.portcullis.dev"}`:      "0x120",
	`portcullis_webhook_certificate_expiry_timestamp_seconds{instance="w"}`:            "7000000x120",
	`portcullis_webhook_facts_available{kind="namespaces"}`:                            "1x120",
	`portcullis_webhook_bundle_outdated{bundle="b"}`:                                   "0x120",
	`portcullis_controller_leader{instance="c"}`:                                       "1x120",
	`portcullis_bundle_accepted{bundle="b"}`:                                           "1x120",
	`portcullis_bundle_last_fetch_timestamp_seconds{bundle="b"}`:                       "0+60x120",
	`portcullis_registration_registered{door="validating"}`:                            "1x120",
	`portcullis_registration_certificate_expiry_timestamp_seconds{certificate="leaf"}`: "7000000x120",
	`portcullis_audit_last_run_timestamp_seconds{instance="c"}`:                        "1x120",
	`process_start_time_seconds{instance="c"}`:                                         "0x120",
	`portcullis_break_glass_active`:                                                    "0x120",
	`portcullis_scanner_database_timestamp_seconds{instance="n"}`:                      "0x120",
	`portcullis_scans_total{result="complete"}`:                                        "0+1x120",
	`portcullis_scans_total{result="error"}`:                                           "1x120",
	`portcullis_responder_acting{instance="r"}`:                                        "1x120",
	`portcullis_falco_sensor_last_seen_timestamp_seconds{sensor="a"}`:                  "0+60x120",
	`portcullis_falco_sensor_kernel_drops_total{sensor="a"}`:                           "7x120",
	`portcullis_falco_sensor_dropped{sensor="a",where="kernel"}`:                       "7x120",
	`portcullis_falco_events_dropped_total{reason="shed",priority="critical"}`:         "0x120",
	`portcullis_falco_queue_age_seconds{lane="urgent"}`:                                "1x120",
	`portcullis_quarantine_refusals_total{limit="perHour"}`:                            "2x120",
	`portcullis_quarantine_breaker_open{instance="r"}`:                                 "0x120",
	`portcullis_quarantines{phase="Contained",verdict="Isolated"}`:                     "4x120",
	`portcullis_quarantines{phase="Pending",verdict=""}`:                               "1x120",
	`portcullis_notify_lost_total{receiver="chat",reason="refused"}`:                   "0x120",
	`portcullis_secrets_objects{engine="kv",reason="Synced"}`:                          "9x120",
	`portcullis_secrets_objects{engine="kv",reason="Suspended"}`:                       "1x120",
	`portcullis_secrets_sync_age_seconds{engine="kv"}`:                                 "3600x120",
	`portcullis_secrets_lease_expiry_seconds{engine="database"}`:                       "900x120",
	`portcullis_vault_sealed{connection="main"}`:                                       "0x120",
	`portcullis_vault_up{connection="main"}`:                                           "1x120",
	`portcullis_journal_dropped_total{instance="w",reason="write"}`:                    "0x120",
	`portcullis_journal_sync_errors_total{instance="w"}`:                               "0x120",
	`portcullis_metrics_dropped_series_total{metric="m"}`:                              "5x120",
}

// gone takes a series out of the healthy cluster.
const gone = ""

// appears is a counter that was not there five minutes ago.
const appears = "_x115 1x5"

// troubles are what may be wrong with it, and which alerts fire after two hours of that: those, and no others.
var troubles = map[string]struct {
	series map[string]string
	fires  []string
}{
	"nothing is wrong": {},
	"there is no webhook": {
		map[string]string{`portcullis_build_info{program="portcullis-webhook",instance="w"}`: gone},
		[]string{"PortcullisWebhookDown"},
	},
	"the webhook was away for a minute": {
		map[string]string{`portcullis_build_info{program="portcullis-webhook",instance="w"}`: "1x112 _x1 1x7"},
		nil,
	},
	"answers take two seconds": {
		map[string]string{`portcullis_webhook_request_duration_seconds_bucket{webhook="validate",le="0.5"}`: "0x120"},
		[]string{"PortcullisWebhookHighLatency"},
	},
	"one answer in a thousand takes two seconds": {
		map[string]string{
			`portcullis_webhook_request_duration_seconds_bucket{webhook="validate",le="0.5"}`:  "0+999x120",
			`portcullis_webhook_request_duration_seconds_bucket{webhook="validate",le="2.5"}`:  "0+1000x120",
			`portcullis_webhook_request_duration_seconds_bucket{webhook="validate",le="+Inf"}`: "0+1000x120",
		},
		nil,
	},
	"a policy fails open": {
		map[string]string{`portcullis_webhook_failed_open_total{policy="p",kind="facts"}`: "3x115 4x5"},
		[]string{"PortcullisFailOpenHappening"},
	},
	"a policy fails open for the first time": {
		map[string]string{`portcullis_webhook_failed_open_total{policy="q",kind="facts"}`: appears},
		[]string{"PortcullisFailOpenHappening"},
	},
	"the API server lets in without an answer": {
		map[string]string{`apiserver_admission_webhook_fail_open_count{name="validate.portcullis.dev"}`: "0x115 2x5"},
		[]string{"PortcullisApiServerFailsOpen"},
	},
	"the API server lets in without another webhook's answer": {
		map[string]string{`apiserver_admission_webhook_fail_open_count{name="other.example.com"}`: "0x115 2x5"},
		nil,
	},
	"requests cannot be judged": {
		map[string]string{`portcullis_webhook_requests_total{webhook="validate",outcome="fault"}`: "0+6x120"},
		[]string{"PortcullisWebhookFaults"},
	},
	"requests are shed": {
		map[string]string{`portcullis_webhook_requests_total{webhook="validate",outcome="shed"}`: "0+6x120"},
		[]string{"PortcullisWebhookShedding"},
	},
	"the serving certificate ends in six days": {
		map[string]string{`portcullis_webhook_certificate_expiry_timestamp_seconds{instance="w"}`: "518400x120"},
		[]string{"PortcullisWebhookCertificateExpiring"},
	},
	"a kind is not known": {
		map[string]string{`portcullis_webhook_facts_available{kind="namespaces"}`: "0x120"},
		[]string{"PortcullisFactsUnavailable"},
	},
	"a kind was not known for five minutes": {
		map[string]string{`portcullis_webhook_facts_available{kind="namespaces"}`: "1x115 0x5"},
		nil,
	},
	"a replica judges by an old revision": {
		map[string]string{`portcullis_webhook_bundle_outdated{bundle="b"}`: "1x120"},
		[]string{"PortcullisBundleOutdated"},
	},
	"there is no controller": {
		map[string]string{`portcullis_build_info{program="portcullis-controller",instance="c"}`: gone, `portcullis_controller_leader{instance="c"}`: gone},
		[]string{"PortcullisControllerDown"},
	},
	"nobody leads": {
		map[string]string{`portcullis_controller_leader{instance="c"}`: "0x120"},
		[]string{"PortcullisControllerWithoutLeader"},
	},
	"another one leads": {
		map[string]string{`portcullis_controller_leader{instance="c"}`: "0x120", `portcullis_controller_leader{instance="d"}`: "1x120"},
		nil,
	},
	"a bundle is refused": {
		map[string]string{`portcullis_bundle_accepted{bundle="b"}`: "0x120"},
		[]string{"PortcullisBundleRefused"},
	},
	"a source is not reached": {
		map[string]string{`portcullis_bundle_last_fetch_timestamp_seconds{bundle="b"}`: "60x120"},
		[]string{"PortcullisBundleNotFetched"},
	},
	"the webhook is not registered": {
		map[string]string{`portcullis_registration_registered{door="validating"}`: "0x120"},
		[]string{"PortcullisNotRegistered"},
	},
	"the authority ends in six days": {
		map[string]string{`portcullis_registration_certificate_expiry_timestamp_seconds{certificate="authority"}`: "518400x120"},
		[]string{"PortcullisAuthorityExpiring"},
	},
	"the audit is older than a day and a quarter": {
		map[string]string{`portcullis_audit_last_run_timestamp_seconds{instance="c"}`: "-103000x120"},
		[]string{"PortcullisAuditStale"},
	},
	"the audit is a day old": {
		map[string]string{`portcullis_audit_last_run_timestamp_seconds{instance="c"}`: "-86400x120"},
		nil,
	},
	"the audit was never over": {
		map[string]string{`portcullis_audit_last_run_timestamp_seconds{instance="d"}`: "0x120", `process_start_time_seconds{instance="d"}`: "-20000x120"},
		[]string{"PortcullisAuditStale"},
	},
	"the audit of a replica that has just started is not over": {
		map[string]string{`portcullis_audit_last_run_timestamp_seconds{instance="d"}`: "0x120", `process_start_time_seconds{instance="d"}`: "5000x120"},
		nil,
	},
	"the glass is broken": {
		map[string]string{`portcullis_break_glass_active`: "0x119 1x1"},
		[]string{"PortcullisBreakGlassOpen"},
	},
	"there is no scanner": {
		map[string]string{`portcullis_build_info{program="portcullis-scanner",instance="n"}`: gone},
		[]string{"PortcullisScannerDown"},
	},
	"the database is older than a day": {
		map[string]string{`portcullis_scanner_database_timestamp_seconds{instance="n"}`: "-86400x120"},
		[]string{"PortcullisVulnerabilityDatabaseStale"},
	},
	"scans fail": {
		map[string]string{`portcullis_scans_total{result="error"}`: "0+1x120"},
		[]string{"PortcullisScansFailing"},
	},
	"there is no responder": {
		map[string]string{`portcullis_build_info{program="portcullis-responder",instance="r"}`: gone},
		[]string{"PortcullisResponderDown"},
	},
	"there is no responder, and nobody who has heard of Falco": {
		map[string]string{`portcullis_build_info{program="portcullis-responder",instance="r"}`: gone, `portcullis_falco_sensor_last_seen_timestamp_seconds{sensor="a"}`: gone},
		[]string{"PortcullisResponderDown"},
	},
	"events wait because nothing can be done": {
		map[string]string{`portcullis_responder_acting{instance="r"}`: "0x120", `portcullis_falco_queue_age_seconds{lane="urgent"}`: "0+60x120"},
		[]string{"PortcullisEventsWaiting", "PortcullisResponderNotActing"},
	},
	"one Falco is silent": {
		map[string]string{`portcullis_falco_sensor_last_seen_timestamp_seconds{sensor="b"}`: "60x120"},
		[]string{"PortcullisNoFalcoEvents"},
	},
	"nothing was ever heard of Falco": {
		map[string]string{`portcullis_falco_sensor_last_seen_timestamp_seconds{sensor="a"}`: gone},
		[]string{"PortcullisNoFalcoEvents"},
	},
	"a Falco says that the kernel dropped events": {
		map[string]string{`portcullis_falco_sensor_kernel_drops_total{sensor="b"}`: appears},
		[]string{"PortcullisFalcoDrops"},
	},
	"a Falco counts drops in its metrics": {
		map[string]string{`portcullis_falco_sensor_dropped{sensor="a",where="kernel"}`: "7x110 90x10"},
		[]string{"PortcullisFalcoDrops"},
	},
	"events are lost": {
		map[string]string{`portcullis_falco_events_dropped_total{reason="shed",priority="critical"}`: "0x115 3x5"},
		[]string{"PortcullisEventsDropped"},
	},
	"a limit is reached": {
		map[string]string{`portcullis_quarantine_refusals_total{limit="perNode"}`: appears},
		[]string{"PortcullisQuarantineCapHit"},
	},
	"a limit is reached again": {
		map[string]string{`portcullis_quarantine_refusals_total{limit="perHour"}`: "2x115 3x5"},
		[]string{"PortcullisQuarantineCapHit"},
	},
	"the breaker is open": {
		map[string]string{`portcullis_quarantine_breaker_open{instance="r"}`: "1x120"},
		[]string{"PortcullisQuarantineBreakerOpen"},
	},
	"a pod in quarantine can still talk": {
		map[string]string{`portcullis_quarantines{phase="Contained",verdict="Residual"}`: "1x120"},
		[]string{"PortcullisQuarantineResidual"},
	},
	"a quarantine is on its way": {
		map[string]string{`portcullis_quarantines{phase="Containing",verdict="Residual"}`: "1x120"},
		nil,
	},
	"people are not told": {
		map[string]string{`portcullis_notify_lost_total{receiver="chat",reason="refused"}`: "0x115 1x5"},
		[]string{"PortcullisNotificationsLost"},
	},
	"there is nobody who keeps secrets": {
		map[string]string{`portcullis_build_info{program="portcullis-secrets",instance="s"}`: gone},
		[]string{"PortcullisSecretsDown"},
	},
	"a secret is not there": {
		map[string]string{`portcullis_secrets_objects{engine="kv",reason="NotFound"}`: "1x120"},
		[]string{"PortcullisSecretSyncFailing"},
	},
	"a secret was not there for ten minutes": {
		map[string]string{`portcullis_secrets_objects{engine="kv",reason="NotFound"}`: "_x110 1x10"},
		nil,
	},
	"a secret is two days old": {
		map[string]string{`portcullis_secrets_sync_age_seconds{engine="kv"}`: "172800x120"},
		[]string{"PortcullisStaleSecret"},
	},
	"a lease ends": {
		map[string]string{`portcullis_secrets_lease_expiry_seconds{engine="database"}`: "30x120"},
		[]string{"PortcullisLeaseExpiring"},
	},
	"Vault is sealed": {
		map[string]string{`portcullis_vault_sealed{connection="main"}`: "0x110 1x10"},
		[]string{"PortcullisVaultSealed"},
	},
	"Vault is away": {
		map[string]string{`portcullis_vault_up{connection="main"}`: "0x120"},
		[]string{"PortcullisVaultDown"},
	},
	"decisions are lost": {
		map[string]string{`portcullis_journal_dropped_total{instance="w",reason="write"}`: "0x115 1x5"},
		[]string{"PortcullisJournalWriteFailed"},
	},
	"the journal's disk fails": {
		map[string]string{`portcullis_journal_sync_errors_total{instance="w"}`: "0x115 1x5"},
		[]string{"PortcullisJournalWriteFailed"},
	},
	"a metric has too many series": {
		map[string]string{`portcullis_metrics_dropped_series_total{metric="n"}`: appears},
		[]string{"PortcullisCardinalityGuard"},
	},
}

func TestEachAlertFiresForItsTroubleOnly(t *testing.T) {
	all, files := rules(t)
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("promtool is not installed (Debian's package prometheus): the alerts are not tested")
	}
	firing := map[string]bool{}
	for _, trouble := range troubles {
		for _, alert := range trouble.fires {
			firing[alert] = true
		}
	}
	for _, r := range all {
		if r.Alert == "" {
			continue
		}
		if !firing[r.Alert] {
			t.Errorf("%s: no trouble has it fire", r.Alert)
		}
		for _, name := range metricNames(r.Expr) {
			if strings.HasPrefix(name, "portcullis_") && !slices.ContainsFunc(sortedKeys(healthy), func(series string) bool { return strings.HasPrefix(series, name) }) {
				t.Errorf("%s: that it does not fire in the healthy cluster says nothing, which has no %s", r.Alert, name)
			}
		}
	}
	var tests []any
	for _, name := range sortedKeys(troubles) {
		tests = append(tests, promtoolTest(name))
	}
	content, err := yaml.Marshal(map[string]any{"rule_files": files, "evaluation_interval": "5m", "tests": tests})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "tests.yaml")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if output, err := exec.CommandContext(t.Context(), tool, "test", "rules", file).CombinedOutput(); err != nil {
		t.Errorf("promtool: %v\n%s", err, output)
	}
}

func promtoolTest(name string) map[string]any {
	trouble, there := troubles[name], map[string]string{}
	for series, values := range healthy {
		there[series] = values
	}
	for series, values := range trouble.series {
		there[series] = values
	}
	var input, want []any
	for _, series := range sortedKeys(there) {
		if there[series] != gone {
			input = append(input, map[string]string{"series": series, "values": there[series]})
		}
	}
	for _, alert := range trouble.fires {
		want = append(want, map[string]any{"labels": fmt.Sprintf("{alertname=%q}", alert), "value": 1})
	}
	return map[string]any{
		"name": name, "interval": "1m", "input_series": input,
		"promql_expr_test": []any{map[string]any{"expr": `group by (alertname) (ALERTS{alertstate="firing"})`, "eval_time": "2h", "exp_samples": want}},
	}
}

// metricName is one in an expression; labels and strings are taken out before.
var metricName = regexp.MustCompile(`\b[a-z_][a-z0-9_:]*_[a-z0-9_:]+\b`)

var (
	quotes    = regexp.MustCompile(`"[^"]*"`)
	labels    = regexp.MustCompile(`\{[^}]*\}`)
	groupings = regexp.MustCompile(`\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)`)
	functions = []string{"histogram_quantile", "label_replace"}
)

// metricNames are the metrics that an expression reads.
func metricNames(expr string) (names []string) {
	for _, cut := range []*regexp.Regexp{quotes, labels, groupings} {
		expr = cut.ReplaceAllString(expr, " ")
	}
	for _, name := range metricName.FindAllString(expr, -1) {
		if !slices.Contains(functions, name) && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for key := range m {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return keys
}
