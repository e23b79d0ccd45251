package monitoring

// span is the window of rates: at least four readings, whatever their interval (https://grafana.com/blog/2020/09/28/new-in-grafana-7.2-__rate_interval-for-prometheus-rate-queries-that-just-work/).
const span = "[$__rate_interval]"

// program is a panel that says which versions run.
func program(name string) panel {
	return panel{title: "Replicas", about: "Replicas that Prometheus reads, by version.", number: true, unit: "short",
		queries: []query{{`count by (version) (portcullis_build_info{program="` + name + `"})`, "{{version}}"}}}
}

// resources are panels about a process.
func resources(name string) row {
	of := func(metric string) string {
		return metric + ` * on (instance) group_left () portcullis_build_info{program="` + name + `"}`
	}
	return row{"Process", []panel{
		{title: "Memory", about: "What the kernel counts for each replica.", unit: "bytes", queries: []query{{of("process_resident_memory_bytes"), "{{instance}}"}}},
		{title: "Processor", about: "Processors that each replica keeps busy.", unit: "short", queries: []query{{of("rate(process_cpu_seconds_total" + span + ")"), "{{instance}}"}}},
		{title: "Goroutines", about: "What goes on at once in each replica.", unit: "short", queries: []query{{of("go_goroutines"), "{{instance}}"}}},
		{title: "Files", about: "Open files and connections of each replica.", unit: "short", queries: []query{{of("process_open_fds"), "{{instance}}"}}},
	}}
}

func quantiles(histogram, by string) []query {
	legend := ""
	if by != "" {
		legend = " {{" + by + "}}"
		by = ", " + by
	}
	var all []query
	for _, q := range []string{"0.5", "0.99"} {
		all = append(all, query{"histogram_quantile(" + q + ", sum by (le" + by + ") (rate(" + histogram + "_bucket" + span + ")))", map[string]string{"0.5": "half", "0.99": "99 in 100"}[q] + legend})
	}
	return all
}

func rate(counter, by, legend string) []query {
	return []query{{top("sum by (" + by + ") (rate(" + counter + span + "))"), legend}}
}

var journalRow = row{"Journal", []panel{
	{title: "Lines", about: "Lines that the kernel has taken, by kind.", unit: "ops", queries: rate("portcullis_journal_lines_total", "kind", "{{kind}}")},
	{title: "Lost", about: "Lines that are lost, and failures to have them on the disk. Should be nothing.", unit: "ops", queries: []query{
		{"sum by (reason) (rate(portcullis_journal_dropped_total" + span + "))", "{{reason}}"}, {"sum(rate(portcullis_journal_sync_errors_total" + span + "))", "disk"}}},
}}

