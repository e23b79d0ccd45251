package library_test

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-dev/portcullis/admission"
	"github.com/portcullis-dev/portcullis/policies"
	"github.com/portcullis-dev/portcullis/runtime/response"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// seen is a request about an event of the pod shop/web.
func seen(change func(*response.Event)) admission.Request {
	event := &response.Event{
		Source: "syscall", Rule: "Terminal shell in container", Priority: response.Notice, Time: sampleClock(), Window: 600,
		Pod:       &response.Pod{Namespace: "shop", Name: "web", UID: "u-1", Node: "n1", ServiceAccount: "web", ResolvedBy: "uid"},
		Container: response.Container{ID: "0fcbc74d1b4c", Name: "web", Image: "docker.io/library/nginx:1.27"},
	}
	if change != nil {
		change(event)
	}
	slices.Sort(event.Tags)
	return admission.Request{
		Door: admission.DoorResponder, Operation: policies.OperationEvent, Event: event, Namespace: "shop", Name: "web",
		Resource: metav1.GroupVersionResource{Version: "v1", Resource: "pods"}, Kind: metav1.GroupVersionKind{Version: "v1", Kind: "Pod"},
		Object: []byte(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web","namespace":"shop","uid":"u-1"},"spec":{"containers":[{"name":"web","image":"nginx:1.27"}]}}`),
	}
}

func respond(engine *policies.Engine, request admission.Request) admission.Verdict {
	return admission.NewReviewer(engine, knownOf{}, sampleClock).Respond(context.Background(), request)
}

func wholeLibrary(t testing.TB) *policies.Engine {
	t.Helper()
	engine, err := policies.NewEngine(load(t))
	if err != nil {
		t.Fatal(err)
	}
	return engine
}

// policiesOf are the names of the policies that ask for something, less their group.
func policiesOf(verdict admission.Verdict) []string {
	names := map[string]bool{}
	for _, one := range verdict.Responses {
		names[strings.TrimPrefix(one.Policy, "runtime/")] = true
	}
	return slices.Sorted(maps.Keys(names))
}

// falcoRule is a rule as falcosecurity/rules has it (falco_rules.yaml, falco-incubating_rules.yaml, falco-sandbox_rules.yaml, and k8s_audit_rules.yaml
// of falcosecurity/plugins), with the output fields that decide.
type falcoRule struct {
	priority response.Priority
	tags     string
	fields   map[string]any
	source   string
	want     []string
}

func started(path string) map[string]any {
	return map[string]any{"evt.type": "execve", "proc.name": path[strings.LastIndex(path, "/")+1:], "proc.exepath": path}
}

func opened(by, path string) map[string]any {
	return map[string]any{"evt.type": "openat", "proc.name": by, "fd.name": path}
}

func connected(by, address string) map[string]any {
	return map[string]any{"evt.type": "connect", "proc.name": by, "fd.sip": address, "fd.name": "10.1.2.3:40000->" + address + ":443"}
}

var falcoRules = map[string]falcoRule{
	"Directory traversal monitored file read":   {response.Warning, "maturity_stable container host filesystem mitre_credential_access T1555", opened("nginx", "/etc/passwd"), "", []string{"sensitive-file-read"}},
	"Read sensitive file trusted after startup": {response.Warning, "maturity_stable container host filesystem mitre_credential_access T1555", opened("httpd", "/etc/pam.conf"), "", []string{"sensitive-file-read"}},
	"Read sensitive file untrusted":             {response.Warning, "maturity_stable container host filesystem mitre_credential_access T1555", opened("cat", "/etc/shadow"), "", []string{"sensitive-file-read"}},
	"Run shell untrusted":                       {response.Notice, "maturity_stable container host process shell mitre_execution T1059.004", started("/bin/bash"), "", nil},
	"System user interactive":                   {response.Informational, "maturity_stable container host users mitre_execution T1059", started("/bin/id"), "", nil},
	"Terminal shell in container":               {response.Notice, "maturity_stable container shell mitre_execution T1059", started("/bin/bash"), "", []string{"terminal-in-container"}},
	"Contact K8S API Server From Container":     {response.Notice, "maturity_stable container network k8s mitre_discovery T1565", connected("curl", "10.0.0.1"), "", []string{"service-account-token-misuse"}},
	"Netcat Remote Code Execution in Container": {response.Warning, "maturity_stable container network process mitre_execution T1059", started("/bin/nc"), "", []string{"reverse-shell"}},
	"Search Private Keys or Passwords":          {response.Warning, "maturity_stable container host process filesystem mitre_credential_access T1552.001", started("/bin/grep"), "", []string{"sensitive-file-read"}},
	"Clear Log Activities":                      {response.Warning, "maturity_stable container host filesystem mitre_defense_evasion T1070", opened("sh", "/var/log/syslog"), "", nil},
	"Create Symlink Over Sensitive Files":       {response.Warning, "maturity_stable container host filesystem mitre_credential_access T1555", map[string]any{"evt.arg.target": "/etc/passwd"}, "", []string{"sensitive-file-read"}},
	"Packet socket created in container":        {response.Notice, "maturity_stable container network mitre_credential_access T1557.002", nil, "", nil},
	"Redirect STDOUT/STDIN to Network Connection in Container": {response.Notice, "maturity_stable container network process mitre_execution T1059",
		map[string]any{"evt.type": "dup2", "proc.name": "bash", "fd.type": "ipv4", "fd.sip": "192.0.2.7"}, "", []string{"reverse-shell"}},
	"Linux Kernel Module Injection Detected":                 {response.Warning, "maturity_stable container host process mitre_persistence TA0003", map[string]any{"evt.type": "finit_module"}, "", []string{"container-escape"}},
	"Debugfs Launched in Privileged Container":               {response.Warning, "maturity_stable container cis process mitre_privilege_escalation T1611", started("/sbin/debugfs"), "", []string{"container-escape"}},
	"Detect release_agent File Container Escapes":            {response.Critical, "maturity_stable container process mitre_privilege_escalation T1611", opened("sh", "/sys/fs/cgroup/release_agent"), "", []string{"container-escape"}},
	"PTRACE attached to process":                             {response.Warning, "maturity_stable container host process mitre_privilege_escalation T1055.008", nil, "", nil},
	"Find AWS Credentials":                                   {response.Warning, "maturity_stable container host process aws mitre_credential_access T1552", started("/bin/find"), "", []string{"sensitive-file-read"}},
	"Execution from /dev/shm":                                {response.Warning, "maturity_stable container host mitre_execution T1059.004", started("/dev/shm/x"), "", []string{"drop-and-execute"}},
	"Drop and execute new binary in container":               {response.Critical, "maturity_stable container process mitre_persistence TA0003 PCI_DSS_11.5.1", started("/tmp/x"), "", []string{"drop-and-execute"}},
	"Disallowed SSH Connection Non Standard Port":            {response.Notice, "maturity_stable container host network process mitre_execution T1059", connected("ssh", "192.0.2.7"), "", []string{"unexpected-outbound"}},
	"Fileless execution via memfd_create":                    {response.Critical, "maturity_stable container host process mitre_defense_evasion T1620", started("memfd:x"), "", []string{"drop-and-execute"}},
	"Read ssh information":                                   {response.Error, "maturity_incubating container host filesystem mitre_collection T1005", opened("cat", "/root/.ssh/known_hosts"), "", []string{"sensitive-file-read"}},
	"Change thread namespace":                                {response.Notice, "maturity_incubating container host process mitre_privilege_escalation T1611", started("/x"), "", []string{"container-escape"}},
	"Contact EC2 Instance Metadata Service From Container":   {response.Notice, "maturity_incubating network aws container mitre_credential_access T1552.005", connected("curl", "169.254.169.254"), "", []string{"cloud-metadata-contact"}},
	"Contact cloud metadata service from container":          {response.Notice, "maturity_incubating network container mitre_discovery T1565", connected("curl", "169.254.169.254"), "", []string{"cloud-metadata-contact"}},
	"Launch Package Management Process in Container":         {response.Error, "maturity_incubating container process software_mgmt mitre_persistence T1505", started("/usr/bin/apt-get"), "", []string{"package-manager"}},
	"Network Connection outside Local Subnet":                {response.Warning, "maturity_incubating container network mitre_discovery T1046 PCI_DSS_6.4.2", connected("x", "192.0.2.7"), "", []string{"unexpected-outbound"}},
	"Mount Launched in Privileged Container":                 {response.Warning, "maturity_incubating container cis filesystem mitre_privilege_escalation T1611", started("/bin/mount"), "", []string{"container-escape"}},
	"Modify Container Entrypoint":                            {response.Warning, "maturity_sandbox container filesystem mitre_initial_access T1611", opened("x", "/proc/self/exe"), "", []string{"container-escape"}},
	"Detect crypto miners using the Stratum protocol":        {response.Critical, "maturity_sandbox container host process mitre_impact T1496", started("/x"), "", []string{"crypto-miner"}},
	"Detect outbound connections to common miner pool ports": {response.Critical, "maturity_sandbox container host network mitre_impact T1496", connected("x", "192.0.2.7"), "", []string{"crypto-miner"}},
	"Unexpected outbound connection destination":             {response.Notice, "maturity_sandbox container host network mitre_command_and_control TA0011", connected("x", "192.0.2.7"), "", []string{"unexpected-outbound"}},
	"Outbound Connection to C2 Servers":                      {response.Warning, "maturity_sandbox container host network mitre_command_and_control TA0011", connected("x", "192.0.2.7"), "", []string{"unexpected-outbound"}},
	"The docker client is executed in a container":           {response.Warning, "maturity_sandbox container mitre_execution T1610", started("/usr/bin/kubectl"), "", []string{"service-account-token-misuse"}},
	"Attach/Exec Pod":                                        {response.Notice, "k8s", map[string]any{"ka.user.name": "ada"}, "k8s_audit", []string{"terminal-in-container"}},
	"EphemeralContainers Created":                            {response.Notice, "k8s", map[string]any{"ka.user.name": "system:serviceaccount:ci:bot"}, "k8s_audit", []string{"service-account-token-misuse", "terminal-in-container"}},
}

func TestRulesOfFalcoLeadToThePoliciesAboutThem(t *testing.T) {
	engine := wholeLibrary(t)
	for name, rule := range falcoRules {
		t.Run(name, func(t *testing.T) {
			verdict := respond(engine, seen(func(e *response.Event) {
				e.Rule, e.Priority, e.Tags, e.Fields = name, rule.priority, strings.Fields(rule.tags), rule.fields
				if rule.source != "" {
					e.Source = rule.source
				}
			}))
			if got := policiesOf(verdict); !slices.Equal(got, rule.want) || len(verdict.Faults) > 0 {
				t.Errorf("got %q and faults %+v, want %q", got, verdict.Faults, rule.want)
			}
		})
	}
}

func TestNoProfileOfTheLibraryActsByItself(t *testing.T) {
	bundle := load(t)
	engine := wholeLibrary(t)
	about := 0
	for id, policy := range bundle.Policies {
		if policy.Subject.Events == nil {
			continue
		}
		about++
		for _, profile := range bundle.Manifest.Profiles {
			if got, ok := engine.Enforcements(profile.Name)[id]; !ok || got != policies.EnforceAudit {
				t.Errorf("%s in the profile %s: got %v, %v; want audit", id, profile.Name, got, ok)
			}
		}
	}
	if about != 10 {
		t.Errorf("got %d policies about events, want 10", about)
	}
	if bundle.Manifest.Response != nil {
		t.Errorf("got the response settings %+v, want none: they only record", bundle.Manifest.Response)
	}
	for _, one := range respond(engine, seen(nil)).Responses {
		if one.Mode != response.ModeAudit {
			t.Errorf("got the mode %q of %s, want audit", one.Mode, one.Policy)
		}
	}
}

// A command line can hold a password, and messages go to chats.
func TestMessagesHoldNoCommandLine(t *testing.T) {
	engine := wholeLibrary(t)
	const secret = "hunter2"
	for name, rule := range falcoRules {
		verdict := respond(engine, seen(func(e *response.Event) {
			e.Rule, e.Priority, e.Tags = name, rule.priority, strings.Fields(rule.tags)
			e.Fields = maps.Clone(rule.fields)
			if e.Fields == nil {
				e.Fields = map[string]any{}
			}
			e.Output = secret
			for _, field := range []string{"proc.cmdline", "proc.args", "proc.pcmdline", "evt.args"} {
				e.Fields[field] = "curl -u admin:" + secret + " -o stratum+tcp://a:1 http://169.254.169.254/latest/meta-data /dev/tcp/a/1 /run/secrets/kubernetes.io/serviceaccount/token"
			}
		}))
		for _, one := range verdict.Responses {
			if strings.Contains(one.Message, secret) {
				t.Errorf("%s: got the message %q, want none of the command line in it", name, one.Message)
			}
		}
	}
}

// What a node sends can be anything. It is never a fault, which would cost the policies that it has nothing to do with.
func FuzzFieldsOfEvents(f *testing.F) {
	engine := wholeLibrary(f)
	for name, rule := range falcoRules {
		raw, err := json.Marshal(rule.fields)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(name, rule.tags, rule.source, raw)
	}
	for _, raw := range []string{
		`null`, `{}`, `{"proc.name":null,"proc.exepath":7,"proc.cmdline":["stratum+tcp://a"],"fd.name":{"a":"b"},"fd.sip":true,"fd.sip.name":[],"ka.user.name":1,"ka.response.code":{}}`,
		`{"proc.tty":"34816"}`, `{"proc.tty":-1}`, `{"proc.tty":null}`, `{"fd.sip":"256.1.1.1","fd.rip":"1.1.1.1/0","fd.name":"->->:0"}`, `{"fd.sip":"::ffff:1.2.3.4%eth0"}`,
		`{"proc.name":"\u0000","proc.exepath":"\ufffd/*[{"}`, `{"ka.user.name":"system:serviceaccount::","ka.response.code":"403"}`, `{"ka.response.code":1e400}`,
	} {
		f.Add("Attach/Exec Pod", "shell process network filesystem T1611", "k8s_audit", []byte(raw))
		f.Add("Terminal shell in container", "shell process network filesystem mitre_execution TA0011", "syscall", []byte(raw))
	}
	f.Fuzz(func(t *testing.T, rule, tags, source string, raw []byte) {
		var fields map[string]any
		decoder := json.NewDecoder(strings.NewReader(string(raw)))
		decoder.UseNumber()
		if decoder.Decode(&fields) != nil {
			return
		}
		verdict := respond(engine, seen(func(e *response.Event) {
			e.Rule, e.Source, e.Tags, e.Fields, e.Priority = rule, source, strings.Fields(tags), fields, response.Critical
		}))
		if len(verdict.Faults) > 0 {
			t.Errorf("got faults %+v, want none", verdict.Faults)
		}
	})
}

func BenchmarkEventsOfTheLibrary(b *testing.B) {
	engine := wholeLibrary(b)
	for name, request := range map[string]admission.Request{
		"no policy is about it": seen(func(e *response.Event) { e.Rule, e.Priority = "Something", response.Informational }),
		"nothing is asked for": seen(func(e *response.Event) {
			e.Rule, e.Tags, e.Fields = "Run shell untrusted", strings.Fields(falcoRules["Run shell untrusted"].tags), started("/bin/bash")
		}),
		"a reverse shell": seen(func(e *response.Event) {
			const name = "Redirect STDOUT/STDIN to Network Connection in Container"
			e.Rule, e.Tags, e.Fields = name, strings.Fields(falcoRules[name].tags), falcoRules[name].fields
		}),
	} {
		b.Run(name, func(b *testing.B) {
			reviewer := admission.NewReviewer(engine, knownOf{}, sampleClock)
			b.ReportAllocs()
			for b.Loop() {
				if verdict := reviewer.Respond(b.Context(), request); len(verdict.Faults) > 0 {
					b.Fatal(verdict.Faults)
				}
			}
		})
	}
}
