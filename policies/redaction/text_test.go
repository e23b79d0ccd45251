package redaction

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestWhatIsReplacedInText(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"nothing to hide":                      {"GET /healthz 200 in 3ms", "GET /healthz 200 in 3ms"},
		"a word for credentials alone":         {"the token was refused", "the token was refused"},
		"a flag with an equals sign":           {"psql --password=hunter2 -h db", "psql --password=[redacted] -h db"},
		"a flag with a space":                  {"tool --api-token hunter2 run", "tool --api-token [redacted] run"},
		"a variable":                           {"env DB_PASSWORD=hunter2 ./run", "env DB_PASSWORD=[redacted] ./run"},
		"a field of JSON":                      {`{"user":"ann","apiKey":"hunter2","n":1}`, `{"user":"ann","apiKey":"[redacted]","n":1}`},
		"a field of JSON within JSON":          {`{"msg":"{\"password\":\"hunter2\"}"}`, `{"msg":"{\"password\":\"[redacted]\"}"}`},
		"a field of YAML":                      {"password: hunter2\nuser: ann", "password: [redacted]\nuser: ann"},
		"a quoted value with blanks":           {`secret="hunter2 hunter2" next`, `secret="[redacted]" next`},
		"a query parameter":                    {"GET /a?access_token=hunter2&b=1", "GET /a?access_token=[redacted]&b=1"},
		"a URL with a password":                {"dial postgres://ann:hunter2@db/shop", "dial postgres://ann:[redacted]@db/shop"},
		"a bearer token":                       {"Authorization: Bearer hunter2hunter2", "Authorization: [redacted] [redacted]"},
		"a bearer token in curl":               {`curl -H "Authorization: Bearer hunter2hunter2" x`, `curl -H "Authorization: [redacted] [redacted]" x`},
		"basic credentials without a name":     {"proxy said Basic aHVudGVyMg==", "proxy said Basic [redacted]"},
		"curl with a user":                     {"curl -u ann:hunter2 https://a", "curl -u ann:[redacted] https://a"},
		"curl with a user, no blank":           {"curl -uann:hunter2 https://a", "curl -uann:[redacted] https://a"},
		"mysql, whose flag has no name":        {"mysql -h db -uroot -phunter2 shop", "mysql -h db -uroot -p[redacted] shop"},
		"sshpass":                              {"sshpass -p hunter2 ssh a", "sshpass -p [redacted] ssh a"},
		"redis-cli":                            {"redis-cli -h a -a hunter2", "redis-cli -h a -a [redacted]"},
		"a password that is piped":             {"echo hunter2 | docker login --password-stdin", "echo [redacted] | docker login --password-stdin"},
		"a token of GitHub":                    {"clone with ghp_hunter2hunter2hunter2", "clone with [redacted]"},
		"an access key of AWS":                 {"using AKIAIOSFODNN7EXAMPLE", "using [redacted]"},
		"a service account token":              {"got eyJhbGciOiJSUzI1NiJ9.eyJpc3MiOiJrdWJlIn0.hunter2 for you", "got [redacted] for you"},
		"a private key":                        {"-----BEGIN RSA PRIVATE KEY-----\nhunter2\nhunter2\n-----END RSA PRIVATE KEY-----\n", "-----BEGIN RSA PRIVATE KEY-----[redacted]-----END RSA PRIVATE KEY-----\n"},
		"a private key whose end is cut":       {"x -----BEGIN PRIVATE KEY-----\nhunter2", "x -----BEGIN PRIVATE KEY-----[redacted]"},
		"a private key whose beginning is cut": {"aHVudGVyMg==aHVudGVyMg==\nhunter2\n-----END RSA PRIVATE KEY-----\nafter", "[redacted]-----END RSA PRIVATE KEY-----\nafter"},
		"a certificate":                        {"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----"},
		"a number of tokens":                   {"tokens used 512 of 1024", "tokens used 512 of 1024"},
		"words that only hold such a word":     {"passenger=12 keyboard=qwerty", "passenger=12 keyboard=qwerty"},
		"what is no letter before the flag":    {"run --user-password='hunter2'", "run --user-password='[redacted]'"},
		"Falco's output":                       {"Shell spawned (cmdline=sh -c curl -d password=hunter2 http://a k8s.ns=shop)", "Shell spawned (cmdline=sh -c curl -d password=[redacted] http://a k8s.ns=shop)"},
	} {
		t.Run(name, func(t *testing.T) {
			got := (&Redactor{}).Text(test.text)
			if got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
			if again := (&Redactor{}).Text(got); again != got {
				t.Errorf("got %q the second time, want %q again", again, got)
			}
		})
	}
}