// dashboards are all that the chart brings: an overview, and one for each component, named as it is there.
var dashboards = []dashboard{
	{"overview", "Overview", "Is everything there, and does it do what it should?", []row{
		{"Now", []panel{
			{title: "Alerts", about: "Alerts of Portcullis that fire.", number: true, unit: "short", bad: 1, queries: []query{{`count(ALERTS{alertname=~"Portcullis.*", alertstate="firing"}) or vector(0)`, "firing"}}},
			{title: "Replicas", about: "Replicas that Prometheus reads, by program.", number: true, unit: "short", queries: []query{{"count by (program) (portcullis_build_info)", "{{program}}"}}},
			{title: "Break-glass", about: "1 while admission fails open because somebody has said so.", number: true, unit: "short", bad: 1, queries: []query{{"max(portcullis_break_glass_active)", "open"}}},
			{title: "Quarantines", about: "Quarantines that there are.", number: true, unit: "short", queries: []query{{"sum(portcullis_quarantines) or vector(0)", "quarantines"}}},
			{title: "Denied in an hour", about: "Requests that policies have denied.", number: true, unit: "short", queries: []query{{`sum(increase(portcullis_webhook_requests_total{outcome="denied"}[1h]))`, "denied"}}},
			{title: "Secrets not synced", about: "VaultSecrets that are not as Vault has them.", number: true, unit: "short", bad: 1, queries: []query{{`sum(portcullis_secrets_objects{reason!~"Synced|Pending|Suspended"}) or vector(0)`, "not synced"}}},
			{title: "Vaults", about: "VaultConnections whose Vault answers and is unsealed.", number: true, unit: "short", queries: []query{{"sum(portcullis_vault_up)", "up"}, {"count(portcullis_vault_up)", "all"}}},
			{title: "Vulnerability database", about: "When the newest database was made that scans use.", number: true, unit: "dateTimeFromNow", queries: []query{{"max(portcullis_scanner_database_timestamp_seconds) * 1000", "made"}}},
		}},
		{"Admission, run time, secrets", []panel{
			{title: "Requests", about: "AdmissionReviews by how they ended.", unit: "ops", queries: rate("portcullis_webhook_requests_total", "outcome", "{{outcome}}")},
			{title: "Latency of admission", about: "Time from a request's headers to its answer. Points are requests with a trace.", unit: "s", queries: quantiles("portcullis_webhook_request_duration_seconds", "webhook")},
			{title: "Events of Falco", about: "Events by what became of them.", unit: "ops", queries: rate("portcullis_responder_events_total", "outcome", "{{outcome}}")},
			{title: "Syncs of secrets", about: "Passes over VaultSecrets that wrote or failed.", unit: "ops", queries: rate("portcullis_secrets_sync_total", "reason", "{{reason}}")},
			{title: "Series left out", about: "Series that the guard of labels has left out when metrics were read. Should be nothing.", unit: "short", queries: []query{{"sum by (metric) (increase(portcullis_metrics_dropped_series_total" + span + "))", "{{metric}}"}}},
			{title: "Exceptions of the cluster", about: "By state; those that expire within a week are valid, too.", unit: "short", queries: []query{{"max by (state) (portcullis_webhook_exceptions)", "{{state}}"}}},
		}},
	}},
	{"webhook", "Webhook", "What is asked of the admission webhook, and what it answers.", []row{
		{"Now", []panel{
			program("portcullis-webhook"),
			{title: "Under way", about: "Reviews that run, and that wait for a place.", number: true, unit: "short", queries: []query{{"sum(portcullis_webhook_reviews_running)", "running"}, {"sum(portcullis_webhook_reviews_waiting)", "waiting"}}},
			{title: "Certificate ends", about: "When the first serving certificate ends.", number: true, unit: "dateTimeFromNow", queries: []query{{"min(portcullis_webhook_certificate_expiry_timestamp_seconds) * 1000", "ends"}}},
			{title: "Failed open", about: "Failures in an hour of policies that fail open.", number: true, unit: "short", bad: 1, queries: []query{{"sum(increase(portcullis_webhook_failed_open_total[1h])) or vector(0)", "failed open"}}},
		}},
		{"Requests", []panel{
			{title: "Outcomes", about: "Requests by webhook and how they ended.", unit: "ops", queries: rate("portcullis_webhook_requests_total", "webhook, outcome", "{{webhook}} {{outcome}}")},
			{title: "Latency", about: "Time from a request's headers to its answer. Points are requests with a trace.", unit: "s", queries: quantiles("portcullis_webhook_request_duration_seconds", "webhook")},
			{title: "Evaluation", about: "Time that the policies of one bundle take.", unit: "s", queries: quantiles("portcullis_webhook_evaluation_duration_seconds", "webhook")},
			{title: "Compared", about: "Requests that were judged by a revision on trial, too.", unit: "ops", queries: rate("portcullis_webhook_compared_total", "result", "{{result}}")},
			{title: "Findings", about: "Findings by policy and what the bundle makes of them.", unit: "ops", queries: rate("portcullis_webhook_findings_total", "policy, enforcement", "{{policy}} {{enforcement}}")},
			{title: "Faults", about: "Failures to judge, by policy and kind.", unit: "ops", queries: rate("portcullis_webhook_faults_total", "policy, kind", "{{policy}} {{kind}}")},
		}},
		{"Images", []panel{
			{title: "Questions", about: "Questions about images by how they were answered.", unit: "ops", queries: rate("portcullis_evidence_lookups_total", "part, outcome", "{{part}} {{outcome}}")},
			{title: "Remembered", about: "Questions that were answered from memory.", unit: "percentunit", queries: []query{{`sum by (part) (rate(portcullis_evidence_lookups_total{outcome="hit"}` + span + `)) / sum by (part) (rate(portcullis_evidence_lookups_total` + span + `))`, "{{part}}"}}},
			{title: "Verifications and fetches", about: "Time to find something out; evidence is one verification.", unit: "s", queries: quantiles("portcullis_evidence_fetch_duration_seconds", "part")},
			{title: "Waits of requests", about: "Time that requests waited for what policies read of their images.", unit: "s", queries: quantiles("portcullis_evidence_gather_duration_seconds", "")},
			{title: "Not found out", about: "Faults by part and kind.", unit: "ops", queries: rate("portcullis_evidence_faults_total", "part, kind", "{{part}} {{kind}}")},
			{title: "Memory of evidence", about: "Estimated.", unit: "bytes", queries: []query{{"sum(portcullis_evidence_cache_bytes)", "bytes"}}},
		}},
		{"Policies", []panel{
			{title: "Revisions", about: "Replicas by the revision that they judge by.", unit: "short", queries: []query{{"count by (bundle, role, revision) (portcullis_webhook_bundle_info)", "{{bundle}} {{role}} {{revision}}"}}},
			{title: "Facts", about: "1 for kinds that policies read and that are known.", unit: "short", queries: []query{{"min by (kind) (portcullis_webhook_facts_available)", "{{kind}}"}}},
		}},
		journalRow,
		resources("portcullis-webhook"),
	}},
	{"controller", "Controller", "Bundles on their way, and what the API server is told of the webhook.", []row{
		{"Now", []panel{
			program("portcullis-controller"),
			{title: "Leaders", about: "Replicas that lead: one.", number: true, unit: "short", queries: []query{{"sum(portcullis_controller_leader)", "leaders"}}},
			{title: "Exceptions that end", about: "Within seven days.", number: true, unit: "short", queries: []query{{"max(portcullis_exceptions_expiring)", "exceptions"}}},
			{title: "Break-glass", about: "1 while admission fails open.", number: true, unit: "short", bad: 1, queries: []query{{"max(portcullis_break_glass_active)", "open"}}},
		}},
		{"Bundles", []panel{
			{title: "Phases", about: "The phase that each bundle is in.", unit: "short", queries: []query{{"max by (bundle, phase) (portcullis_bundle_phase) == 1", "{{bundle}} {{phase}}"}}},
			{title: "Looks at sources", about: "By result.", unit: "ops", queries: rate("portcullis_bundle_fetches_total", "bundle, result", "{{bundle}} {{result}}")},
			{title: "Last reached", about: "Time since the source of a bundle was last reached.", unit: "s", queries: []query{{"time() - max by (bundle) (portcullis_bundle_last_fetch_timestamp_seconds)", "{{bundle}}"}}},
			{title: "Replicas", about: "Replicas that report, and those of them that have loaded what they are to load.", unit: "short", queries: []query{{"max by (bundle, state) (portcullis_bundle_replicas)", "{{bundle}} {{state}}"}}},
			{title: "On trial", about: "Requests that a revision on trial would deny, and that the active one admits.", unit: "short", queries: []query{{"max by (bundle) (portcullis_bundle_new_denials)", "{{bundle}} denied anew"}, {"max by (bundle) (portcullis_bundle_compared)", "{{bundle}} compared"}}},
			{title: "Steps of rollouts", about: "What became of revisions.", unit: "ops", queries: rate("portcullis_bundle_transitions_total", "bundle, step", "{{bundle}} {{step}}")},
		}},
		{"Registration", []panel{
			{title: "Registered", about: "1 where the API server has the configuration of a webhook.", unit: "short", queries: []query{{"max by (door) (portcullis_registration_registered)", "{{door}}"}}},
			{title: "Writes", about: "What was written, and what was put back after somebody else had changed it.", unit: "ops", queries: rate("portcullis_registration_writes_total", "object, result", "{{object}} {{result}}")},
			{title: "Certificates end", about: "Time until then.", unit: "s", queries: []query{{"min by (certificate) (portcullis_registration_certificate_expiry_timestamp_seconds) - time()", "{{certificate}}"}}},
			{title: "Endpoints", about: "Endpoints of the webhook that are ready.", unit: "short", queries: []query{{"max(portcullis_registration_endpoints_ready)", "ready"}}},
		}},
		{"Audit", []panel{
			{title: "Findings", about: "Findings of objects that exist, by what the bundle makes of them.", unit: "short", queries: []query{{"sum by (severity, enforcement) (portcullis_audit_violations)", "{{severity}} {{enforcement}}"}}},
			{title: "Policies", about: "Policies with the most findings.", unit: "short", queries: []query{{top("sum by (policy) (portcullis_audit_violations)"), "{{policy}}"}}},
			{title: "Passes", about: "How long passes took.", unit: "s", queries: quantiles("portcullis_audit_duration_seconds", "pass")},
			{title: "Objects", about: "Objects that are audited, and what could not be looked at.", unit: "short", queries: []query{{"sum(portcullis_audit_objects)", "objects"}, {"sum(portcullis_audit_incomplete)", "not looked at"}}},
		}},
		resources("portcullis-controller"),
	}},
	{"scanner", "Scanner", "Scans that are asked for.", []row{
		{"Now", []panel{
			program("portcullis-scanner"),
			{title: "Database", about: "When the newest database was made that scans use.", number: true, unit: "dateTimeFromNow", queries: []query{{"max(portcullis_scanner_database_timestamp_seconds) * 1000", "made"}}},
			{title: "Waiting", about: "Images that wait for a scan.", number: true, unit: "short", queries: []query{{`max(portcullis_scan_queue_objects{phase="Queued"})`, "queued"}}},
			{title: "Failed", about: "Images whose scan has failed.", number: true, unit: "short", bad: 1, queries: []query{{`max(portcullis_scan_queue_objects{phase="Failed"})`, "failed"}}},
		}},
		{"Scans", []panel{
			{title: "Scans", about: "By how they ended.", unit: "ops", queries: rate("portcullis_scans_total", "result", "{{result}}")},
			{title: "Duration", about: "Time of a scan with its pull.", unit: "s", queries: quantiles("portcullis_scan_duration_seconds", "")},
			{title: "Queue", about: "ImageScans by phase.", unit: "short", queries: []query{{"max by (phase) (portcullis_scan_queue_objects)", "{{phase}}"}}},
			{title: "Expired", about: "ImageScans that nobody asks for any longer.", unit: "ops", queries: []query{{"sum(rate(portcullis_scan_queue_expired_total" + span + "))", "expired"}}},
		}},
		resources("portcullis-scanner"),
	}},
	{"responder", "Responder", "From an event of Falco to a pod in quarantine.", []row{
		{"Now", []panel{
			program("portcullis-responder"),
			{title: "Acting", about: "1 where events can be dealt with.", number: true, unit: "short", queries: []query{{"max(portcullis_responder_acting)", "acting"}}},
			{title: "Quarantines", about: "By phase.", number: true, unit: "short", queries: []query{{"sum by (phase) (portcullis_quarantines)", "{{phase}}"}}},
			{title: "Breaker", about: "1 while nothing acts.", number: true, unit: "short", bad: 1, queries: []query{{"max(portcullis_quarantine_breaker_open)", "open"}}},
		}},
		{"Events", []panel{
			{title: "Received", about: "Events that are kept, by priority, and those that had come before.", unit: "ops", queries: append(rate("portcullis_falco_events_total", "priority", "{{priority}}"), query{"sum(rate(portcullis_falco_duplicates_total" + span + "))", "again"})},
			{title: "Lost and refused", about: "Events that are lost, and requests that were no events. Should be nothing.", unit: "ops", queries: append(rate("portcullis_falco_events_dropped_total", "reason", "lost: {{reason}}"), query{"sum by (reason) (rate(portcullis_falco_refused_total" + span + "))", "refused: {{reason}}"})},
			{title: "Outcomes", about: "Events by what became of them.", unit: "ops", queries: rate("portcullis_responder_events_total", "outcome", "{{outcome}}")},
			{title: "Waiting", about: "Events that wait, are judged, or whose pod is not known yet.", unit: "short", queries: []query{{"sum by (lane) (portcullis_falco_queue_depth)", "{{lane}}"}, {"sum(portcullis_responder_events_under_way)", "under way"}, {"sum(portcullis_responder_events_unresolved)", "without a pod yet"}}},
			{title: "Age of the oldest", about: "How long the oldest event has waited.", unit: "s", queries: []query{{"max by (lane) (portcullis_falco_queue_age_seconds)", "{{lane}}"}}},
			{title: "Until it is written down", about: "From the receipt of an event to its Quarantine being written.", unit: "s", queries: quantiles("portcullis_responder_event_duration_seconds", "")},
			{title: "Heard of Falco", about: "Time since each Falco last said something of itself.", unit: "s", queries: []query{{top("time() - max by (sensor) (portcullis_falco_sensor_last_seen_timestamp_seconds)"), "{{sensor}}"}}},
			{title: "Falco drops", about: "Events of the kernel that a Falco did not see.", unit: "ops", queries: rate("portcullis_falco_sensor_kernel_drops_total", "sensor", "{{sensor}}")},
		}},
		{"Quarantines", []panel{
			{title: "Phases and proofs", about: "Quarantines by phase and what is proved of their isolation.", unit: "short", queries: []query{{"sum by (phase, verdict) (portcullis_quarantines)", "{{phase}} {{verdict}}"}}},
			{title: "Actions", about: "Steps by state.", unit: "ops", queries: rate("portcullis_quarantine_step_seconds_count", "step, state", "{{step}} {{state}}")},
			{title: "Until isolated", about: "From the receipt of the event until its pod was isolated.", unit: "s", queries: quantiles("portcullis_quarantine_isolation_seconds", "")},
			{title: "Over a limit", about: "Quarantines that wait for a person, by limit.", unit: "ops", queries: rate("portcullis_quarantine_refusals_total", "limit", "{{limit}}")},
			{title: "Undone by others", about: "Steps that somebody has undone, and that were done again.", unit: "ops", queries: rate("portcullis_quarantine_reverts_total", "step", "{{step}}")},
			{title: "Asked for", about: "Actions that policies asked for.", unit: "ops", queries: rate("portcullis_responder_asks_total", "policy, action, mode", "{{policy}} {{action}} {{mode}}")},
		}},
		{"Telling people", []panel{
			{title: "Told", about: "Notifications that receivers have taken.", unit: "ops", queries: rate("portcullis_notify_sent_total", "receiver", "{{receiver}}")},
			{title: "Not told", about: "Notifications that are lost, and attempts that failed.", unit: "ops", queries: append(rate("portcullis_notify_lost_total", "receiver, reason", "{{receiver}} {{reason}}"), query{"sum by (receiver) (rate(portcullis_notify_failures_total" + span + "))", "{{receiver}} failed"})},
		}},
		resources("portcullis-responder"),
	}},
	{"secrets", "Secrets", "What is synced from Vault, and whether Vault is there.", []row{
		{"Now", []panel{
			program("portcullis-secrets"),
			{title: "Vaults", about: "VaultConnections whose Vault answers and is unsealed.", number: true, unit: "short", queries: []query{{"sum(portcullis_vault_up)", "up"}, {"count(portcullis_vault_up)", "all"}}},
			{title: "Sealed", about: "VaultConnections whose Vault is sealed.", number: true, unit: "short", bad: 1, queries: []query{{"sum(portcullis_vault_sealed)", "sealed"}}},
			{title: "First lease ends", about: "Time until the first lease, certificate or secret id ends.", number: true, unit: "s", queries: []query{{"min(portcullis_secrets_lease_expiry_seconds)", "ends"}}},
		}},
		{"Secrets", []panel{
			{title: "VaultSecrets", about: "By engine and reason.", unit: "short", queries: []query{{"sum by (engine, reason) (portcullis_secrets_objects)", "{{engine}} {{reason}}"}}},
			{title: "Syncs", about: "Passes that wrote or failed.", unit: "ops", queries: rate("portcullis_secrets_sync_total", "engine, reason", "{{engine}} {{reason}}")},
			{title: "Duration", about: "How long passes took.", unit: "s", queries: quantiles("portcullis_secrets_sync_duration_seconds", "engine")},
			{title: "Not synced for", about: "Time since the VaultSecret that has waited longest was known to hold what Vault gives.", unit: "s", queries: []query{{"max by (engine) (portcullis_secrets_sync_age_seconds)", "{{engine}}"}}},
			{title: "Age", about: "Age of the oldest version in use.", unit: "s", queries: []query{{"max by (engine) (portcullis_secrets_secret_age_seconds)", "{{engine}}"}}},
			{title: "Leases", about: "What became of leases, certificates and secret ids.", unit: "ops", queries: rate("portcullis_secrets_leases_total", "engine, event", "{{engine}} {{event}}")},
			{title: "Denied", about: "Syncs that policies denied or could not decide.", unit: "ops", queries: rate("portcullis_secrets_denied_total", "engine, reason", "{{engine}} {{reason}}")},
			{title: "Queue", about: "Objects that are due, and those that wait for their time.", unit: "short", queries: []query{{"sum by (class) (portcullis_secrets_queue_depth)", "{{class}}"}}},
		}},
		{"Vault", []panel{
			{title: "Requests", about: "By VaultConnection and reason of failure.", unit: "ops", queries: rate("portcullis_vault_requests_total", "connection, reason", "{{connection}} {{reason}}")},
			{title: "Latency", about: "How long requests took, the wait for their turn included.", unit: "s", queries: quantiles("portcullis_vault_request_duration_seconds", "connection")},
			{title: "Logins", about: "By method and reason of failure.", unit: "ops", queries: rate("portcullis_vault_logins_total", "connection, method, reason", "{{connection}} {{method}} {{reason}}")},
			{title: "Tokens end", about: "Time until the token that ends first does.", unit: "s", queries: []query{{"min by (connection) (portcullis_vault_token_expiry_seconds)", "{{connection}}"}}},
		}},
		resources("portcullis-secrets"),
	}},
}
