package falco

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.yaml.in/yaml/v3"
)

// falcoConfig are the keys of Falco's configuration that our fragments use, as documented in falco.yaml of Falco 0.44 and in
// userspace/falco/config_json_schema.h. A key that is not here Falco would not know, and would say nothing of in some versions.
type falcoConfig struct {
	LoadPlugins []string `yaml:"load_plugins"`
	Plugins     []struct {
		Name        string `yaml:"name"`
		LibraryPath string `yaml:"library_path"`
		InitConfig  string `yaml:"init_config"`
		OpenParams  string `yaml:"open_params"`
	} `yaml:"plugins"`
	RulesFiles                []string `yaml:"rules_files"`
	JSONOutput                bool     `yaml:"json_output"`
	JSONIncludeOutputProperty bool     `yaml:"json_include_output_property"`
	JSONIncludeTagsProperty   bool     `yaml:"json_include_tags_property"`
	AppendOutput              []struct {
		SuggestedOutput bool `yaml:"suggested_output"`
		Match           struct {
			Source string   `yaml:"source"`
			Tags   []string `yaml:"tags"`
			Rule   string   `yaml:"rule"`
		} `yaml:"match"`
		ExtraOutput string   `yaml:"extra_output"`
		ExtraFields []string `yaml:"extra_fields"`
	} `yaml:"append_output"`
	HTTPOutput struct {
		Enabled    bool   `yaml:"enabled"`
		URL        string `yaml:"url"`
		Insecure   bool   `yaml:"insecure"`
		CACert     string `yaml:"ca_cert"`
		MTLS       bool   `yaml:"mtls"`
		ClientCert string `yaml:"client_cert"`
		ClientKey  string `yaml:"client_key"`
		KeepAlive  bool   `yaml:"keep_alive"`
	} `yaml:"http_output"`
	OutputsQueue struct {
		Capacity int `yaml:"capacity"`
	} `yaml:"outputs_queue"`
	Metrics struct {
		Enabled                    bool   `yaml:"enabled"`
		Interval                   string `yaml:"interval"`
		OutputRule                 bool   `yaml:"output_rule"`
		StateCountersEnabled       bool   `yaml:"state_counters_enabled"`
		KernelEventCountersEnabled bool   `yaml:"kernel_event_counters_enabled"`
	} `yaml:"metrics"`
	SyscallEventDrops struct {
		Threshold float64  `yaml:"threshold"`
		Actions   []string `yaml:"actions"`
		Rate      float64  `yaml:"rate"`
		MaxBurst  int      `yaml:"max_burst"`
	} `yaml:"syscall_event_drops"`
	GRPC struct {
		Enabled     bool   `yaml:"enabled"`
		BindAddress string `yaml:"bind_address"`
		Threadiness int    `yaml:"threadiness"`
	} `yaml:"grpc"`
	GRPCOutput struct {
		Enabled bool `yaml:"enabled"`
	} `yaml:"grpc_output"`
}

// sidekickConfig are keys of falcosidekick's configuration (config_example.yaml, docs/outputs/webhook.md).
type sidekickConfig struct {
	MutualTLSFilesPath string `yaml:"mutualtlsfilespath"`
	Webhook            struct {
		Address         string `yaml:"address"`
		Method          string `yaml:"method"`
		MinimumPriority string `yaml:"minimumpriority"`
		MutualTLS       bool   `yaml:"mutualtls"`
		CheckCert       bool   `yaml:"checkcert"`
	} `yaml:"webhook"`
}