func TestArgumentsAreReadWithTheOneBefore(t *testing.T) {
	for _, test := range []struct{ before, argument, want string }{
		{"--password", "hunter2", "[redacted]"}, {"--db-token", "hunter2", "[redacted]"}, {"--verbose", "hunter2", "hunter2"}, {"", "--password=hunter2", "--password=[redacted]"},
		{"-u", "ann:hunter2", "ann:[redacted]"}, {"password", "is short", "is short"}, {"--password", "--verbose", "[redacted]"},
	} {
		if got := (&Redactor{}).Argument(test.before, test.argument); got != test.want {
			t.Errorf("got %q after %q, want %q", got, test.before, test.want)
		}
	}
}

func TestALineTooLongToLookAtIsNotKept(t *testing.T) {
	long := strings.Repeat("ż", maxLine) + " password=hunter2"
	got := (&Redactor{}).Text("before\n" + long + "\nafter token=hunter2\n")
	if strings.Contains(got, "hunter2") || !utf8.ValidString(got) || !strings.HasPrefix(got, "before\n") || !strings.HasSuffix(got, "\nafter token=[redacted]\n") {
		t.Errorf("got %d bytes that begin with %.40q and end in %q", len(got), got, got[len(got)-40:])
	}
}

func FuzzText(f *testing.F) {
	for _, seed := range []string{"password=x", `{"token":"a\"b"}`, "-----BEGIN PRIVATE KEY-----", "https://a:b@c", "Bearer abcdef", "secret='", "echo a | sudo -S", "\xff=token:\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := (&Redactor{}).Text(text)
		if utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("got %q of %q, want valid text", got, text)
		}
		// A secret that follows its name is not there any more, whatever surrounds it.
		marked := (&Redactor{}).Text(text + "\npassword=hunter2hunter2\n")
		if strings.Count(marked, "hunter2hunter2") > strings.Count(text, "hunter2hunter2") {
			t.Errorf("got %q", marked)
		}
	})
}

func TestALineOfJSONStaysJSON(t *testing.T) {
	got := (&Redactor{}).Text(`{"level":"info","password":"a\"b","nested":{"token":"x y","n":1},"url":"https://a:b@c/d"}`)
	if !json.Valid([]byte(got)) || strings.Contains(got, "x y") || strings.Contains(got, ":b@") {
		t.Errorf("got %s", got)
	}
}

func BenchmarkTextWithASecretInEachLine(b *testing.B) {
	log := strings.Repeat("2026-11-28T12:00:00Z INFO handled GET /api/orders/1234?token=hunter2 in 3ms status=200 bytes=512\n", 3000)
	b.SetBytes(int64(len(log)))
	for b.Loop() {
		_ = (&Redactor{}).Text(log)
	}
}

func BenchmarkTextOfALog(b *testing.B) {
	log := strings.Repeat("2026-11-28T12:00:00Z INFO handled GET /api/orders/1234 in 3ms status=200 bytes=512\n", 3000) + "password=hunter2\n"
	b.SetBytes(int64(len(log)))
	b.ReportAllocs()
	for b.Loop() {
		_ = (&Redactor{}).Text(log)
	}
}