func document(t *testing.T, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func strictly(t *testing.T, name string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(document(t, name))))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func TestFalcosConfigurationIsAsDocumented(t *testing.T) {
	for name, wanted := range map[string][]string{
		"falco/falco.yaml":    {"k8s.pod.uid", "container.full_id", "container.image.digest"},
		"falco/k8saudit.yaml": {"ka.target.namespace", "ka.target.pod.name", "ka.target.resource"},
	} {
		var c falcoConfig
		strictly(t, name, &c)
		if !c.JSONOutput || !c.JSONIncludeOutputProperty || !c.JSONIncludeTagsProperty || c.OutputsQueue.Capacity <= 0 {
			t.Errorf("%s: got %+v, want JSON with texts and tags, and a queue with a bound", name, c)
		}
		if h := c.HTTPOutput; !h.Enabled || h.Insecure || !h.MTLS || h.ClientCert == "" || h.ClientKey == "" || h.CACert == "" || !strings.HasPrefix(h.URL, "https://") || !strings.HasSuffix(h.URL, Path) {
			t.Errorf("%s: got %+v, want mutual TLS to %s", name, h, Path)
		}
		var extra []string
		for _, appended := range c.AppendOutput {
			extra = append(extra, appended.ExtraFields...)
		}
		for _, field := range wanted {
			if !slices.Contains(extra, field) {
				t.Errorf("%s: got the fields %v, want %s among them", name, extra, field)
			}
		}
		for _, field := range extra {
			if _, known := fieldKinds[field]; !known {
				t.Errorf("%s: %s is no field that we know", name, field)
			}
		}
	}
	var c falcoConfig
	strictly(t, "falco/falco.yaml", &c)
	if !c.Metrics.Enabled || !c.Metrics.OutputRule || !slices.Contains(c.SyscallEventDrops.Actions, "alert") {
		t.Errorf("got %+v and %+v, want Falco to tell of its drops by alerts", c.Metrics, c.SyscallEventDrops)
	}
	strictly(t, "falco/grpc.yaml", &c)
	if !c.GRPC.Enabled || !c.GRPCOutput.Enabled || !strings.HasPrefix(c.GRPC.BindAddress, "unix://") {
		t.Errorf("got %+v, want the gRPC server on a socket", c.GRPC)
	}
	var s sidekickConfig
	strictly(t, "falco/falcosidekick.yaml", &s)
	if w := s.Webhook; !w.MutualTLS || !w.CheckCert || w.Method != "POST" || s.MutualTLSFilesPath == "" {
		t.Errorf("got %+v, want mutual TLS", w)
	}
}

func TestTheGuideHasTheFragmentsAsTheyAre(t *testing.T) {
	guide := document(t, "falco.md")
	for _, name := range []string{"falco/falco.yaml", "falco/falcosidekick.yaml"} {
		fragment := document(t, name)
		if strings.HasPrefix(name, "falco/falcosidekick") {
			_, fragment, _ = strings.Cut(fragment, "--sender.\n")
		}
		if fragment == "" || !strings.Contains(guide, "```yaml\n"+fragment+"```") {
			t.Errorf("falco.md does not have %s as it is: copy it", name)
		}
	}
	for _, link := range regexp.MustCompile(`\]\((falco/[a-z0-9.]+)\)`).FindAllStringSubmatch(guide, -1) {
		document(t, link[1])
	}
}

func TestEveryMetricAndReasonIsDocumented(t *testing.T) {
	guide := document(t, "falco.md")
	descriptions := make(chan *prometheus.Desc, 100)
	NewMetrics().Describe(descriptions)
	close(descriptions)
	count := 0
	for d := range descriptions {
		count++
		name := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String())[1]
		if !strings.Contains(guide, "`"+name) {
			t.Errorf("falco.md says nothing of %s", name)
		}
	}
	if count < 15 {
		t.Errorf("got %d metrics, want all of them", count)
	}
	for _, reason := range []string{ReasonMethod, ReasonPath, ReasonCertificate, ReasonSender, ReasonContentType, ReasonTooLarge, ReasonBody, ReasonEncoding, ReasonSyntax, ReasonDuplicate,
		ReasonType, ReasonMissing, ReasonPriority, ReasonTime, dropShed, dropFull, dropEvicted, dropUnreadable} {
		if !strings.Contains(guide, "`"+reason+"`") {
			t.Errorf("falco.md says nothing of the reason %s", reason)
		}
	}
}

func TestFieldsOfTheSamplesAreTyped(t *testing.T) {
	// A field of Falco that is a number or a boolean in JSON has to be one in the table: gRPC writes it as text.
	files, err := filepath.Glob("testdata/events/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		body, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		m := decode(t, body)
		if m.Event == nil {
			continue
		}
		for name, value := range m.Event.Fields {
			field, _ := base(name)
			known, ok := fieldKinds[field]
			if !ok {
				continue
			}
			want := map[kind]reflect.Type{text: reflect.TypeFor[string](), number: reflect.TypeFor[json.Number](), flag: reflect.TypeFor[bool]()}[known]
			if got := reflect.TypeOf(value); got != want && got.Kind() != reflect.Slice {
				t.Errorf("%s: got a %s for %s, want a %s", file, got, name, want)
			}
		}
	}
}
